"""Moments in time as tables write them: dates, dates with a time of day, quarters, parts in columns, or numbers."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from dlcore.data.readers.csv.cells import number

__all__ = ["ISO", "NUMBER", "formats_of", "is_time_name", "join_parts", "parse", "part_of", "seconds_of", "zone_of"]

NUMBER, ISO, _QUARTER, _COMPACT = "number", "ISO", "quarter", "%Y%m%d"

_ISO = re.compile(
    r"\d{4}-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?( ?(Z|UTC|[+-]\d{2}:?\d{2}))?)?)?", re.ASCII
)
_QUARTERS = re.compile(r"(\d{4})[\s:-]?Q([1-4])", re.ASCII | re.IGNORECASE)
_DAYS = (
    "%Y/%m/%d", "%Y.%m.%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%y", "%m/%d/%y",
    "%d.%m.%y", "%b %d %Y", "%B %d %Y", "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y",
    "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%m/%Y", "%Y/%m", "%YM%m",
)  # fmt: skip
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %H.%M", " %H.%M.%S", " %I:%M %p", " %I:%M:%S %p")
_WORDS = {
    "date", "dates", "datetime", "time", "times", "timestamp", "ts", "ds", "year", "years", "yr", "epoch", "unixtime",
    "datum", "when",
}  # fmt: skip
_CYCLES = {
    "t", "step", "steps", "period", "day", "days", "month", "months", "week", "weeks", "quarter", "hour", "hours",
    "minute", "minutes", "second", "seconds", "unix",
}  # fmt: skip
"""Names of a time, but of what comes round each year or day as well."""

_PARTS = {
    "year": {"year", "yr", "years"}, "month": {"month", "mo", "mnth"}, "quarter": {"quarter", "qtr"},
    "day": {"day", "dayofmonth", "mday"}, "hour": {"hour", "hr", "hours"}, "date": {"date", "day", "ds"},
    "time": {"time", "timeofday"},
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1)


def is_time_name(name: str) -> str:
    """How a column's name stands for time: "time", "cycle" for what may come round each day or year, or "".

    >>> [is_time_name(name) for name in ("Date", "date_time", "unix_timestamp", "month", "humidity", "travel_time")]
    ['time', 'time', 'time', 'cycle', '', '']
    """
    words = re.findall(r"[a-z]+", name.lower())
    if "".join(words) in _WORDS or (words and set(words) <= _WORDS | {"unix", "utc", "start"}):
        return "time"
    return "cycle" if "".join(words) in _CYCLES else ""


def part_of(name: str) -> tuple[str, ...]:
    """The parts of a date that a column of this name may hold.

    >>> part_of("YEAR"), part_of("quarter"), part_of("humidity")
    (('year',), ('quarter',), ())
    """
    word = re.sub(r"[\W_\d]", "", name).lower()
    return tuple(part for part, words in _PARTS.items() if word in words)


def formats_of(cells: Sequence[str], named: bool = False) -> list[str]:
    """The formats in which every one of the ``cells`` is a moment: ISO, quarter, number, or one of strptime.

    named : whether the column has the name of a time, so that eight digits may be a date

    >>> formats_of(["2020-01-31", "2020-02-29T12:00"]), formats_of(["03/04/2020"]), formats_of(["2020Q1"])
    (['ISO'], ['%d/%m/%Y', '%m/%d/%Y'], ['quarter'])
    >>> formats_of(["1.5", "2"]), formats_of(["20200131"], named=True), formats_of(["a", "1"])
    (['number'], ['%Y%m%d'], [])
    """
    if not cells:
        return []
    distinct = list(dict.fromkeys(cells))
    if number(distinct[0]) is not None:
        plain = all(number(cell) is not None for cell in distinct)
        if named and plain and all(re.fullmatch(r"(1[6-9]|2[01])\d{6}", cell) for cell in distinct):
            dates = [_COMPACT] if _all(_COMPACT, distinct) else []
            return dates or [NUMBER]
        if plain:
            return [NUMBER]
    for name, pattern in ((ISO, _ISO), (_QUARTER, _QUARTERS)):
        if pattern.fullmatch(distinct[0]):
            return [name] if _all(name, distinct) else []
    few = [distinct[0], distinct[len(distinct) // 2], distinct[-1]]
    near = [day + clock for day in _DAYS for clock in _CLOCKS if _all(day + clock, few)]
    return [one for one in near if _all(one, distinct)]


def _all(form: str, cells: Sequence[str]) -> bool:
    return all(parse(cell, form) is not None for cell in cells)


def parse(cell: str, form: str) -> float | None:
    """Seconds since 1970, without a zone those of UTC; of a number the number itself; None for what is no moment.

    >>> parse("1970-01-02", "ISO"), parse("1871", "number"), parse("x", "ISO")
    (86400.0, 1871.0, None)
    """
    if form == NUMBER:
        value = number(cell)
        return value if value is not None and np.isfinite(value) else None
    try:
        if form == ISO:
            moment = _iso(cell)
            return None if moment is None else seconds_of(moment)
        if form == _QUARTER:
            found = _QUARTERS.fullmatch(cell)
            return None if found is None else seconds_of(datetime(int(found[1]), 3 * int(found[2]) - 2, 1))
        return seconds_of(datetime.strptime(cell, form))
    except (ValueError, OverflowError):
        return None


def _iso(cell: str) -> datetime | None:
    if not _ISO.fullmatch(cell):
        return None
    whole = cell.replace(",", ".").replace("UTC", "Z").replace(" Z", "Z")
    return datetime.fromisoformat(whole if len(whole) > 7 else f"{whole}-01")


def zone_of(cell: str) -> float | None:
    """Seconds by which the zone of a moment in ISO is ahead of UTC; None where it names none.

    >>> zone_of("2020-01-31 12:00+05:30"), zone_of("2020-01-31 12:00Z"), zone_of("2020-01-31 12:00")
    (19800.0, 0.0, None)
    """
    moment = _iso(cell)
    offset = None if moment is None else moment.utcoffset()
    return None if offset is None else offset.total_seconds()


def seconds_of(moment: datetime) -> float:
    """Seconds since 1970 of a moment; without a zone it is taken for UTC."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return (moment - _EPOCH).total_seconds()


