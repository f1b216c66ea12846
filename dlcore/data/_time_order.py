"""Whether the rows of a series follow one another in time, and where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dlcore.data._clock import Clock
from dlcore.data._series_table import SeriesTable
from dlcore.data.readers.csv.rows import name_of
from dlcore.errors import DataError

__all__ = ["Order", "in_order"]

_REGULAR = 0.5  # of the steps: with fewer of the usual length the rows are no series


@dataclass(frozen=True)
class Order:
    """The rows (N,) of all series, one series after the other, each in the order of time.

    starts : (N,) bool, where a series begins, or goes on after a gap: no window reaches back across it
    turned : how many series stood newest first
    gaps : how many there are, and ``longest`` in steps; ``first`` is the line behind the first one
    """

    rows: np.ndarray
    starts: np.ndarray
    turned: int = 0
    gaps: int = 0
    longest: float = 0.0
    first: int = 0


def in_order(
    table: SeriesTable, clock: Clock | None, times: np.ndarray | None, groups: Sequence[tuple[str, np.ndarray]]
) -> Order:
    """The rows in order, after all that was checked. Without a clock they are as they stand.

    times : (N,) of the clock, fitted
    groups : the rows of each series, under its name

    Raises DataError, with what to do, where a time comes twice within a series, times go up and down, or have no usual
    step.
    """
    rows, starts, turned, steps = [], [], 0, []
    for name, members in groups:
        begins = np.zeros(len(members), bool)
        begins[0] = True
        if clock is not None and times is not None and len(members) > 1:
            found = np.diff(times[members])
            if (found < 0).all():
                members, turned = members[::-1], turned + 1
            elif not (found > 0).all():
                raise _disorder(table, clock, times, name, members, found)
            one = clock.steps(times[members])
            begins[1:] = np.abs(one - 1) >= 0.5
            steps.append(one)
        rows.append(members)
        starts.append(begins)
    every, known = np.concatenate(rows), np.concatenate(starts)
    all_steps = np.concatenate(steps) if steps else np.ones(0)
    odd = np.abs(all_steps - 1) >= 0.5
    if clock is not None and len(odd) and odd.mean() > 1 - _REGULAR:
        raise DataError(
            f"{table.file}: column {name_of(clock.name)}: the times are not evenly spaced: only {(~odd).sum():,} of "
            f"{len(odd):,} steps are about {clock.step_in_words()}; resample the rows to even steps, or take them as "
            "even steps by leaving the column out (--ignore COLUMN)"
        )
    if not odd.any():
        return Order(every, known, turned)
    begins = np.concatenate([np.r_[False, one[1:]] for one in starts])
    first = table.lines[int(every[np.flatnonzero(begins)[0]])]
    return Order(every, known, turned, int(odd.sum()), float(all_steps[odd].max()), first)


def _disorder(
    table: SeriesTable, clock: Clock, times: np.ndarray, group: str, rows: np.ndarray, steps: np.ndarray
) -> DataError:
    """What is wrong with the order, and what to do."""
    label = f"{table.file}: column {name_of(clock.name)}" + (f" of {name_of(group)}" if group else "")
    other = _tells_apart(table, clock, times) if not group else None
    apart = f"by --by {name_of(other)}, whose values tell them apart" if other else "by --by COLUMN"
    back = np.flatnonzero(steps < 0)
    forth = int((steps > 0).sum())
    if len(back) and forth and (other or 5 * min(len(back), forth) < len(steps)) and not group:
        line = table.lines[int(rows[back[0] + 1])]
        return DataError(
            f"{label}: the time starts again at line {line}, as where several series are stacked in one table; take "
            f"them apart {apart}" + ("" if other else ", or sort the rows by time")
        )
    twice = np.flatnonzero(steps == 0)
    if len(twice) and (not len(back) or not forth):
        first, second = (table.lines[int(rows[twice[0] + i])] for i in (0, 1))
        return DataError(
            f"{label}: the time {clock.shown(float(times[rows[twice[0]]]))} comes twice, in lines {first} and "
            f"{second}, as do {len(twice):,} in all; keep one row for each time, or, where several series are stacked, "
            f"take them apart {apart}"
        )
    line = table.lines[int(rows[(back if len(back) else twice)[0] + 1])]
    return DataError(
        f"{label}: the times are not in order, first at line {line}; sort the rows by time, or take them as even steps "
        "as they stand by leaving the column out (--ignore COLUMN)"
    )


def _tells_apart(table: SeriesTable, clock: Clock, times: np.ndarray) -> str | None:
    """A column within each of whose values the times go up, or down: that of the fewest values."""
    found = []
    for column in table.columns.values():
        if column.name in clock.columns or column.first_missing is not None:
            continue
        cells = column.cells()
        count = len(set(cells))
        if not 1 < count <= len(cells) // 3:
            continue
        steps = [np.diff(times[rows]) for _, rows in table.groups(column.name)]
        if all((one > 0).all() or (one < 0).all() for one in steps):
            found.append((count, column.name))
    return min(found)[1] if found else None
