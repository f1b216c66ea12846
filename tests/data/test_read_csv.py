"""Tables: what each column becomes, and what is refused with the line that it stands on."""

from __future__ import annotations

import csv
import io
import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dlcore.data import read_csv
from dlcore.data.readers.csv.columns import Column
from dlcore.data.readers.csv.table import open_table
from dlcore.errors import ConfigError, DataError

FRUIT = "weight,colour,ripe,fruit\n120,red,1,apple\n7.5,red,0,cherry\n130,green,1,apple\n9,black,1,cherry\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


def test_numbers_names_and_the_last_column_as_target(file: Path) -> None:
    file.write_text(FRUIT)
    table = read_csv(file)
    assert table.features == ("weight", "colour=black", "colour=green", "colour=red", "ripe")
    assert table.data.x.tolist() == [[120, 0, 0, 1, 1], [7.5, 0, 0, 1, 0], [130, 0, 1, 0, 1], [9, 1, 0, 0, 1]]
    assert (table.task, table.classes, table.target) == ("classification", ("apple", "cherry"), "fruit")
    assert table.data.y.tolist() == [0, 1, 0, 1]
    assert (table.data.x.dtype, table.data.y.dtype) == (np.float32, np.int64)
    assert table.columns == [
        {"name": "weight", "kind": "number", "fill": None},
        {"name": "colour", "kind": "category", "values": ["black", "green", "red"]},
        {"name": "ripe", "kind": "number", "fill": None},
    ]


def test_a_target_of_numbers_is_a_regression(file: Path) -> None:
    file.write_text(FRUIT)
    table = read_csv(file, "weight")
    assert (table.task, table.classes) == ("regression", None)
    assert table.data.y.tolist() == [[120], [7.5], [130], [9]]
    assert table.data.y.dtype == np.float32


def test_numbers_become_classes_in_the_order_of_their_values(file: Path) -> None:
    file.write_text("a,y\n1,10\n2,9\n3,-1\n4,10.0\n")
    table = read_csv(file, task="classification")
    assert table.classes == ("-1", "9", "10")
    assert table.data.y.tolist() == [2, 1, 0, 2]


@pytest.mark.parametrize(
    ("cells", "classes", "y"),
    [
        (
            ["18446744073709551615", "18446744073709551616", "-9007199254740993", "-9007199254740992"],
            None,
            [2, 3, 0, 1],
        ),
        (["90071992547409931.0", "90071992547409930", "90071992547409931", "2"], None, [2, 1, 2, 0]),
        (["02115", "00501", "02115", "10001"], ("00501", "02115", "10001"), [1, 0, 1, 2]),
        (["1", "01", "1.0", "2.0"], ("1", "2"), [0, 0, 0, 1]),
        (["1e2", "99", "-0", "0.0"], ("0", "99", "100"), [2, 1, 0, 0]),
    ],
)
def test_numbers_that_name_classes_keep_every_digit(
    file: Path, cells: list[str], classes: tuple[str, ...] | None, y: list[int]
) -> None:
    file.write_text("a,y\n" + "".join(f"{i % 3},{cell}\n" for i, cell in enumerate(cells)))
    table = read_csv(file, task="classification")
    assert table.classes == (classes or tuple(str(i) for i in sorted({int(cell.split(".")[0]) for cell in cells})))
    assert table.data.y.tolist() == y
    assert isinstance(heads := read_csv(file, ["y"], categorical=["y"]).data.y, dict)
    assert heads["y"].tolist() == y


def test_numbers_that_name_categories_keep_every_digit(file: Path) -> None:
    file.write_text("a,y\n9007199254740993,1\n9007199254740992,2\n9007199254740993,3\n")
    assert read_csv(file, categorical=["a"]).data.x.tolist() == [[0, 1], [1, 0], [0, 1]]


@pytest.mark.parametrize("cell", ["inf", "1e999999999", "0.5"])
def test_what_has_no_digits_to_tell_it_by_is_no_class(file: Path, cell: str) -> None:
    file.write_text(f"a,y\n1,1\n2,2\n3,{cell}\n")
    with pytest.raises(DataError, match=f"y holds {cell}, but classes are names or whole numbers"):
        read_csv(file, task="classification")


