"""The rows of a CSV file as text, checked for what concerns the file and not the meaning of its columns."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dlcore.data.readers._file import BLOCK, bytes_of, opened, shown
from dlcore.errors import DataError
from dlcore.recorded import did_you_mean

__all__ = ["LIMIT", "MISSING", "Rows", "name_of", "no_column", "number", "table_rows", "too_large"]

LIMIT = 1 << 30  # bytes of a file
_LARGEST = 3.4028234663852886e38  # of float32
_LINE = 1 << 24  # characters of a line: its cells take up to twenty times as much
MISSING = frozenset({"", "NA", "NaN", "nan", "null", "?"})

_NUMBER = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf(?:inity)?)", re.IGNORECASE)

Rows = Iterator[tuple[int, list[str]]]


def number(cell: str) -> float | None:
    """The number that a stripped cell holds, infinity included; None where it holds text.

    Stricter than ``float``, which takes ``1_000`` and digits of every script.

    >>> number("-1.5e3"), number("1_000"), number("1e999")
    (-1500.0, None, inf)
    """
    return float(cell) if _NUMBER.fullmatch(cell) else None


def name_of(column: str) -> str:
    """A column's name or a cell as it can stand in a message."""
    text = shown(column[:61])
    return f"{text[:60]}..." if len(text) > 60 else text


def no_column(file: str, column: str, header: list[str]) -> str:
    """That a file has no such column, with the nearest name and the first of those that it has."""
    names = ", ".join(map(name_of, header[:20])) + (", ..." if len(header) > 20 else "")
    hint = shown(did_you_mean(column, header))
    return f"{file}: there is no column {column!r:.60}{hint}; the columns are {names}"


@contextmanager
def table_rows(path: str | os.PathLike[str], limit: int = LIMIT) -> Iterator[tuple[list[str], str, Rows]]:
    """The header, the delimiter and the other rows, each with its line; cells are stripped. Blank lines do not count.

    The delimiter is the one of comma, semicolon and tab that makes most columns of the header line, in doubt the comma.

    Raises DataError as :func:`~dlcore.data.read_csv` says, while the rows are taken too: do so within ``with``.
    """
    name = shown(path)
    with opened(path) as file:
        size = bytes_of(file)
        if size > limit:
            raise DataError(f"{name}: the file has {size:,} bytes, but at most {limit:,} are read; split it")
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        lines = _lines(text, name)
        reader: Any = None
        try:
            first = next(lines, "")
            delimiter = max(",;\t", key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
            reader = csv.reader(_chain(first, lines), delimiter=delimiter, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            _check_header(header, name)
            yield header, delimiter, _rows(reader, header, name)
        except UnicodeDecodeError:
            place, byte = _first_not_utf8(path)
            raise DataError(
                f"{name}: byte {place:,} is {byte:#04x}, which is not UTF-8; save the file in the encoding UTF-8"
            ) from None
        except csv.Error as error:
            line = reader.line_num if reader is not None else 1
            raise DataError(f"{name}: line {line}: {error}; check the quotes and the line ends") from None


def _chain(first: str, lines: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from lines


def _lines(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    for count, line in enumerate(iter(lambda: text.readline(_LINE), ""), 1):
        if len(line) == _LINE:
            raise DataError(f"{name}: line {count} is longer than {_LINE:,} characters; this is no CSV file")
        if "\0" in line:
            raise DataError(f"{name}: line {count} holds a NUL byte; this is no CSV file, or not one in UTF-8")
        yield line


def _check_header(header: list[str], name: str) -> None:
    if not header:
        raise DataError(f"{name}: the first line is empty; a header with the names of the columns is expected")
    if all(number(cell) is not None for cell in header) and header != [str(i) for i in range(len(header))]:
        raise DataError(
            f"{name}: line 1 holds only numbers, {name_of(header[0])} first; a header with the names of the columns is "
            "expected"
        )
    seen: dict[str, int] = {}
    for place, column in enumerate(header, 1):
        if not column:
            raise DataError(f"{name}: line 1: column {place} of {len(header)} has no name; name it, or take it out")
        if column in seen:
            raise DataError(
                f"{name}: line 1: columns {seen[column]} and {place} are both named {name_of(column)}; rename one"
            )
        seen[column] = place


def _rows(reader: Any, header: list[str], name: str) -> Rows:
    width = len(header)
    for row in reader:
        if not row:
            continue
        if len(row) != width:
            cells = "1 cell" if len(row) == 1 else f"{len(row)} cells"
            advice = "quote cells that hold the delimiter" if len(row) > width else "fill it up"
            raise DataError(f"{name}: line {reader.line_num} has {cells}, but the header has {width}; {advice}")
        yield reader.line_num, [cell.strip() for cell in row]


def _first_not_utf8(path: str | os.PathLike[str]) -> tuple[int, int]:
    """The offset and the value of the first byte that is not part of UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    with opened(path) as file:
        while True:
            block = file.read(BLOCK)
            pending = decoder.getstate()[0]
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return offset - len(pending) + error.start, (pending + block)[error.start]
            if not block:
                return offset, 0  # not reached but where the file changes meanwhile
            offset += len(block)


def too_large(value: float) -> bool:
    """Whether ``value`` has no place in float32, NaN included.

    >>> too_large(1e39), too_large(-3e38)
    (True, False)
    """
    return not abs(value) <= _LARGEST
