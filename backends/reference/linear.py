"""The affine map of a dense layer (notes 1.1, with rows as examples), and with the ReLU behind it."""

from __future__ import annotations

from backends.array_ops import select, sum_axes
from backends.dispatch import kernel


@kernel
def linear(xp, x, w, b, *, needed):
    """x @ w + b: (..., D), (D, K), (K,) or None -> (..., K)."""
    y = xp.matmul(x, w)
    if b is not None:
        y += b
    return y, (x, w)


@linear.backward
def _(xp, dy, saved, *, needed):
    x, w = saved
    dx = xp.matmul(dy, xp.matrix_transpose(w)) if needed[0] else None
    dw = db = None
    if needed[1] or needed[2]:
        rows = dy if dy.ndim == 2 else xp.reshape(dy, (-1, dy.shape[-1]))  # (..., K) -> (M, K)
        if needed[1]:
            columns = xp.matrix_transpose(x if x.ndim == 2 else xp.reshape(x, (-1, x.shape[-1])))  # (D, M)
            dw = xp.matmul(columns, rows)
        if needed[2]:
            db = sum_axes(xp, rows, 0)
    return dx, dw, db


@kernel
def linear_relu(xp, x, w, b, *, needed):
    """max(0, :func:`linear`): one kernel, because of what lies between nothing is needed again."""
    y, affine = linear.forward(xp, x, w, b, needed=needed)
    y = xp.maximum(y, 0.0)
    return y, (affine, y) if any(needed) else None


@linear_relu.backward
def _(xp, dy, saved, *, needed):
    affine, y = saved
    dy = select(xp, y > 0, dy)
    return linear.backward(xp, dy, affine, needed=needed)  # pyright: ignore[reportCallIssue]  the rule
