"""A model written down and built again: the same in another process and folder, or refused with the reason."""

from __future__ import annotations

import inspect
import json
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrays import Backend
from samples import numbers

import dlcore as dl
from dlcore import nn
from dlcore.errors import CheckpointError, ConfigError, DeviceError
from dlcore.train.assembly import zoo
from dlcore.train.checkpoint import user_model
from dlcore.train.checkpoint.model_json import describe, rebuild, save_model
from dlcore.train.config.config import ModelConfig
from dlcore.train.runs.load import load_model

ROOT = Path(__file__).resolve().parents[2]

Case = tuple[Callable[[], nn.Module], tuple[int, ...]]

IMAGE = (6, 6, 2)
LAYERS: dict[str, Case] = {
    "AvgPool2D": (lambda: nn.AvgPool2D(3, 2, padding="same"), IMAGE),
    "BatchNorm": (lambda: nn.BatchNorm(0.8, eps=1e-3), (5,)),
    "CharacterModel": (lambda: nn.CharacterModel(7, hidden=3, layers=2, cell="gru", embedding=2), (4,)),
    "Conv2D": (lambda: nn.Conv2D(3, (2, 3), padding=((1, 0), (1, 1)), dilation=(1, 2), init="orthogonal"), IMAGE),
    "Dense": (lambda: nn.Dense(np.int64(4), bias=False, init=nn.init.normal(0.02)), (5,)),
    "Dropout": (lambda: nn.Dropout(0.3), (5,)),
    "Embedding": (lambda: nn.Embedding(7, 3, init=nn.init.uniform(-0.1, 0.1)), (4,)),
    "Filter2D": (lambda: nn.Filter2D(np.ones((3, 2)), "full", border="wrap", stride=(1, 2)), IMAGE),
    "Flatten": (lambda: nn.Flatten(), IMAGE),
    "FromLast": (lambda: nn.FromLast(nn.GRU(3), (0, 2), (0.5, 2.0), (1,), 3.0, 9.0), (4, 3)),
    "GRU": (lambda: nn.GRU(3, 2, 0.25, bidirectional=True), (4, 5)),
    "GlobalAvgPool2D": (lambda: nn.GlobalAvgPool2D(), IMAGE),
    "Heads": (lambda: nn.Heads({"species": nn.Dense(3), "sex": nn.Dense(1)}), (5,)),
    "LSTM": (lambda: nn.LSTM(3, return_sequences=True), (4, 5)),
    "LeakyReLU": (lambda: nn.LeakyReLU(0.1), (5,)),
    "MaxPool2D": (lambda: nn.MaxPool2D((2, 3), stride=1), IMAGE),
    "RNN": (lambda: nn.RNN(3, reverse=True), (4, 5)),
    "ReLU": (lambda: nn.ReLU(), (5,)),
    "Residual": (lambda: nn.Residual(nn.Dense(3), shortcut=nn.Dense(3, init=nn.init.he_uniform)), (5,)),
    "Sequential": (lambda: nn.Sequential(nn.Dense(4), nn.BatchNorm(), nn.Dense(2)), (5,)),
    "Sigmoid": (lambda: nn.Sigmoid(), (5,)),
    "Softmax": (lambda: nn.Softmax(), (5,)),
    "Tanh": (lambda: nn.Tanh(), (5,)),
}

OWN_LAYERS = """
from dlcore import nn

class Stack(nn.Module):
    def __init__(self, width, *layers, scale=1.0, names=None, **more):
        self.width, self.layers, self.scale, self.names, self.more = width, list(layers), scale, names, more
        self.last = nn.Dense(width)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.last(x) * self.scale

class Outer:
    class Inner(Stack):
        pass
"""

OWN_FILE = """
from dlcore import nn
from rebuilt_helper import HIDDEN, ONE, Block

class Net(nn.Module):
    def __init__(self, outputs):
        self.block = Block(HIDDEN)
        self.out = nn.Dense(outputs, init=lambda key, shape: nn.init.named("zeros")(key, shape))

    def forward(self, x):
        return self.out(self.block(x))

def build(outputs):
    return Net(outputs)

def fixed():
    return nn.Dense(3)

def shared():
    return ONE
"""

HELPER = """
from dlcore import nn

HIDDEN = 6
ONE = nn.Dense(2)

class Block(nn.Module):
    def __init__(self, units):
        self.dense = nn.Dense(units)

    def forward(self, x):
        return self.dense(x)
"""