@pytest.mark.parametrize(
    ("target", "classes", "y"), [("ripe", ("0", "1"), [1, 0, 1, 1]), ("fruit", None, [0, 1, 0, 1])]
)
def test_a_binary_target_is_a_column_of_0_and_1(file: Path, target: str, classes: Any, y: list[int]) -> None:
    file.write_text(FRUIT)
    table = read_csv(file, target, task="binary")
    assert table.data.y.tolist() == [[value] for value in y]
    assert table.data.y.dtype == np.float32
    assert table.classes == (classes or ("apple", "cherry"))


def test_numbers_can_be_named_as_categories(file: Path) -> None:
    file.write_text("zip,y\n10,1\n9,2\n10,3\n")
    table = read_csv(file, categorical=["zip"])
    assert table.features == ("zip=9", "zip=10")
    assert table.data.x.tolist() == [[0, 1], [1, 0], [0, 1]]


def test_several_targets_are_a_dict_with_marks_for_missing_cells(file: Path) -> None:
    file.write_text("a,kind,size,grade\n1,u,,3\n2,,2.5,7\n3,,,\n4,v,0.5,3\n")
    table = read_csv(file, ["kind", "size", "grade"], categorical=["grade"])
    assert (table.task, table.features, table.dropped) == ("multitask", ("a",), 1)
    assert table.classes == {"kind": ("u", "v"), "grade": ("3", "7")}
    y: Any = table.data.y
    assert (y["kind"].tolist(), y["grade"].tolist()) == ([0, -1, 1], [0, 1, 0])
    np.testing.assert_array_equal(y["size"], np.array([[np.nan], [2.5], [0.5]], np.float32))
    assert table.target == ("kind", "size", "grade")


@pytest.mark.parametrize(
    ("target", "options", "error", "words"),
    [
        (["kind", "nosuch"], {}, DataError, "there is no column 'nosuch'"),
        ([], {}, ConfigError, "target is an empty list"),
        (["kind"], {"task": "binary"}, ConfigError, "task is binary but there are several targets"),
        (["kind", "void"], {}, DataError, "column void holds nothing but missing cells"),
        (["kind", "a"], {"ignore": ["a"]}, DataError, "ignore names a, which is the target"),
        (["kind", "a"], {"ignore": ["void"]}, DataError, "the only columns are the targets kind, a"),
        (
            ["kind"],
            {"missing": "refuse"},
            DataError,
            "column void, line 2: the cell is missing.* set missing to drop or",
        ),
    ],
)
def test_several_targets_that_cannot_be_are_one_line(
    file: Path, target: list[str], options: dict[str, Any], error: type[Exception], words: str
) -> None:
    file.write_text("a,kind,void\n1,u,\n2,v,NA\n")
    with pytest.raises(error, match=words) as raised:
        read_csv(file, target, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("categorical", "words"),
    [
        (["half"], "holds 0.5, but .*; take it out of categorical"),
        ([], "'€ 5' has the pattern '€ 0'.*classes by --category cost"),
    ],
)
def test_what_to_do_about_one_of_several_targets(file: Path, categorical: list[str], words: str) -> None:
    file.write_text("a,half,cost\n1,0.5,€ 5\n2,1,€ 6\n")
    with pytest.raises(DataError, match=words):
        read_csv(
            file, ["half", *([] if categorical else ["cost"])], categorical=categorical, ignore=categorical and ["cost"]
        )


@pytest.mark.parametrize(
    "cell", ["", "NA", "NaN", "nan", "null", "?", "  ", "n/a", "N/A", "#N/A", "#n/a", "NULL", "None", "<NA>", "-1.#IND"]
)
def test_missing_cells_are_refused_dropped_or_filled(file: Path, cell: str) -> None:
    file.write_text(f"a,b,y\n1,u,1\n{cell},u,2\n5,{cell},3\n3,v,4\n")
    with pytest.raises(
        DataError, match=r"column a, line 3: the cell is missing, the first of 2 missing cells.*drop or"
    ):
        read_csv(file)
    dropped = read_csv(file, missing="drop")
    assert (dropped.data.x.tolist(), dropped.dropped) == ([[1, 1, 0], [3, 0, 1]], 2)
    filled = read_csv(file, missing="mean")
    assert filled.features == ("a", "b=", "b=u", "b=v")
    assert filled.data.x.tolist() == [[1, 0, 1, 0], [3, 0, 1, 0], [5, 1, 0, 0], [3, 0, 0, 1]]
    assert filled.columns[0] == {"name": "a", "kind": "number", "fill": 3.0}


