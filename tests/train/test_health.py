"""The health of the gradients: figures against NumPy in float64, verdicts on networks made to have them."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrays import Backend
from job import Interrupt

import dlcore as dl
from backends.runtime import copies
from dlcore.cli import main
from dlcore.nn import BatchNorm, Conv2D, Dense, Dropout, Flatten, LeakyReLU, MaxPool2D, ReLU, Sequential, Sigmoid
from dlcore.report.health import health_section
from dlcore.train.callbacks.gradient_health import DEAD, EXPLODING, VANISHING, GradientHealth, words
from dlcore.train.runs.files import HealthFile

WIDTH = 64


def _data(n: int = 64, shape: tuple[int, ...] = (WIDTH,), classes: int = 3, seed: int = 0) -> dl.data.Dataset:
    rng = np.random.default_rng(seed)
    return dl.data.Dataset(rng.standard_normal((n, *shape)).astype(np.float32), rng.integers(0, classes, n))


def _measured(model: dl.nn.Module, data: dl.data.Dataset, **settings: Any) -> list[dict[str, Any]]:
    """The layers of the one record after an epoch that changes nothing."""
    health = GradientHealth(data)
    settings = {"optimizer": dl.optim.SGD(0.0), "device": "cpu", "seed": 0, **settings}
    dl.Trainer(model, callbacks=[health], **settings).fit(data, epochs=1, batch_size=32)
    assert [record["epoch"] for record in health.records] == [0]
    json.dumps(health.records, allow_nan=False)  # it can be written
    return health.records[0]["layers"]


def _deep(activation: type[dl.nn.Module], scale: float, depth: int, seed: int) -> dl.nn.Module:
    """As in the recipe: weights of He's deviation √(2/n) times ``scale``."""
    init = dl.nn.init.normal(scale * math.sqrt(2 / WIDTH))
    layers = [layer for _ in range(depth) for layer in (Dense(WIDTH, init=init), activation())]
    return Sequential(*layers, Dense(3)).build((WIDTH,), seed=seed)


# --- verdicts


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("activation", "scale", "depth", "verdict"),
    [
        (ReLU, 1.0, 30, None),
        (ReLU, 0.7, 30, "vanishing"),
        (ReLU, 1.3, 36, "exploding"),
        (Sigmoid, math.sqrt(0.5), 10, "vanishing"),
        (Sigmoid, math.sqrt(0.5), 2, None),
        (dl.nn.Tanh, math.sqrt(0.5), 30, None),
    ],
)
def test_networks_made_to_vanish_and_to_explode_do_and_others_are_healthy(
    activation: type[dl.nn.Module], scale: float, depth: int, verdict: str | None, seed: int
) -> None:
    layers = [layer for layer in _measured(_deep(activation, scale, depth, seed), _data()) if layer["weight"]]
    assert len(layers) == depth + 1
    found = [verdict for layer in layers for verdict in layer["verdicts"]]
    assert set(found) == ({verdict} if verdict else set())
    if verdict:  # those far from the loss, and no others
        assert layers[0]["verdicts"] == [verdict]
        assert layers[-1]["verdicts"] == []
    if activation is ReLU and scale != 1.0:  # where the relative gradients of the layers say nothing
        relative = [layer["gradient"] / layer["weight"] for layer in layers]
        assert 0.02 < relative[0] / relative[-2] < 50


@pytest.mark.parametrize("units", [(8, 8), (8, 7), (8, 0)])
def test_units_pushed_below_zero_are_dead(units: tuple[int, int]) -> None:
    total, dead = units
    model = Sequential(Dense(total), ReLU(), Dense(3)).build((WIDTH,), seed=0)
    model.load_state_dict({**model.state_dict(), "0.b": np.where(np.arange(total) < dead, -1e3, 1e3)})
    first, last = _measured(model, _data())
    assert first["dead"] == pytest.approx(dead / total)
    assert first["verdicts"] == (["dead"] if dead / total > DEAD else [])
    assert last["dead"] is None
    assert (first["gradient"] == 0.0) == (dead == total)  # nothing comes back through it


