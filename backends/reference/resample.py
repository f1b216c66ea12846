"""Images sampled at other places: whole pixels moved, or values between pixels (augmentation, notes 2.3).

``fill`` says how an image goes on beyond its edges, with NumPy's words for it:

==============  =====================
``constant``    v v v | a b c d | v v v
``nearest``     a a a | a b c d | d d d
``reflect``     d c b | a b c d | c b a
``symmetric``   c b a | a b c d | d c b
``wrap``        b c d | a b c d | a b c
==============  =====================

with v = ``value``. (SciPy calls these grid-constant, nearest, mirror, reflect and grid-wrap.) Neither kernel has a
gradient: they work on data, before the model.
"""

from __future__ import annotations

from backends.array_ops import clip, device_of
from backends.dispatch import kernel


@kernel
def move_pixels(xp, x, rows, columns, *, fill, value, needed):
    """y[n, i, j] = x[n, rows[n, i], columns[n, j]]: whole pixels, so that nothing is rounded.

    (N, H, W, C), integers (N, OH) and (N, OW), which may lie outside of the image -> (N, OH, OW, C).
    """
    return _pixels(xp, x, rows[:, :, None], columns[:, None, :], fill, value), None


@kernel
def resample(xp, x, maps, *, fill, value, interpolation, needed):
    """y[n, i, j] = x[n] at the place maps[n] @ (i, j, 1), in pixels.

    (N, H, W, C), (N, 2, 3) -> (N, H, W, C). ``interpolation`` is "nearest", the pixel whose middle is nearest and the
    later one of two equally near, or "bilinear", the mean of the four pixels around weighted by nearness.
    """
    _, h, w, _ = x.shape
    i = xp.arange(h, dtype=maps.dtype, device=device_of(x))[:, None]
    j = xp.arange(w, dtype=maps.dtype, device=device_of(x))
    a, b, offset = (maps[:, :, k][:, :, None, None] for k in range(3))
    place = a * i + b * j + offset  # (N, 2, H, W)
    if interpolation == "nearest":
        nearest = xp.astype(xp.floor(place + 0.5), xp.int64)
        return _pixels(xp, x, nearest[:, 0, :, :], nearest[:, 1, :, :], fill, value), None
    before = xp.floor(place)
    share = xp.astype(place - before, x.dtype)[..., None]  # of the later pixel
    first = xp.astype(before, xp.int64)
    top, left, lower, right = first[:, 0, :, :], first[:, 1, :, :], share[:, 0, ...], share[:, 1, ...]
    y = 0.0
    for row, vertical in ((top, 1.0 - lower), (top + 1, lower)):
        for column, horizontal in ((left, 1.0 - right), (left + 1, right)):
            y = y + _pixels(xp, x, row, column, fill, value) * (vertical * horizontal)
    return y, None


def _pixels(xp, x, rows, columns, fill, value):
    """x[n, rows, columns] for integers that broadcast to (N, OH, OW): a take along the flattened pixels."""
    n, h, w, c = x.shape
    image = xp.arange(n, dtype=xp.int64, device=device_of(x))[:, None, None]
    number = (image * h + _continued(xp, rows, h, fill)) * w + _continued(xp, columns, w, fill)
    pixels = xp.take(xp.reshape(x, (n * h * w, c)), xp.reshape(number, (-1,)), axis=0)
    y = xp.reshape(pixels, (*number.shape, c))
    if fill != "constant":
        return y
    there = ((rows >= 0) & (rows < h)) & ((columns >= 0) & (columns < w))
    return xp.where(there[..., None], y, xp.full((), value, dtype=x.dtype, device=device_of(x)))


def _continued(xp, index, n, fill):
    """The pixel of 0 ... n - 1 that stands at an index of the axis without end."""
    if fill == "wrap":
        return index % n
    if fill == "symmetric":
        index = index % (2 * n)
        return xp.minimum(index, 2 * n - 1 - index)
    if fill == "reflect":
        period = max(2 * n - 2, 1)  # an axis of one pixel repeats it
        index = index % period
        return xp.minimum(index, period - index)
    return clip(xp, index, 0, n - 1)
