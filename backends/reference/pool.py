"""Pooling over windows of images NHWC (notes 4.3)."""

from __future__ import annotations

import math

from backends.array_ops import clip, device_of, fold_windows, output_size, pad, select, strip, tap
from backends.dispatch import kernel

_ONE = (1, 1)


def _sizes(shape, kernel, stride):
    return output_size(shape[1], kernel[0], stride[0]), output_size(shape[2], kernel[1], stride[1])


@kernel
def max_pool2d(xp, x, *, kernel, stride, padding, needed):
    """The largest pixel of each window: (N, H, W, C) -> (N, OH, OW, C); padded places never win, not even over -inf.

    Of equal pixels the first in row-major order counts as the largest, and receives the whole gradient; so does the
    first NaN, which is larger than any number.
    """
    xpad = pad(xp, x, padding, -math.inf)
    size = _sizes(xpad.shape, kernel, stride)
    taps = kernel[0] * kernel[1]
    number = xp.int8 if taps < 128 else xp.int32  # of the tap that wins
    y = xp.asarray(xpad[tap(0, 0, size, stride, _ONE)], copy=True)
    winner = xp.zeros(y.shape, dtype=number, device=device_of(x)) if needed[0] else None
    if needed[0] and padding != ((0, 0), (0, 0)):
        winner = winner + xp.astype(_first_taps(xp, size, kernel, stride, padding, device_of(x)), number)
    for t in range(1, taps):
        pixel = xpad[tap(t // kernel[1], t % kernel[1], size, stride, _ONE)]
        if needed[0]:
            better = (pixel > y) | ((pixel != pixel) & (y == y))
            winner = xp.maximum(winner, xp.astype(better, number) * t)  # later taps have larger numbers
        y = xp.maximum(y, pixel)
    return y, (winner, xpad.shape)


def _first_taps(xp, size, kernel, stride, padding, device):
    """The first tap of each window that is in the image: (OH, OW, 1)."""
    rows, columns = (
        clip(xp, before - step * xp.arange(places, dtype=xp.int32, device=device), 0, taps - 1)
        for (before, _), places, taps, step in zip(padding, size, kernel, stride, strict=True)
    )
    return (rows[:, None] * kernel[1] + columns[None, :])[:, :, None]


@max_pool2d.backward
def max_pool2d_backward(xp, dy, saved, *, kernel, stride, padding, needed):
    winner, shape = saved
    taps = [select(xp, winner == t, dy) for t in range(kernel[0] * kernel[1])]
    return (strip(fold_windows(xp, taps, shape, kernel, stride, _ONE), padding),)


@kernel
def avg_pool2d(xp, x, *, kernel, stride, padding, needed):
    """The mean of each window: (N, H, W, C) -> (N, OH, OW, C); padded places do not count in the mean."""
    xpad = pad(xp, x, padding)
    size = _sizes(xpad.shape, kernel, stride)
    total = None
    for t in range(kernel[0] * kernel[1]):
        pixel = xpad[tap(t // kernel[1], t % kernel[1], size, stride, _ONE)]
        total = pixel if total is None else total + pixel
    count = _counted(xp, x, kernel, stride, padding)
    return total / count, (xpad.shape, count)


@avg_pool2d.backward
def _(xp, dy, saved, *, kernel, stride, padding, needed):
    shape, count = saved
    share = dy / count
    return (strip(fold_windows(xp, [share] * (kernel[0] * kernel[1]), shape, kernel, stride, _ONE), padding),)


def _counted(xp, x, kernel, stride, padding):
    """How many pixels of the image itself each window holds: a number, or (OH, OW, 1) where windows hang over."""
    if padding == ((0, 0), (0, 0)):
        return kernel[0] * kernel[1]
    counts = []
    for axis in (0, 1):
        n, (before, after) = x.shape[1 + axis], padding[axis]
        starts = xp.arange(output_size(n + before + after, kernel[axis], stride[axis]), device=device_of(x))
        starts = starts * stride[axis] - before
        inside = clip(xp, starts + kernel[axis], 0, n) - clip(xp, starts, 0, n)
        counts.append(xp.astype(inside, x.dtype))
    return (counts[0][:, None] * counts[1][None, :])[:, :, None]
