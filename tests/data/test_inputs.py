"""How a file becomes x, written down and read back in another place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlcore.data import Inputs, load, names, open_path, read_csv
from dlcore.errors import DataError

COLUMNS = [
    {"name": "weight", "kind": "number", "fill": 2.5},
    {"name": "colour", "kind": "category", "values": ["", "green", "red"]},
    {"name": "age", "kind": "number", "fill": None},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new.csv"


@pytest.mark.parametrize("inputs", [Inputs.images((28, 20), 3), Inputs.table(COLUMNS), Inputs.table(["a", "b"])])
def test_json_brings_it_back(inputs: Inputs) -> None:
    assert Inputs.from_dict(json.loads(json.dumps(inputs.to_dict()))) == inputs


def test_an_image_is_read_as_bytes_over_255(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    inputs = Inputs.images((4, 5), 3)
    x = inputs.read(tmp_path / "x.png")
    assert (x.dtype, x.shape[1:]) == (np.float32, inputs.shape)
    np.testing.assert_array_equal(x, pixels[None] / np.float32(255))
    (tmp_path / "x.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"x\.png: no picture"):
        inputs.read(tmp_path / "x.png")


def test_a_file_of_the_other_kind_is_named(file: Path) -> None:
    Image.new("L", (4, 4)).save(file, "PNG")
    with pytest.raises(DataError, match="this is a picture, but the model reads tables"):
        Inputs.table(COLUMNS).read(file)
    file.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="this is no picture, but the model reads pictures"):
        Inputs.images((4, 4), 1).read(file)


def test_a_table_is_read_by_names_in_any_order_with_other_columns_beside(file: Path) -> None:
    file.write_text("age,fruit,colour,weight\n3,apple,red,1.5\n4,?,,NA\n")
    x = Inputs.table(COLUMNS).read(file)
    assert x.dtype == np.float32
    assert x.tolist() == [[1.5, 0, 0, 1, 3], [2.5, 1, 0, 0, 4]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("weight,colour\n1,red\n", r"there is no column 'age'; the columns are weight, colour, but the model"),
        ("weigth,colour,age\n1,red,2\n", r"no column 'weight' \(did you mean weigth\?\)"),
        (
            "weight,colour,age\n1,red,2\n1,rad,2\n",
            r"column colour, line 3: 'rad' is no known category \(did you mean red",
        ),
        ("weight,colour,age\n1,red,2\n1,red,\n", "column age, line 3: the cell is missing"),
        ("weight,colour,age\nx,red,2\n", "column weight, line 2: 'x' is not a number"),
        ("weight,colour,age\n1e39,red,2\n", "column weight, line 2: '1e39' is not finite in float32"),
        ("weight,colour,age\n", "there is no row below the header"),
        ("weight,colour,age\n1,2\n", "line 2 has 2 cells"),
        ("", "the first line is empty"),
    ],
)
def test_what_does_not_fit_is_named_with_its_line(file: Path, text: str, words: str) -> None:
    file.write_text(text)
    with pytest.raises(DataError, match=words) as raised:
        Inputs.table(COLUMNS).read(file)
    assert str(raised.value).startswith(f"{file}: ")
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("labels", [["1", "2"], ["17", "3"], ["Mazda RX4", "Fiat 128"]])
def test_an_index_without_a_name_is_passed_over(file: Path, labels: list[str]) -> None:
    file.write_text(",age,colour,weight\n" + "".join(f'"{label}",7,red,1\n' for label in labels))
    assert Inputs.table(COLUMNS).read(file).tolist() == [[1, 0, 0, 1, 7]] * 2


@pytest.mark.parametrize("text", ["age weight colour\n7 1  red\n7 1  red\n", "age|weight|colour\n7|1|red\n7|1|red\n"])
def test_any_delimiter_is_found(file: Path, text: str) -> None:
    file.write_text(text)
    assert Inputs.table(COLUMNS).read(file).tolist() == [[1, 0, 0, 1, 7]] * 2


@pytest.mark.parametrize("word", ["None", "NULL", "<NA>"])
def test_a_word_for_missing_that_was_a_level_in_training_is_that_level(file: Path, word: str) -> None:
    file.write_text(f"alley,width\n{word},{word}\n")
    alley = {"name": "alley", "kind": "category", "values": ["", word, "paved"]}
    assert Inputs.table([alley, {"name": "width", "kind": "number", "fill": 3.5}]).read(file).tolist() == [
        [0, 1, 0, 3.5]
    ]


def test_names_and_levels_that_look_the_same_are_the_same(file: Path) -> None:
    file.write_text("cafe\u0301\nre\u0301\nr\u00e9\n", "utf-8")
    inputs = Inputs.table([{"name": "caf\u00e9", "kind": "category", "values": ["r\u00e9", "b"]}])
    assert inputs.read(file).tolist() == [[1, 0], [1, 0]]
    before = Inputs.table([{"name": "cafe\u0301", "kind": "category", "values": ["re\u0301", "r\u00e9"]}])
    assert before.read(file).tolist() == [[1, 0], [0, 1]]  # as version 0.1 learnt them


def test_a_category_that_was_never_missing_may_not_be(file: Path) -> None:
    file.write_text("colour\n\nNA\n")
    with pytest.raises(DataError, match="column colour, line 3: the cell is missing"):
        Inputs.table([{"name": "colour", "kind": "category", "values": ["red"]}]).read(file)


def test_the_missing_cell_is_not_named_among_the_known_categories(file: Path) -> None:
    file.write_text("colour\nblue\n")
    inputs = Inputs.table([{"name": "colour", "kind": "category", "values": ["", "green", "red"]}])
    with pytest.raises(DataError, match=r"known are green, red;"):
        inputs.read(file)


def test_a_cell_that_two_levels_equal_is_neither(file: Path) -> None:
    file.write_text("k\n1\n1.0\n1.00\n02\n")
    rows = list(Inputs.table([{"name": "k", "kind": "category", "values": ["1", "1.0", "2"]}]).rows(file))
    assert [line for line, _ in rows] == [2, 3, 4, 5]
    assert [np.asarray(x).tolist() for _, x in (rows[0], rows[1], rows[3])] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert "'1.00' is no known category" in rows[2][1]


def test_case_matters_in_a_column_that_holds_more_than_booleans(file: Path) -> None:
    file.write_text("country,smokes\nno,YES\nNO,Yes\nSE,no\n")
    columns = [
        {"name": "country", "kind": "category", "values": ["NO", "SE"]},
        {"name": "smokes", "kind": "category", "values": ["", "no", "yes"]},
    ]
    rows = [x for _, x in Inputs.table(columns).rows(file)]
    assert "column country, line 2: 'no' is no known category" in rows[0]
    assert [np.asarray(x).tolist() for x in rows[1:]] == [[1, 0, 0, 0, 1], [0, 1, 0, 1, 0]]


def test_a_run_says_what_it_was_told_about_gaps_and_levels() -> None:
    inputs = Inputs.table(COLUMNS, missing="drop", unknown_level="missing")
    assert Inputs.from_dict(json.loads(json.dumps(inputs.to_dict()))) == inputs
    with pytest.raises(DataError, match="train the model again"):
        Inputs.table(COLUMNS, unknown_level="ignore")


def test_the_table_that_was_learnt_from_is_read_as_in_training(file: Path) -> None:
    file.write_text("a,b,y\n1,u,1\n,v,2\n5,,3\n" * 4)
    table = read_csv(file, missing="mean")
    np.testing.assert_array_equal(Inputs.table(table.columns).read(file), table.data.x)
    data = open_path(file, missing="mean")
    assert isinstance(data.inputs, Inputs)
    rows = {tuple(row) for row in data.inputs.read(file).tolist()}
    assert {tuple(row) for row in data.train.rows(slice(None))[0].tolist()} <= rows


SEQUENCES = ("vowels", "hamlet")  # read from NPZ files and as text


@pytest.mark.parametrize("name", [name for name in names() if name not in ("fashion", *SEQUENCES)])
def test_the_sets_in_the_package_say_how_a_file_becomes_x(name: str) -> None:
    data = load(name)
    assert data.inputs is not None
    assert data.inputs.shape == data.train.shape
    if data.features:
        assert [column["name"] for column in data.inputs.to_dict()["columns"]] == list(data.features)


DAMAGED: list[Any] = [
    None, [], "images", {}, {"kind": "sound"}, {"kind": "images"}, {"kind": "images", "size": [3], "channels": 1},
    {"kind": "images", "size": [3, 0], "channels": 1}, {"kind": "images", "size": [3, 3.0], "channels": 1},
    {"kind": "images", "size": [3, 3], "channels": 2}, {"kind": "images", "size": 3, "channels": 1},
    {"kind": "images", "size": [3, 3], "channels": 1, "depth": 1}, {"kind": "table"}, {"kind": "table", "columns": []},
    {"kind": "table", "columns": "ab"}, {"kind": "table", "columns": [{"name": "a"}]}, {1: 2},
    {"kind": "table", "columns": [{"name": "a", "kind": "number", "fill": "x"}]},
    {"kind": "table", "columns": [{"name": "a", "kind": "number", "fill": 1e39}]},
    {"kind": "table", "columns": [{"name": "a", "kind": "number", "fill": float("nan")}]},
    {"kind": "table", "columns": [{"name": 1, "kind": "number", "fill": None}]},
    {"kind": "table", "columns": [{"name": "a", "kind": "category", "values": []}]},
    {"kind": "table", "columns": [{"name": "a", "kind": "category", "values": [1]}]},
    {"kind": "table", "columns": [{"name": "a", "kind": "category", "values": ["u", "u"]}]},
    {"kind": "table", "columns": [{"name": "a", "kind": "number", "fill": None}] * 2},
    {"kind": "table", "size": [3, 3], "columns": [{"name": "a", "kind": "number", "fill": None}]},
]  # fmt: skip


@pytest.mark.parametrize("saved", DAMAGED, ids=str)
def test_a_damaged_description_is_refused(saved: Any) -> None:
    with pytest.raises(DataError, match="describes neither images nor a table"):
        Inputs.from_dict(saved)
