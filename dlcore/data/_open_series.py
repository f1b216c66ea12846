"""Series from a table whose rows follow one another in time: windows of the past, and the values that come next."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dlcore.data._change import Change
from dlcore.data._open_path import _constant_inputs
from dlcore.data._series_inputs import MISSING, SeriesInputs, filled
from dlcore.data._series_table import SeriesTable, find_clock, read_table
from dlcore.data._time_order import Order, in_order
from dlcore.data.dataset import Dataset, Splits
from dlcore.data.normalize import Normalizer
from dlcore.data.origins import Origins
from dlcore.data.overlap import digests_of
from dlcore.data.readers.csv.moments import NUMBER, formats_of
from dlcore.data.readers.csv.row_numbers import counts_by_one, is_index_name
from dlcore.data.readers.csv.rows import name_of
from dlcore.data.readers.file import shown
from dlcore.errors import ConfigError, DataError

__all__ = ["open_series"]

_FRACTIONS = (0.6, 0.8)  # where dev and test begin
_FEWEST = 5  # windows of a series


def open_series(
    path: str | os.PathLike[str],
    window: int,
    *,
    target: str | None = None,
    ignore: Sequence[str] | None = None,
    normalize: bool = False,
    horizon: int = 1,
    time: Sequence[str] | None = None,
    by: str | None = None,
    missing: str = "refuse",
    calendar: bool = False,
    rules: int = 2,
) -> Splits:
    """A CSV table of numbers, a row a time step, as windows: x (N, window, D), and y (N, H), the target's next values.

    path : of a CSV file
    window : rows of the past that a prediction sees
    target : the column to predict, the last by default; its past is the first feature of x, before the other columns
    ignore : columns to leave out
    normalize : bring every column of x to mean 0 and standard deviation 1 over the training rows; y stays as it is
    horizon : H, how many values that follow a window are predicted
    time : the columns that tell the time of a row; by default dates, numbers that count evenly under the name of a
        time, or year and month, where there are such. They are no features
    by : the column that tells several series apart that are stacked in one table; a window is of one of them
    missing : what to do about missing cells: "refuse"; "drop" the windows that hold one; "mean" of the training rows;
        or the "previous" value. A missing value is never predicted: windows followed by one are left out
    calendar : add sine and cosine of the hour, the day of the week and the day of the year, from dates
    rules : 1 for the windows of version 0.1, which knew no time

    The parts follow one another in time, 60-20-20, within each series: what is tested comes after all that was learnt
    from. Rows that stand newest first are turned round. A window does not reach across a gap of time; how many are left
    out for it stands in the notes.

    Raises DataError, naming the file with line and column, for a cell that is no number or is missing, for too few
    rows, and for times that come twice, go up and down or have no usual step.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "series.csv"
    >>> _ = file.write_text("value\\n" + "".join(f"{i}\\n" for i in range(30)))
    >>> data = open_series(file, 4)
    >>> data.train.x[0].ravel().tolist(), data.train.y[0].tolist(), len(data.train), len(data.dev), len(data.test)
    ([0.0, 1.0, 2.0, 3.0], [4.0], 15, 5, 6)
    """
    for name, value in (("window", window), ("horizon", horizon)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ConfigError(f"{name} is {value!r} but a whole number of at least 1 is expected")
    if missing not in MISSING:
        raise ConfigError(f"missing is {missing!r} but one of {', '.join(MISSING)} is expected")
    table = read_table(path, by)
    inputs, notes = _roles(table, target, ignore or (), time, by, rules)
    inputs = replace(inputs, window=int(window), horizon=int(horizon), missing=missing, calendar=calendar)
    if not len(table):
        raise _too_few(table, inputs, 0, 0, "")
    if calendar and inputs.clock is None:
        raise DataError(f"{table.file}: calendar needs a column with dates; name it by --time COLUMN")
    groups = table.groups(by)
    times = None if inputs.clock is None else table.times(inputs.clock)
    if inputs.clock is not None and times is not None:
        inputs = replace(inputs, clock=inputs.clock.fitted(times, [members for _, members in groups]))
    order = in_order(table, inputs.clock, times, groups)
    values = inputs.values(table, order.rows, times)
    if rules == 1:
        values = values.astype(np.float32)
    if missing == "refuse":
        _refuse_missing(table, inputs)
    unknown = np.isnan(values[:, 0])  # where the target is missing: never predicted, whatever stands for it
    values = filled(values, order.starts, missing, None)
    holes = np.zeros(len(values), bool) if missing == "mean" else np.asarray(np.isnan(values).any(axis=1))
    begins, of_group, lost = _begins(order, groups, holes, unknown, inputs)
    _check_count(table, inputs, len(begins), len(order.rows), lost)
    parts, late, divided = _in_parts(begins, of_group, inputs)
    train = parts[0]
    if not all(map(len, parts)):
        raise _too_few(table, inputs, len(begins), len(order.rows), "")
    trained = values[_covered(len(values), train, inputs)]
    if missing == "mean":
        inputs, values, trained = _with_means(table, inputs, values, trained)
    trained = trained[~np.isnan(trained).any(axis=1)]
    normalizer, past = None, values
    if normalize:
        normalizer = Normalizer.of(trained, bounded=False) if rules == 1 else _unbounded_target(Normalizer.of(trained))
        past = normalizer.transform(np.where(np.isnan(values), 0.0, values))
    whole = [_dataset(past, values, part, inputs) for part in parts]
    change = None
    if rules > 1:
        change = Change.of(whole[0], late, trained, normalizer, len(inputs.columns))
        notes += _notes(inputs, order, lost, len(groups) - divided, len(groups))
        notes += [*_too_coarse(inputs, values, whole[0]), *_constant_inputs(trained, inputs.names(), normalize)]
    return Splits(
        train=whole[0],
        dev=whole[1],
        test=whole[2],
        name=shown(Path(path).stem),
        task="regression",
        features=inputs.names(),
        source=f"{table.file}, {len(table):,} rows; {_goal(inputs)}",
        normalizer=normalizer,
        last_value=0,
        inputs=inputs if rules > 1 else None,
        change=change,
        notes=tuple(notes),
        digests=None if rules == 1 else _digests(values, parts, inputs),
        origins=_origins(Path(path), np.asarray(table.lines)[order.rows], parts, inputs),
    )


def _origins(path: Path, lines: np.ndarray, parts: Sequence[np.ndarray], inputs: SeriesInputs) -> dict[str, Origins]:
    """The lines of the first value that is predicted, (n,) of each part; ``lines`` are those of the rows in time."""
    return {
        name: Origins(shown(path.name), "line", lines[begins + inputs.window])
        for name, begins in zip(("train", "dev", "test"), parts, strict=True)
    }


def _digests(values: np.ndarray, parts: Sequence[np.ndarray], inputs: SeriesInputs) -> dict[str, np.ndarray]:
    """What tells the windows of each part from others, by which a changed file is compared with what was learned."""
    return {
        name: digests_of(_Windows(values, begins, inputs))
        for name, begins in zip(("train", "dev", "test"), parts, strict=True)
    }


class _Windows:
    """The windows that begin at some rows, with every digit, made when they are asked for."""

    def __init__(self, values: np.ndarray, begins: np.ndarray, inputs: SeriesInputs) -> None:
        self.values, self.begins, self.inputs = values, begins, inputs
        self.y = values[begins[:, None] + inputs.window + np.arange(inputs.horizon), 0]

    def __len__(self) -> int:
        return len(self.begins)

    def rows(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.values[self.begins[index][:, None] + np.arange(self.inputs.window)], self.y[index]


def _roles(
    table: SeriesTable,
    target: str | None,
    ignore: Sequence[str],
    time: Sequence[str] | None,
    by: str | None,
    rules: int,
) -> tuple[SeriesInputs, list[str]]:
    """The columns of x, that of the time and that of the series, and what is left out, in words."""
    for name in (*ignore, *([] if target is None else [target]), *([] if by is None else [by]), *(time or ())):
        table.check(name)
    taken = {*ignore, *([] if by is None else [by])}
    if target is not None and target in {*taken, *(time or ())}:
        what = "to ignore" if target in ignore else "of the time" if target in (time or ()) else "of by"
        raise DataError(f"{table.file}: the target is among the columns {what}; leave one out")
    notes: list[str] = []
    clock, others = None, [name for name in table.columns if name not in taken]
    if rules > 1:
        clock = find_clock(table, time, [*taken, *([] if target is None else [target])])
        if clock is None and target is None and len(others) > 1 and time is None:
            clock = find_clock(table, time, [*taken, others[-1]])
        in_time = () if clock is None else clock.columns
        others = [name for name in others if name not in in_time]
        if target is None and not others and clock is not None and time is None:
            clock, others = None, [name for name in table.columns if name not in taken]
    kept = others
    if not kept:
        raise DataError(f"{table.file}: the target is among the columns to ignore; leave one out")
    goal = kept[-1] if target is None else target
    if rules > 1:
        left = [name for name in kept if name != goal and _is_left_out(table, name)]
        if left:
            names = ", ".join(map(name_of, left))
            notes.append(f"left out: {names}, {'dates or' if any(table.columns[n].texts for n in left) else ''} row "
                         "numbers, which are no features".replace("  ", " "))  # fmt: skip
        kept = [name for name in kept if name not in left]
    columns = (goal, *(name for name in kept if name != goal))
    return SeriesInputs(columns, window=1, clock=clock, by=by), notes


def _is_left_out(table: SeriesTable, name: str) -> bool:
    """Whether a column is a further date, or numbers the rows."""
    column = table.columns[name]
    if column.texts is not None:
        forms = formats_of([cell for cell in column.texts if cell])
        return bool(forms) and forms != [NUMBER]
    if column.first_text or column.first_missing or not is_index_name(name):
        return False
    values = column.values()
    return counts_by_one(values) or counts_by_one(values[::-1])


def _refuse_missing(table: SeriesTable, inputs: SeriesInputs) -> None:
    for name in inputs.columns:
        line = table.columns[name].first_missing
        if line is not None:
            raise DataError(
                f"{table.file}: column {name_of(name)}, line {line}: the cell is missing; a series takes numbers "
                "without gaps: mend the cell, choose by --missing what stands for it (drop, mean or previous), or "
                "leave the column out by ignore (--ignore COLUMN)"
            )


def _begins(
    order: Order,
    groups: Sequence[tuple[str, np.ndarray]],
    holes: np.ndarray,
    unknown: np.ndarray,
    inputs: SeriesInputs,
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Where windows begin, the series of each, and how many are left out, by reason.

    holes : (N,) bool, rows that no window may hold
    unknown : (N,) bool, rows whose target is missing
    """
    length, n = inputs.window + inputs.horizon, len(order.rows)
    sizes = np.array([len(members) for _, members in groups])
    group = np.repeat(np.arange(len(groups)), sizes)
    begins = np.arange(max(n - length + 1, 0))
    begins = begins[group[begins] == group[begins + length - 1]]
    part = np.cumsum(order.starts)
    whole = part[begins] == part[begins + length - 1]
    kept = begins[whole]
    until = kept + inputs.window
    gone, open_ = np.r_[0, np.cumsum(holes)], np.r_[0, np.cumsum(unknown)]
    sound = (gone[until] == gone[kept]) & (open_[until + inputs.horizon] == open_[until])
    lost = {"gaps": len(begins) - len(kept), "missing": int((~sound).sum())}
    return kept[sound], group[kept[sound]], lost


