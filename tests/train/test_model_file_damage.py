"""A model.json that is damaged, foreign or of a later format: one line that names the file, never a traceback."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from dlcore import nn
from dlcore.errors import CheckpointError, ConfigError
from dlcore.train.checkpoint.model_json import rebuild, save_model
from dlcore.train.runs.load import load_model

IMAGE = (6, 6, 2)


def damaged(text: str | bytes, folder: Path) -> str:
    """The one line that reading a model.json of this text says."""
    (folder / "model.json").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    said = str(caught.value)
    assert said.startswith(f"{folder / 'model.json'}: ")
    assert "\n" not in said
    return said


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    """What a real model.json holds."""
    model = nn.Sequential(
        nn.Conv2D(3, 3, padding=((1, 1), (1, 1)), init=nn.init.normal(0.1)), nn.BatchNorm(), nn.ReLU(), nn.Flatten(),
        nn.Residual(nn.Sequential(nn.Dense(4), nn.Dropout(0.2)), nn.Dense(4)), nn.Heads({"a": nn.Dense(2)}),
    ).build(IMAGE)  # fmt: skip
    path = save_model(tmp_path / "model.json", model, about={"task": "classification", "classes": ["a", "b"]})
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "not a readable JSON file"),
        (b"\xff\xfe\x00", "not a readable JSON file"),
        ("{", "not a readable JSON file"),
        ("NaN", "another program's file"),
        ('{"format": 1, "dlcore": "0.1", "about": {"lengths": [1, NaN]}}', "about.lengths.1 is nan, no number of JSON"),
        ('{"format": 1, "dlcore": "0.1", "about": 1e999}', "about is inf, no number of JSON"),
        ("1" * 5000, "not a readable JSON file"),
        ("[" * 100_000, "not a readable JSON file"),
        ("[" * 100_000 + "]" * 100_000, "not a readable JSON file"),
        ("[]", "another program's file"),
        ('{"format": 1}', "another program's file"),
        ('{"format": 2, "dlcore": "9.0"}', "install a newer one"),
        ('{"format": 1, "dlcore": "0.1"}', "model is missing"),
    ],
)
def test_a_file_that_is_none_of_ours_is_named(tmp_path: Path, text: str | bytes, part: str) -> None:
    assert part in damaged(text, tmp_path)


def test_a_file_that_is_missing_or_too_large_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.json: no such file; give the folder of a run"):
        load_model(tmp_path)
    with (tmp_path / "model.json").open("wb") as file:
        file.truncate(16 * 2**20 + 1)
    with pytest.raises(CheckpointError, match="16,777,217 bytes"):
        load_model(tmp_path)


@pytest.mark.parametrize("key", ["format", "model", "input_shape", "dtype", "parameters", "about", "input_dtype"])
@pytest.mark.parametrize("value", [..., 7.5, "x", [7], True])
def test_a_key_that_is_missing_or_of_another_type_is_named(
    tmp_path: Path, content: dict[str, Any], key: str, value: Any
) -> None:
    if value is ...:
        del content[key]
    else:
        content[key] = value
    damaged(json.dumps(content), tmp_path)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("description", "part"),
    [
        ({"layer": "Dens", "arguments": {}}, "did you mean Dense?"),
        ({"layer": "Parameter", "arguments": {"data": [1.0]}}, "Parameter: dl.nn has no such layer"),
        ({"layer": "init", "arguments": {}}, "no such layer"),
        ({"layer": "Dense", "arguments": {"unit": 3}}, "'unit' is no argument of it; it takes units, bias, init"),
        ({"layer": "ReLU", "arguments": {"alpha": 3}}, "it takes no arguments"),
        ({"layer": "Dense", "arguments": {}}, "units"),
        ({"layer": "Dense", "arguments": {"units": -3}}, "Dense: cannot be constructed: Dense: units is -3"),
        ({"layer": "Dense", "arguments": {"units": 3, "init": {"init": "he_norm", "arguments": {}}}}, "he_normal"),
        ({"layer": "Dense", "arguments": {"units": 3, "init": {"init": "named", "arguments": {}}}}, "dl.nn.init has"),
        ({"layer": "Dense", "arguments": {"units": 3, "init": {"init": "normal", "arguments": {"s": 1}}}}, "of s"),
        ({"layer": "Dense", "arguments": {"units": 3, "init": {"init": "normal", "arguments": {"scale": "x"}}}}, "num"),
        ({"layer": "Dense", "arguments": {"units": {"tupel": []}}}, "description of Dense is damaged: 'tupel'"),
        ({"layer": "Dense", "arguments": {"units": {}}}, "an empty entry"),
        ({"layer": "Dense", "arguments": {"units": {"dict": [[[], 1]]}}}, "a key that cannot be one"),
        ({"layer": "Dense", "arguments": {"units": deep(150)}}, "deeper than 100 levels"),
        ({"layer": "Sequential", "arguments": {"layers": 3}}, "layers is a int"),
        ({"layer": "Sequential", "arguments": {"layers": {"tuple": [{"same": 1}]}}}, "damaged: 'same'"),
        ({"layer": "Residual", "arguments": {"inner": {"layer": "Dense"}}}, "layer inner (Dense) is damaged"),
        ({"layer": "nothing_there:Net", "arguments": {}}, "cannot be imported (ModuleNotFoundError"),
        ({"layer": ".x:Net", "arguments": {}}, "cannot be imported"),
        ({"layer": "math:sqrt", "arguments": {}}, "no subclass of dl.nn.Module"),
        ({"layer": 3, "arguments": {}}, "damaged"),
        ({"layer": "Dense", "arguments": {"units": 3}, "id": "x"}, "its id 'x' is not its own"),
    ],
)
def test_a_description_that_does_not_fit_is_one_line(description: dict[str, Any], part: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        rebuild({"format": 1, **description})
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("description", [None, [], {}, {"layer": "ReLU"}, {"format": 2}, {"format": "x"}])
def test_what_is_no_description_is_refused(description: Any) -> None:
    with pytest.raises(CheckpointError, match="format"):
        rebuild(description)


def test_other_parameters_than_written_are_refused_before_they_are_made(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    text = json.dumps(content)
    huge = text.replace('"units": 2', f'"units": {10**14}')  # half a petabyte
    assert "4.heads" not in huge
    assert "5.a.w has shape (4, 100000000000000) but (4, 2) is expected" in damaged(huge, tmp_path)
    assert "5.a.b" in damaged(text.replace('"5.a.b"', '"5.a.c"'), tmp_path)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every list or dict in ``node`` with each of its keys."""
    keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    return [place for key in keys for place in [(node, key), *places(node[key])]]


