"""Filters of images: correlation of every channel with one kernel, beyond the border in five ways (notes 4.2 and 6.1).

``border`` says which pixel stands beyond the edge; the names of ``numpy.pad`` are in brackets.

=========  ==================  ==========================
border     numpy.pad           a b c d, two pixels each side
=========  ==================  ==========================
zero       constant            0 0 | a b c d | 0 0
reflect    reflect             c b | a b c d | c b
symmetric  symmetric           b a | a b c d | d c
nearest    edge                a a | a b c d | d d
wrap       wrap                c d | a b c d | a b
=========  ==================  ==========================

Where more pixels are asked for than the image has, the pattern goes on, as it does in ``numpy.pad``.

The places are worked out on the host from the shape, and each line of the border is copied by itself: no index array
goes to the device, and the adjoint adds the lines back one after the other, in one fixed order on every device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from backends.array_ops import Padding, device_of, output_size, pad, strip, tap
from backends.dispatch import kernel

__all__ = ["BORDERS", "correlate2d", "correlate_separable", "fold", "kernel_gradient", "pixel_at", "polar"]

BORDERS = ("zero", "reflect", "symmetric", "nearest", "wrap")

_ONE = (1, 1)


@kernel
def correlate2d(xp, x, h, *, padding, border, stride, needed):
    """y[n, i, j, c] = sum over u, v of h[u, v] x[n, i·s + u - top, j·s + v - left, c].

    x (N, H, W, C), of h's dtype or integers, which are summed in h's dtype; h (kh, kw). ``padding`` is ((top, bottom),
    (left, right)) pixels beyond the image, which ``border`` fills; ``stride`` is (vertical, horizontal).
    """
    wide = _extend(xp, _like(xp, x, h), padding, border)
    return _slide(xp, wide, h, stride), (wide if needed[1] else None, h, wide.shape)


@correlate2d.backward
def _(xp, dy, saved, *, padding, border, stride, needed):
    wide, h, shape = saved
    dx = fold(_slide_adjoint(xp, dy, h, shape, stride), padding, border) if needed[0] else None
    dh = kernel_gradient(xp, dy, wide, h.shape, stride) if needed[1] else None
    return dx, dh


@kernel
def correlate_separable(xp, x, column, row, *, padding, border, stride, needed):
    """:func:`correlate2d` with the kernel column (kh,) times row (kw,): down every column, then across."""
    wide = _extend(xp, _like(xp, x, column), padding, border)
    half = _slide(xp, wide, column[:, None], (stride[0], 1))  # (N, OH, W + left + right, C)
    y = _slide(xp, half, row[None, :], (1, stride[1]))
    return y, (wide if needed[1] else None, half if needed[2] else None, column, row, wide.shape, half.shape)


@correlate_separable.backward
def _(xp, dy, saved, *, padding, border, stride, needed):
    wide, half, column, row, wide_shape, half_shape = saved
    dx = dcolumn = drow = None
    if needed[2]:
        drow = kernel_gradient(xp, dy, half, (1, row.shape[0]), (1, stride[1]))[0, :]
    if needed[0] or needed[1]:
        dhalf = _slide_adjoint(xp, dy, row[None, :], half_shape, (1, stride[1]))
        if needed[1]:
            dcolumn = kernel_gradient(xp, dhalf, wide, (column.shape[0], 1), (stride[0], 1))[:, 0]
        if needed[0]:
            dx = fold(_slide_adjoint(xp, dhalf, column[:, None], wide_shape, (stride[0], 1)), padding, border)
    return dx, dcolumn, drow


@kernel
def polar(xp, x, y, *, needed):
    """The length sqrt(x² + y²) of each vector (x, y), and its angle atan2(y, x) in [-pi, pi].

    Where both are 0 there is no derivative; 0 stands for it.
    """
    length = xp.hypot(x, y)
    return (length, xp.atan2(y, x)), (x, y, length)


@polar.backward
def _(xp, dy, saved, *, needed):
    x, y, length = saved
    dlength, dangle = dy
    away = xp.where(length > 0, length, xp.ones_like(length))
    dx = dy = xp.zeros_like(length)
    if dlength is not None:
        dx, dy = dlength * (x / away), dlength * (y / away)
    if dangle is not None:
        turn = dangle / away
        dx, dy = dx - turn * (y / away), dy + turn * (x / away)
    return dx if needed[0] else None, dy if needed[1] else None


# --- sliding a kernel over an extended image


def _like(xp: Any, x: Any, h: Any) -> Any:
    return x if x.dtype == h.dtype else xp.astype(x, h.dtype)


def _taps(h: tuple[int, ...], shape: tuple[int, ...], stride: tuple[int, int]) -> Iterator[tuple[int, int, Any]]:
    """(u, v, the index of the pixels under that tap) for every tap, in row-major order."""
    size = output_size(shape[1], h[0], stride[0]), output_size(shape[2], h[1], stride[1])
    for u in range(h[0]):
        for v in range(h[1]):
            yield u, v, tap(u, v, size, stride, _ONE)


def _slide(xp: Any, wide: Any, h: Any, stride: tuple[int, int]) -> Any:
    """(N, H, W, C), (kh, kw) -> (N, OH, OW, C)."""
    y = None
    for u, v, place in _taps(h.shape, wide.shape, stride):
        term = h[u, v] * wide[place]
        if y is None:
            y = term
        else:
            y += term
    return y


def _slide_adjoint(xp: Any, dy: Any, h: Any, shape: tuple[int, ...], stride: tuple[int, int]) -> Any:
    """The gradient for the extended image of :func:`_slide`."""
    dwide = xp.zeros(shape, dtype=dy.dtype, device=device_of(dy))
    for u, v, place in _taps(h.shape, shape, stride):
        dwide[place] += h[u, v] * dy
    return dwide


def kernel_gradient(xp: Any, dy: Any, wide: Any, shape: tuple[int, ...], stride: tuple[int, int]) -> Any:
    """The gradient for the kernel (kh, kw) of :func:`_slide`: one sum a tap."""
    return xp.reshape(xp.stack([xp.sum(dy * wide[place]) for _, _, place in _taps(shape, wide.shape, stride)]), shape)


# --- the border


def _extend(xp: Any, x: Any, padding: Padding, border: str) -> Any:
    """(N, H, W, C) with the pixels beyond the image that ``border`` says."""
    if border == "zero" or padding == ((0, 0), (0, 0)):
        return pad(xp, x, padding)
    (top, bottom), (left, right) = padding
    n, h, w, c = x.shape
    wide = xp.empty((n, top + h + bottom, left + w + right, c), dtype=x.dtype, device=device_of(x))
    wide[:, top : top + h, left : left + w, :] = x
    for place, pixel in _lines(w, padding[1], border):
        wide[:, top : top + h, place, :] = wide[:, top : top + h, pixel, :]
    for place, pixel in _lines(h, padding[0], border):
        wide[:, place, :, :] = wide[:, pixel, :, :]
    return wide


def fold(dwide: Any, padding: Padding, border: str) -> Any:
    """The adjoint of :func:`_extend`, in ``dwide`` itself: the lines beyond go to the lines that they are copies of."""
    (top, bottom), (left, right) = padding
    h, w = dwide.shape[1] - top - bottom, dwide.shape[2] - left - right
    if border != "zero":
        for place, pixel in _lines(h, padding[0], border):
            dwide[:, pixel, :, :] += dwide[:, place, :, :]
        for place, pixel in _lines(w, padding[1], border):
            dwide[:, top : top + h, pixel, :] += dwide[:, top : top + h, place, :]
    return strip(dwide, padding)


def _lines(n: int, sides: tuple[int, int], border: str) -> Iterator[tuple[int, int]]:
    """(place of a line beyond the image, place of the line that it is a copy of), both in the extended axis."""
    for i in (*range(-sides[0], 0), *range(n, n + sides[1])):
        yield sides[0] + i, sides[0] + pixel_at(i, n, border)


def pixel_at(i: int, n: int, border: str) -> int:
    """Which of n pixels stands at the place i, which may be below 0 or from n on.

    >>> [pixel_at(i, 3, "reflect") for i in range(-5, 8)]
    [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1]
    >>> [pixel_at(i, 3, "symmetric") for i in range(-4, 7)]
    [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0]
    """
    if border == "nearest":
        return min(max(i, 0), n - 1)
    if border == "wrap":
        return i % n
    if border == "symmetric":
        return min(i % (2 * n), 2 * n - 1 - i % (2 * n))
    period = max(2 * (n - 1), 1)  # reflect: the pixel at the edge stands once
    return min(i % period, period - i % period) if n > 1 else 0