@pytest.mark.parametrize(
    ("text", "x"),
    [
        ("\ufeffa,y\n1,2\n", [[1]]),
        ("a;y\n1;2\n", [[1]]),
        ("a\ty\n1\t2\n", [[1]]),
        ("a,y\r\n1,2\r\n", [[1]]),
        ("a,y\r1,2\r", [[1]]),
        ("a,y\n1,2", [[1]]),
        (" a , y \n 1 , 2 \n\n", [[1]]),
        ('"a","y"\n"1","2"\n', [[1]]),
        ("a,y\n+.5e1,2\n", [[5]]),
        ("0,1\n4,2\n", [[4]]),
        ("sep=;\na;y\n1;2\n", [[1]]),
        ("\ufeffsep=,\r\na,y\r\n1,2\r\n", [[1]]),
        (",a,y\n0,1,2\n", [[1]]),
        ("a,y,\n1,2,\n", [[1]]),
        (",a,y,,\n0,1,2,,\n", [[1]]),
    ],
)
def test_the_forms_that_tables_have(file: Path, text: str, x: list[list[float]]) -> None:
    file.write_bytes(text.encode())
    table = read_csv(file)
    assert table.data.x.tolist() == x
    assert table.data.y.tolist() == [[2]]


@pytest.mark.parametrize(
    "text",
    [
        "a|b, in cm|y\n1|u, v|3\n2|w, x|4\n",
        "a,b|c,y\n1,u|v,3\n2,w|z,4\n",
        "a   b y\n1 'u'   3\n 2 w\t4 \n",
        '"a" "b" "y"\n"1" 1 "u v" 3\n"2" 2 w 4\n',  # as R writes it: no name for the first column
        "a:b:y\n1:u:3\n2:w:4\n",
        "a~b~y\n1~u~3\n2~w~4\n",
        "a^b^y\n1^u^3\n2^w^4\n",
        '\ufeffa;b;y\n1;"u; ""v"", or\nso";3\n2;"w, x, z";4\n',
    ],
)
def test_any_delimiter_is_found_by_lines_of_as_many_cells(file: Path, text: str) -> None:
    file.write_bytes(text.encode())
    table = read_csv(file)
    assert (table.features[0], table.target) == ("a", "y")
    assert table.data.x.tolist() == [[1, 1, 0], [2, 0, 1]]
    assert table.data.y.tolist() == [[3], [4]]


def test_a_damaged_line_changes_no_delimiter(file: Path) -> None:
    file.write_text("a,b | c,y\n" + "1,u | v,3\n" * 20 + "1,u | v\n" + "1,u | v,3\n" * 20)
    with pytest.raises(DataError, match="line 22 has 2 cells, but the header has 3"):
        read_csv(file)


def test_rare_delimiters_stand_in_names_too(file: Path) -> None:
    file.write_text("full name\nJohn Smith\nJane Doe\n")
    with pytest.raises(DataError, match="the only column is the target full name"):
        read_csv(file)


@pytest.mark.parametrize("order", ["le", "be"])
def test_utf_16_with_a_mark_is_read(file: Path, order: str) -> None:
    file.write_bytes("\ufeffgrün\ty\n1\t2\n".encode(f"utf-16-{order}"))
    assert read_csv(file).features == ("grün",)


def test_an_index_is_left_out_and_said(file: Path) -> None:
    file.write_text(",a,y\n" + "".join(f"{i},{2 * i},1\n" for i in range(12)))
    table = read_csv(file)
    assert (table.features, table.index) == (("a",), True)
    file.write_text("a,y\n1,2\n")
    assert not read_csv(file).index


