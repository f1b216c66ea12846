"""The affine map of a dense layer: products that the compiled kernels share among the cores.

NumPy's BLAS runs with one thread in training, because its bits depend on how many there are. Small products stay with
it: its call costs less than a launch.
"""

from __future__ import annotations

import numpy as np

from backends.cpu import accept
from backends.cpu.product import product
from backends.reference import linear

_LEAST = 6_000_000  # multiplications; with fewer one thread of the BLAS is as fast
_NARROWEST = 32  # rows or columns


def _unsuited(x, w, b) -> str | None:
    d, k = w.shape
    reason = accept.too_little(x.size * k, _LEAST)
    return reason or accept.too_narrow(min(x.size // d, d, k), _NARROWEST) or accept.not_float32(x=x, w=w, b=b)


@linear.linear.alternative("numpy", unless=_unsuited)
class LinearByProducts:
    """Rows of any number of axes are one matrix."""

    @staticmethod
    def forward(xp, x, w, b, *, needed):
        y = np.empty((*x.shape[:-1], w.shape[1]), np.float32)
        bias = None if b is None else np.ascontiguousarray(b)
        product(_rows(x), np.ascontiguousarray(w), bias, out=_rows(y))
        return y, (x, w)

    @staticmethod
    def backward(xp, dy, saved, *, needed):
        x, w = saved
        rows = _rows(dy)
        dx = dw = db = None
        if needed[0]:
            dx = product(rows, np.ascontiguousarray(w), across=(False, True)).reshape(x.shape)
        if needed[1]:
            dw = product(_rows(x), rows, across=(True, False))
        if needed[2]:
            db = rows.sum(axis=0)
        return dx, dw, db


def _rows(x) -> np.ndarray:
    """(..., D) -> (M, D) in one piece."""
    return np.ascontiguousarray(x, np.float32).reshape(-1, x.shape[-1])
