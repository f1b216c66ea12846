"""One pass over a data set in batches, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from backends.random import derive, permutation
from dlcore.data.source import Source, Stream, collate
from dlcore.data.text import Streams, Text
from dlcore.errors import ConfigError, DataError

__all__ = ["Batches", "StreamBatches", "ahead", "batches", "numbers_of"]


@dataclass(frozen=True, eq=False)
class Batches:
    """The batches of one epoch: iterate it, as often as you like, or ask its ``len``. Made by :func:`batches`.

    Where fetching takes time (the source says so by ``lazy = True``), a thread fetches the next batches meanwhile.

    >>> from dlcore.data.dataset import Dataset
    >>> found = batches(Dataset(np.eye(5), np.arange(5)), 2, shuffle=False)
    >>> len(found), [y.tolist() for x, y in found]
    (3, [[0, 1], [2, 3], [4]])
    """

    data: Source
    order: np.ndarray
    size: int

    def __len__(self) -> int:
        return -(-len(self.order) // self.size)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        fetched = (
            self.data.rows(self.order[first : first + self.size]) for first in range(0, len(self.order), self.size)
        )
        return ahead(fetched) if getattr(self.data, "lazy", False) else fetched


@dataclass(frozen=True, eq=False)
class StreamBatches:
    """The batches of one pass over a stream; how many they are shows at its end. Made by :func:`batches`."""

    data: Stream
    size: int
    drop_last: bool = False
    start: int = 0

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return ahead(self._batches())

    def _batches(self) -> Iterator[tuple[Any, ...]]:
        examples = islice(self.data, self.start * self.size, None)
        number = self.start
        while part := list(islice(examples, self.size)):
            if len(part) == self.size or not self.drop_last:
                first = number * self.size
                yield collate(part, self.data.name, range(first, first + len(part)))
            number += 1


def numbers_of(found: Any, batch: int) -> Any:
    """The numbers in the whole set of the examples of one batch of :func:`batches`, counted from its start.

    >>> from dlcore.data.dataset import Dataset
    >>> numbers_of(batches(Dataset(np.eye(5), np.arange(5)), 2, shuffle=False), 1).tolist()
    [2, 3]
    """
    first = batch * found.size
    if isinstance(found, Batches):
        return found.order[first : first + found.size]
    first += found.start * found.size
    return range(first, first + found.size)


POOL = 8
"""Batches whose examples are sorted by length together: more of them give more even batches, but less random ones."""


def _by_length(order: np.ndarray, lengths: np.ndarray, size: int, seed: int, epoch: int) -> np.ndarray:
    """The same positions, with those of similar lengths in the same batch."""
    full = len(order) // size
    pools = [order[first : first + POOL * size][: full * size - first] for first in range(0, full * size, POOL * size)]
    ordered = [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
    if not ordered:
        return order
    together = np.concatenate(ordered).reshape(full, size)
    together = together[permutation(derive(seed, "shuffle", "batches", epoch), full)]
    return np.concatenate([together.reshape(-1), order[full * size :]])


def ahead(items: Iterable[Any], depth: int = 2) -> Iterator[Any]:
    """The same items, of which up to ``depth`` are made in advance by a thread; its errors are raised here.

    >>> list(ahead(range(5)))
    [0, 1, 2, 3, 4]
    """
    made: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    given_up = threading.Event()

    def give(kind: str, value: Any) -> bool:
        while not given_up.is_set():
            try:
                made.put((kind, value), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not give("item", item):
                    return
            give("end", None)
        except BaseException as error:
            give("error", error)

    thread = threading.Thread(target=make, name="dlcore-batches", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = made.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        given_up.set()
        thread.join(1.0)  # it may wait for an iterator that never gives anything; then it is left behind


def batches(
    data: Source | Stream,
    size: int,
    shuffle: bool = True,
    drop_last: bool = False,
    *,
    seed: int = 0,
    epoch: int = 0,
    start: int = 0,
) -> Batches | StreamBatches | Streams:
    """Every example of ``data`` once, ``size`` at a time, as ``(x, y)``; with lengths, as ``(x, y, lengths)``.

    size : examples per batch; the last batch holds the rest
    shuffle : a new order each epoch, a pure function of ``seed`` and ``epoch``; else the order of ``data``
    drop_last : leave out a last batch that is not full
    epoch : counts from 0
    start : batches to skip, to go on where an interrupted epoch stopped

    With lengths that differ, ``shuffle`` also brings sequences of similar lengths together, for a batch takes as many
    steps as its longest sequence: of each :data:`POOL` batches in the random order, the examples are sorted by length,
    cut into batches, and all full batches are drawn in a random order again. The last batch, if it is not full, holds
    what comes last in the first random order, of any length. All of it depends on seed, epoch, size and the lengths.

    A stream comes in its own order, whatever ``shuffle`` says. A :class:`~dlcore.data.Text` comes as ``size`` streams
    of windows that follow one another, at most ``data.most_streams`` where it is not shuffled.

    The arrays are copies: writing into them leaves ``data`` alone. Arguments are checked at the call, not at the first
    batch. Raises ConfigError for a size below 1, for a start beyond the last batch, and where ``drop_last`` would leave
    no batch at all.

    >>> from dlcore.data import Dataset
    >>> data = Dataset(np.arange(5.0)[:, None], np.arange(5))
    >>> [y.tolist() for _, y in batches(data, 2, shuffle=False)]
    [[0, 1], [2, 3], [4]]
    >>> sorted(label for _, y in batches(data, 2, seed=1, epoch=3) for label in y.tolist())
    [0, 1, 2, 3, 4]
    """
    if not isinstance(data, Source | Stream):
        raise DataError(f"batches: data is a {type(data).__name__}, expected a Dataset; make one with Dataset(x, y)")
    if not isinstance(size, int | np.integer) or size < 1:
        raise ConfigError(f"batches: size is {size!r}, expected a whole number of at least 1")
    if isinstance(data, Text):
        if shuffle:
            return data.streams(int(size), seed, epoch, int(start))
        return data.streams(min(int(size), data.most_streams), start=int(start))
    if isinstance(data, Stream):
        return StreamBatches(data, int(size), drop_last, int(start))
    n = len(data)
    if drop_last and n < size:
        raise ConfigError(f"batches: {n} examples fill no batch of {size}; lower size or set drop_last=False")
    stop = n - n % size if drop_last else n
    if not isinstance(start, int | np.integer) or not 0 <= start <= -(-stop // size):
        raise ConfigError(f"batches: start is {start!r}, expected 0 to {-(-stop // size)}, the number of batches")
    order = permutation(derive(seed, "shuffle", "", epoch), n) if shuffle else np.arange(n)
    lengths = getattr(data, "lengths", None)
    if shuffle and lengths is not None and lengths.min() < lengths.max():
        order = _by_length(order, lengths, int(size), seed, epoch)
    return Batches(data, order[start * size : stop], int(size))