@pytest.mark.parametrize("labels", [range(1, 13), [3, 1, 7, 2], [5, 5, 6, 9], ["Mazda", "Fiat", "Volvo"]])
def test_an_index_of_any_labels_is_left_out(file: Path, labels: Any) -> None:
    file.write_text('"",a,y\n' + "".join(f"{label},{i % 3},1\n" for i, label in enumerate(labels)))
    table = read_csv(file)
    assert (table.features, table.index, len(table.data)) == (("a",), True, len(labels))


def test_names_and_levels_that_look_the_same_are_the_same(file: Path) -> None:
    file.write_text("cafe\u0301,y\nre\u0301,1\nr\u00e9,2\nA\u030a,3\n", "utf-8")
    table = read_csv(file, ignore=[])
    assert table.features == ("caf\u00e9=r\u00e9", "caf\u00e9=\u00c5")
    assert table.data.x.tolist() == [[1, 0], [1, 0], [0, 1]]


def test_columns_are_ignored_whatever_they_hold(file: Path) -> None:
    file.write_text("id,a,y,note\n" + "".join(f"q{i},{i},{i % 2},{'' if i else 'x'}\n" for i in range(2000)))
    table = read_csv(file, ignore=["id", "note"])
    assert (table.features, table.target, len(table.data)) == (("a",), "y", 2000)


@pytest.mark.parametrize("values", [["45%", "5%"], ["1,5", "2"], ["1st", "2nd"], ["3 doors", "5 doors"], ["1A", "2B"]])
def test_numbers_in_text_are_categories_where_they_are_asked_for_or_names(file: Path, values: list[str]) -> None:
    file.write_text("a,y\n" + "".join(f'"{value}",1\n' for value in values))
    named = ["a"] if values[0] in ("45%", "1,5") else []
    assert len(read_csv(file, categorical=named).features) == 2


@pytest.mark.parametrize("missing", ["refuse", "drop", "mean"])
def test_rows_without_a_target_are_left_out_and_counted_whatever_is_done_about_other_gaps(
    file: Path, missing: str
) -> None:
    """The gap of the third row goes with its target, and so is none that missing must do something about."""
    file.write_text("a,k,y\n1,u,1\n2,v,?\n,,\n4,u,3\n")
    table = read_csv(file, missing=missing)
    assert table.data.y.tolist() == [[1], [3]]
    assert (table.dropped, table.without_target) == (2, 2)


def test_rows_without_a_target_and_rows_with_gaps_are_counted_apart(file: Path) -> None:
    file.write_text('a,b,y\n1,2,no\n,3,yes\n4,,\n5,6,\n"7\n",,yes\n8,9,yes\n')
    table = read_csv(file, missing="drop")
    assert (table.dropped, table.without_target, len(table.data)) == (4, 2, 2)
    with pytest.raises(DataError, match="column a, line 3: the cell is missing, the first of 2"):
        read_csv(file)
    file.write_text('a,b,y\n1,2,no\n2,,\n"7\n",,yes\n8,9,yes\n')
    with pytest.raises(DataError, match="column b, line 5: the cell is missing, the only one"):  # and not line 3
        read_csv(file)


def test_the_mean_is_that_of_rows_with_a_target(file: Path) -> None:
    file.write_text("a,y\n1,1\n,2\n3,3\n500,\n")
    assert read_csv(file, missing="mean").data.x.tolist() == [[1], [2], [3]]


def test_of_several_targets_only_rows_without_any_can_be_refused(file: Path) -> None:
    file.write_text("a,k,s\n1,u,\n2,,\n3,v,5\n4,,6\n")
    table = read_csv(file, ["k", "s"])
    assert (len(table.data), table.without_target) == (3, 1)
    with pytest.raises(DataError, match=r"line 3: the target is missing, the only one.*missing_target to drop"):
        read_csv(file, ["k", "s"], missing_target="refuse")


