"""Columns in the width of a terminal."""

from __future__ import annotations

import pytest

from dlcore.bench.compare import compare
from dlcore.bench.measure import Figure
from dlcore.bench.records import Entry, Run
from dlcore.bench.table import fitted, of_one, of_two
from dlcore.bench.timing import summary

LONGEST = "batch_norm_relu 64x28x28x32"


def _run(place: str, median: float, name: str = LONGEST) -> Run:
    entry = Entry(name, name, place, median, median, 1.1 * median, 123.4, "GFLOP/s", 3.2e-7)
    return Run((entry,), "a machine", "versions", "a commit", "today", {})


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_table_fits_and_says_what_it_left_out(width: int) -> None:
    columns = of_two(compare(_run("cpu", 0.1234), _run("cuda:0", 0.001)), {LONGEST: 16})
    lines, left_out = fitted(columns, width)
    assert max(map(len, lines)) <= width
    assert lines[1].split()[:7] == [*LONGEST.split(), "123.4", "1.000", "10%", "123", "16"]
    headings = {column.heading for column in columns}
    assert {heading for heading in headings if heading in lines[0]} == headings - set(left_out)
    assert bool(left_out) == (width < 110)


def test_the_table_of_one_device_fits_into_80_characters_with_its_first_calls() -> None:
    figure = Figure("kernels", LONGEST, "cpu", summary([0.012, 0.012, 0.012]), 166_345.0, "images/s", 5e-6, "ByPieces")
    lines, left_out = fitted(of_one([figure], {LONGEST: 1.5}), 80)
    assert max(map(len, lines)) <= 80
    assert lines[1].split() == [*LONGEST.split(), "12.00", "0%", "166k", "images/s", "5e-06", "1,500"]
    assert left_out == ["implementation"]


def test_long_names_are_cut_in_the_middle_where_nothing_else_can_go() -> None:
    name = "tests/a_long_path/test_file.py::" + "x" * 100 + "[end]"
    (_, line), _ = fitted(of_two(compare(_run("", 1.0, name), _run("", 2.0, name))), 80)
    assert len(line) <= 80
    assert line.startswith("tests/a")
    assert "[end]" in line


@pytest.mark.parametrize(
    ("break_even", "shown"), [({LONGEST: None}, "-"), ({LONGEST: 4}, "4"), ({}, ""), (None, "no column")]
)
def test_a_batch_that_never_is_and_none_at_all_differ(break_even: dict[str, int | None] | None, shown: str) -> None:
    columns = of_two(compare(_run("cpu", 1.0), _run("cuda:0", 2.0)), break_even)
    cells = [column.cells[0] for column in columns if column.heading == "batch"]
    assert cells == ([] if break_even is None else [shown])