def nested() -> nn.Module:
    block = nn.Residual(nn.Sequential(nn.Dense(5), nn.ReLU(), nn.BatchNorm()))
    tied = nn.Dense(5)
    return nn.Sequential(tied, block, tied, nn.Heads({"a": nn.Sequential(nn.Dense(2)), "b": nn.Dense(1)}))


@pytest.fixture
def own_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of one's own, which can be imported."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "ownlayers.py").write_text(OWN_LAYERS)
    monkeypatch.syspath_prepend(tmp_path / "code")
    import ownlayers  # pyright: ignore[reportMissingImports]

    yield ownlayers
    del sys.modules["ownlayers"]


@pytest.fixture
def own_file(tmp_path: Path) -> Any:
    """A file of one's own with a helper beside it."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "own.py").write_text(OWN_FILE)
    (folder / "rebuilt_helper.py").write_text(HELPER)
    yield folder / "own.py"
    sys.modules.pop("rebuilt_helper", None)


def inputs(case: str, shape: tuple[int, ...]) -> np.ndarray:
    if case in ("Embedding", "CharacterModel"):
        return np.arange(3 * math.prod(shape)).reshape(3, *shape) % 7
    return numbers(3, *shape)


def trained(make: Callable[[], nn.Module], x: np.ndarray, **build: Any) -> nn.Module:
    """A built model with other parameters and running statistics than a new one has."""
    model = make().build(x.shape[1:], seed=3, input_dtype="int64" if x.dtype.kind == "i" else None, **build)
    state = {name: value + numbers(*value.shape, seed=7) ** 2 for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    return model.eval()


def outputs_of(model: nn.Module, x: Any) -> dict[str, np.ndarray]:
    y = model.eval()(x)
    y = y[0] if isinstance(y, tuple) else y  # beside its last state
    return {name: value.numpy() for name, value in (y if isinstance(y, dict) else {"y": y}).items()}


def why(model: nn.Module, path: Path, **how: Any) -> str:
    """The reason that a model cannot be rebuilt, as the warning says it, the file holds it and reading it says it."""
    with pytest.warns(UserWarning, match=r"^model\.json: \w+ cannot be rebuilt by evaluate and predict: ") as caught:
        save_model(path / "model.json", model, **how)
    (warning,) = caught
    said = str(warning.message)
    content = json.loads((path / "model.json").read_text())
    assert content["model"] is None
    assert "\n" not in said
    assert said.endswith(content["why"])
    with pytest.raises(CheckpointError, match="cannot be rebuilt") as error:
        load_model(path)
    assert str(error.value).endswith(content["why"])
    return content["why"]


# The same again ------------------------------------------------------------------------------------------------------


def test_every_layer_has_a_case() -> None:
    public = {name for name in nn.__all__ if inspect.isclass(kind := getattr(nn, name)) and issubclass(kind, nn.Module)}
    assert public - {"Module"} == LAYERS.keys()


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_comes_back_with_its_arguments(name: str) -> None:
    made = LAYERS[name][0]()
    again = rebuild(json.loads(json.dumps(describe(made), allow_nan=False)))
    assert type(again) is type(made)
    assert describe(again) == describe(made)


IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
import numpy as np
from dlcore.train.checkpoint.arrays import load_weights
from dlcore.train import load_model

for folder in map(Path, sys.argv[1:]):
    model, about = load_model(folder)
    load_weights(model, folder / "model.safetensors")
    y = model.eval()(np.load(folder / "x.npy"))
    y = y[0] if isinstance(y, tuple) else y
    y = {name: value.numpy() for name, value in (y if isinstance(y, dict) else {"y": y}).items()}
    with np.load(folder / "y.npz") as expected:
        assert expected.keys() == y.keys(), folder
        for name, value in expected.items():
            assert value.dtype == y[name].dtype and value.tobytes() == y[name].tobytes(), (folder, name)
    assert about == {"case": folder.name}, about
print("the same")
"""


