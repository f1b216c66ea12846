"""The gradient of a table of many rows: only those that were picked are written.

NumPy alone, without a loop of our own: the ids are sorted, and a run of equal ones is summed in blocks of sixteen rows,
and these sums again, so that the rounding of frequent ids does not grow with their number.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from backends.reference import embedding as reference

_BLOCK = 16


def _sums(ids: Any, rows: Any) -> tuple[Any, Any]:
    """The different ids in ascending order, and the sum of the rows (M, D) of each: (U,), (U, D)."""
    order = np.argsort(ids, kind="stable")
    ids, rows = ids[order], rows[order]
    starts = np.flatnonzero(np.concatenate([np.ones(min(1, len(ids)), bool), ids[1:] != ids[:-1]]))
    unique = ids[starts]
    while len(rows) > len(unique):
        rank = np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))
        blocks = np.flatnonzero(rank % _BLOCK == 0)
        rows = np.add.reduceat(rows, blocks, axis=0)
        starts = np.searchsorted(blocks, starts)
    return unique, rows


def _small(w: Any, ids: Any) -> str | None:
    v = w.shape[0]
    if v <= reference.SMALL:
        return f"{v} rows are few enough for a product with the one-hot matrix"
    return None if w.dtype in (np.float32, np.float64) else f"w is of {w.dtype}"


@reference.embedding.alternative("numpy", unless=_small)
class EmbeddingBySorting:
    """``w[ids]``, whose gradient holds no more than the table and the rows that were picked."""

    forward = staticmethod(reference.embedding.forward)

    @staticmethod
    def backward(xp, dy, saved, *, needed):
        flat, shape = saved
        dw = np.zeros(shape, dy.dtype)
        if flat.size:
            ids, sums = _sums(flat, dy.reshape(flat.shape[0], prod(shape[1:])))
            dw[ids] = sums.reshape(-1, *shape[1:])
        return dw, None


@reference.add_rows_.alternative("numpy")
class AddRowsBySorting:
    """``table[ids] += rows``, which touches no other row."""

    @staticmethod
    def forward(xp, table, ids, rows):
        if ids.size:
            ids, sums = _sums(ids, reference.wide(xp, rows.reshape(ids.shape[0], prod(table.shape[1:]))))
            table[ids] += sums.reshape(-1, *table.shape[1:])
