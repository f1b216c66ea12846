"""Batch normalisation: three launches forward, three backward; the images are read twice each way.

The rows are cut as :func:`backends.cuda.launch.by_rows` says, so that the sums have one order everywhere.
"""

from __future__ import annotations

from math import prod

from backends.cuda import requirements
from backends.cuda.launch import by_elements, by_rows, compact, launch, real
from backends.reference import norm


def _empty(xp, x, shape, *dtypes) -> list:
    return [xp.empty(shape, dtype=dtype, device=x.device) for dtype in dtypes]


def _statistics(xp, x, gamma, eps) -> list:
    """The mean and the variance, (C,) each, and what is computed with: centre, inverse and scale."""
    dtype, number = x.dtype, real(x.dtype)
    rows, channels = prod(x.shape[:-1]), x.shape[-1]
    grid, block, rows_a_piece = by_rows(rows, channels)
    means, squares = _empty(xp, x, (grid[1], channels), number, number)
    launch("norm", "batch_norm_moments", (x, means, squares, rows, channels, rows_a_piece), grid, block, dtype)
    statistics = _empty(xp, x, channels, *[number] * 5)
    arguments = (means, squares, compact(xp, gamma), *statistics, rows, channels, grid[1], rows_a_piece, float(eps))
    by_elements("norm", "batch_norm_statistics", arguments, channels, dtype)
    return statistics


def _apply(xp, x, centre, scale, beta):
    """(x - centre) scale + beta."""
    y = xp.empty(x.shape, dtype=x.dtype, device=x.device)
    by_elements("norm", "batch_norm_apply", (x, centre, scale, beta, y, x.size, x.shape[-1]), x.size, x.dtype)
    return y


def _gradients(xp, x, dy, centre, inverse, scale) -> list:
    """dgamma, dbeta, slope and offset, (C,) each."""
    rows = prod(x.shape[:-1])
    return _finished(xp, x, "batch_norm_slopes", (x, dy, centre), rows, (), inverse, scale)


def _finished(xp, x, kernel: str, arrays, rows: int, sizes, inverse, scale) -> list:
    """The same from sums of another kernel, over that many rows."""
    channels, dtype, number = x.shape[-1], x.dtype, real(x.dtype)
    grid, block, rows_a_piece = by_rows(rows, channels)
    sums, products = _empty(xp, x, (grid[1], channels), number, number)
    launch("norm", kernel, (*arrays, sums, products, rows, channels, rows_a_piece, *sizes), grid, block, dtype)
    results = _empty(xp, x, channels, dtype, dtype, number, number)
    arguments = (sums, products, inverse, scale, *results, prod(x.shape[:-1]), channels, grid[1])
    by_elements("norm", "batch_norm_gradients", arguments, channels, dtype)
    return results


@norm.batch_norm.alternative(
    "cupy", unless=lambda x, gamma, beta, **_: requirements.unsuited("norm", x=x, gamma=gamma, beta=beta)
)
class BatchNormByPieces:
    """Statistics in one pass by Welford's rule; only the images are kept for the gradient."""

    @staticmethod
    def forward(xp, x, gamma, beta, *, eps, needed):
        x = compact(xp, x)
        mean, variance, centre, inverse, scale = _statistics(xp, x, gamma, eps)
        return (_apply(xp, x, centre, scale, compact(xp, beta)), mean, variance), (x, centre, inverse, scale)

    @staticmethod
    def backward(xp, dys, saved, *, eps, needed):
        x, centre, inverse, scale = saved
        dy = compact(xp, dys[0])
        dgamma, dbeta, slope, offset = _gradients(xp, x, dy, centre, inverse, scale)
        dx = None
        if needed[0]:
            dx = xp.empty(x.shape, dtype=x.dtype, device=x.device)
            arguments = (x, dy, centre, scale, slope, offset, dx, x.size, x.shape[-1])
            by_elements("norm", "batch_norm_backward", arguments, x.size, x.dtype)
        return dx, dgamma if needed[1] else None, dbeta if needed[2] else None


