"""Which character stands between the cells of a table: the one that gives as many of them on every line."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import Any

from dlcore.data.readers.csv.cells import MISSING, number

__all__ = ["DELIMITERS", "cells_of", "delimiter_of", "is_plainly_a_table"]

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "|", " ": "spaces", ":": ":", "~": "~", "^": "^"}
"""What may stand between cells, in words; in doubt the first."""
_COMMON = ",;\t|"
_RARE = " :~^"  # they stand in names as well, so that they have to make a column of numbers
_SHARE = 0.9  # of lines with as many cells as the header, for a line may be damaged
_FEWEST = 5  # lines of a file that is plainly a table


def cells_of(lines: Iterable[str], delimiter: str, strict: bool = True) -> Any:
    """A ``csv.reader`` of the lines. Of blanks and tabs between cells, as where " " delimits, any number counts as one.

    >>> list(cells_of(['a   b', '1 "2 3"'], " "))
    [['a', 'b'], ['1', '2 3']]
    """
    blanks = delimiter == " "
    if blanks:
        lines = (line.replace("\t", " ").strip() + "\n" for line in lines)
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=blanks, strict=strict)


def delimiter_of(lines: Sequence[str]) -> str:
    """What delimits the cells of a table's first lines.

    Of the comma, the semicolon, the tab and the bar that give nine in ten lines as many cells as the header, it is the
    one that gives most. Where none of them is in the header, it may be a rarer one that gives every line as many cells
    and one column numbers alone. Else it is the one that makes most columns of the header, in doubt the comma.

    >>> delimiter_of(["a|b, c", "1|2", "3|4"]), delimiter_of(["a b", "1  x", "2  y"])
    ('|', ' ')
    """
    tables = {mark: _rows(lines, mark) for mark in _COMMON}
    wide = {mark: rows for mark, rows in tables.items() if rows and len(rows[0]) > 1}
    if not wide:
        return next((mark for mark in _RARE if _has_numbers(_rows(lines, mark), mark == " ")), ",")
    even = {
        mark: rows for mark, rows in wide.items() if sum(len(r) == len(rows[0]) for r in rows) >= _SHARE * len(rows)
    }
    return max(even or wide, key=lambda mark: len(wide[mark][0]))


def is_plainly_a_table(lines: Sequence[str]) -> bool:
    """Whether all of a file's first lines have as many cells, at least two, and a column of them holds numbers.

    >>> is_plainly_a_table(["a\\tb", "1\\tx", "2\\ty", "3\\tx", "4\\ty"])
    True
    >>> is_plainly_a_table(["To be, or not to be, that is the question:"] * 5)
    False
    """
    mark = delimiter_of(lines)
    rows = _rows(lines, mark)
    return len(rows) >= _FEWEST and mark in _COMMON + " " and _has_numbers(rows, mark == " ")


def _rows(lines: Sequence[str], mark: str) -> list[list[str]]:
    """The rows but for the last of many, which may go on."""
    try:
        rows = [row for row in cells_of(lines, mark, strict=False) if row]
    except csv.Error:  # a cell beyond the limit
        return []
    return rows[:-1] if len(rows) > _FEWEST else rows


def _has_numbers(rows: list[list[str]], labels: bool) -> bool:
    """Whether rows are of one length, and one column holds numbers alone.

    labels : whether the header may lack a name for the first column, as R writes it
    """
    if len(rows) < 2:
        return False
    width = len(rows[1])
    if width < 2 or any(len(row) != width for row in rows[1:]) or len(rows[0]) not in (width, width - labels):
        return False
    columns = ([cell for row in rows[1:] if (cell := row[place].strip()) not in MISSING] for place in range(width))
    return any(column and all(number(cell) is not None for cell in column) for column in columns)
