"""Batch normalisation over all axes but the last (notes 3.9)."""

from __future__ import annotations

from math import prod

from backends.array_ops import select, sum_rows
from backends.dispatch import kernel, update_kernel
from backends.reference.pool import max_pool2d, max_pool2d_backward


@kernel
def batch_norm(xp, x, gamma, beta, *, eps, needed):
    """gamma (x - mean) / sqrt(variance + eps) + beta over the batch; outputs (y, mean, variance).

    (..., C), (C,), (C,) -> (..., C), (C,), (C,). The variance divides by the count. The mean and variance are there to
    be averaged by the layer: no gradient flows back through them.
    """
    count = prod(x.shape[:-1])
    mean = sum_rows(xp, x) / count
    centred = x - mean
    variance = sum_rows(xp, centred * centred) / count
    inverse = 1.0 / xp.sqrt(variance + eps)
    scale = gamma * inverse
    y = centred * scale
    y += beta
    return (y, mean, variance), (centred, inverse, scale)


@batch_norm.backward
def _batch_norm_backward(xp, dys, saved, *, eps, needed):
    dy = dys[0]
    centred, inverse, scale = saved
    dbeta = sum_rows(xp, dy)
    dgamma = sum_rows(xp, dy * centred) * inverse
    dx = None
    if needed[0]:
        # scale · (dy - mean of dy - normalised · mean of (dy · normalised)), with normalised = centred · inverse
        count = prod(dy.shape[:-1])
        dx = dy * scale
        dx -= centred * (scale * inverse * dgamma / count)
        dx -= scale * dbeta / count
    return dx, dgamma if needed[1] else None, dbeta if needed[2] else None


@kernel
def batch_norm_relu(xp, x, gamma, beta, *, eps, pool, needed):
    """max(0, :func:`batch_norm`), and the largest of it in each window (height, width) of ``pool`` unless that is None.

    One kernel, because what lies in between is as large as x, and is not needed again. Outputs (y, mean, variance).
    """
    (y, mean, variance), normalised = batch_norm.forward(xp, x, gamma, beta, eps=eps, needed=needed)
    y, winners = xp.maximum(y, 0.0), None
    if pool is not None:
        pooling = {"kernel": pool, "stride": pool, "padding": ((0, 0), (0, 0))}
        y, winners = max_pool2d.forward(xp, y, needed=(any(needed),), **pooling)
    return (y, mean, variance), (normalised, y, winners)


@batch_norm_relu.backward
def _(xp, dys, saved, *, eps, pool, needed):
    normalised, y, winners = saved
    dy = select(xp, y > 0, dys[0])
    if pool is not None:
        pooling = {"kernel": pool, "stride": pool, "padding": ((0, 0), (0, 0))}
        (dy,) = max_pool2d_backward(xp, dy, winners, needed=(True,), **pooling)
    return _batch_norm_backward(xp, (dy, None, None), normalised, eps=eps, needed=needed)


@kernel
def batch_norm_fixed(xp, x, gamma, beta, mean, variance, *, eps, needed):
    """The same with given statistics, as in evaluation: gamma (x - mean) / sqrt(variance + eps) + beta.

    The statistics may be of a wider dtype than the other arrays; then it is computed in theirs, and the result rounded.
    """
    inverse = 1.0 / xp.sqrt(variance + eps)
    normalised = (x - mean) * inverse
    y = xp.astype(normalised * gamma + beta, x.dtype, copy=False)
    return y, (normalised if needed[1] else None, gamma * inverse)


@batch_norm_fixed.backward
def _(xp, dy, saved, *, eps, needed):
    normalised, scale = saved
    dtype, dy = dy.dtype, xp.astype(dy, scale.dtype, copy=False)
    return (
        xp.astype(dy * scale, dtype, copy=False) if needed[0] else None,
        xp.astype(sum_rows(xp, dy * normalised), dtype, copy=False) if needed[1] else None,
        xp.astype(sum_rows(xp, dy), dtype, copy=False) if needed[2] else None,
        None,
        None,
    )


@update_kernel
def running_average_(xp, average, value, *, momentum):
    """average = momentum average + (1 - momentum) value, in place."""
    average[...] = momentum * average + (1.0 - momentum) * value
