"""One pass over a data set in batches, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends.random import derive, permutation
from dlcore.data.dataset import Dataset
from dlcore.errors import ConfigError, DataError

__all__ = ["Batches", "batches"]


@dataclass(frozen=True, eq=False)
class Batches:
    """The batches of one epoch: iterate it, as often as you like, or ask its ``len``. Made by :func:`batches`."""

    data: Dataset
    order: np.ndarray
    size: int

    def __len__(self) -> int:
        return -(-len(self.order) // self.size)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for first in range(0, len(self.order), self.size):
            yield self.data.rows(self.order[first : first + self.size])


def batches(
    data: Dataset,
    size: int,
    shuffle: bool = True,
    drop_last: bool = False,
    *,
    seed: int = 0,
    epoch: int = 0,
    start: int = 0,
) -> Batches:
    """Every example of ``data`` once, ``size`` at a time, as ``(x, y)``; with lengths, as ``(x, y, lengths)``.

    size : examples per batch; the last batch holds the rest
    shuffle : a new order each epoch, a pure function of ``seed`` and ``epoch``; else the order of ``data``
    drop_last : leave out a last batch that is not full
    epoch : counts from 0
    start : batches to skip, to go on where an interrupted epoch stopped

    The arrays are copies: writing into them leaves ``data`` alone. Arguments are checked at the call, not at the first
    batch. Raises ConfigError for a size below 1, for a start beyond the last batch, and where ``drop_last`` would leave
    no batch at all.

    >>> data = Dataset(np.arange(5.0)[:, None], np.arange(5))
    >>> [y.tolist() for _, y in batches(data, 2, shuffle=False)]
    [[0, 1], [2, 3], [4]]
    >>> sorted(label for _, y in batches(data, 2, seed=1, epoch=3) for label in y.tolist())
    [0, 1, 2, 3, 4]
    """
    if not isinstance(data, Dataset):
        raise DataError(f"batches: data is a {type(data).__name__}, expected a Dataset; make one with Dataset(x, y)")
    if not isinstance(size, int | np.integer) or size < 1:
        raise ConfigError(f"batches: size is {size!r}, expected a whole number of at least 1")
    n = len(data)
    if drop_last and n < size:
        raise ConfigError(f"batches: {n} examples fill no batch of {size}; lower size or set drop_last=False")
    stop = n - n % size if drop_last else n
    if not isinstance(start, int | np.integer) or not 0 <= start <= -(-stop // size):
        raise ConfigError(f"batches: start is {start!r}, expected 0 to {-(-stop // size)}, the number of batches")
    order = permutation(derive(seed, "shuffle", "", epoch), n) if shuffle else np.arange(n)
    return Batches(data, order[start * size : stop], int(size))