@pytest.mark.parametrize(
    ("layers", "parameter", "name"),
    [
        ((Conv2D(4, 3), ReLU(), MaxPool2D(2)), "0.b", "0 + 1 + 2 (Conv2D + ReLU + MaxPool2D)"),
        ((Conv2D(4, 3), BatchNorm(), ReLU()), "1.beta", "1 + 2 (BatchNorm + ReLU)"),
        ((Conv2D(4, 3), BatchNorm(), ReLU(), MaxPool2D(2)), "1.beta", "1 + 2 + 3 (BatchNorm + ReLU + MaxPool2D)"),
    ],
)
def test_the_units_of_layers_that_are_computed_in_one_go_are_channels(
    layers: tuple[dl.nn.Module, ...], parameter: str, name: str, arrays: Backend
) -> None:
    model = Sequential(*layers, Flatten(), Dense(3)).build((8, 8, 2), seed=0, device=arrays.device)
    model.load_state_dict({**model.state_dict(), parameter: np.array([-1e3, 1.0, -1e3, 1.0], np.float32)})
    (group,) = [x for x in _measured(model, _data(shape=(8, 8, 2)), device=arrays.device) if x["layer"] == name]
    assert group["dead"] == 0.5


def test_a_leaky_relu_has_no_dead_units_and_a_layer_of_ones_own_that_ends_in_a_relu_has() -> None:
    class Block(dl.nn.Module):
        def __init__(self) -> None:
            self.dense = Dense(4)

        def forward(self, x: Any) -> Any:
            return dl.functional.relu(self.dense(x))

    model = Sequential(Block(), Dense(4), LeakyReLU(), Dense(3)).build((WIDTH,), seed=0)
    model.load_state_dict({**model.state_dict(), "0.dense.b": np.full(4, -1e3), "1.b": np.full(4, -1e3)})
    found = {layer["layer"]: layer["dead"] for layer in _measured(model, _data())}
    assert found == {"0.dense (Dense)": None, "0 (Block)": 1.0, "1 (Dense)": None, "3 (Dense)": None}


def test_what_is_not_finite_has_exploded_and_a_flat_loss_says_nothing() -> None:
    model = Sequential(Dense(8), ReLU(), Dense(3)).build((WIDTH,), seed=0)
    health, data = GradientHealth(_data()), _data()

    class Broken(dl.train.Callback):
        def on_epoch(self, trainer: dl.Trainer, record: dict[str, Any]) -> None:
            trainer.model.load_state_dict({**trainer.model.state_dict(), "2.w": np.full((8, 3), np.inf)})

    dl.Trainer(model, callbacks=[Broken(), health], device="cpu", seed=0).fit(data, epochs=1)
    first = health.records[0]["layers"][0]
    assert (first["signal"], first["verdicts"]) == (None, ["exploding"])
    assert "signal not finite" in words(health.records[0])[0]
    assert "<td>exploding</td>" in health_section(health.records)

    right = dl.data.Dataset(np.eye(3, dtype=np.float32), np.arange(3))
    sure = Sequential(Dense(3, bias=False)).build((3,))
    sure.load_state_dict({"0.w": 1e4 * np.eye(3)})  # p is y to the last bit
    (layer,) = _measured(sure, right)
    assert (layer["signal"], layer["gradient"], layer["verdicts"]) == (None, 0.0, [])


# --- figures