@norm.batch_norm_fixed.alternative(
    "cupy",
    unless=lambda x, gamma, beta, mean, variance, **_: requirements.unsuited(
        "norm", x=x, gamma=gamma, beta=beta, mean=mean, variance=variance
    ),
)
class BatchNormGiven:
    """The same with given statistics."""

    @staticmethod
    def forward(xp, x, gamma, beta, mean, variance, *, eps, needed):
        x, channels, number = compact(xp, x), x.shape[-1], real(x.dtype)
        centre, inverse, scale = _empty(xp, x, channels, number, number, number)
        given = (compact(xp, array) for array in (gamma, mean, variance))
        arguments = (*given, centre, inverse, scale, channels, float(eps))
        by_elements("norm", "batch_norm_given", arguments, channels, x.dtype)
        return _apply(xp, x, centre, scale, compact(xp, beta)), (x, centre, inverse, scale)

    @staticmethod
    def backward(xp, dy, saved, *, eps, needed):
        x, centre, inverse, scale = saved
        dy = compact(xp, dy)
        dx = dgamma = dbeta = None
        if needed[0]:
            dx = xp.empty(x.shape, dtype=x.dtype, device=x.device)
            by_elements("norm", "batch_norm_given_backward", (dy, scale, dx, x.size, x.shape[-1]), x.size, x.dtype)
        if needed[1] or needed[2]:
            dgamma, dbeta, _, _ = _gradients(xp, x, dy, centre, inverse, scale)
        return dx, dgamma if needed[1] else None, dbeta if needed[2] else None, None, None


def _sizes(shape, pool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape after the pool, and the sizes of images and windows; without a pool the images are one row."""
    if pool is None:
        return shape, (1, prod(shape[:-1]), 1, prod(shape[:-1]), 1, 1)
    n, h, w, c = shape
    rows, columns = h // pool[0], w // pool[1]
    return (n, rows, columns, c), (h, w, rows, columns, *pool)


def _unsuited_relu(x, gamma, beta, *, eps, pool) -> str | None:
    if pool is not None and pool[0] * pool[1] > 256:
        return f"a window of {pool[0] * pool[1]} pixels, whose numbers do not fit into a byte"
    reason = requirements.unsuited("norm", x=x, gamma=gamma, beta=beta)
    return "no window fits into the images" if reason is None and not prod(_sizes(x.shape, pool)[0]) else reason


@norm.batch_norm_relu.alternative("cupy", unless=_unsuited_relu)
class BatchNormReluByWindows:
    """What is normalised is not stored, but the largest of each window and a byte that tells which pixel it was."""

    @staticmethod
    def forward(xp, x, gamma, beta, *, eps, pool, needed):
        x, c = compact(xp, x), x.shape[-1]
        mean, variance, centre, inverse, scale = _statistics(xp, x, gamma, eps)
        shape, (height, width, *windows) = _sizes(x.shape, pool)
        (y,) = _empty(xp, x, shape, x.dtype)
        (winner,) = _empty(xp, x, 1 if pool is None else shape, xp.uint8)  # without a pool it is not looked at
        arrays = (x, centre, scale, compact(xp, beta), y, winner)
        sizes = (int(pool is not None), y.size, height, width, c, *windows)
        by_elements("norm", "batch_norm_relu_pool", (*arrays, *sizes), y.size, x.dtype)
        return (y, mean, variance), (x, y, winner, centre, inverse, scale)

    @staticmethod
    def backward(xp, dys, saved, *, eps, pool, needed):
        x, y, winner, centre, inverse, scale = saved
        sizes = _sizes(x.shape, pool)[1]
        arrays = (x, compact(xp, dys[0]), y, winner, int(pool is not None), centre)
        windows = prod(y.shape[:-1])
        results = _finished(xp, x, "batch_norm_relu_slopes", arrays, windows, sizes, inverse, scale)
        dgamma, dbeta, slope, offset = results
        dx = None
        if needed[0]:
            dx = xp.empty(x.shape, dtype=x.dtype, device=x.device)
            arguments = (*arrays, scale, slope, offset, dx, x.size, x.shape[-1], *sizes)
            by_elements("norm", "batch_norm_relu_backward", arguments, x.size, x.dtype)
        return dx, dgamma if needed[1] else None, dbeta if needed[2] else None


@norm.running_average_.alternative(
    "cupy", unless=lambda average, value, **_: requirements.not_flat("norm", average=average, value=value)
)
class RunningAverageInOnePass:
    """average = momentum average + (1 - momentum) value."""

    @staticmethod
    def forward(xp, average, value, *, momentum):
        arguments = (average, value, average.size, float(momentum), float(1.0 - momentum))
        by_elements("norm", "running_average", arguments, average.size, average.dtype)
