"""Rows of a table picked by integers.

The gradient of a table takes memory in proportion to the rows that were picked, beside the table itself. Equal ids add
up in a fixed order: the ids are sorted, and each run of equal ones is summed in pairs. A small table is left to a
product with the one-hot matrix, which has the same property and is one call.
"""

from __future__ import annotations

from math import prod

from backends.array_ops import device_of, one_hot
from backends.dispatch import kernel, update_kernel
from backends.float16 import is_half

SMALL = 256
"""Rows of a table whose gradient is a product with the one-hot matrix."""


@kernel
def embedding(xp, w, ids, *, needed):
    """w[ids]: (V, ...) table, integer ids of any shape -> (*ids.shape, ...)."""
    flat = xp.reshape(ids, (-1,))
    return xp.reshape(xp.take(w, flat, axis=0), (*ids.shape, *w.shape[1:])), (flat, w.shape)


@embedding.backward
def _(xp, dy, saved, *, needed):
    flat, shape = saved
    rows = xp.reshape(dy, (flat.shape[0], prod(shape[1:])))
    if shape[0] <= SMALL:
        # The product adds the rows of equal ids in a fixed order, without an atomic.
        picked = xp.astype(one_hot(xp, flat, shape[0]), dy.dtype)  # (M, V)
        return xp.reshape(xp.matrix_transpose(picked) @ rows, shape), None
    return xp.reshape(spread(xp, *sums_of_runs(xp, flat, rows), shape[0]), shape), None


@update_kernel
def add_rows_(xp, table, ids, rows):
    """table[ids[i]] += rows[i]: (V, ...), (M,) integers in [0, V), (M, ...); rows of equal ids are added up first.

    Rows of float16 are added up in float32, and rounded once.
    """
    rows = xp.reshape(rows, (ids.shape[0], prod(table.shape[1:])))
    total = spread(xp, *sums_of_runs(xp, ids, wide(xp, rows)), table.shape[0])
    table[...] = xp.astype(wide(xp, table) + xp.reshape(total, table.shape), table.dtype)


def wide(xp, x):
    """``x``, in float32 where it is of float16."""
    return xp.astype(x, xp.float32) if is_half(xp, x) else x


def sums_of_runs(xp, ids, rows):
    """The ids in ascending order, and beside each the sum of the rows (M, D) of that id: (M,) int64, (M, D).

    What lies 1, 2, 4, ... places before is added where it belongs to the same id: the last of a run then holds the sum
    of all of it, added up in pairs. The shapes do not depend on the ids, so that a device is not waited for.
    """
    m = ids.shape[0]
    ids = xp.astype(ids, xp.int64, copy=False)
    order = xp.argsort(ids, stable=True)
    ids, rows = xp.take(ids, order, axis=0), xp.take(rows, order, axis=0)
    step = 1
    while step < m:
        same = (ids[step:] == ids[: m - step])[:, None]
        before = xp.where(same, rows[: m - step, :], xp.zeros_like(rows[:1, :]))
        rows = xp.concat([rows[:step, :], rows[step:, :] + before], axis=0)
        step *= 2
    last = xp.searchsorted(ids, ids, side="right") - 1
    return ids, xp.take(rows, last, axis=0)


def spread(xp, ids, sums, v):
    """The rows of :func:`sums_of_runs` at their places in a table of ``v`` rows, (V, D), by standard calls alone."""
    if not ids.shape[0]:
        return xp.zeros((v, sums.shape[1]), dtype=sums.dtype, device=device_of(sums))
    places = xp.arange(v, dtype=xp.int64, device=device_of(ids))
    found = xp.searchsorted(ids, places)
    found = xp.where(found < ids.shape[0], found, xp.zeros_like(found))
    there = (xp.take(ids, found, axis=0) == places)[:, None]
    return xp.where(there, xp.take(sums, found, axis=0), xp.zeros_like(sums[:1, :]))
