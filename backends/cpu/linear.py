"""The affine map of a dense layer, and the ReLU behind it: products that the compiled kernels share among the cores.

NumPy's BLAS runs with one thread in training, because its bits depend on how many there are. Small products stay with
it: its call costs less than a launch.
"""

from __future__ import annotations

import numpy as np

from backends.array_ops import select, sum_axes
from backends.cpu import requirements
from backends.cpu.codegen.gemm import product
from backends.cpu.elementwise import ReluByPieces, relu_in_place, too_small_for_pieces
from backends.reference import linear

_LEAST = 6_000_000  # multiplications; with fewer one thread of the BLAS is as fast
_NARROWEST = 32  # rows or columns


def _unsuited(x, w, b) -> str | None:
    d, k = w.shape
    reason = requirements.too_little(x.size * k, _LEAST)
    return (
        reason or requirements.too_narrow(min(x.size // d, d, k), _NARROWEST) or requirements.not_float32(x=x, w=w, b=b)
    )


@linear.linear.alternative("numpy", unless=_unsuited)
class LinearByProducts:
    """Rows of any number of axes are one matrix."""

    @staticmethod
    def forward(xp, x, w, b, *, needed):
        return _affine(x, w, b), (x, w)

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
            db = sum_axes(xp, rows, 0)
        return dx, dw, db


def _too_small_behind(x, w, b) -> str | None:
    d, k = w.shape
    return too_small_for_pieces(x.size // d * k) or requirements.not_float32(x=x, w=w, b=b)


@linear.linear_relu.alternative("numpy", unless=_too_small_behind)
class LinearThenRelu:
    """The reference's products, and the ReLU of a large array in one pass each way."""

    @staticmethod
    def forward(xp, x, w, b, *, needed):
        y, affine = linear.linear.forward(xp, x, w, b, needed=needed)
        relu_in_place(y)
        return y, (affine, y)

    @staticmethod
    def backward(xp, dy, saved, *, needed):
        affine, y = saved
        (dy,) = ReluByPieces.backward(xp, dy, y, needed=(True,))
        return linear.linear.backward(xp, dy, affine, needed=needed)  # pyright: ignore[reportCallIssue]  the rule


@linear.linear_relu.alternative("numpy", unless=_unsuited)
class LinearReluByProducts:
    """The product's blocks are cut off at 0 before they are stored."""

    @staticmethod
    def forward(xp, x, w, b, *, needed):
        y = _affine(x, w, b, relu=True)
        return y, (x, w, y)

    @staticmethod
    def backward(xp, dy, saved, *, needed):
        x, w, y = saved
        if too_small_for_pieces(y.size) is None:
            (dy,) = ReluByPieces.backward(xp, dy, y, needed=(True,))
        else:
            dy = select(xp, y > 0, dy)
        return LinearByProducts.backward(xp, dy, (x, w), needed=needed)


def _affine(x, w, b, relu: bool = False) -> np.ndarray:
    y = np.empty((*x.shape[:-1], w.shape[1]), np.float32)
    bias = None if b is None else np.ascontiguousarray(b)
    product(_rows(x), np.ascontiguousarray(w), bias, relu=relu, out=_rows(y))
    return y


def _rows(x) -> np.ndarray:
    """(..., D) -> (M, D) in one piece."""
    return np.ascontiguousarray(x, np.float32).reshape(-1, x.shape[-1])