DRESSED = {
    "a unit without a list": (lambda v: f"{v} furlongs", "'0 furlongs'"),
    "another script": (lambda v: "".join(chr(0x966 + int(digit)) for digit in str(v)), "'0'"),
    "some with a sign": (lambda v: f">{v}" if v > 40 else str(v), "'>0'"),
    "two units": (lambda v: f"{v}k" if v % 2 else f"{v}M", "'0[Mk]'"),
    "a range": (lambda v: f"{v}–{v + 9}", "'0–0'"),
    "a time": (lambda v: f"{v % 24:02}h{v % 60:02}", "'0h0'"),
    "a footnote": (lambda v: f"{v}†", "'0†'"),
    "a code": (lambda v: f"SKU-{v:05}", "'SKU-0'"),
    "a currency in front": (lambda v: f"kr {v},50", "'kr 0'"),
    "words among them": (lambda v: f"{v} doors" if v % 3 else "door " + "abcdefghij"[v % 10], "'0 doors'"),
}


@pytest.mark.parametrize("name", DRESSED)
def test_numbers_with_more_around_them_are_refused_with_their_pattern(file: Path, name: str) -> None:
    form, pattern = DRESSED[name]
    cells = [form(v * 37 % 80) for v in range(300)]
    file.write_text("fuel use,y\n" + "".join(f'"{cell}",{i * 0.5}\n' for i, cell in enumerate(cells)), "utf-8")
    with pytest.raises(DataError, match=f"fuel use, line .* {pattern}.*--ignore 'fuel use'.*--category 'fuel use'"):
        read_csv(file)
    assert len(read_csv(file, categorical=["fuel use"]).features) == len(set(cells))
    if pattern[1].isalpha():  # as the name of a class may
        assert len(read_csv(file, "fuel use").classes or ()) == len(set(cells))
        return
    with pytest.raises(DataError, match=f"fuel use, line .* {pattern}.*as classes by --task classification"):
        read_csv(file, "fuel use")


@pytest.mark.parametrize(
    "levels",
    [
        ["18-24", "25-34", "35-49", "50-64", "65+", "<18"],
        ["Q1", "Q2", "Q3", "Q4"],
        [f"room {i}" for i in range(12)],
        ["2-door", "3-door", "5-door"],
        [f"{i} star" for i in range(6)],
        [f"{word} {i} in the long list of all the streets" for i, word in enumerate("abcdefghijklmnopqrstuvwxyz")],
    ],
)
def test_few_names_with_digits_are_categories(file: Path, levels: list[str]) -> None:
    file.write_text("a,y\n" + "".join(f"{levels[i % len(levels)]},{i}\n" for i in range(200)))
    assert len(read_csv(file).features) == len(levels)


@pytest.mark.parametrize("name", ["model {}", "z {}", "Patient {}", "Jan {}", "shop-{}"])
def test_a_name_with_a_number_is_a_category_and_no_number(file: Path, name: str) -> None:
    file.write_text("a,y\n" + "".join(f"{name.format(i % 60)},{i}\n" for i in range(300)))
    assert len(read_csv(file).features) == 60


@pytest.mark.parametrize(
    "form",
    [
        "2024-{m:02}-{d:02}",
        "{m}/{d}/2023",
        "{d} {b} 2020",
        "2024-{m:02}-{d:02} 12:{d:02}:00",
        "{b} {d}, 1999",
        "2024{m:02}{d:02}T",
    ],
)
def test_a_column_of_dates_is_left_out(file: Path, form: str) -> None:
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    cells = [form.format(m=i % 12 + 1, d=i % 28 + 1, b=months[i % 12]) for i in range(200)]
    cells[7] = ""  # of a column that is not read, a cell may be missing
    file.write_text("when,a,y\n" + "".join(f'"{cell}",{i * i % 7},{i}\n' for i, cell in enumerate(cells)))
    if form.endswith("T"):
        with pytest.raises(DataError, match="when"):  # no date that anybody writes
            read_csv(file)
        return
    table = read_csv(file)
    assert (table.features, table.dates) == (("a",), ("when",))
    assert len(read_csv(file, categorical=["when"], missing="mean").features) > 80


def test_few_dates_are_categories_as_before(file: Path) -> None:
    file.write_text("when,a,y\n" + "".join(f"2024-01-{i % 9 + 1:02},{i * i % 7},{i}\n" for i in range(60)))
    assert len(read_csv(file).features) == 10


def test_classes_may_be_called_by_a_name_and_a_number(file: Path) -> None:
    file.write_text("a,y\n" + "".join(f"{i},class {i % 30}\n" for i in range(200)))
    assert len(read_csv(file).classes or ()) == 30


