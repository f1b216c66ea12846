"""Dense layers: cuBLAS's products, with bias and ReLU in one launch behind, and ReLU's gradient in one before.

Products of float16 alone need no more than their own way: cuBLAS adds them up in float32 and rounds once, so there are
no copies in float32.
"""

from __future__ import annotations

from typing import Any

from backends.cuda import accept, compile
from backends.cuda.launch import by_elements, by_rows, compact, launch, real
from backends.reference import elementwise, linear


def _not_half(*arrays: Any, **params: Any) -> str | None:
    """Why the products are left to the reference: they are of another dtype, which it has as they are."""
    for x in arrays:
        if x is not None and getattr(x, "dtype", None) != "float16":
            return f"an array is of {getattr(x, 'dtype', type(x).__name__)}, and only float16 needs another way"
    return compile.why_not()


@linear.linear.alternative("cupy", unless=_not_half)
class LinearInHalf:
    """The reference as it is."""

    forward = staticmethod(linear.linear.forward)
    backward = staticmethod(linear.linear.backward)


@elementwise.matmul.alternative("cupy", unless=_not_half)
class MatmulInHalf:
    """The reference as it is."""

    forward = staticmethod(elementwise.matmul.forward)
    backward = staticmethod(elementwise.matmul.backward)


def _unsuited(x, w, b) -> str | None:
    reason = accept.unsuited("linear", x=x, w=w, b=b)
    return reason or accept.uncountable("the output", x.size // w.shape[0] * w.shape[1])


@linear.linear_relu.alternative("cupy", unless=_unsuited)
class LinearReluInTwo:
    """A product and a launch; backward a launch, or two where there are many rows, and two products."""

    @staticmethod
    def forward(xp, x, w, b, *, needed):
        rows, w = xp.reshape(compact(xp, x), (-1, x.shape[-1])), compact(xp, w)
        y = xp.matmul(rows, w)
        bias = (y, 0) if b is None else (compact(xp, b), 1)  # with 0 the array is not looked at
        by_elements("linear", "bias_relu", (y, *bias, y.size, y.shape[1]), y.size, y.dtype)
        saved = (rows, w, y, x.shape) if any(needed) else None
        return xp.reshape(y, (*x.shape[:-1], y.shape[1])), saved

    @staticmethod
    def backward(xp, dy, saved, *, needed):
        rows, w, y, shape = saved
        slopes, db = _slopes(xp, compact(xp, dy), y)
        dx = dw = None
        if needed[0]:
            dx = xp.reshape(xp.matmul(slopes, xp.matrix_transpose(w)), shape)
        if needed[1]:
            dw = xp.matmul(xp.matrix_transpose(rows), slopes)
        return dx, dw, db if needed[2] else None


def _slopes(xp, dy, y):
    """What ReLU lets pass of dy, (M, K), and its sum over the rows, (K,)."""
    (rows, units), dtype = y.shape, y.dtype
    grid, block, rows_a_piece = by_rows(rows, units)
    pieces = grid[1]
    slopes = xp.empty(y.shape, dtype=dtype, device=y.device)
    sums = xp.empty((pieces, units), dtype=real(dtype), device=y.device)
    db = xp.empty(units, dtype=dtype, device=y.device)
    launch("linear", "relu_slopes", (dy, y, slopes, sums, db, rows, units, rows_a_piece, pieces), grid, block, dtype)
    if pieces > 1:
        by_elements("linear", "sum_pieces", (sums, db, units, pieces), units, dtype)
    return slopes, db