def join_parts(parts: Sequence[str], cells: Sequence[str]) -> str:
    """The moment, in ISO, whose parts stand in several columns; "" where they make none.

    >>> join_parts(("year", "quarter"), ("1959.0", "2")), join_parts(("date", "time"), ("2004-03-10", "18:00"))
    ('1959-04-01', '2004-03-10 18:00')
    """
    if parts[0] == "date":
        hour = number(cells[1])
        if hour is not None and hour == int(hour) and 0 <= hour < 24:
            return f"{cells[0]} {int(hour):02}:00"
        return f"{cells[0]} {cells[1]}"
    whole: dict[str, int] = {}
    for part, cell in zip(parts, cells, strict=True):
        value = _part(part, cell)
        if value is None:
            return ""
        whole[part] = value
    month = whole.get("month", 3 * whole.get("quarter", 1) - 2)
    try:
        moment = datetime(whole["year"], month, whole.get("day", 1), whole.get("hour", 0))
    except (ValueError, KeyError):
        return ""
    return moment.isoformat(" ") if "hour" in whole else f"{moment:%Y-%m-%d}"


@functools.lru_cache(maxsize=1024)  # the same few come again and again
def _part(part: str, cell: str) -> int | None:
    """The number that a part of a date is, a month by its name too; None where it is none."""
    value = number(cell)
    if value is not None and np.isfinite(value) and value == int(value):
        return int(value)
    found = parse(f"{cell} 2000", "%b %Y") or parse(f"{cell} 2000", "%B %Y") if part == "month" else None
    return None if found is None else datetime.fromtimestamp(found, UTC).month
