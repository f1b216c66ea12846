"""Figures in columns: of one place, or of two with the speed of the second."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlcore.bench.compare import Comparison
from dlcore.bench.measure import Figure

__all__ = ["Column", "fitted", "of_one", "of_two"]

GAP = 2


@dataclass(frozen=True)
class Column:
    """Its heading and cells; ``rank`` is its place among those that go first where the terminal is narrow, 0 stays."""

    heading: str
    cells: tuple[str, ...]
    rank: int = 0

    @property
    def width(self) -> int:
        return max(map(len, (self.heading, *self.cells)))


def fitted(columns: Sequence[Column], width: int) -> tuple[list[str], list[str]]:
    """Lines, the first column flush left and the others right, and the headings that were left out for the width.

    Where even the columns that stay are too wide, names are cut in the middle.
    """
    kept = list(columns)
    while _total(kept) > width and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    room = max(16, width - _total(kept) + kept[0].width)
    names = Column(kept[0].heading, tuple(_cut(name, room) for name in kept[0].cells))
    widths = [names.width, *(column.width for column in kept[1:])]
    rows = zip(*((column.heading, *column.cells) for column in [names, *kept[1:]]), strict=True)
    lines = [
        (" " * GAP).join(f"{c:{'>' if i else '<'}{w}}" for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    return [line.rstrip() for line in lines], [c.heading for c in columns if c not in kept]


def _total(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def _cut(text: str, room: int) -> str:
    """
    >>> _cut("abcdefghij", 7)
    'ab...ij'
    """
    if len(text) <= room:
        return text
    before = (room - 3) // 2
    return f"{text[:before]}...{text[len(text) - (room - 3 - before) :]}"


def of_one(figures: Sequence[Figure], first: Mapping[str, float]) -> list[Column]:
    """The columns of one place; ``first`` are the seconds of first calls, by workload, as far as they are known."""
    return [
        Column("workload", tuple(f.workload for f in figures)),
        Column("ms", tuple(_ms(f.stats["median"]) for f in figures)),
        Column("±", tuple(_percent(f.stats["iqr"] / f.stats["median"]) for f in figures)),
        Column("throughput", tuple(_throughput(f.throughput, f.unit) for f in figures)),
        Column("error", tuple(_error(f.error) for f in figures)),
        Column("first, ms", tuple(_ms(first.get(f.workload)) for f in figures), 1),
        Column("implementation", tuple(f.implementation for f in figures), 2),
    ]


def of_two(comparison: Comparison, break_even: Mapping[str, int | None] | None = None) -> list[Column]:
    """The columns of two; ``break_even`` by workload, where that was measured."""
    pairs = comparison.pairs
    columns = [
        Column("workload", tuple(pair.name for pair in pairs)),
        Column("A, ms", tuple(_ms(pair.a.median) for pair in pairs)),
        Column("B, ms", tuple(_ms(pair.b.median) for pair in pairs)),
        Column("±", tuple(_percent(pair.spread) for pair in pairs)),
        Column("speed", tuple(_significant(pair.speed) for pair in pairs)),
    ]
    if break_even is not None:
        columns.append(Column("batch", tuple(_batch(break_even, pair.name) for pair in pairs)))
    for heading, rank, side in (("A", 3, 0), ("B", 2, 1)):
        entries = [(pair.a, pair.b)[side] for pair in pairs]
        if any(entry.unit for entry in entries):
            columns.append(Column(f"{heading} does", tuple(_throughput(e.throughput, e.unit) for e in entries), rank))
    for heading, rank, side in (("A", 1, 0), ("B", 0, 1)):
        entries = [(pair.a, pair.b)[side] for pair in pairs]
        if any(entry.error is not None for entry in entries):
            columns.append(Column(f"error {heading}", tuple(_error(entry.error) for entry in entries), rank))
    return columns


# --- figures in words


def _ms(seconds: float | None) -> str:
    """
    >>> _ms(0.0123456), _ms(47e-6), _ms(1.5), _ms(None)
    ('12.35', '0.047', '1,500', '')
    """
    if seconds is None:
        return ""
    ms = 1e3 * seconds
    return f"{ms:,.{3 if ms < 10 else 2 if ms < 100 else 1 if ms < 1000 else 0}f}"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share < 9.995 else ">999%"


def _significant(value: float) -> str:
    """
    >>> _significant(0.27), _significant(123.4), _significant(0.00123)
    ('0.27', '123', '0.0012')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _throughput(value: float | None, unit: str) -> str:
    """
    >>> _throughput(166345.0, "images/s"), _throughput(51.49, "GB/s")
    ('166k images/s', '51.5 GB/s')
    """
    if value is None:
        return ""
    for letter, one in (("M", 1e6), ("k", 1e3)):
        if value >= one:
            return f"{_three(value / one)}{letter} {unit}"
    return f"{_three(value)} {unit}"


def _three(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def _error(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "" if value is None else "nan"
    return f"{value:.0e}" if value else "0"


def _batch(break_even: Mapping[str, Any], name: str) -> str:
    """The batch size, - for never, and nothing where there is no batch."""
    if name not in break_even:
        return ""
    return "-" if break_even[name] is None else str(break_even[name])