def test_outputs_are_equal_to_the_bit_in_another_process_and_folder(
    tmp_path: Path, own_layers: Any, own_file: Path
) -> None:
    cases: dict[str, Case] = {
        **LAYERS,
        "nested": (nested, (5,)),
        "own": (lambda: nn.Sequential(own_layers.Stack(3, nn.Dense(4), nn.Tanh(), scale=0.1), nn.ReLU()), (5,)),
        "inner": (lambda: own_layers.Outer.Inner(2, names={"a": (1, None)}, other=[True]), (5,)),
        "double": (lambda: nn.Dense(3), (5,)),
        "cnn": (lambda: zoo.cnn(10, ModelConfig(channels=(3, 4), dropout=0.5)), (8, 8, 1)),
        "mlp": (lambda: zoo.mlp(10, ModelConfig(hidden=(5,), activation="tanh")), (8, 8, 1)),
        "file": (lambda: user_model.from_file(f"{own_file}:build", 4), (5,)),
        "file again": (lambda: user_model.from_file(f"{own_file}:fixed", 4), (5,)),
    }
    folders = []
    for name, (make, shape) in cases.items():
        x, folder = inputs(name, shape), tmp_path / "runs" / name
        x = x.astype("float64") if name == "double" else x
        model = trained(make, x, dtype="float64" if name == "double" else "float32")
        function = {"file": "build", "file again": "fixed"}.get(name)
        how: dict[str, Any] = {"reference": f"{own_file}:{function}", "outputs": 4} if function else {}
        assert save_model(folder / "model.json", model, about={"case": name}, **how) == folder / "model.json"
        dl.save_weights(model, folder / "model.safetensors")
        np.save(folder / "x.npy", x)
        np.savez(folder / "y.npz", **outputs_of(model, x))
        folders.append(str(folder))
    own_file.write_text("later edits of the file do not matter")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = os.pathsep.join([str(ROOT), str(tmp_path / "code")])
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, *folders],
        cwd=elsewhere, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "the same\n"), done.stderr


def test_a_layer_that_is_used_twice_is_one_layer_again() -> None:
    again = rebuild(describe(nested()))
    assert isinstance(again, nn.Sequential)
    assert again[0] is again[2]
    assert [path for path, _ in again.build((5,)).named_parameters()][:2] == ["0.w", "0.b"]
    assert again.count() == nested().build((5,)).count()


def test_plain_values_come_back_as_they_were(own_layers: Any) -> None:
    values = {
        "numbers": [0.1, 1e-300, -0.0, math.inf, -math.inf, 2**63, -1, True, None, "ä\ud800"],
        "nested": {"tuple": (1, [2, (3,)]), 4: {}, None: {"layer": "Dense"}, (1, 2): ()},
        "numpy": np.float32(0.1),
        "init": nn.init.glorot_normal,
    }
    again = rebuild(json.loads(json.dumps(describe(own_layers.Stack(np.int16(2), values=values, nan=math.nan)))))
    more: dict[str, Any] = again.config["more"]
    assert repr(more["values"]) == repr({**values, "numpy": float(np.float32(0.1))})
    assert math.isnan(more["nan"])
    assert type(again.config["width"]) is int


def test_what_was_given_about_the_model_comes_back(tmp_path: Path) -> None:
    about = {"task": "classification", "classes": ["ä", "b"], "normalizer": {"mean": [0.1, 1e-30]}, "seed": 3}
    save_model(tmp_path / "model.json", nn.Dense(2).build((3,)), about=about)
    model, again = load_model(tmp_path, device="cpu")
    assert again == about
    assert (model.input_shape, model.output_shape, model.device.name) == ((3,), (2,), "cpu")
    assert save_model(tmp_path / "model.json", nn.Dense(2).build((3,))) == tmp_path / "model.json"
    assert load_model(tmp_path)[1] == {}


def test_what_a_trainer_builds_on_integers_takes_integers_again(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Dense(2))
    data = dl.data.Dataset(np.arange(20).reshape(5, 4) % 7, np.array([0, 1, 0, 1, 0]))
    dl.Trainer(model, device="cpu").fit(data, epochs=1)
    save_model(tmp_path / "model.json", model)
    again, _ = load_model(tmp_path)
    again.load_state_dict(model.state_dict())
    assert again.input_dtype == "int64"
    np.testing.assert_array_equal(again.eval()(data.x).numpy(), model.eval()(data.x).numpy())