def test_the_figures_are_those_of_numpy(arrays: Backend) -> None:
    data = _data(n=40, shape=(5,))
    model = Sequential(Dense(7), ReLU(), Dense(3)).build((5,), seed=1, dtype="float64", device=arrays.device)
    before = model.state_dict()
    health = GradientHealth(data)
    rule = dl.optim.SGD(0.1)
    trainer = dl.Trainer(model, optimizer=rule, callbacks=[health], device=arrays.device, seed=0, precision="float64")
    trainer.fit(data, epochs=1, batch_size=20, drop_last=True)

    def passes(state: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
        z = x @ state["0.w"] + state["0.b"]
        a = np.maximum(z, 0)
        e = np.exp(a @ state["2.w"] + state["2.b"])
        d2 = (e / e.sum(axis=1, keepdims=True) - np.eye(3)[y]) / len(x)
        da = d2 @ state["2.w"].T
        d1 = da * (z > 0)
        return {
            "0.w": x.T @ d1,
            "0.b": d1.sum(0),
            "2.w": a.T @ d2,
            "2.b": d2.sum(0),
            "d1": d1,
            "da": da,
            "d2": d2,
            "a": a,
        }

    after = model.state_dict()
    x, y = data.x.astype(np.float64), data.y
    found = passes(after, x, y)
    norm = np.linalg.norm
    first, last = health.records[0]["layers"]
    assert first["signal"] == pytest.approx(norm(found["da"]) / norm(found["d2"]), rel=1e-9)
    assert last["signal"] == pytest.approx(1.0)
    for layer, name in ((first, "0.w"), (last, "2.w")):
        assert layer["gradient"] == pytest.approx(norm(found[name]), rel=1e-9)
        assert layer["weight"] == pytest.approx(norm(after[name]), rel=1e-9)
    assert first["dead"] == pytest.approx(np.mean((found["a"] == 0).all(axis=0)))

    other = Sequential(Dense(7), ReLU(), Dense(3)).build((5,), seed=1, dtype="float64", device=arrays.device)
    assert np.array_equal(other.state_dict()["0.w"], before["0.w"])
    half: dict[str, Any] = {}

    class Half(dl.train.Callback):
        def on_step(self, trainer: dl.Trainer) -> None:
            half.setdefault("state", trainer.model.state_dict())

    dl.Trainer(other, optimizer=dl.optim.SGD(0.1), callbacks=[Half()], device=arrays.device, seed=0).fit(
        data, epochs=1, batch_size=20, drop_last=True
    )
    for layer, name in ((first, "0.w"), (last, "2.w")):
        old = half["state"][name]
        assert layer["update"] == pytest.approx(norm(after[name] - old) / norm(old), rel=1e-9)


def test_frozen_layers_several_outputs_and_layers_without_weights_of_their_own() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 6)).astype(np.float32)
    data = dl.data.Dataset(x, {"kind": rng.integers(0, 3, 32), "size": rng.standard_normal((32, 1)).astype(np.float32)})
    heads = dl.nn.Heads({"kind": Dense(3), "size": Dense(1)})
    model = Sequential(Dense(8), BatchNorm(), ReLU(), heads).build((6,), seed=0)
    model.freeze("0")
    layers = _measured(model, data, loss={"kind": "cross_entropy", "size": "mse"}, optimizer=dl.optim.SGD(0.1))
    assert [layer["layer"] for layer in layers] == ["1 + 2 (BatchNorm + ReLU)", "3.kind (Dense)", "3.size (Dense)"]
    norm = layers[0]
    assert norm["weight"] == pytest.approx(math.sqrt(8), rel=0.2)  # gamma and beta
    assert norm["update"] > 0
    assert math.hypot(layers[1]["signal"], layers[2]["signal"]) == pytest.approx(1.0, rel=1e-5)


# --- what it leaves alone


def _images_model() -> dl.nn.Module:
    return Sequential(Conv2D(4, 3), BatchNorm(), ReLU(), MaxPool2D(2), Flatten(), Dropout(0.5), Dense(3))


def test_training_has_the_same_bits_and_no_step_waits(arrays: Backend) -> None:
    data, ends, waits = _data(50, (8, 8, 1)), [], []

    class Counted(GradientHealth):
        def on_step(self, trainer: dl.Trainer) -> None:
            before = copies.counts()
            super().on_step(trainer)
            waits.append(copies.counts().since(before).downloads)

    for callbacks in ([], [Counted(data)]):
        trainer = dl.Trainer(_images_model(), callbacks=callbacks, device=arrays.device, seed=3)
        trainer.fit(data, data, epochs=3, batch_size=16)
        ends.append((trainer.model.state_dict(), [r["dev_loss"] for r in trainer.history]))
    assert waits == [0] * 12
    assert ends[0][1] == ends[1][1]
    assert all(np.array_equal(ends[0][0][name], value) for name, value in ends[1][0].items())


@pytest.mark.parametrize("precision", ["mixed", "float64"])
def test_other_precisions_are_measured_too(precision: str) -> None:
    data = _data(48, (8, 8, 1))
    ends = []
    for health in ([], [GradientHealth(data)]):
        trainer = dl.Trainer(_images_model(), callbacks=health, device="cpu", seed=3, precision=precision)
        trainer.fit(data, epochs=2, batch_size=16)
        ends.append(trainer.model.state_dict())
    assert all(np.array_equal(ends[0][name], value) for name, value in ends[1].items())
    assert all(layer["signal"] > 0 and layer["update"] > 0 for layer in health[0].records[1]["layers"])