def _in_parts(begins: np.ndarray, group: np.ndarray, inputs: SeriesInputs) -> tuple[list[np.ndarray], np.ndarray, int]:
    """The windows of the three parts, which training windows are the last fifth of a series, and how many series had
    enough.

    Each series is divided in time. Windows of one part are not followed by a value that another part predicts.
    """
    parts: list[list[np.ndarray]] = [[], [], []]
    for mine in np.split(begins, np.flatnonzero(np.diff(group)) + 1):
        if len(mine) < _FEWEST:
            continue
        dev, test = (int(len(mine) * share) for share in _FRACTIONS)
        train, held, last = mine[:dev], mine[dev:test], mine[test:]
        parts[0].append(train[train <= held[0] - inputs.horizon] if len(held) else train)
        parts[1].append(held[held <= last[0] - inputs.horizon])
        parts[2].append(last)
    empty = [np.zeros(0, np.int64)]
    late = [np.arange(len(part)) >= 0.8 * len(part) for part in parts[0]]
    return [np.concatenate(part or empty) for part in parts], np.concatenate(late or [np.zeros(0, bool)]), len(late)


def _covered(rows: int, begins: np.ndarray, inputs: SeriesInputs) -> np.ndarray:
    """(rows,) bool, those of the windows that begin there, and of what follows these."""
    steps = np.zeros(rows + 1, np.int64)
    np.add.at(steps, begins, 1)
    np.add.at(steps, begins + inputs.window + inputs.horizon, -1)
    return np.cumsum(steps[:-1]) > 0