def test_text_with_a_level_for_every_second_row_is_refused(file: Path) -> None:
    file.write_text("a,y\n" + "".join(f"{letters(i % 110)},1\n" for i in range(200)))
    with pytest.raises(DataError, match=r"a is text with 110 different values in 200 rows.*--ignore a,.*--category a"):
        read_csv(file)


def test_version_0_1_took_what_is_now_refused(file: Path) -> None:
    rows = "".join(f"{i % 60} furlongs,{'None' if i % 2 else 'Low'},{letters(i % 110)},{i}\n" for i in range(200))
    file.write_text("distance,alley,street,y\n" + rows)
    assert len(open_table(file, rules=1).table().features) == 60 + 2 + 110
    with pytest.raises(DataError, match="column alley, line 3: the cell is missing"):
        open_table(file, categorical=["distance", "street"])


def test_a_few_rows_may_each_have_a_value_of_their_own(file: Path) -> None:
    file.write_text("a,y\n" + "".join(f"q{i},w{i}\n" for i in range(20)))
    assert len(read_csv(file).features) == 20
    file.write_text("a,y\n" + "".join(f"q{i},1\n" for i in range(30)))
    assert len(read_csv(file, categorical=["a"]).features) == 30


def test_quoted_cells_hold_delimiters_and_line_ends(file: Path) -> None:
    file.write_text('a,y\n"x, or\nso",1\n"say ""z""",2\n"x, or\nso",abc\n')
    assert read_csv(file, "y", task="classification").features == ('a=say "z"', "a=x, or\nso")


def letters(i: int) -> str:
    return "".join("abcdefghij"[int(digit)] for digit in str(i))


