"""The columns of a series' table: which hold its time, which tell several series apart, and which are numbers."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence

import numpy as np

from dlcore.data._clock import Clock
from dlcore.data.readers.csv.moments import NUMBER, formats_of, is_time_name, join_parts, part_of
from dlcore.data.readers.csv.rows import MISSING, name_of, no_column, number, table_rows, too_large
from dlcore.data.readers.file import shown
from dlcore.errors import DataError

__all__ = ["Column", "SeriesTable", "find_clock", "read_table"]

_EVEN = 0.9  # of the steps between different times, for numbers that count a time


class Column:
    """One column: numbers, NaN where missing, and the cells' text where the first one is no number.

    verbatim : keep every cell's text as it is written
    """

    def __init__(self, name: str, file: str, verbatim: bool = False) -> None:
        self.name, self.label = name, f"{file}: column {name_of(name)}"
        self.verbatim, self.numbers = verbatim, array("d")
        self.texts: list[str] | None = [] if verbatim else None
        self.first_text: tuple[int, str] | None = None
        self.first_missing: int | None = None
        self.too_large: tuple[int, str] | None = None

    def add(self, cell: str, line: int) -> None:
        value = None
        if cell in MISSING:
            self.first_missing = self.first_missing or line
        else:
            value = number(cell)
            if value is None:
                if self.first_text is None:
                    self.first_text = (line, cell)
                    if self.texts is None and all(known != known for known in self.numbers):  # missing ones alone
                        self.texts = [""] * len(self.numbers)
            elif too_large(value):
                self.too_large = self.too_large or (line, cell)
        self.numbers.append(np.nan if value is None else value)
        if self.texts is not None:
            self.texts.append("" if cell in MISSING and not self.verbatim else cell)

    def values(self) -> np.ndarray:
        """(N,) float64, NaN where missing. Raises DataError for text."""
        bad = self.first_text or self.too_large
        if bad:
            what = "is not a number" if bad is self.first_text else "is not finite in float32"
            raise DataError(
                f"{self.label}, line {bad[0]}: {bad[1]!r:.60} {what}; a series takes numbers: mend the cell, or leave "
                "the column out by ignore (--ignore COLUMN)"
            )
        return np.frombuffer(self.numbers, np.float64) if self.numbers else np.empty(0)

    def cells(self) -> list[str]:
        """Every cell as text, "" where missing; numbers as they are written shortest."""
        if self.texts is not None:
            return self.texts
        return ["" if value != value else f"{value:.15g}" for value in self.numbers]


class SeriesTable:
    """A table that was read: its columns by name, and the line of each row."""

    def __init__(self, file: str, header: Sequence[str], by: str | None = None) -> None:
        self.file = file
        self.columns = {name: Column(name, file, verbatim=name == by) for name in header}
        self.lines = array("l")

    def __len__(self) -> int:
        return len(self.lines)

    def check(self, name: str) -> str:
        """The name of a column that is there. Raises DataError for another."""
        if name not in self.columns:
            raise DataError(no_column(self.file, name, list(self.columns)))
        return name

    def times(self, clock: Clock) -> np.ndarray:
        """(N,) the rows' times. Raises DataError where a row has none."""
        cells = [self.columns[name].cells() for name in clock.columns]
        found = [clock.read(row) for row in zip(*cells, strict=True)]
        if None in found:
            place = found.index(None)
            what = ", ".join(column[place] for column in cells)
            raise DataError(
                f"{self.file}: column {name_of(clock.name)}, line {self.lines[place]}: {what!r:.60} is no time as the "
                f"other rows have it; mend the cell, or leave the column out by ignore (--ignore COLUMN)"
            )
        return np.array(found, np.float64)

    def groups(self, by: str | None) -> list[tuple[str, np.ndarray]]:
        """The rows of each series, by the value in the column ``by``; all of them where that is None."""
        if by is None:
            return [("", np.arange(len(self)))]
        cells = self.columns[self.check(by)].cells()
        found: dict[str, list[int]] = {}
        for row, cell in enumerate(cells):
            found.setdefault(cell, []).append(row)
        return [(cell, np.array(rows)) for cell, rows in found.items()]


def read_table(path: str | os.PathLike[str], by: str | None = None) -> SeriesTable:
    """The whole table. Raises DataError as :func:`~dlcore.data.read_csv` for a file that is no table.

    by : the column that tells several series apart: its values are names, compared as text
    """
    with table_rows(path) as opened:
        table = SeriesTable(shown(path), opened.header, by)
        columns = list(table.columns.values())
        for line, cells in opened.rows:
            table.lines.append(line)
            for column, cell in zip(columns, cells, strict=True):
                column.add(cell, line)
    return table