def _dataset(past: np.ndarray, values: np.ndarray, begins: np.ndarray, inputs: SeriesInputs) -> Dataset:
    ahead = begins[:, None] + inputs.window + np.arange(inputs.horizon)
    x = past[begins[:, None] + np.arange(inputs.window)]  # (N, window, D)
    return Dataset(x.astype(np.float32, copy=False), values[ahead, 0].astype(np.float32))


def _with_means(
    table: SeriesTable, inputs: SeriesInputs, values: np.ndarray, trained: np.ndarray
) -> tuple[SeriesInputs, np.ndarray, np.ndarray]:
    """With the means of the training rows for missing cells."""
    count = (~np.isnan(trained)).sum(axis=0)[: len(inputs.columns)]
    for name, known in zip(inputs.columns, count, strict=True):
        if not known:
            raise DataError(
                f"{table.file}: column {name_of(name)} is missing in every row of the training set, so that it has no "
                "mean; leave it out by ignore (--ignore COLUMN)"
            )
    fills = np.nansum(trained, axis=0)[: len(inputs.columns)] / count
    inputs = replace(inputs, fills=tuple(map(float, fills)))
    flat = np.zeros(len(values), bool)
    values, trained = (filled(one, flat[: len(one)], "mean", inputs.fills) for one in (values, trained))
    return inputs, values, trained


