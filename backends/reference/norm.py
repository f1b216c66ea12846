"""Batch normalisation over all axes but the last (notes 3.9)."""

from __future__ import annotations

from math import prod

from backends.kernel import kernel, update_kernel


@kernel
def batch_norm(xp, x, gamma, beta, *, eps, needed):
    """gamma (x - mean) / sqrt(variance + eps) + beta over the batch; outputs (y, mean, variance).

    (..., C), (C,), (C,) -> (..., C), (C,), (C,). The variance divides by the count. The mean and variance are there to
    be averaged by the layer: no gradient flows back through them.
    """
    axes = tuple(range(x.ndim - 1))
    mean = xp.mean(x, axis=axes)
    centred = x - mean
    variance = xp.mean(centred * centred, axis=axes)
    inverse = 1.0 / xp.sqrt(variance + eps)
    scale = gamma * inverse
    y = centred * scale
    y += beta
    return (y, mean, variance), (centred, inverse, scale)


@batch_norm.backward
def _(xp, dys, saved, *, eps, needed):
    dy = dys[0]
    centred, inverse, scale = saved
    axes = tuple(range(dy.ndim - 1))
    dbeta = xp.sum(dy, axis=axes)
    dgamma = xp.sum(dy * centred, axis=axes) * inverse
    dx = None
    if needed[0]:
        # scale · (dy - mean of dy - normalised · mean of (dy · normalised)), with normalised = centred · inverse
        count = prod(dy.shape[:-1])
        dx = dy * scale
        dx -= centred * (scale * inverse * dgamma / count)
        dx -= scale * dbeta / count
    return dx, dgamma if needed[1] else None, dbeta if needed[2] else None


@kernel
def batch_norm_fixed(xp, x, gamma, beta, mean, variance, *, eps, needed):
    """The same with given statistics, as in evaluation: gamma (x - mean) / sqrt(variance + eps) + beta."""
    inverse = 1.0 / xp.sqrt(variance + eps)
    normalised = (x - mean) * inverse
    return normalised * gamma + beta, (normalised if needed[1] else None, gamma * inverse)


@batch_norm_fixed.backward
def _(xp, dy, saved, *, eps, needed):
    normalised, scale = saved
    axes = tuple(range(dy.ndim - 1))
    return (
        dy * scale if needed[0] else None,
        xp.sum(dy * normalised, axis=axes) if needed[1] else None,
        xp.sum(dy, axis=axes) if needed[2] else None,
        None,
        None,
    )


@update_kernel
def running_average_(xp, average, value, *, momentum):
    """average = momentum average + (1 - momentum) value, in place."""
    average[...] = momentum * average + (1.0 - momentum) * value
