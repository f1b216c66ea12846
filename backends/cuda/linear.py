"""Dense layers: cuBLAS's products of two matrices, bias and ReLU in one launch behind, ReLU's gradient in one before.

Inputs of more axes are rows of a matrix: of three axes CuPy would copy the weights, run a small product for each
example, in float32 for float16 too, and never use TF32 (https://github.com/cupy/cupy/issues/10317). The gradient of a
bias is summed by a kernel of its own, which TF32 does not round.
"""

from __future__ import annotations

from backends.cuda import requirements
from backends.cuda.launch import by_elements, by_rows, compact, launch, real
from backends.cuda.products import HALF, exact_sums
from backends.cuda.sums import sum_columns
from backends.reference import elementwise, linear


def _rows(xp, x):
    """(..., D) -> (M, D)."""
    return xp.reshape(compact(xp, x), (-1, x.shape[-1]))


def _unsuited_product(x, y) -> str | None:
    """Why a product is left to the reference."""
    if getattr(y, "ndim", 0) != 2:
        return "the second factor is no matrix"
    if x.ndim == 2 and x.dtype != HALF:
        return f"two matrices of {x.dtype}, which the reference multiplies in the same way"
    reason = requirements.unsuited("linear", x=x, y=y)
    return reason or requirements.uncountable("the output", x.size // y.shape[0] * y.shape[1])


@elementwise.matmul.alternative("cupy", unless=_unsuited_product)
class MatmulOfRows:
    """(..., D) @ (D, K) as one product of two matrices, and its gradients as one each."""

    @staticmethod
    def forward(xp, x, y, *, needed):
        exact_sums(xp, x.dtype)
        rows = _rows(xp, x)
        return xp.reshape(xp.matmul(rows, y), (*x.shape[:-1], y.shape[1])), (rows, y, x.shape)

    @staticmethod
    def backward(xp, dy, saved, *, needed):
        rows, y, shape = saved
        dx, dw = _gradients(xp, _rows(xp, dy), rows, y, needed)
        return None if dx is None else xp.reshape(dx, shape), dw


def _gradients(xp, dy, rows, w, needed):
    """Those of the rows and of the weights."""
    exact_sums(xp, dy.dtype)  # backward may run in another thread
    dx = xp.matmul(dy, xp.matrix_transpose(w)) if needed[0] else None
    return dx, xp.matmul(xp.matrix_transpose(rows), dy) if needed[1] else None


def _unsuited(x, w, b) -> str | None:
    reason = requirements.unsuited("linear", x=x, w=w, b=b)
    return reason or requirements.uncountable("the output", x.size // w.shape[0] * w.shape[1])


@linear.linear.alternative("cupy", unless=_unsuited)
class LinearOfRows:
    """A product and a launch for the bias; backward two products, and a launch or two for the bias."""

    @staticmethod
    def forward(xp, x, w, b, *, needed):
        exact_sums(xp, x.dtype)
        rows = _rows(xp, x)
        y = xp.matmul(rows, w)
        if b is not None:
            y += b
        return xp.reshape(y, (*x.shape[:-1], y.shape[1])), (rows, w, x.shape)

    @staticmethod
    def backward(xp, dy, saved, *, needed):
        rows, w, shape = saved
        dy = _rows(xp, dy)
        dx, dw = _gradients(xp, dy, rows, w, needed)
        return None if dx is None else xp.reshape(dx, shape), dw, sum_columns(xp, dy) if needed[2] else None


@linear.linear_relu.alternative("cupy", unless=_unsuited)
class LinearReluInTwo:
    """A product and a launch; backward a launch, or two where there are many rows, and two products."""

    @staticmethod
    def forward(xp, x, w, b, *, needed):
        exact_sums(xp, x.dtype)
        rows, w = _rows(xp, x), compact(xp, w)
        y = xp.matmul(rows, w)
        bias = (y, 0) if b is None else (compact(xp, b), 1)  # with 0 the array is not looked at
        by_elements("linear", "bias_relu", (y, *bias, y.size, y.shape[1]), y.size, y.dtype)
        saved = (rows, w, y, x.shape) if any(needed) else None
        return xp.reshape(y, (*x.shape[:-1], y.shape[1])), saved

    @staticmethod
    def backward(xp, dy, saved, *, needed):
        rows, w, y, shape = saved
        slopes, db = _slopes(xp, compact(xp, dy), y)
        dx, dw = _gradients(xp, slopes, rows, w, needed)
        return None if dx is None else xp.reshape(dx, shape), dw, db if needed[2] else None


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