def exchanged(content: Any, draw: random.Random) -> str:
    """The JSON with a few of its values left out, or exchanged for wrong ones or for other ones of its own."""
    content = copy.deepcopy(content)
    wrong = [None, True, -1, 0, 1.5, 10**9, "", "x", [], {}, [[]], {"tuple": []}, {"layer": "Dense"}]
    for _ in range(draw.randint(1, 3)):
        (node, key), (other, other_key) = draw.choices(places(content), k=2)
        if draw.random() < 0.2:
            del node[key]
        else:
            node[key] = copy.deepcopy(draw.choice([*wrong, other[other_key]]))
    return json.dumps(content)


def scratched(text: bytes, draw: random.Random) -> bytes:
    """The text with a few bytes changed, left out, doubled or put in, or cut off."""
    for _ in range(draw.randint(1, 3)):
        i = draw.randrange(max(len(text), 1))
        j = i + draw.randint(1, 8)
        byte = bytes([draw.choice(b'0123456789"[]{},:-.etrufalsn \x00\xff')])
        text = draw.choice([text[:i] + byte + text[i + 1 :], text[:i] + text[j:], text[:j] + text[i:], text[:i],
                            text[:i] + byte + text[i:]])  # fmt: skip
    return text


def test_a_damaged_file_gives_a_model_or_one_line(tmp_path: Path, content: dict[str, Any]) -> None:
    draw = random.Random(0)
    original = json.dumps(content, indent=1).encode()
    came = {"model": 0, "error": 0}
    for i in range(500):
        text = exchanged(content, draw).encode() if i % 2 else scratched(original, draw)
        (tmp_path / "model.json").write_bytes(text)
        try:
            model, about = load_model(tmp_path)
        except (CheckpointError, ConfigError) as error:
            said = str(error)
            came["error"] += 1
        else:
            assert isinstance(model, nn.Module)
            assert isinstance(about, dict)
            said = f"{tmp_path / 'model.json'}: nothing"
            came["model"] += 1
        assert said.startswith(f"{tmp_path / 'model.json'}: "), text
        assert "\n" not in said, text
    assert min(came.values()) > 10, came
