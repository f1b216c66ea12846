"""Sequences of several lengths packed into rows: valid steps only, in the order in which a recurrent cell takes them.

A batch (N, T, ...) of N sequences, padded to T steps, has M = sum of lengths valid steps. A cell goes through them in
*computed steps*: step s of all sequences that have one, the longest sequence first. So the sequences that are still
active are always the first rows of a state, and a slice takes the place of a mask::

    lengths 1, 3, 2 in the order 1, 2, 0:    computed step 0: sequences 1 2 0
                                             computed step 1: sequences 1 2
                                             computed step 2: sequences 1

Read in reverse, computed step s of a sequence is its step length - 1 - s. What lies behind a sequence's end is never
read, so that padding changes nothing: not an output, not a gradient, and no order in which anything is summed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from backends.array_ops import device_of

__all__ = ["active", "inverse", "pack", "packed_rows", "sequence_order", "unpack"]


def packed_rows(lengths: tuple[int, ...], steps: int, reverse: bool = False) -> np.ndarray:
    """The flat positions n · T + t of all valid steps in the order in which they are computed, made on the host.

    lengths : the N sequences' lengths, each in 1 .. steps
    steps : T, to which they are padded

    Returns (M,) int64. The first N of them are the sequences' first computed steps.

    >>> packed_rows((1, 3, 2), 4)
    array([4, 8, 0, 5, 9, 6])
    >>> packed_rows((1, 3, 2), 4, reverse=True)
    array([6, 9, 0, 5, 8, 4])
    """
    length = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-length, kind="stable")
    step = np.arange(length.max(initial=0))[:, None]  # (S, 1)
    valid = step < length[order]  # (S, N)
    time = length[order] - 1 - step if reverse else step
    return (order * steps + time)[valid]


def active(lengths: tuple[int, ...] | None, n: int, steps: int) -> list[int]:
    """How many sequences take part in each computed step.

    >>> active((1, 3, 2), 3, 4)
    [3, 2, 1]
    >>> active(None, 3, 4)
    [3, 3, 3, 3]
    """
    if lengths is None:
        return [n] * steps
    ending = np.bincount(lengths)  # [l]: how many sequences have the length l
    return (n - np.cumsum(ending))[:-1].tolist()


def sequence_order(rows: Any, n: int, steps: int) -> Any:
    """The sequences, the longest first: (N,) integers, from the packed rows.

    >>> sequence_order(packed_rows((1, 3, 2), 4), 3, 4)
    array([1, 2, 0])
    """
    return rows[:n] // steps


def inverse(xp: Any, rows: Any, size: int) -> Any:
    """Where each of ``size`` flat positions lies among the M packed rows: (size,) integers, M for those that do not.

    >>> inverse(np, packed_rows((1, 3), 4), 8)
    array([1, 4, 4, 4, 0, 2, 3, 4])
    """
    count = rows.shape[0]
    order = xp.astype(xp.argsort(rows), rows.dtype, copy=False)
    ascending = xp.take(rows, order, axis=0)
    position = xp.arange(size, dtype=rows.dtype, device=device_of(rows))
    near = xp.minimum(xp.astype(xp.searchsorted(ascending, position), rows.dtype, copy=False), count - 1)
    found = xp.take(ascending, near, axis=0) == position
    return xp.where(found, xp.take(order, near, axis=0), xp.full_like(near, count))


def pack(xp: Any, x: Any, rows: Any, reverse: bool = False) -> Any:
    """The valid steps of (N, T, ...) as rows: (M, ...). Without ``rows`` all steps are valid.

    ``reverse`` counts only without ``rows``, which have their order already.

    >>> x = np.array([[1, 0, 0], [2, 3, 4]])
    >>> pack(np, x, packed_rows((1, 3), 3))
    array([2, 1, 3, 4])
    """
    n, steps, *features = x.shape
    if rows is None:
        first = xp.permute_dims(x, (1, 0, *range(2, x.ndim)))  # (N, T, ...) -> (T, N, ...)
        return xp.reshape(xp.flip(first, axis=0) if reverse else first, (steps * n, *features))
    return xp.take(xp.reshape(x, (n * steps, *features)), rows, axis=0)  # (N, T, ...) -> (N T, ...) -> (M, ...)


def unpack(xp: Any, packed: Any, places: Any, n: int, steps: int, reverse: bool = False) -> Any:
    """Rows back to their steps, zeros elsewhere: the adjoint of :func:`pack`, (M, ...) -> (N, T, ...).

    places : of :func:`inverse`; None where all steps are valid, and then ``reverse`` counts

    >>> rows = packed_rows((1, 3), 3)
    >>> unpack(np, np.array([2, 1, 3, 4]), inverse(np, rows, 6), 2, 3)
    array([[1, 0, 0],
           [2, 3, 4]])
    """
    features = packed.shape[1:]
    if places is None:
        first = xp.reshape(packed, (steps, n, *features))  # (T N, ...) -> (T, N, ...)
        first = xp.flip(first, axis=0) if reverse else first
        x = xp.permute_dims(first, (1, 0, *range(2, first.ndim)))  # (T, N, ...) -> (N, T, ...)
        return xp.reshape(xp.reshape(x, (n * steps, *features)), (n, steps, *features))  # in one piece
    nothing = xp.zeros((1, *features), dtype=packed.dtype, device=device_of(packed))
    return xp.reshape(xp.take(xp.concat([packed, nothing], axis=0), places, axis=0), (n, steps, *features))