def _unbounded_target(normalizer: Normalizer) -> Normalizer:
    """Without bounds on the target's past: a forecast begins from its last value, wherever that is."""
    if normalizer.low is None or normalizer.high is None:
        return normalizer
    low, high = normalizer.low.copy(), normalizer.high.copy()
    low[0], high[0] = -np.finfo(np.float32).max, np.finfo(np.float32).max
    mean, std = normalizer.mean.copy(), normalizer.std.copy()
    return Normalizer(mean, std, low, high)


def _check_count(table: SeriesTable, inputs: SeriesInputs, count: int, rows: int, lost: dict[str, int]) -> None:
    if count < _FEWEST:
        reasons = {"gaps": "cross a gap of time", "missing": "hold or precede a missing cell"}
        why = ", ".join(f"{lost[name]:,} {words}" for name, words in reasons.items() if lost[name])
        raise _too_few(table, inputs, count, rows, f" ({why})" if why else "")


def _too_few(table: SeriesTable, inputs: SeriesInputs, count: int, rows: int, why: str) -> DataError:
    ahead = f" and {inputs.horizon} rows that follow" if inputs.horizon > 1 else ""
    least = f"at least {_FEWEST} are" if inputs.horizon == 1 else "more, for three parts without common rows, are"
    return DataError(
        f"{table.file}: {rows:,} rows make {count} windows of {inputs.window}{ahead}{why}, but {least} expected; give "
        "more rows, or a smaller window" + (" or horizon" if inputs.horizon > 1 else "")
    )


def _goal(inputs: SeriesInputs) -> str:
    first, *others = inputs.columns
    values = "value" if inputs.horizon == 1 else f"{inputs.horizon} values"
    more = f" and {len(others)} other column{'s' * (len(others) > 1)}" if others else ""
    more += " and the calendar" if inputs.calendar else ""
    return f"the next {values} of {name_of(first)}, predicted from the last {inputs.window} rows of it{more}"


def _too_coarse(inputs: SeriesInputs, values: np.ndarray, train: Dataset) -> list[str]:
    """A remark on targets so far from 0 that float32, in which a model computes, rounds their changes away."""
    changes = np.diff(values[:, 0])
    changes = np.abs(changes[np.isfinite(changes) & (changes != 0)])
    gap = float(np.spacing(np.abs(np.asarray(train.y)).max()))
    if not len(changes) or gap < 0.05 * float(np.median(changes)):
        return []
    return [
        f"{name_of(inputs.columns[0])}: its values are rounded to steps of {gap:g}, which is much beside changes of "
        f"about {float(np.median(changes)):.3g}: subtract a constant from it in the file"
    ]


def _notes(inputs: SeriesInputs, order: Order, lost: dict[str, int], few: int, series: int) -> list[str]:
    """What a user must know of the time, a line each."""
    notes = []
    clock = inputs.clock
    if clock is None:
        notes.append("time: no column of times was found; the rows are taken as even steps, the oldest first")
    else:
        notes.append(f"time: {name_of(clock.name)}, one row per {clock.step_in_words()}; not a feature")
        if order.turned:
            of = "" if inputs.by is None else f" of {order.turned:,} series"
            notes.append(f"time: the rows{of} stand newest first and were turned round")
        if order.gaps:
            many = f"{order.gaps:,} gaps, the longest" if order.gaps > 1 else "a gap"
            notes.append(
                f"time: {many} of {order.longest:,.4g} steps, first before line {order.first:,}; "
                f"{lost['gaps']:,} windows that cross one are left out"
            )
    if inputs.by is not None:
        small = f", {few:,} of them with fewer than {_FEWEST} windows, which are left out" if few else ""
        notes.append(f"by: {series:,} series by {name_of(inputs.by)}{small}; each is divided in time by itself")
    if lost["missing"]:
        notes.append(f"missing: {lost['missing']:,} windows that hold or precede a missing cell are left out")
    return notes
