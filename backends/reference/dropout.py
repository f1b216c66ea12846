"""Dropout with masks that are the same bits on every device (notes 2.3)."""

from __future__ import annotations

from math import prod

from backends import random
from backends.array_ops import device_of, select
from backends.dispatch import kernel


@kernel
def dropout(xp, x, *, rate, key, first_row, needed):
    """x / (1 - rate) where kept, else 0: an element is kept when its random word is at least rate · 2**32.

    (N, ...) -> (N, ...). The word of an element depends on ``key``, on its row in the whole batch
    (``first_row`` + row) and on its place in the row.
    """
    n = x.shape[0]
    words = random.bits(xp, key, n, prod(x.shape[1:]), first_row=first_row, device=device_of(x))
    kept = xp.reshape(words >= int(rate * 2**32), x.shape)
    return select(xp, kept, x) * (1.0 / (1.0 - rate)), kept


@dropout.backward
def _(xp, dy, kept, *, rate, key, first_row, needed):
    return (select(xp, kept, dy) * (1.0 / (1.0 - rate)),)
