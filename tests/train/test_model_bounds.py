"""A model.json of a few thousand bytes costs no more memory and time than its own weights account for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dlcore as dl
from dlcore import nn
from dlcore.errors import CheckpointError
from dlcore.train.checkpoint import model_json
from dlcore.train.checkpoint.arrays import DamagedError, shapes_of
from dlcore.train.checkpoint.model_json import load_about, rebuild, save_model
from dlcore.train.runs.load import load_model
from dlcore.train.runs.run import Run

PICTURES = {"kind": "images", "size": [6, 6], "channels": 2}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    layers = (nn.Conv2D(3, 3, padding="same"), nn.MaxPool2D(2), nn.Flatten(), nn.Dense(4))
    model = nn.Sequential(*layers).build((6, 6, 2))
    save_model(tmp_path / "model.json", model, about={"task": "classification", "inputs": PICTURES})
    dl.save_weights(model, tmp_path / "model.safetensors", {"complete": "yes", "step": "0"})
    return tmp_path


def layers_of(content: dict[str, Any]) -> list[Any]:
    return content["model"]["arguments"]["layers"]["tuple"]


def units(content: dict[str, Any]) -> None:
    layers_of(content)[3]["arguments"]["units"] = 10**9
    content["parameters"][2][1], content["parameters"][3][1] = [27, 10**9], [10**9]


def filters(content: dict[str, Any]) -> None:
    layers_of(content)[0]["arguments"]["filters"] = 10**7
    content["parameters"][0][1][-1] = content["parameters"][1][1][0] = 10**7


def more_layers(content: dict[str, Any]) -> None:
    layers_of(content).append({"layer": "Dense", "arguments": {"units": 10**8}})
    content["parameters"] += [["4.w", [4, 10**8]], ["4.b", [10**8]]]


def doubled(content: dict[str, Any]) -> None:
    layers_of(content).append({"layer": "ReLU", "arguments": {}, "id": 1})
    for k in range(2, 40):
        twice = {"layers": {"tuple": [{"same": k - 1}, {"same": k - 1}]}}
        layers_of(content).append({"layer": "Sequential", "arguments": twice, "id": k})


def residual(content: dict[str, Any]) -> None:
    layers_of(content).append({"layer": "ReLU", "arguments": {}, "id": 1})
    for k in range(2, 40):
        twice = {"inner": {"same": k - 1}, "shortcut": {"same": k - 1}}
        layers_of(content).append({"layer": "Residual", "arguments": twice, "id": k})


def wide(content: dict[str, Any]) -> None:
    layers_of(content).append({"layer": "ReLU", "arguments": {}, "id": 1})
    layers_of(content).extend([{"same": 1}] * 30_000)


def long_name(content: dict[str, Any]) -> None:
    layers_of(content)[2]["layer"] = "x" * 90_000


def long_argument(content: dict[str, Any]) -> None:
    layers_of(content)[2]["arguments"]["x" * 90_000] = 1


def long_text(content: dict[str, Any]) -> None:
    content["about"]["classes"] = ["x" * 1_000_000]


def deep(content: dict[str, Any]) -> None:
    for _ in range(150):
        content["model"] = {"layer": "Sequential", "arguments": {"layers": {"tuple": [content["model"]]}}}
    content["model"]["format"] = 1


def argument(layer: int, name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        layers_of(content)[layer]["arguments"][name] = value

    return change


def recurrent(content: dict[str, Any]) -> None:
    layers_of(content)[:] = [{"layer": "GRU", "arguments": {"units": 3, "layers": 10**9}}]


def shape(*axes: int) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content["input_shape"] = list(axes)
        del content["about"]["inputs"]

    return change


BOMBS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "units": (units, "weights do not fit"),
    "filters": (filters, "weights do not fit"),
    "layers that have no weights": (more_layers, "weights do not fit"),
    "shared layers, doubled": (doubled, "more than 20,000 layers"),
    "shared layers in blocks": (residual, "more than 20,000 layers"),
    "one layer at many places": (wide, "more than 20,000 layers"),
    "nested": (deep, "nested deeper"),
    "a long name": (long_name, "over 500 characters"),
    "a long argument": (long_argument, "over 500 characters"),
    "a long text": (long_text, "1,000,000 characters"),
    "recurrent layers": (recurrent, "layers is"),
    "padding": (argument(0, "padding", {"tuple": [{"tuple": [10**6, 0]}, {"tuple": [0, 0]}]}), "padding is"),
    "a pool": (argument(1, "kernel_size", 10**5), "kernel_size is"),
    "a pool of two sides": (argument(1, "kernel_size", {"tuple": [10**4, 10**4]}), "kernel_size is"),
    "inputs": (shape(20_000, 20_000, 2), "no name and shape"),
    "many axes": (shape(*[1] * 100_000), "no name and shape"),
    "large axes": (shape(*[2**62] * 30), "no name and shape"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_the_weights_do_not_account_for_is_refused_at_once(bomb: str, run: Path) -> None:
    change, part = BOMBS[bomb]
    content = json.loads((run / "model.json").read_text())
    change(content)
    (run / "model.json").write_text(json.dumps(content))
    start = time.process_time()
    with pytest.raises(CheckpointError, match=part) as caught:
        Run(run).model("cpu")
    assert time.process_time() - start < 5
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("key", "value"), [("size", [20_000, 20_000]), ("size", [6, 7]), ("channels", 1), ("size", "x" * 9999)]
)
def test_pictures_become_what_the_model_takes(key: str, value: Any, run: Path) -> None:
    content = json.loads((run / "model.json").read_text())
    content["about"]["inputs"][key] = value
    (run / "model.json").write_text(json.dumps(content))
    for load in (load_model, load_about):
        with pytest.raises(CheckpointError, match="by its inputs a file becomes"):
            load(run)


def test_a_header_announces_no_more_than_the_file_holds(tmp_path: Path) -> None:
    def file(header: Any, data: bytes = b"", size: int | None = None) -> Path:
        text = json.dumps(header).encode()
        length = len(text) if size is None else size
        (tmp_path / "w.safetensors").write_bytes(length.to_bytes(8, "little") + text + data)
        return tmp_path / "w.safetensors"

    good = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    assert shapes_of(file(good, bytes(8))) == {"w": (2,)}
    huge = {"w": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 8]}}
    beyond = {"w": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}
    for header, size in ((huge, None), (beyond, None), (good, 2**60), ([], None), ({"w": 3}, None), ({"w": {}}, None)):
        with pytest.raises(DamagedError):
            shapes_of(file(header, bytes(8), size))


def test_damaged_weights_are_no_way_around_them(run: Path) -> None:
    (run / "model.safetensors").write_bytes(b"nothing")
    content = json.loads((run / "model.json").read_text())
    units(content)
    (run / "model.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="not a readable safetensors"):
        load_model(run)


def test_a_layer_that_is_used_twice_still_is_one(tmp_path: Path) -> None:
    shared = nn.Dense(3)
    again = rebuild({"format": 1, **model_json.describe(nn.Sequential(shared, nn.ReLU(), shared))})
    assert again.layers[0] is again.layers[2]  # type: ignore[attr-defined]


def test_a_model_without_weights_beside_it_is_loaded(tmp_path: Path) -> None:
    save_model(tmp_path / "model.json", nn.Dense(3).build((2,)))
    assert load_model(tmp_path)[0].count() == 9


def test_a_large_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"#" * 2**21)
    for follow in (True, False):
        with pytest.raises(dl.ConfigError, match=r"more than|at most"):
            dl.train.config.load(tmp_path / "config.toml", follow=follow)


def test_large_results_are_left_out(tmp_path: Path) -> None:
    for name in ("result.json", "metrics.jsonl"):
        with open(tmp_path / name, "wb") as file:
            file.truncate(2**40)
    assert Run(tmp_path).result is None
    assert Run(tmp_path).records() == []
