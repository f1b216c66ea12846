"""How a series' table becomes windows, written down with a run, so that what follows another table can be predicted."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlcore.data._calendar import calendar_features
from dlcore.data._clock import Clock
from dlcore.data._series_table import SeriesTable, read_table
from dlcore.data._time_order import in_order
from dlcore.data.readers.csv.rows import name_of, no_column
from dlcore.errors import DataError

__all__ = ["MISSING", "Ahead", "SeriesInputs", "filled"]

MISSING = ("refuse", "drop", "mean", "previous")


@dataclass(frozen=True)
class Ahead:
    """The end of one series: what a forecast begins from.

    group : its name, "" for a series alone
    x : (window, D) float64, before the normalizer
    times : of the next rows, in words; None where the table has no time
    """

    group: str
    x: np.ndarray
    times: list[str] | None


@dataclass(frozen=True)
class SeriesInputs:
    """Windows of a table's columns, by name.

    columns : of x, the target first; those of the calendar follow
    window, horizon : rows of the past, and of what follows
    clock : the time of the rows, or None
    by : the column that tells several series apart, or None
    missing : what is done about missing cells, and ``fills`` for "mean", one for each column
    calendar : whether x ends with the features of the calendar

    >>> inputs = SeriesInputs(("load", "wind"), window=24, horizon=3)
    >>> inputs.shape, SeriesInputs.from_dict(inputs.to_dict()) == inputs
    ((24, 2), True)
    """

    columns: tuple[str, ...]
    window: int
    horizon: int = 1
    clock: Clock | None = None
    by: str | None = None
    missing: str = "refuse"
    fills: tuple[float, ...] | None = None
    calendar: bool = False
    kind: str = "series"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example of x."""
        return (self.window, len(self.names()))

    def names(self) -> tuple[str, ...]:
        """Those of x's features."""
        if not self.calendar or self.clock is None:
            return self.columns
        return (*self.columns, *calendar_features(self.clock, np.zeros(1))[0])

    def values(self, table: SeriesTable, rows: np.ndarray, times: np.ndarray | None) -> np.ndarray:
        """(N, D) float64 of the ``rows``, NaN where a cell is missing. Raises DataError for text.

        times : of the whole table
        """
        for name in self.columns:
            if name not in table.columns:
                raise DataError(f"{no_column(table.file, name, list(table.columns))}, but the model was trained on it")
        found = np.stack([table.columns[name].values()[rows] for name in self.columns], axis=1)
        if self.calendar and self.clock is not None and times is not None:
            found = np.concatenate([found, calendar_features(self.clock, times[rows])[1]], axis=1)
        return found

    def read_ends(self, path: str | os.PathLike[str]) -> tuple[list[Ahead], list[DataError]]:
        """The end of each series in a table: its last ``window`` rows, in the order of time; and what is wrong with
        those of the others, where there are several.

        Columns are found by their names, in any order, and others are left alone. Raises DataError as
        :func:`~dlcore.data.open_series`, and where the last rows have a gap, a missing cell that nothing fills, or are
        fewer than a window.

        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "new.csv"
        >>> _ = file.write_text("b,a\\n1,2\\n3,4\\n5,6\\n")
        >>> SeriesInputs(("a", "b"), 2).read_ends(file)[0][0].x.tolist()
        [[4.0, 3.0], [6.0, 5.0]]
        """
        table = read_table(path, self.by)
        if not len(table):
            raise DataError(f"{table.file}: there is no row below the header; at least {self.window} are expected")
        times = None
        if self.clock is not None:
            for name in self.clock.columns:
                if name not in table.columns:
                    raise DataError(
                        f"{no_column(table.file, name, list(table.columns))}, but by it the model knows the time"
                    )
            times = table.times(self.clock)
        ends, wrong = [], []
        for group, members in table.groups(self.by):
            try:
                order = in_order(table, self.clock, times, [(group, members)])
                ends.append(self._end(table, group, order.rows, order.starts, times))
            except DataError as error:
                if self.by is None:
                    raise
                wrong.append(error)
        return ends, wrong

    def _end(
        self, table: SeriesTable, group: str, rows: np.ndarray, starts: np.ndarray, times: np.ndarray | None
    ) -> Ahead:
        where = f"{table.file}: {f'{self.by} {name_of(group)}: ' if self.by else ''}"
        if len(rows) < self.window:
            raise DataError(f"{where}{len(rows):,} rows, but the last {self.window:,} are what the model predicts from")
        begin = len(rows) - self.window
        gaps = np.flatnonzero(starts[begin + 1 :])
        if len(gaps):
            line = table.lines[int(rows[begin + 1 + gaps[-1]])]
            raise DataError(
                f"{where}the last {self.window:,} rows have a gap of time before line {line}; give rows that follow "
                "one another"
            )
        values = filled(self.values(table, rows, times), starts, self.missing, self.fills)[begin:]
        missing = np.argwhere(np.isnan(values))
        if len(missing):
            row, column = missing[0]
            line = table.lines[int(rows[begin + row])]
            raise DataError(
                f"{where}column {name_of(self.names()[column])}, line {line}: the cell is missing within the last "
                f"{self.window:,} rows, and the model was trained with missing {self.missing}; mend the cell, or "
                "train with --missing previous or mean"
            )
        after = None
        if self.clock is not None and times is not None:
            with suppress(OverflowError, ValueError):  # behind the year 9999
                texts = [table.columns[name].texts for name in self.clock.columns]
                zone = None if None in texts else self.clock.zone([cells[rows[-1]] for cells in texts if cells])
                after = [self.clock.shown(t, zone) for t in self.clock.after(float(times[rows[-1]]), self.horizon)]
        return Ahead(group, values, after)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {
            "kind": self.kind,
            "columns": list(self.columns),
            "window": self.window,
            "horizon": self.horizon,
            "clock": None if self.clock is None else self.clock.to_dict(),
            "by": self.by,
            "missing": self.missing,
            "fills": None if self.fills is None else list(self.fills),
            "calendar": self.calendar,
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> SeriesInputs:
        """The SeriesInputs that :meth:`to_dict` wrote. Raises DataError where an entry is missing or damaged."""
        match saved:
            case {
                "kind": "series", "columns": [str(), *_] as columns, "window": int(window), "horizon": int(horizon),
                "clock": dict() | None as clock, "by": str() | None as by, "missing": str(missing),
                "fills": list() | None as fills, "calendar": bool(calendar),
            } if (
                all(isinstance(name, str) for name in columns)
                and len(set(columns)) == len(columns)
                and 1 <= window <= 1 << 24
                and 1 <= horizon <= 1 << 24
                and missing in MISSING
                and (clock is not None or not calendar)
                and (
                    fills is None
                    or (len(fills) == len(columns) and all(type(v) in (int, float) and abs(v) < 1e39 for v in fills))
                )
            ):  # fmt: skip
                known = None if clock is None else Clock.from_dict(clock)
                means = None if fills is None else tuple(map(float, fills))
                return cls(tuple(columns), window, horizon, known, by, missing, means, calendar)
        raise DataError(f"Inputs: {saved!r:.200} does not describe a series; train the model again")


def filled(values: np.ndarray, starts: np.ndarray, missing: str, fills: Sequence[float] | None) -> np.ndarray:
    """Values (N, D) with what stands for missing ones: the last one before them, or a column's ``fills``.

    starts : (N,) bool, across which nothing is carried

    >>> values = np.array([[np.nan], [2.0], [np.nan], [np.nan]])
    >>> filled(values, np.array([True, False, False, True]), "previous", None).ravel().tolist()
    [nan, 2.0, 2.0, nan]
    """
    if missing == "mean" and fills is not None:
        whole = np.r_[np.asarray(fills), np.full(values.shape[1] - len(fills), np.nan)]
        return np.where(np.isnan(values), whole, values)
    if missing == "previous":
        places = np.where(np.isnan(values) & ~starts[:, None], 0, np.arange(len(values))[:, None])
        return np.take_along_axis(values, np.maximum.accumulate(places, axis=0), axis=0)
    return values
