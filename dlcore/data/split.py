"""Parts of a data set: disjoint, complete, repeatable, with the classes in proportion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from backends.random import derive, permutation
from dlcore.data.dataset import Dataset, Splits, Targets
from dlcore.errors import ConfigError, DataError

__all__ = ["hold_out", "split", "split_rows"]


def split(
    data: Dataset, fractions: Sequence[float] = (0.6, 0.2, 0.2), seed: int = 0, stratify: bool = True
) -> tuple[Dataset, ...]:
    """Deal the rows of ``data`` into one Dataset per fraction: every row into exactly one.

    fractions : positive numbers with sum 1
    seed : the same seed gives the same parts, on every machine
    stratify : with integer y of one label per row, each part gets its fraction of each class, rounded up or down.
        Float y (regression, binary 0.0 and 1.0) and a dict of targets have no such classes: it is ignored.

    The rows come in random order, whether or not they are sorted in ``data``.

    Raises ConfigError for fractions that are not positive or do not add up to 1, DataError for too few rows.

    >>> data = Dataset(np.arange(20.0)[:, None], np.repeat([0, 1], [15, 5]))
    >>> [np.bincount(part.y).tolist() for part in split(data)]
    [[9, 3], [3, 1], [3, 1]]
    """
    labels = _strata(data.y) if stratify else None
    return tuple(data[rows] for rows in split_rows(len(data), fractions, seed, labels))


def split_rows(n: int, fractions: Sequence[float], seed: int, labels: np.ndarray | None = None) -> list[np.ndarray]:
    """The positions that :func:`split` puts into each part, stratified by ``labels`` (n,) if there are any.

    >>> [len(rows) for rows in split_rows(10, (0.7, 0.3), seed=0)]
    [7, 3]
    """
    shares = _checked(fractions)
    order = permutation(derive(seed, "split"), n)
    strata = np.zeros(n, np.intp) if labels is None else np.unique(labels[order], return_inverse=True)[1]
    counts = _apportion(np.bincount(strata, minlength=1), shares)  # (strata, parts)
    part = np.empty(n, np.intp)
    part[np.argsort(strata, kind="stable")] = np.repeat(np.tile(np.arange(len(shares)), len(counts)), counts.ravel())
    rows = [order[part == p] for p in range(len(shares))]
    for share, chosen in zip(shares, rows, strict=True):
        if not len(chosen):
            raise DataError(f"split: {n} rows are too few, none is left for the part of {share:g}; use fewer parts")
    return rows


def hold_out(data: Splits, share: float, seed: int = 0) -> Splits:
    """``data`` with a ``share`` of the training examples moved into ``train_dev``, the classes in proportion.

    seed : of what is held out

    Where the development set is of another kind than the training set, the held-out part tells what of the difference
    is overfitting. A share of 0 gives ``data`` as it is.

    Raises ConfigError and DataError as :func:`split`.

    >>> from dlcore.data import load
    >>> data = load("digits")
    >>> len(data.train), [len(part) for part in (hold_out(data, 0.1).train, hold_out(data, 0.1).train_dev)]
    (1078, [970, 108])
    """
    if not share:
        return data
    rows = split_rows(len(data.train), (1.0 - share, share), seed, _strata(data.train.y))
    kept, held = (data.train[np.sort(part)] for part in rows)
    return replace(data, train=kept, train_dev=held)


def _strata(y: Targets) -> np.ndarray | None:
    if isinstance(y, dict) or y.dtype.kind not in "iub" or y.size != len(y):
        return None
    return y.reshape(-1)


def _checked(fractions: Sequence[float]) -> np.ndarray:
    values = tuple(fractions)
    if not values or not all(f > 0 for f in values) or not math.isclose(sum(values), 1.0, abs_tol=1e-6):
        raise ConfigError(f"split: fractions are {values}, expected positive numbers of sum 1, such as (0.6, 0.2, 0.2)")
    return np.asarray(values, np.float64) / sum(values)


def _apportion(sizes: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Whole numbers (strata, parts): ``sizes`` × ``shares``, each rounded up or down, with each row's sum its size.

    In each stratum the rows left over by rounding down go to the parts that are furthest behind their share over all
    strata so far. (With each stratum on its own, classes of one row each would all go to the largest part.)
    """
    counts = np.empty((len(sizes), len(shares)), np.intp)
    behind = np.zeros(len(shares))
    for row, size in zip(counts, sizes, strict=True):
        ideal = size * shares
        row[:] = np.floor(ideal + 1e-6)  # 0.29 * 100 is 28.999999999999996
        behind += ideal - row
        open_to_more = ideal - row > 1e-6
        rank = np.argsort(np.where(open_to_more, -behind, np.inf), kind="stable")
        more = rank[: size - row.sum()]
        row[more] += 1
        behind[more] -= 1
    return counts
