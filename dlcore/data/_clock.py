"""The time of a series' rows: its unit and its step, as a run records them, and what comes after the last row."""

from __future__ import annotations

import calendar
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np

from dlcore.data.readers.csv.moments import ISO, NUMBER, join_parts, parse, seconds_of, zone_of
from dlcore.errors import DataError

__all__ = ["Clock"]

DAY = 86400.0
_EPOCH = datetime(1970, 1, 1)
_CLOSED = 5  # weekdays in a row on which a market may be closed


@dataclass(frozen=True)
class Clock:
    """How the rows of a series tell their time, and how far apart they are.

    columns : that hold it
    parts : what each of several columns holds, such as ("year", "month"); empty for one column
    format : of the cells: ISO, quarter, number or a format of strptime
    unit : in which the rows are evenly spaced: number, seconds, months or weekdays (Monday to Friday)
    step : from row to row, in this unit
    month_end : the rows stand at the ends of months

    >>> clock = Clock(("date",), (), "ISO").fitted(np.array([parse(f"2020-0{m}-01", "ISO") for m in (1, 2, 3)]))
    >>> clock.unit, clock.step, [clock.shown(t) for t in clock.after(parse("2020-12-01", "ISO"), 2)]
    ('months', 1.0, ['2021-01-01', '2021-02-01'])
    >>> Clock.from_dict(clock.to_dict()) == clock
    True
    """

    columns: tuple[str, ...]
    parts: tuple[str, ...]
    format: str
    unit: str = "number"
    step: float = 1.0
    month_end: bool = False

    @property
    def dated(self) -> bool:
        """Whether times are dates rather than numbers."""
        return self.format != NUMBER

    @property
    def name(self) -> str:
        return " and ".join(self.columns)

    def read(self, cells: Sequence[str]) -> float | None:
        """The time of a row from its cells, seconds since 1970 or a number; None where they hold none.

        >>> Clock(("year",), (), "number").read(["1871"])
        1871.0
        """
        return parse(self._whole(cells), self.format)

    def _whole(self, cells: Sequence[str]) -> str:
        return join_parts(self.parts, cells) if self.parts else cells[0]

    def zone(self, cells: Sequence[str]) -> float | None:
        """Seconds by which the zone that a row names is ahead of UTC; None where it names none."""
        return zone_of(self._whole(cells)) if self.format == ISO else None

    def fitted(self, times: np.ndarray, series: Sequence[np.ndarray] | None = None) -> Clock:
        """With the unit and the step of these times (n,), in whatever order.

        series : the rows of each of several series, whose times may lie between those of another one
        """
        each = [np.unique(times[rows]) for rows in ([slice(None)] if series is None else series)]
        if not self.dated:
            return self._with("number", each)
        moments = [[_EPOCH + timedelta(seconds=float(t)) for t in one] for one in each]
        if all(len({moment.time() for moment in one}) == 1 for one in moments):  # one time of day
            ends = all(m.day == calendar.monthrange(m.year, m.month)[1] for one in moments for m in one)
            months = all(len({(m.year, m.month) for m in one}) == len(one) for one in moments)
            if months and (ends or all(len({m.day for m in one}) == 1 for one in moments)):
                return self._with("months", each, month_end=ends and any(m.day > 28 for one in moments for m in one))
            days = np.concatenate([np.diff(one) for one in each]) / DAY
            daily = len(days) and np.median(days) == 1 and {1, 3} <= set(days)
            if daily and all(moment.weekday() < 5 for one in moments for moment in one):
                return self._with("weekdays", each)
        return self._with("seconds", each)

    def _with(self, unit: str, each: Sequence[np.ndarray], month_end: bool = False) -> Clock:
        known = Clock(self.columns, self.parts, self.format, unit, 1.0, month_end)
        steps = np.concatenate([np.diff(known.positions(one)) for one in each])
        step = float(np.median(steps)) if len(steps) else 1.0
        return Clock(self.columns, self.parts, self.format, unit, step or 1.0, month_end)

    def positions(self, times: np.ndarray) -> np.ndarray:
        """Times (n,) in the unit, so that even steps are equal numbers."""
        if self.unit == "months":
            moments = [_EPOCH + timedelta(seconds=float(t)) for t in times]
            return np.array([12.0 * m.year + m.month for m in moments])
        if self.unit == "weekdays":
            days = np.floor(np.asarray(times) / DAY).astype("datetime64[D]")
            return np.busday_count(np.datetime64(0, "D"), days).astype(np.float64)
        return np.asarray(times, np.float64)

    def steps(self, times: np.ndarray) -> np.ndarray:
        """From row to row (n − 1,), in steps; on weekdays a few closed days are no gap and count as one step."""
        found = np.diff(self.positions(times)) / self.step
        if self.unit == "weekdays":
            found = np.where((found > 1) & (found <= _CLOSED), 1.0, found)
        return found

    def after(self, last: float, count: int) -> list[float]:
        """The times of the next rows."""
        if self.unit == "weekdays":
            day = np.datetime64(int(last // DAY), "D")
            days = np.busday_offset(day, np.arange(1, count + 1), roll="backward").astype(np.int64)
            return [float(d) * DAY + last % DAY for d in days]
        if self.unit == "months":
            moment = _EPOCH + timedelta(seconds=last)
            return [self._months_on(moment, round(self.step * i)) for i in range(1, count + 1)]
        return [float(f"{last + self.step * i:.12g}") for i in range(1, count + 1)]

    def _months_on(self, moment: datetime, count: int) -> float:
        year, month = divmod(12 * moment.year + moment.month - 1 + count, 12)
        length = calendar.monthrange(year, month + 1)[1]
        day = length if self.month_end else min(moment.day, length)
        return seconds_of(moment.replace(year=year, month=month + 1, day=day))

    def shown(self, time: float, zone: float | None = None) -> str:
        """A time as it is printed: a number, a date, or a date with the time of day, and its ``zone`` where it has one.

        >>> Clock(("t",), (), "number").shown(12.0), Clock(("t",), (), "ISO", "seconds", 3600.0).shown(3600.0)
        ('12', '1970-01-01 01:00')
        """
        if not self.dated:
            return f"{time:.12g}"
        time += zone or 0.0
        moment = _EPOCH + timedelta(seconds=time)
        if time % DAY == 0 and (self.unit != "seconds" or self.step % DAY == 0):
            return moment.date().isoformat()
        if zone is not None:
            moment = moment.replace(tzinfo=timezone(timedelta(seconds=zone)))
        return moment.isoformat(" ", "seconds" if time % 60 else "minutes")

    def step_in_words(self) -> str:
        """The step for people.

        >>> Clock(("t",), (), "ISO", "seconds", 1800.0).step_in_words()
        '30 minutes'
        """
        names = {"months": "month", "weekdays": "weekday"}
        if self.unit != "seconds":
            return (
                f"{self.step:g} {names[self.unit]}{'s' * (self.step != 1)}" if self.unit in names else f"{self.step:g}"
            )
        for size, name in ((7 * DAY, "week"), (DAY, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second")):
            if self.step >= size and self.step % size == 0:
                count = self.step / size
                return f"{count:g} {name}{'s' * (count != 1)}"
        return f"{self.step:g} seconds"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {**asdict(self), "columns": list(self.columns), "parts": list(self.parts)}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Clock:
        """The Clock that :meth:`to_dict` wrote. Raises DataError where it is damaged."""
        match saved:
            case {
                "columns": [str(), *_] as columns, "parts": list(parts), "format": str(form), "unit": str(unit),
                "step": int() | float() as step, "month_end": bool(end),
            } if (
                all(isinstance(word, str) for word in (*columns, *parts))
                and len(parts) in (0, len(columns))
                and unit in ("number", "seconds", "months", "weekdays")
                and math.isfinite(step)
                and step > 0
            ):  # fmt: skip
                return cls(tuple(columns), tuple(parts), form, unit, float(step), end)
        raise DataError(f"Clock: {saved!r:.200} does not say how rows tell their time; train the model again")