@pytest.mark.parametrize("at", [1, 3, 4, 6, 7, 8])
def test_an_interrupted_run_goes_on_to_the_same_records(at: int, tmp_path: Path) -> None:
    data = _data(50, (8, 8, 1))

    def run(folder: Path, *more: dl.train.Callback) -> bytes:
        health = GradientHealth(data)
        file = HealthFile(folder / "health.jsonl", health)
        callbacks = [health, file, *more, dl.train.Checkpoint(folder)]
        dl.Trainer(_images_model(), callbacks=callbacks, device="cpu", seed=3).fit(
            data, epochs=3, batch_size=16, resume="auto"
        )
        return (folder / "health.jsonl").read_bytes()

    whole = run(tmp_path / "whole")
    with pytest.raises(dl.train.Interrupted):
        run(tmp_path / "cut", Interrupt(at))
    assert run(tmp_path / "cut") == whole
    assert len(whole.splitlines()) == 3


def test_a_second_fit_goes_on_and_an_iterable_has_no_last_step() -> None:
    data = _data()
    health = GradientHealth(data, examples=10)
    trainer = dl.Trainer(Sequential(Dense(3)), callbacks=[health], device="cpu", seed=0)
    trainer.fit(data, epochs=2)
    trainer.fit(lambda: iter([(data.x[i], data.y[i]) for i in range(20)]), epochs=1)
    assert [record["epoch"] for record in health.records] == [0, 1, 2]
    assert [record["layers"][0]["update"] is None for record in health.records] == [False, False, True]


def test_a_model_that_cannot_be_copied_is_trained_all_the_same() -> None:
    class Locked(dl.nn.Module):
        def __init__(self) -> None:
            self.dense, self.lock = Dense(3), threading.Lock()

        def forward(self, x: Any) -> Any:
            return self.dense(x)

    health = GradientHealth(_data())
    with pytest.warns(UserWarning, match="cannot be copied"):
        dl.Trainer(Locked(), callbacks=[health], device="cpu").fit(_data(), epochs=1)
    assert health.records == []


def test_bad_input_is_named() -> None:
    with pytest.raises(dl.ConfigError, match="examples is 0"):
        GradientHealth(_data(), examples=0)
    with pytest.raises(dl.errors.DataError, match="an iterator came, but a fixed batch"):
        GradientHealth(lambda: iter([(np.zeros(3), 1)]))
    assert VANISHING < 1 < EXPLODING


# --- the command and the page


def test_the_command_names_the_layers_and_the_page_has_a_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(
        "from dlcore import nn\n"
        "def build(outputs):\n"
        "    deep = [layer for _ in range(9) for layer in (nn.Dense(8), nn.Sigmoid())]\n"
        "    return nn.Sequential(nn.Flatten(), *deep, nn.Dense(outputs))\n"
    )
    words = ["train", "--data", "digits", "--epochs", "2", "--baseline", "none", "--device", "cpu"]
    assert main([*words, "--model", "own.py:build", "--name", "deep"]) == 0
    assert main([*words, "--model", "mlp", "--hidden", "16", "--name", "flat"]) == 0
    capsys.readouterr()

    def said(*more: str) -> str:
        assert main(["diagnose", *more]) == 0
        return capsys.readouterr().out

    lines = [line for line in said("deep").splitlines() if "vanishing, signal" in line]
    assert "layers, after epoch 2; before the network is made larger, mend these:" in said("deep")
    layers = json.loads(said("deep", "--json"))["health"]["layers"]
    assert len(lines) == sum(layer["verdicts"] == ["vanishing"] for layer in layers) > 2
    assert lines[0].startswith("  1 (Dense): vanishing, signal ")
    assert "layers: no gradient vanishes or explodes, and no layer is dead, after epoch 2" in said("flat")
    page = Path("runs/deep/report.html").read_text()
    assert "<h2>Gradient health</h2>" in page
    assert page.count("<td>vanishing</td>") == len(lines)
    assert "every layer is healthy" in Path("runs/flat/report.html").read_text()
    assert len(Path("runs/deep/health.jsonl").read_text().splitlines()) == 2

    Path("runs/deep/health.jsonl").write_text('{"epoch": 1}\n[]\n{"epoch": 1, "layers": [{"layer": 1}]}\n"x"\n{')
    assert "their gradients were not measured in this run" in said("deep")