BAD: dict[str, tuple[str | bytes, dict[str, Any], str]] = {
    "empty": ("", {}, "the first line is empty"),
    "empty line first": ("\na,b\n1,2\n", {}, "the first line is empty"),
    "no rows": ("a,b\n", {}, "no row below the header"),
    "one column": ("b\n1\n", {}, "the only column is the target b"),
    "no header": ("5.1,3\n4,2\n", {}, "line 1 holds only numbers, 5.1 first"),
    "name twice": ("a,b,a\n1,2,3\n", {}, "line 1: columns 1 and 3 are both named a"),
    "name empty": ("a,,c\n1,2,3\n", {}, "line 1: column 2 of 3 has no name"),
    "row too long": ("a,b\n1,2\n1,2,3\n", {}, "line 3 has 3 cells, but the header has 2; quote"),
    "row too short": ("a,b\n1,2\n\n1\n", {}, "line 4 has 1 cell, but the header has 2; fill"),
    "row after a long cell": ('a,b\n"1\n",2\n1\n', {}, "line 4 has 1 cell"),
    "text among numbers": (
        "a,y\n" + "".join(f"{i},1\n" for i in range(15)) + "abc,1\n" + "".join(f"{i},1\n" for i in range(15)),
        {},
        "column a, line 17: 'abc' is not a number, as 30 of 31 cells are; mend .*--ignore a, .*--category a",
    ),
    "text in the target": ("a,y\n" + "1,2\n" * 20 + "1,x\n", {}, "column y, line 22: 'x' is not a number.*task"),
    "text to regress on": (
        "a,y\n1,u\n2,v\n",
        {"task": "regression"},
        "column y, line 2: 'u' is not a number, as a reg",
    ),
    "infinity": ("a,y\n1,2\n-inf,2\n", {}, "column a, line 3: '-inf' is not finite"),
    "overflow": ("a,y\n1,2\n1e999,2\n", {}, "column a, line 3: '1e999' is not finite in float32"),
    "beyond float32": ("a,y\n1,2\n2,1e39\n", {}, "column y, line 3: '1e39' is not finite in float32"),
    "latin-1": (
        b"a,b\n1,\xe9t\xe9\n",
        {},
        "byte 6 is 0xe9, which is not UTF-8 but perhaps Windows-1252 or Latin-1, where it is é; save",
    ),
    "utf-16 cut": ("a,b\n1,2\n".encode("utf-16")[:-1], {}, "the file is UTF-16, .*truncated.*; save it as CSV UTF-8"),
    "utf-16 without a mark": ("a,b\n1,2\n".encode("utf-16-le"), {}, "line 1 holds a NUL byte.* UTF-16: save"),
    "utf-8 cut": (b"a,b\n1,\xe2\x82", {}, "byte 6 is 0xe2, which is not UTF-8"),
    "latin-1 far down": (b"a,b\n" + b"1,2\n" * 400_000 + b"\xff", {}, "byte 1,600,004 is 0xff"),
    "nul": ("a,b\n1,2\n1,\0\n", {}, "line 3 holds a NUL byte"),
    "quote left open": ('a,b\n1,"2\n3,4\n', {}, "line 3: unexpected end of data"),
    "quote inside": ('a,b\n1,"2"3\n', {}, "line 2: ',' expected after"),
    "long field": ("a,b\n" + "z" * 200_000 + ",1\n", {}, r"line 2: field larger than field limit \(131072\)"),
    "decimal commas": ("a;b\n1,5;2\n", {}, "column a, line 2: '1,5' has a decimal comma"),
    "no such target": ("height,b\n1,2\n", {"target": "hight"}, r"no column 'hight' \(did you mean height\?\)"),
    "a name of two lines": (
        '"he\nad",b\n1,2\n',
        {"target": "he ad"},
        r"did you mean he\\nad\?\); the columns are he\\nad, b",
    ),
    "no such category": (
        "a,b\n1,2\n",
        {"categorical": ["c"]},
        "there is no column 'c'; the columns are a, b, but categorical names it",
    ),
    "target as category": ("a,b\n1,2\n", {"categorical": ["b"]}, "categorical names the target b"),
    "many categories": (
        "a,b\n" + "".join(f"{letters(i)},2\n" for i in range(1001)),
        {},
        "column a has more than 1,000.*leave it out by --ignore a",
    ),
    "many classes": ("a,b\n" + "".join(f"1,{i}\n" for i in range(1001)), {"task": "classification"}, "1,001 different"),
    "one class": ("a,b\n1,u\n2,u\n", {}, "column b has the values u, but at least two"),
    "three for binary": ("a,b\n1,u\n2,v\n3,w\n", {"task": "binary"}, "column b has the values u, v, w, but two"),
    "halves as classes": ("a,b\n1,1\n2,1.5\n", {"task": "classification"}, "column b holds 1.5, but classes"),
    "target missing": (
        "a,b\n1,1\n2,\n3,\n",
        {"missing": "mean", "missing_target": "refuse"},
        "column b, line 3: the target is missing, the first of 2",
    ),
    "no target at all": ("a,b\n1,\n2,NA\n", {"missing": "drop"}, "column b, the target, is missing in every"),
    "nothing left": ("a,b\n,1\n,2\n", {"missing": "drop"}, "column a is missing in 2 rows, and no row is left"),
    "no mean": ("a,b\n,1\n,2\n", {"missing": "mean"}, "column a holds no number at all"),
    "too large": ("a,b\n1,1\n2,2\n", {"limit": 10}, "the file has 12 bytes, but at most 10 are read"),
    "too wide": (
        "a,b\n" + "".join(f"q{i},2\n" for i in range(500)),
        {"limit": 4000, "categorical": ["a"]},
        "column a alone",
    ),
    "last column without a name": ("a,y,\n1,2,\n3,4,5\n", {}, "line 1: column 3 of 3 has no name"),
    "nothing but commas": (",,\n1,2,3\n", {}, "line 1: column 1 of 3 has no name"),
    "below a separator": ("sep=;\na;y\n1;2;3\n", {}, "line 3 has 3 cells"),
    "percent": (
        "a,y\n" + "".join(f"{i}%,2\n" for i in range(30)),
        {},
        "line 2: '0%' has the pattern '0%', as 30 of 30 .*1234.5.*--ignore a.*--category a",
    ),
    "thousands": (
        'a,y\n1,"250,000.00"\n2,999\n',
        {},
        "column y, line 2: '250,000.00' has the pattern '0', .*--task classification",
    ),
    "many prices": (
        "a,y\n" + "".join(f"1,€ {i}.50\n" for i in range(2000)),
        {},
        "y, line 2: '€ 0.50' has the pattern '€ 0'",
    ),
    "units": (
        "a,y\n?,2\n" + "".join(f"{i / 4} kg,1\n" for i in range(25)) * 9,
        {"missing": "mean"},
        "column a, line 3: '0.0 kg' has the pattern '0 kg', as 25 of 25 different values",
    ),
    "a class per row": (
        "a,y\n" + "".join(f"1,q{i}\n" for i in range(1000)),
        {},
        "y has 1,000 classes in 1,000 rows.*another",
    ),
    "names of people": (
        "a,y\n" + "".join(f"1,q{i}\n" for i in range(1001)),
        {},
        "y has more than 1,000 .*another target",
    ),
    "a note per row": (
        "a,y\n" + "".join(f"{letters(i)},1\n" for i in range(30)),
        {},
        "a is text with 30 different values in 30 rows",
    ),
    "a date per row": (
        "a,y\n" + "".join(f"2024-01-{i or 1:02},1\n" for i in range(30)),
        {},
        "there are only dates: a; .*--window",
    ),
    "no such column to ignore": (
        "id,a,y\n1,2,3\n",
        {"ignore": ["ids"]},
        r"'ids' \(did you mean id\?\).*but ignore names it",
    ),
    "target ignored": ("a,y\n1,2\n", {"target": "a", "ignore": ["a"]}, "ignore names a, which is the target"),
    "category ignored": (
        "a,y\n1,2\n",
        {"categorical": ["a"], "ignore": ["a"]},
        "ignore names a, which is named in cat",
    ),
    "all ignored": ("a,y\n1,2\n", {"ignore": ["a", "y"]}, "ignore names every column"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_in_one_line_with_its_place(file: Path, name: str) -> None:
    content, options, words = BAD[name]
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=words) as raised:
        read_csv(file, **options)
    assert str(raised.value).startswith(f"{file}: ")
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("option", ["missing", "missing_target", "task"])
def test_an_unknown_word_is_a_setting(file: Path, option: str) -> None:
    file.write_text(FRUIT)
    options: dict[str, Any] = {option: "fill"}
    with pytest.raises(ConfigError, match=f"{option} is 'fill' but one of"):
        read_csv(file, **options)


def test_an_endless_line_is_refused_in_bounded_memory(file: Path) -> None:
    file.write_bytes(b"a," * (20 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="line 1 is longer than 16,777,216 characters"):
            read_csv(file)
        assert tracemalloc.get_traced_memory()[1] < 128 << 20
    finally:
        tracemalloc.stop()


def test_a_column_of_unique_numbers_takes_no_word_for_each() -> None:
    column = Column("id", "file")
    for i in range(5000):
        column.add(str(i), i + 2)
    assert column.words is None
    assert len(column.codes) == 0
    assert column.values().tolist() == list(range(5000))


numbers = st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr) | st.integers(-999, 999).map(str)
words = st.text("abcxyz äß,;\"'\n\t", min_size=1, max_size=8).map(str.strip).filter(lambda word: word != "")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    data=st.data(), n=st.integers(1, 12), kinds=st.lists(st.sampled_from(["number", "word"]), min_size=1, max_size=4)
)
def test_a_table_that_is_written_is_read_back(file: Path, data: st.DataObject, n: int, kinds: list[str]) -> None:
    cells = [
        data.draw(st.lists(numbers if kind == "number" else words, min_size=n, max_size=n), label=kind)
        for kind in kinds
    ]
    names = [f"column {i}" for i in range(len(kinds))]
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow([*names, "y"])
    writer.writerows([*row, str(i)] for i, row in enumerate(zip(*cells, strict=True)))
    file.write_bytes(text.getvalue().encode())

    table = read_csv(file)

    assert table.data.y[:, 0].tolist() == list(range(n))
    expected = []
    for kind, column in zip(kinds, cells, strict=True):
        if kind == "number":
            expected.append([float(np.float32(float(cell))) for cell in column])
        else:
            expected += [[float(cell == value) for cell in column] for value in sorted(set(column))]
    assert table.data.x.T.tolist() == expected
    assert all(math.isfinite(value) for column in expected for value in column)