def find_clock(table: SeriesTable, time: Sequence[str] | None, others: Sequence[str]) -> Clock | None:
    """Which columns tell the time of the rows, and in which format; None where none does.

    time : the columns as the user names them, None to look for them: dates with a time of day in a column of its own,
        dates, numbers that count evenly under the name of a time, or years with months or quarters
    others : columns that hold something else: the target, or those that are left out

    Raises DataError where the named ones hold no times, and for dates whose order of day and month is open.
    """
    if time is not None:
        return _named(table, [table.check(name) for name in time])
    free = [column for name, column in table.columns.items() if name not in others]
    dates = [(column, _formats(column)) for column in free if column.texts is not None]
    dates = [(column, forms) for column, forms in dates if forms and forms != [NUMBER]]
    compact = [c for c in free if c.texts is None and is_time_name(c.name) and _formats(c) not in ([], [NUMBER])]
    dates += [(column, _formats(column)) for column in compact]
    dates.sort(key=lambda one: is_time_name(one[0].name) != "time")  # stable: the first of its kind
    for column, forms in dates:
        cells = column.cells()
        if len(set(cells)) < len(cells) and (joined := _with_clock(table, column, free)):
            return joined
        return Clock((column.name,), (), _one_format(column, forms, table))
    if joined := _years(table, free):
        return joined
    for column in free:
        kind = is_time_name(column.name)
        plain = column.texts is None and column.first_missing is None and column.first_text is None
        if kind and plain and _counts(column.values(), strictly=kind == "cycle"):
            return Clock((column.name,), (), NUMBER)
    return None


def _formats(column: Column) -> list[str]:
    return formats_of([cell for cell in column.cells() if cell], bool(is_time_name(column.name)))


def _named(table: SeriesTable, time: Sequence[str]) -> Clock:
    columns = [table.columns[name] for name in time]
    if len(columns) == 1:
        forms = _formats(columns[0])
        if not forms:
            cell = next((cell for cell in columns[0].cells() if cell), "")
            line = columns[0].first_text or (table.lines[0] if len(table) else 1, cell)
            raise DataError(
                f"{columns[0].label}, line {line[0]}: {line[1]!r:.60} is no time; write dates such as 2020-01-31 or "
                "2020-01-31 12:00, or numbers, or name another column by --time COLUMN"
            )
        return Clock((time[0],), (), _one_format(columns[0], forms, table))
    parts = _parts(time)
    clock = None if parts is None else _joined(columns, parts)
    if clock is None:
        raise DataError(
            f"{table.file}: {', '.join(map(name_of, time))} make no time together; name one column, or year with month "
            "or quarter, day and hour, or a date with the time of day"
        )
    return clock


def _parts(names: Sequence[str]) -> tuple[str, ...] | None:
    """What each of several columns holds of the time, by their names."""
    found = [part_of(name) for name in names]
    if any("year" in one for one in found):
        chosen = [next((part for part in one if part not in ("date", "time")), "") for one in found]
        return tuple(chosen) if all(chosen) and len(set(chosen)) == len(chosen) else None
    if len(found) == 2 and "date" in found[0] and {"time", "hour"} & set(found[1]):
        return ("date", "time")
    return ("date", "time") if len(found) == 2 else None


def _joined(columns: Sequence[Column], parts: tuple[str, ...]) -> Clock | None:
    if any(column.first_missing for column in columns):
        return None
    rows = list(zip(*(column.cells() for column in columns), strict=True))
    cells = [join_parts(parts, row) for row in rows]
    forms = formats_of(cells) if all(cells) else []
    return Clock(tuple(c.name for c in columns), parts, forms[0]) if forms and forms != [NUMBER] else None


def _with_clock(table: SeriesTable, date: Column, free: Sequence[Column]) -> Clock | None:
    """A date that comes several times, with the time of day from another column."""
    for column in free:
        told = column is not date and {"time", "hour"} & set(part_of(column.name))
        if told and (clock := _joined([date, column], ("date", "time"))):
            return clock
    return None


def _years(table: SeriesTable, free: Sequence[Column]) -> Clock | None:
    """A year with a month or a quarter, and with days and hours where there are columns of these names."""
    by_part: dict[str, Column] = {}
    for column in free:
        for part in part_of(column.name):
            by_part.setdefault(part, column)
    for parts in (("year", "month", "day", "hour"), ("year", "month", "day"), ("year", "month"), ("year", "quarter")):
        there = all(part in by_part for part in parts)
        if there and (clock := _joined([by_part[part] for part in parts], parts)):
            return clock
    return None


def _counts(values: np.ndarray, strictly: bool) -> bool:
    """Whether numbers count a time: evenly but for gaps, in whatever order, or ``strictly`` up or down."""
    if len(values) < 3 or (strictly and not ((np.diff(values) > 0).all() or (np.diff(values) < 0).all())):
        return False
    steps = np.diff(np.unique(values))
    if not len(steps):
        return False
    return bool((np.abs(steps / np.median(steps) - 1) < 0.5).mean() >= _EVEN)


def _one_format(column: Column, forms: Sequence[str], table: SeriesTable) -> str:
    """The one format of dates; of day and month first, that in which the rows are in order."""
    if len(forms) == 1:
        return forms[0]
    found = []
    for form in forms:
        steps = np.diff(table.times(Clock((column.name,), (), form)))
        if (steps >= 0).all() or (steps <= 0).all():
            found.append(form)
    if len(found) == 1:
        return found[0]
    cell = next(cell for cell in column.cells() if cell)
    raise DataError(
        f"{column.label}: {cell!r:.60} may be {forms[0]} or {forms[1]}, and no row tells which; write dates as "
        "2020-01-31, or leave the column out by ignore (--ignore COLUMN)"
    )
