"""Dropout with the mask in the kernel: the bits of the reference, and nothing kept for the gradient."""

from __future__ import annotations

from math import prod

import numpy as np

from backends.cuda import requirements
from backends.cuda.launch import by_elements, compact
from backends.reference import dropout


def _apply(xp, x, rate: float, key: tuple[int, int], first_row: int):
    """x / (1 - rate) where kept, else 0."""
    rows, columns = x.shape[0], prod(x.shape[1:])
    y = xp.empty(x.shape, dtype=x.dtype, device=x.device)
    words = (np.uint32(key[0]), np.uint32(key[1]), np.uint32(first_row), np.uint32(int(rate * 2**32)))
    scale = float(x.dtype.type(1.0 / (1.0 - rate)))  # rounded as the reference rounds it
    arguments = (compact(xp, x), y, rows, columns, *words, scale)
    by_elements("dropout", "dropout", arguments, rows * -(-columns // 2), x.dtype)
    return y


@dropout.dropout.alternative("cupy", unless=lambda x, **_: requirements.unsuited("dropout", x=x))
class DropoutInOnePass:
    """The mask is a function of the key, so the gradient's pass computes it again."""

    @staticmethod
    def forward(xp, x, *, rate, key, first_row, needed):
        return _apply(xp, x, rate, key, first_row), None

    @staticmethod
    def backward(xp, dy, saved, *, rate, key, first_row, needed):
        return (_apply(xp, dy, rate, key, first_row),)
