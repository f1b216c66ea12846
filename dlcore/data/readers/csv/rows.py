"""The rows of a CSV file as text, checked for what concerns the file and not the meaning of its columns."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, NamedTuple

from dlcore._core.configurable import did_you_mean
from dlcore.data.readers.csv.cells import MISSING, number
from dlcore.data.readers.csv.sniff import cells_of, delimiter_of, is_plainly_a_table
from dlcore.data.readers.file import BLOCK, bytes_of, opened, shown
from dlcore.errors import DataError

__all__ = [
    "LIMIT",
    "MISSING",
    "Rows",
    "TableRows",
    "is_table",
    "name_of",
    "no_column",
    "number",
    "table_rows",
    "too_large",
]

LIMIT = 1 << 30  # bytes of a file
_LARGEST = 3.4028234663852886e38  # of float32
_LINE = 1 << 24  # characters of a line: its cells take up to twenty times as much
_SNIFFED = 100  # lines
_SNIFFED_CHARACTERS = 1 << 20
_SEPARATOR = re.compile(r"sep=([,;\t|])[\r\n]*", re.IGNORECASE)  # what spreadsheets write above the header

Rows = Iterator[tuple[int, list[str]]]


class TableRows(NamedTuple):
    """The header, the delimiter and the other rows, each with its line; cells are stripped, and in Unicode's form NFC.

    indexed : whether an index, a first column without a name, was left out
    """

    header: list[str]
    delimiter: str
    rows: Rows
    indexed: bool


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
def table_rows(
    path: str | os.PathLike[str], limit: int = LIMIT, rules: int = 2, faults: dict[int, str] | None = None
) -> Iterator[TableRows]:
    """A table as text. Blank lines do not count, and neither do an index and the empty columns of trailing commas.

    The delimiter is the one that a first line ``sep=;`` names, else what
    :func:`~dlcore.data.readers.csv.sniff.delimiter_of` finds. Where blanks delimit and the header lacks one name, the
    first column is an index, as R writes it.

    rules : 1 leaves the cells in the Unicode that the file has, as version 0.1 did
    faults : takes what is wrong with a row, by its line; such a row comes without cells, and the others go on. None
        raises DataError at the first

    Raises DataError as :func:`~dlcore.data.read_csv` says, while the rows are taken too: do so within ``with``.
    """
    name = shown(path)
    with opened(path) as file:
        size = bytes_of(file)
        if size > limit:
            raise DataError(f"{name}: the file has {size:,} bytes, but at most {limit:,} are read; split it")
        text = _decoded(file)
        lines = _lines(text, name)
        reader: Any = None
        try:
            start = _start(lines)
            named = _SEPARATOR.fullmatch(start[0]) if start else None
            delimiter = named[1] if named else delimiter_of(start)
            reader = cells_of(chain(start, lines), delimiter)
            if named:
                next(reader)
            header = _tidy(next(reader, []), rules)
            line = reader.line_num
            rows = ((reader.line_num, _tidy(row, rules)) for row in reader if row)
            if delimiter == " " and (first := next(rows, None)):
                rows = chain([first], rows)
                header = [""] * (len(first[1]) == len(header) + 1) + header
            taken = _named(header)
            _check_header(header, taken, name, line)
            yield TableRows(header[taken], delimiter, _rows(rows, header, taken, name, line, faults), taken.start > 0)
        except UnicodeDecodeError as error:
            if text.encoding == "utf-16":
                raise DataError(
                    f"{name}: the file is UTF-16, as a spreadsheet's Unicode text is, and damaged ({error.reason}); "
                    "save it as CSV UTF-8"
                ) from None
            place, byte = _first_not_utf8(path)
            raise DataError(
                f"{name}: byte {place:,} is {byte:#04x}, which is not UTF-8{_as_windows(byte)}; save the file as "
                "CSV UTF-8"
            ) from None
        except csv.Error as error:
            line = reader.line_num if reader is not None else 1
            raise DataError(f"{name}: line {line}: {error}; check the quotes and the line ends") from None


def is_table(path: str | os.PathLike[str]) -> bool:
    """Whether a file is plainly a table by its first lines, whatever its name."""
    try:
        with opened(path) as file, _decoded(file) as text:
            return is_plainly_a_table(_start(_lines(text, shown(path))))
    except (DataError, UnicodeDecodeError):
        return False


def _decoded(file: Any) -> io.TextIOWrapper:
    encoding = "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    file.seek(0)
    return io.TextIOWrapper(file, encoding=encoding, newline="")


def _start(lines: Iterator[str]) -> list[str]:
    """The first lines, by which the delimiter is found."""
    found, characters = [], 0
    for line in islice(lines, _SNIFFED):
        found.append(line)
        characters += len(line)
        if characters > _SNIFFED_CHARACTERS:
            break
    return found


def _tidy(cells: Sequence[str], rules: int) -> list[str]:
    if rules > 1 and not all(map(str.isascii, cells)):
        return [unicodedata.normalize("NFC", cell).strip() for cell in cells]
    return [cell.strip() for cell in cells]


def _lines(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    for count, line in enumerate(iter(lambda: text.readline(_LINE), ""), 1):
        if len(line) == _LINE:
            raise DataError(f"{name}: line {count} is longer than {_LINE:,} characters; this is no CSV file")
        if "\0" in line:
            raise DataError(
                f"{name}: line {count} holds a NUL byte; this is no CSV file, or one in UTF-16: save it as CSV UTF-8"
            )
        yield line


def _named(header: list[str]) -> slice:
    """The columns without a first one and last ones that have no name; whether these hold nothing, the rows will say.

    >>> _named(["", "a", "b", ""]), _named(["", ""])
    (slice(1, 3, None), slice(0, 2, None))
    """
    places = [place for place, column in enumerate(header) if column]
    return slice(min(places[0], 1), places[-1] + 1) if places else slice(0, len(header))


def _check_header(header: list[str], taken: slice, name: str, line: int) -> None:
    if not header:
        raise DataError(f"{name}: the first line is empty; a header with the names of the columns is expected")
    names = header[taken]
    if all(number(cell) is not None for cell in names) and names != [str(i) for i in range(len(names))]:
        raise DataError(
            f"{name}: line {line} holds only numbers, {name_of(names[0])} first; a header with the names of the "
            "columns is expected"
        )
    seen: dict[str, int] = {}
    for place, column in enumerate(names, taken.start + 1):
        if not column:
            raise DataError(_no_name(name, line, place, len(header)))
        if column in seen:
            raise DataError(
                f"{name}: line {line}: columns {seen[column]} and {place} are both named {name_of(column)}; rename one"
            )
        seen[column] = place


def _no_name(name: str, line: int, place: int, width: int) -> str:
    return f"{name}: line {line}: column {place} of {width} has no name; name it, or take it out"


def _rows(
    rows: Rows, header: list[str], taken: slice, name: str, line: int, faults: dict[int, str] | None = None
) -> Rows:
    """The cells of the columns that are ``taken``; ``line`` is the header's."""
    width = len(header)
    for place, row in rows:
        if len(row) != width:
            cells = "1 cell" if len(row) == 1 else f"{len(row)} cells"
            advice = "quote cells that hold the delimiter" if len(row) > width else "fill it up"
            reason = f"line {place} has {cells}, but the header has {width}; {advice}"
            if faults is None:
                raise DataError(f"{name}: {reason}")
            faults[place] = reason
            yield place, []
            continue
        if taken.stop < width and any(row[taken.stop :]):
            if faults is None:
                raise DataError(_no_name(name, line, taken.stop + 1, width))
            faults[place] = f"line {place} holds more than the {taken.stop} columns with names; take it out"
        yield place, row[taken]


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


def _as_windows(byte: int) -> str:
    """What a byte is in the encoding that Windows uses in Western Europe, where it is anything."""
    character = bytes([byte]).decode("cp1252", "ignore")
    return (
        f" but perhaps Windows-1252 or Latin-1, where it is {character}"
        if character.isprintable() and character
        else ""
    )


def too_large(value: float) -> bool:
    """Whether ``value`` has no place in float32, NaN included.

    >>> too_large(1e39), too_large(-3e38)
    (True, False)
    """
    return not abs(value) <= _LARGEST
