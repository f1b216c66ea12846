"""The models of the command line, and those of a user's file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dlcore import nn
from dlcore.errors import ConfigError
from dlcore.train.assembly import zoo
from dlcore.train.checkpoint import user_model
from dlcore.train.config.config import ModelConfig

IMAGE = (28, 28, 1)


def kinds(model: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


def test_the_cnn_has_a_block_for_each_number_of_channels() -> None:
    model = zoo.cnn(10, ModelConfig(channels=(4, 8), activation="tanh", dropout=0.5)).build(IMAGE)
    block = ["Conv2D", "BatchNorm", "Tanh", "MaxPool2D"]
    assert kinds(model) == [*block, *block, "Flatten", "Dropout", "Dense"]
    assert [shape for path, shape in model._shapes.items() if path in ("3", "7")] == [(2, 14, 14, 4), (2, 7, 7, 8)]
    assert "0.b" not in dict(model.named_parameters())


def test_the_mlp_has_a_layer_for_each_number_of_units() -> None:
    model = zoo.mlp(3, ModelConfig(hidden=(16, 8), activation="relu", dropout=0.1)).build((4,))
    assert kinds(model) == ["Flatten", "Dense", "ReLU", "Dropout", "Dense", "ReLU", "Dropout", "Dense"]
    assert model.output_shape == (3,)


def test_without_dropout_there_is_no_such_layer() -> None:
    assert "Dropout" not in kinds(zoo.cnn(2, ModelConfig(channels=(4,), dropout=0.0)))
    assert kinds(zoo.mlp(2, ModelConfig(hidden=(4,), dropout=0.0))) == ["Flatten", "Dense", "ReLU", "Dense"]


@pytest.mark.parametrize(("pool", "inputs"), [(False, 7 * 7 * 8), (True, 8), (None, 7 * 7 * 8)])
def test_global_pooling_leaves_one_number_a_channel(pool: bool | None, inputs: int) -> None:
    config = ModelConfig(model="cnn", channels=(4, 8), global_pool=pool)
    model = zoo.build(3, config).build(IMAGE)
    assert model.state_dict()[f"{len(model.layers) - 1}.w"].shape == (inputs, 3)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["logistic", "linear"])
def test_logistic_and_linear_are_one_layer(name: str) -> None:
    model = zoo.build(10, ModelConfig(model=name)).build(IMAGE)
    assert model.count() == 7850


# Files ---------------------------------------------------------------------------------------------------------------

OWN = """
from dlcore import nn

def build(outputs):
    return nn.Dense(outputs)

def fixed():
    return nn.Dense(7)

def optional(width=3):
    return nn.Dense(width)

def named(outputs=5, width=3):
    return nn.Dense(outputs)

class Net(nn.Module):
    def __init__(self, outputs):
        self.dense = nn.Dense(outputs)

    def forward(self, x):
        return self.dense(x)

def several(outputs, width):
    return nn.Dense(outputs)

def fails(outputs):
    units = -outputs
    return nn.Dense(units)

def nothing():
    return None

number = 3
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


@pytest.mark.parametrize(("name", "units"), [("build", 4), ("fixed", 7), ("optional", 3), ("named", 4), ("Net", 4)])
def test_a_function_of_a_file_builds_the_model(own: Path, name: str, units: int) -> None:
    assert user_model.from_file(f"{own}:{name}", 4).build((2,)).output_shape == (units,)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("several", ["outputs, width", "def build(outputs)"]),
        ("missing", ["no function missing", "build, fixed"]),
        ("number", ["no function number"]),
        ("nothing", ["returned None", "Module"]),
        ("fails", ["own.py:28", "ConfigError", "units is -4"]),
    ],
)
def test_a_function_that_cannot_be_used_is_named(own: Path, name: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        user_model.from_file(f"{own}:{name}", 4)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("def build(:\n", ["own.py:1", "SyntaxError"]),
        ("\nimport nothing_of_this_name\n", ["own.py:2", "ModuleNotFoundError", "nothing_of_this_name"]),
        ("import math\n\n\ndef build():\n    return math.sqrt(-1)\n", ["own.py:5", "ValueError"]),
    ],
)
def test_an_error_of_the_file_is_said_with_its_line(tmp_path: Path, text: str, parts: list[str]) -> None:
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(ConfigError) as caught:
        user_model.from_file(f"{tmp_path / 'own.py'}:build", 4)
    for part in parts:
        assert part in str(caught.value)


def test_the_line_is_found_from_a_relative_path_too(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own.parent)
    with pytest.raises(ConfigError, match=r"own\.py:28"):
        user_model.from_file("own.py:fails", 4)


@pytest.mark.parametrize("reference", ["own.py", "own.py:", "own.py:1x", "own.txt:build.py"])
def test_a_reference_without_a_function_is_refused(reference: str) -> None:
    with pytest.raises(ConfigError, match=r"file\.py:build is expected"):
        user_model.from_file(reference, 4)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*gone\.py"):
        user_model.from_file(f"{tmp_path / 'gone.py'}:build", 4)


def test_the_path_is_as_before(own: Path) -> None:
    before = list(sys.path)
    user_model.from_file(f"{own}:build", 4)
    assert sys.path == before
