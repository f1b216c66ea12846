"""Series from a table whose rows follow one another in time: windows of the past, and the value that comes next."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dlcore.data.dataset import Dataset, Splits
from dlcore.data.normalize import Normalizer
from dlcore.data.readers._file import shown
from dlcore.data.readers._rows import MISSING, name_of, no_column, number, table_rows, too_large
from dlcore.errors import ConfigError, DataError

__all__ = ["open_series"]

_FRACTIONS = (0.6, 0.8)  # where dev and test begin


def open_series(
    path: str | os.PathLike[str],
    window: int,
    *,
    target: str | None = None,
    ignore: Sequence[str] | None = None,
    normalize: bool = False,
) -> Splits:
    """A CSV table of numbers, a row a time step, as windows: x (N, window, D), and y (N, 1), the target's next value.

    path : of a CSV file
    window : rows of the past that a prediction sees
    target : the column to predict, the last by default; its past is the first feature of x, before the other columns
    ignore : columns to leave out, such as a date
    normalize : bring every column of x to mean 0 and standard deviation 1 over the training rows; y stays as it is

    The parts follow one another in time, 60-20-20: what is tested comes after all that was learnt from. Raises
    DataError, naming the file with line and column, for a cell that is no number or is missing, and for too few rows.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "series.csv"
    >>> _ = file.write_text("value\\n" + "".join(f"{i}\\n" for i in range(30)))
    >>> data = open_series(file, 4)
    >>> data.train.x[0].ravel().tolist(), data.train.y[0].tolist(), len(data.train), len(data.dev), len(data.test)
    ([0.0, 1.0, 2.0, 3.0], [4.0], 15, 5, 6)
    """
    if isinstance(window, bool) or not isinstance(window, int | np.integer) or window < 1:
        raise ConfigError(f"window is {window!r} but a whole number of at least 1 is expected")
    names, values = _columns(path, target, ignore or ())
    count = len(values) - window
    dev, test = (int(count * share) for share in _FRACTIONS)
    if count < 5:
        raise DataError(
            f"{shown(path)}: {len(values):,} rows make {max(count, 0)} windows of {window}, but at least 5 are "
            "expected; give more rows, or a smaller window"
        )
    normalizer, past = None, values
    if normalize:
        normalizer = Normalizer.fit(Dataset(values[: dev + window], np.zeros(dev + window)))
        past = normalizer.transform(values)
    places = np.arange(count)[:, None] + np.arange(window)
    whole = Dataset(past[places], values[window:, :1])  # (N, window, D), (N, 1)
    first, *others = names
    more = f" and {len(others)} more" if others else ""
    goal = f"the next {name_of(first)} is to be predicted from {window} past rows of it{more}"
    return Splits(
        train=whole[:dev],
        dev=whole[dev:test],
        test=whole[test:],
        name=shown(Path(path).stem),
        task="regression",
        features=names,
        source=f"{shown(path)}, {len(values):,} rows; {goal}",
        normalizer=normalizer,
        last_value=0,
    )


def _columns(
    path: str | os.PathLike[str], target: str | None, ignore: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of the columns, the target first, and the rows (n, D) float32."""
    file, found = shown(path), array("f")
    with table_rows(path) as (header, _, rows, _):
        for name in (*ignore, *([] if target is None else [target])):
            if name not in header:
                raise DataError(no_column(file, name, header))
        kept = [name for name in header if name not in ignore]
        if not kept or target in ignore:
            raise DataError(f"{file}: the target is among the columns to ignore; leave one out")
        target = kept[-1] if target is None else target
        names = (target, *(name for name in kept if name != target))
        places = [header.index(name) for name in names]
        for line, cells in rows:
            for name, place in zip(names, places, strict=True):
                cell = cells[place]
                value = None if cell in MISSING else number(cell)
                if value is None or too_large(value):
                    what = "the cell is missing" if cell in MISSING else f"{cell!r:.60} is not a number"
                    raise DataError(
                        f"{file}: column {name_of(name)}, line {line}: {what}; a series takes numbers without gaps: "
                        "mend the cell, or leave the column out by ignore"
                    )
                found.append(value)
    return names, np.frombuffer(found, np.float32).reshape(-1, len(names))
