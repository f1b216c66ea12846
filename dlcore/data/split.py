"""Parts of a data set: disjoint, complete, repeatable, with the classes in proportion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from backends.random import derive, permutation
from dlcore.data.dataset import Dataset, Splits, Targets
from dlcore.errors import ConfigError, DataError

__all__ = ["hold_out", "split", "split_rows", "strata_of"]


def split(
    data: Dataset, fractions: Sequence[float] = (0.6, 0.2, 0.2), seed: int = 0, stratify: bool = True
) -> tuple[Dataset, ...]:
    """Deal the rows of ``data`` into one Dataset per fraction: every row into exactly one.

    fractions : positive numbers with sum 1
    seed : the same seed gives the same parts, on every machine
    stratify : with y of one class per row, integers or floats of 0 and 1 alone, each part gets its fraction of each
        class, rounded up or down, and the first part at least one row of each. In a dict of targets, the first that has
        such classes counts, and where it is missing is a class of its own. It is ignored for other targets.

    The rows come in random order, whether or not they are sorted in ``data``.

    Raises ConfigError for fractions that are not positive or do not add up to 1, DataError for too few rows.

    >>> data = Dataset(np.arange(20.0)[:, None], np.repeat([0, 1], [15, 5]))
    >>> [np.bincount(part.y).tolist() for part in split(data)]
    [[9, 3], [3, 1], [3, 1]]
    """
    labels = strata_of(data.y) if stratify else None
    return tuple(data[rows] for rows in split_rows(len(data), fractions, seed, labels))


def split_rows(
    n: int, fractions: Sequence[float], seed: int, labels: np.ndarray | None = None, *, rules: int = 2
) -> list[np.ndarray]:
    """The positions that :func:`split` puts into each part, stratified by ``labels`` (n,) if there are any.

    rules : 1 lets the only row of a class go into any part, as version 0.1 did

    >>> [len(rows) for rows in split_rows(10, (0.7, 0.3), seed=0)]
    [7, 3]
    """
    shares = _checked(fractions)
    order = permutation(derive(seed, "split"), n)
    strata = np.zeros(n, np.intp) if labels is None else np.unique(labels[order], return_inverse=True)[1]
    counts = _apportion(np.bincount(strata, minlength=1), shares, rules)  # (strata, parts)
    part = np.empty(n, np.intp)
    part[np.argsort(strata, kind="stable")] = np.repeat(np.tile(np.arange(len(shares)), len(counts)), counts.ravel())
    rows = [order[part == p] for p in range(len(shares))]
    for share, chosen in zip(shares, rows, strict=True):
        if not len(chosen):
            raise DataError(f"split: {n} rows are too few, none is left for the part of {share:g}; use fewer parts")
    return rows


def hold_out(data: Splits, share: float, seed: int = 0, *, rules: int = 2) -> Splits:
    """``data`` with a ``share`` of the training examples moved into ``train_dev``, the classes in proportion.

    seed : of what is held out
    rules : 1 takes only integers for classes, as version 0.1 did

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
    if data.task == "text":
        raise ConfigError(
            f"train_dev holds out examples at random, but {data.name} is a text, whose characters follow one another; "
            "leave train_dev out"
        )
    y = data.train.y
    labels = strata_of(y) if rules > 1 or (not isinstance(y, dict) and y.dtype.kind in "iub") else None
    rows = [np.sort(part) for part in split_rows(len(data.train), (1.0 - share, share), seed, labels, rules=rules)]
    kept, held = (data.train[part] for part in rows)
    digests = data.digests
    if digests is not None:
        digests = {**digests, "train": digests["train"][rows[0]], "train_dev": digests["train"][rows[1]]}
    origins = data.origins
    if origins is not None and "train" in origins:
        origins = {**origins, "train": origins["train"][rows[0]], "train_dev": origins["train"][rows[1]]}
    return replace(data, train=kept, train_dev=held, digests=digests, origins=origins)


def strata_of(y: Targets) -> np.ndarray | None:
    """The class of each row (n,), by which parts are stratified; None where the targets have no classes.

    >>> strata_of(np.array([[0.0], [1.0], [1.0]]))
    array([0, 1, 1])
    >>> strata_of({"price": np.array([2.5, 3.0]), "kind": np.array([1, -1])})
    array([ 1, -1])
    """
    if isinstance(y, dict):
        return next((labels for labels in map(strata_of, y.values()) if labels is not None), None)
    if y.size != len(y):
        return None
    if y.dtype.kind in "iub":
        return y.reshape(-1)
    known = y[~np.isnan(y)]
    if not len(known) or not ((known == 0) | (known == 1)).all():
        return None
    return np.where(np.isnan(y), -1, y).astype(np.int64).reshape(-1)


def _checked(fractions: Sequence[float]) -> np.ndarray:
    values = tuple(fractions)
    if not values or not all(f > 0 for f in values) or not math.isclose(sum(values), 1.0, abs_tol=1e-6):
        raise ConfigError(f"split: fractions are {values}, expected positive numbers of sum 1, such as (0.6, 0.2, 0.2)")
    return np.asarray(values, np.float64) / sum(values)


def _apportion(sizes: np.ndarray, shares: np.ndarray, rules: int) -> np.ndarray:
    """Whole numbers (strata, parts): ``sizes`` × ``shares``, each rounded up or down, with each row's sum its size.

    In each stratum the rows left over by rounding down go to the parts that are furthest behind their share over all
    strata so far. (With each stratum on its own, classes of one row each would all go to the largest part.) The first
    part, which is trained on, gets a row of every stratum, unless labels with a row each, such as numbers that are no
    classes, would fill it.
    """
    rare = np.floor(sizes * shares[0] + 1e-6) == 0
    learned = rare & (rules > 1 and rare.sum() <= sizes.sum() * shares[0])
    counts = np.empty((len(sizes), len(shares)), np.intp)
    behind = np.zeros(len(shares))
    for row, size, first in zip(counts, sizes, learned, strict=True):
        ideal = size * shares
        row[:] = np.floor(ideal + 1e-6)  # 0.29 * 100 is 28.999999999999996
        row[0] += first
        behind += ideal - row
        open_to_more = ideal - row > 1e-6
        rank = np.argsort(np.where(open_to_more, -behind, np.inf), kind="stable")
        more = rank[: size - row.sum()]
        row[more] += 1
        behind[more] -= 1
    return counts