def test_no_warning_comes_where_the_model_can_be_rebuilt(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_model(tmp_path / "model.json", nested().build((5,)))


def test_a_model_is_saved_from_and_loaded_onto_every_kind_of_array(arrays: Backend, tmp_path: Path) -> None:
    model = nested().build((5,), seed=1, device=arrays.device)
    save_model(tmp_path / "model.json", model)
    again, _ = load_model(tmp_path, device=arrays.device)
    again.load_state_dict(model.state_dict())
    assert again.device == arrays.device
    x = arrays.place(numbers(3, 5))
    for name, value in outputs_of(model, x).items():
        assert outputs_of(again, x)[name].tobytes() == value.tobytes()


def test_a_device_that_cannot_be_used_is_no_damage(tmp_path: Path) -> None:
    save_model(tmp_path / "model.json", nn.Dense(2).build((3,)))
    with pytest.raises(DeviceError):
        load_model(tmp_path, device="cuda:99")


# What cannot be rebuilt ----------------------------------------------------------------------------------------------


def _own_init(key: Any, shape: tuple[int, ...]) -> np.ndarray:
    return np.ones(shape, dtype=np.float32)


class Here(nn.Module):
    """A class that can be imported where this file can; its name is changed to say that it cannot."""

    def __init__(self, of: Any = None) -> None:
        self.dense = nn.Dense(2)

    def forward(self, x: Any) -> Any:
        return self.dense(x)


def endless() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda of: nn.Sequential(nn.ReLU(), nn.ReLU(), nn.Dense(2, init=_own_init)),
         ["layer 2 (Dense): init is a function of your own", "use an initialiser of dl.nn.init"]),
        (lambda of: nn.Dense(2, init=nn.init.Initializer("he_normal", _own_init)),
         ["Dense: init is an initialiser of your own"]),
        (lambda of: nn.Dense(2, init=nn.init.Initializer("mine", _own_init)), ["init is an initialiser of your own"]),
        (lambda of: of(2, scale=np.zeros(3)), ["Stack: scale is of the type ndarray", "model file.py:build"]),
        (lambda of: of(2, scale=nn.ReLU), ["scale is the class ReLU"]),
        (lambda of: of(2, scale=math.sqrt), ["scale is a function"]),
        (lambda of: of(2, scale={1, 2}), ["scale is of the type set"]),
        (lambda of: of(2, scale=1j), ["scale is of the type complex"]),
        (lambda of: of(2, scale=2**80), ["more than 64 bits"]),
        (lambda of: of(2, scale=endless()), ["nested deeper than 100 levels"]),
        (lambda of: nn.Residual(nn.Sequential(nn.Dense(2), of(2, [b""]))),
         ["layer inner.1 (Stack): layers is of the type bytes"]),
    ],
)  # fmt: skip
def test_an_argument_that_cannot_be_written_down_is_named(own_layers: Any, make: Any, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        describe(make(own_layers.Stack))
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_that_is_not_found_any_more_is_named(
    tmp_path: Path, own_layers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path / "model.json", own_layers.Stack(2).build((3,)))
    monkeypatch.delattr(own_layers, "Stack")
    with pytest.raises(CheckpointError, match=r"model\.json: Stack: 'ownlayers:Stack' cannot be imported .*PYTHONPATH"):
        load_model(tmp_path)


def test_a_class_that_no_other_process_finds_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(Here):
        pass

    with pytest.raises(ConfigError, match=r"Local is defined inside a function; .*--model file\.py:build"):
        describe(Local())
    monkeypatch.setattr(Here, "__module__", "__main__")
    with pytest.raises(ConfigError, match=r"Here is defined in the program that is run; .*--model file\.py:build"):
        describe(Here())
    monkeypatch.setattr(Here, "__module__", "math")
    with pytest.raises(ConfigError, match="math has no such class Here"):
        describe(Here())


def test_training_goes_on_where_the_model_cannot_be_rebuilt(tmp_path: Path) -> None:
    class Net(Here):
        pass

    assert "Net is defined inside a function" in why(Net().build((3,)), tmp_path, about={"task": "binary"})


def test_a_model_that_was_changed_after_its_construction_is_noticed(tmp_path: Path) -> None:
    def kept(change: Callable[[Any], None]) -> str:
        model = nn.Sequential(nn.Dense(4), nn.ReLU(), nn.Dropout(0.1), nn.Dense(2))
        change(model)
        return why(model.build((3,)), tmp_path)

    def swap(model: Any, i: int, layer: nn.Module) -> None:
        layers = list(model.layers)
        layers[i] = layer
        model.layers = tuple(layers)

    assert "layer 1 (Tanh) becomes 1 (ReLU)" in kept(lambda model: swap(model, 1, nn.Tanh()))
    assert "units of layer 0 (Dense)" in kept(lambda model: swap(model, 0, nn.Dense(5)))
    assert "rate of layer 2 (Dropout)" in kept(lambda model: setattr(model[2], "rate", 0.5))
    assert "it has 4 layers, but 5 come" in kept(lambda model: setattr(model, "layers", model.layers[:-1]))


def test_parameters_that_come_from_elsewhere_are_noticed(tmp_path: Path, own_layers: Any) -> None:
    model = own_layers.Stack(2)
    model.last = nn.Sequential(nn.Dense(2))
    assert "layer last (Sequential) becomes last (Dense)" in why(model.build((3,)), tmp_path)
    model = own_layers.Stack(2)
    model.extra = nn.Parameter(np.zeros(3))
    assert "last.w came where extra is expected" in why(model.build((3,)), tmp_path)


def test_a_model_that_is_not_built_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not built"):
        save_model(tmp_path / "model.json", nn.Dense(2))


@pytest.mark.parametrize("about", [{"x": np.zeros(2)}, {"x": math.nan}, {(1, 2): 3}, ["x"], {"x": endless()}])
def test_an_about_that_json_does_not_hold_is_refused(tmp_path: Path, about: Any) -> None:
    with pytest.raises(ConfigError, match="about cannot be written as JSON"):
        save_model(tmp_path / "model.json", nn.Dense(2).build((3,)), about=about)
    assert not list(tmp_path.iterdir())


# One's own file ------------------------------------------------------------------------------------------------------


def test_a_file_of_ones_own_is_copied_and_its_model_keeps_its_class(tmp_path: Path, own_file: Path) -> None:
    run = tmp_path / "run"
    other = own_file.rename(own_file.with_name("model.py"))  # as the copy is called
    model = user_model.from_file(f"{other}:build", 4).build((5,))
    module, path = sys.modules["_dlcore_model_model"], list(sys.path)
    save_model(run / "model.json", model, reference=f"{other}:build", outputs=4)
    assert (run / "model.py").read_text() == OWN_FILE
    assert sys.modules["_dlcore_model_model"] is module
    other.write_text("def build(:\n")
    again, _ = load_model(run)
    assert again.state_dict().keys() == model.state_dict().keys()
    assert sys.path == path
    sys.modules.pop("rebuilt_helper")
    (own_file.parent / "rebuilt_helper.py").unlink()
    with pytest.raises(CheckpointError, match=r"model\.json: .*ModuleNotFoundError: No module named 'rebuilt_helper'"):
        load_model(run)


def test_a_copy_that_was_taken_away_is_named(tmp_path: Path, own_file: Path) -> None:
    model = user_model.from_file(f"{own_file}:build", 4).build((5,))
    save_model(tmp_path / "model.json", model, reference=f"{own_file}:build", outputs=4)
    (tmp_path / "model.py").unlink()
    with pytest.raises(CheckpointError, match=r"no file .*model\.py"):
        load_model(tmp_path)


def test_a_file_that_gives_another_model_is_noticed(tmp_path: Path, own_file: Path) -> None:
    model = user_model.from_file(f"{own_file}:build", 4)
    model.__dict__["out"] = nn.Dense(3)
    reason = why(model.build((5,)), tmp_path, reference=f"{own_file}:build", outputs=4)
    assert "build of its file gives another model" in reason
    assert not (tmp_path / "model.py").exists()


def test_a_function_that_gives_the_same_layers_each_time_is_noticed(tmp_path: Path, own_file: Path) -> None:
    model = user_model.from_file(f"{own_file}:shared", 4).build((5,))
    vector = model.vector
    assert "the same layers each time" in why(model, tmp_path, reference=f"{own_file}:shared", outputs=4)
    assert model.vector is vector


def test_a_file_whose_name_was_not_given_is_asked_for(tmp_path: Path, own_file: Path) -> None:
    model = user_model.from_file(f"{own_file}:build", 4).build((5,))
    assert "Net is known to its file alone" in why(model, tmp_path)
    with pytest.raises(ConfigError, match="needs the outputs"):
        save_model(tmp_path / "model.json", model, reference=f"{own_file}:build")


def test_no_file_of_ones_own_is_overwritten(tmp_path: Path, own_file: Path) -> None:
    (tmp_path / "model.py").write_text("mine")
    model = user_model.from_file(f"{own_file}:build", 4).build((5,))
    assert "in the way" in why(model, tmp_path, reference=f"{own_file}:build", outputs=4)
    assert (tmp_path / "model.py").read_text() == "mine"
