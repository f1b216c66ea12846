"""Rows of a table picked by integers."""

from __future__ import annotations

from math import prod

from backends.kernel import kernel
from backends.standard import one_hot


@kernel
def embedding(xp, w, ids, *, needed):
    """w[ids]: (V, ...) table, integer ids of any shape -> (*ids.shape, ...)."""
    flat = xp.reshape(ids, (-1,))
    return xp.reshape(xp.take(w, flat, axis=0), (*ids.shape, *w.shape[1:])), (flat, w.shape)


@embedding.backward
def _(xp, dy, saved, *, needed):
    # A product with the one-hot matrix adds the rows of equal ids in a fixed order, without an atomic.
    flat, shape = saved
    rows = xp.reshape(dy, (flat.shape[0], prod(shape[1:])))
    picked = xp.astype(one_hot(xp, flat, shape[0]), dy.dtype)  # (M, V)
    return xp.reshape(xp.matrix_transpose(picked) @ rows, shape), None
