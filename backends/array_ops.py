"""What the Array API standard lacks, built from its calls: windows and their adjoint, padding, one-hot, broadcasting.

Every function takes the namespace ``xp`` first and works on any library of the standard.
"""

from __future__ import annotations

from math import prod
from typing import Any

__all__ = [
    "Padding",
    "clip",
    "device_of",
    "fold_windows",
    "mean_axes",
    "one_hot",
    "output_size",
    "pad",
    "select",
    "sign",
    "smallest",
    "strip",
    "sum_axes",
    "sum_rows",
    "tap",
    "unbroadcast",
    "windows",
]

Padding = tuple[tuple[int, int], tuple[int, int]]
"""Pixels added ((top, bottom), (left, right))."""


def device_of(x: Any) -> Any:
    """The device for creation functions; None (the default device) for what has none, such as a NumPy scalar.

    >>> import numpy as np
    >>> device_of(np.ones(2)), device_of(3.0)
    ('cpu', None)
    """
    return getattr(x, "device", None)


def unbroadcast(xp: Any, dy: Any, shape: tuple[int, ...]) -> Any:
    """Sum ``dy`` over the axes along which an array of ``shape`` was broadcast: the adjoint of broadcasting.

    >>> import numpy as np
    >>> unbroadcast(np, np.ones((4, 3)), (1, 3))
    array([[4., 4., 4.]])
    """
    if dy.shape == shape:
        return dy
    extra = dy.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + axis for axis, n in enumerate(shape) if n == 1 and dy.shape[extra + axis] != 1
    )
    return xp.reshape(sum_axes(xp, dy, axes), shape)


def sign(xp: Any, x: Any) -> Any:
    """-1, 0 or 1 like ``x``; ``array_api_compat`` mends NaN in CuPy's sign by a mask, for which CuPy waits.

    >>> import numpy as np
    >>> sign(np, np.array([-2.0, 0.0, 3.0]))
    array([-1.,  0.,  1.])
    """
    return xp.astype(x > 0, x.dtype) - xp.astype(x < 0, x.dtype)


def select(xp: Any, condition: Any, x: Any) -> Any:
    """``x`` where the condition holds, else 0: a product with a mask would make NaN of an infinity.

    >>> import numpy as np
    >>> select(np, np.array([True, False]), np.array([1.0, np.inf]))
    array([1., 0.])
    """
    own = getattr(xp, "keep", None)  # of :mod:`backends.numpy_namespace`
    if own is not None:
        return own(condition, x)
    return xp.where(condition, x, xp.zeros((), dtype=x.dtype, device=device_of(x)))


def clip(xp: Any, x: Any, low: Any, high: Any) -> Any:
    """``x`` brought into [low, high]; ``array_api_compat``'s clip assigns by a mask, for which CuPy waits.

    >>> import numpy as np
    >>> clip(np, np.array([-2.0, 0.5, 3.0]), 0.0, 1.0)
    array([0. , 0.5, 1. ])
    """
    return xp.minimum(xp.maximum(x, low), high)


def smallest(xp: Any, x: Any, k: int) -> tuple[Any, Any]:
    """The k smallest of each row of (Q, N) in ascending order, and where they stand: (Q, k), (Q, k) int64.

    Of equal elements the one on the left comes first. The standard has no partition, and sorting whole rows is slow:
    a row is cut into groups of 16, and only the k groups with the smallest minima are sorted. An element of another
    group has k elements before it: the minima of these groups, smaller than it, or equal to it and on its left.

    >>> import numpy as np
    >>> smallest(np, np.array([[5, 1, 4, 1]]), 2)
    (array([[1, 1]]), array([[1, 3]]))
    """
    rows, n = x.shape
    size = 16
    groups = n // size
    count = lambda start, stop: xp.arange(start, stop, dtype=xp.int64, device=device_of(x))  # noqa: E731
    if groups <= k:
        order = xp.argsort(x, axis=-1, stable=True)[:, :k]
        return xp.take_along_axis(x, order, axis=-1), xp.astype(order, xp.int64, copy=False)
    whole = groups * size
    minima = xp.min(xp.reshape(x[:, :whole], (rows, groups, size)), axis=-1)
    chosen = xp.sort(xp.argsort(minima, axis=-1, stable=True)[:, :k], axis=-1)  # (Q, k), from left to right
    chosen = xp.astype(chosen, xp.int64, copy=False)
    places = xp.reshape(chosen[:, :, None] * size + count(0, size), (rows, k * size))
    if whole < n:  # what is left over at the end is always looked at
        places = xp.concat([places, xp.broadcast_to(count(whole, n), (rows, n - whole))], axis=-1)
    values = xp.take_along_axis(x, places, axis=-1)
    order = xp.argsort(values, axis=-1, stable=True)[:, :k]
    return xp.take_along_axis(values, order, axis=-1), xp.take_along_axis(places, order, axis=-1)


_PLAIN = 256
"""Rows that are added up one after the other: the error of so many is that of a few roundings."""
_BY_PRODUCT = 2048
"""Rows that a product adds up, which keeps several sums at a time."""


def sum_axes(xp: Any, x: Any, axis: int | tuple[int, ...] | None, keepdims: bool = False) -> Any:
    """The sum over ``axis`` (None: over all), whose error does not grow with the number of terms.

    Libraries may add along an axis one term after the other, as NumPy does along all but the last: of a million equal
    numbers of float32 the sum is then 1 % off. So a long axis is folded: it is cut into a few pieces, which are added
    to each other, and that again. The order depends on the shape alone.

    >>> import numpy as np
    >>> x = np.full((1_000_000, 1), 0.1, np.float32)
    >>> bool(abs(sum_axes(np, x, 0)[0] / 1e6 - x[0, 0]) < 1e-7)
    True
    """
    if type(axis) is int and x.shape[axis] <= _PLAIN:
        return xp.sum(x, axis=axis, keepdims=keepdims)
    axes = _long(x, axis)
    if not axes:
        return xp.sum(x, axis=axis, keepdims=keepdims)
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    for a in reversed(axes):
        x = _sum_along(xp, x, a)
    return x if not keepdims else xp.reshape(x, shape)


def mean_axes(xp: Any, x: Any, axis: int | tuple[int, ...] | None, keepdims: bool = False) -> Any:
    """The mean over ``axis`` (None: over all), of a sum as :func:`sum_axes` takes it.

    >>> import numpy as np
    >>> mean_axes(np, np.array([[1.0, 2.0], [3.0, 6.0]]), 0)
    array([2., 4.])
    """
    axes = _long(x, axis)
    if not axes:
        return xp.mean(x, axis=axis, keepdims=keepdims)
    return sum_axes(xp, x, axis, keepdims) / prod(x.shape[a] for a in axes)


def _long(x: Any, axis: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """The axes in ascending order where one of them is to be folded; none of them otherwise."""
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if all(x.shape[a] <= _PLAIN for a in axes):
        return ()
    return tuple(sorted(a % x.ndim for a in axes))


def _sum_along(xp: Any, x: Any, axis: int) -> Any:
    """The sum over one axis, which is folded."""
    before, n, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    if n <= _PLAIN:
        return xp.sum(x, axis=axis)
    x = xp.reshape(x, (prod(before), n, prod(after)))
    pieces = 16 if x.shape[2] < 128 else 32  # a few more where the sums of the pieces would not stay in the cache
    rest = []
    while n > pieces:
        whole = n // pieces * pieces
        if whole < n:
            rest.append(xp.sum(x[:, whole:, :], axis=1))
        x = xp.sum(xp.reshape(x[:, :whole, :], (x.shape[0], pieces, whole // pieces * x.shape[2])), axis=1)
        n = whole // pieces
        x = xp.reshape(x, (x.shape[0], n, prod(after)))
    total = xp.sum(x, axis=1)
    for some in reversed(rest):
        total = total + some
    return xp.reshape(total, before + after)


def sum_rows(xp: Any, x: Any) -> Any:
    """Sum over all axes but the last, (..., C) -> (C,): of few rows as a product with a row of ones.

    For few channels NumPy's own reduction over leading axes takes ten times as long as the product.

    >>> import numpy as np
    >>> sum_rows(np, np.arange(6.0).reshape(3, 1, 2))
    array([6., 9.])
    """
    rows = xp.reshape(x, (-1, x.shape[-1]))
    if rows.shape[0] > _BY_PRODUCT:
        return sum_axes(xp, rows, 0)
    ones = xp.ones((1, rows.shape[0]), dtype=x.dtype, device=device_of(x))
    return xp.matmul(ones, rows)[0, :]


def one_hot(xp: Any, labels: Any, classes: int) -> Any:
    """(...,) integers -> (..., classes) bool; a label outside [0, classes) gives a row of False.

    >>> import numpy as np
    >>> one_hot(np, np.array([2, 0, -1]), 3)
    array([[False, False,  True],
           [ True, False, False],
           [False, False, False]])
    """
    # Counted in int64: in the labels' own dtype, uint8 say, the numbers of more classes would wrap.
    return xp.astype(labels, xp.int64, copy=False)[..., None] == xp.arange(
        classes, dtype=xp.int64, device=device_of(labels)
    )


def output_size(n: int, kernel: int, stride: int, dilation: int = 1) -> int:
    """Places a window fits along an axis of ``n`` (padded) pixels: floor((n - f) / s) + 1 (the notes' 4.2).

    >>> output_size(28 + 2, kernel=3, stride=2)  # 28 pixels, one of padding on each side
    14
    """
    return (n - (dilation * (kernel - 1) + 1)) // stride + 1


def pad(xp: Any, x: Any, padding: Padding, value: float = 0.0) -> Any:
    """Surround the two space axes of (N, H, W, C) by ``value``.

    >>> import numpy as np
    >>> pad(np, np.ones((1, 1, 1, 1)), ((0, 1), (1, 0)))[0, :, :, 0]
    array([[0., 1.],
           [0., 0.]])
    """
    (top, bottom), (left, right) = padding
    if not (top or bottom or left or right):
        return x
    n, h, w, c = x.shape
    y = xp.full((n, h + top + bottom, w + left + right, c), value, dtype=x.dtype, device=device_of(x))
    y[:, top : top + h, left : left + w, :] = x
    return y


def strip(x: Any, padding: Padding) -> Any:
    """The part of (N, H, W, C) inside ``padding``: the adjoint of :func:`pad`.

    >>> import numpy as np
    >>> padding = ((1, 0), (2, 1))
    >>> strip(pad(np, np.ones((1, 4, 5, 2)), padding), padding).shape
    (1, 4, 5, 2)
    """
    (top, bottom), (left, right) = padding
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right, :]


def tap(i: int, j: int, size: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> tuple[slice, ...]:
    """The index that picks, from (N, H, W, C), the pixel (i, j) of every window: an (N, OH, OW, C) view.

    >>> import numpy as np
    >>> x = np.arange(9).reshape(1, 3, 3, 1)
    >>> x[tap(0, 1, size=(2, 2), stride=(1, 1), dilation=(1, 1))][0, :, :, 0]  # the right upper pixels
    array([[1, 2],
           [4, 5]])
    """
    top, left = i * dilation[0], j * dilation[1]
    return (
        slice(None),
        slice(top, top + (size[0] - 1) * stride[0] + 1, stride[0]),
        slice(left, left + (size[1] - 1) * stride[1] + 1, stride[1]),
        slice(None),
    )


def windows(
    xp: Any,
    x: Any,
    kernel: tuple[int, int],
    size: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> Any:
    """Every window of (N, H, W, C), copied out: (N, OH, OW, kh * kw * C), the taps in row-major order.

    >>> import numpy as np
    >>> x = np.arange(9).reshape(1, 3, 3, 1)
    >>> windows(np, x, (2, 2), (2, 2), (1, 1), (1, 1))[0, 0]
    array([[0, 1, 3, 4],
           [1, 2, 4, 5]])
    """
    taps = [x[tap(i, j, size, stride, dilation)] for i in range(kernel[0]) for j in range(kernel[1])]
    return taps[0] if len(taps) == 1 else xp.concat(taps, axis=-1)


def fold_windows(
    xp: Any,
    columns: list[Any],
    shape: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> Any:
    """Add windows back to where they came from: the adjoint of :func:`windows`, one (N, OH, OW, C) array per tap.

    Each tap adds to distinct pixels, one tap after the other, so the sum has one fixed order on every device.

    >>> import numpy as np
    >>> ones = np.ones((1, 2, 2, 1))  # for each of the four taps of a 2 × 2 kernel
    >>> fold_windows(np, [ones] * 4, (1, 3, 3, 1), (2, 2), (1, 1), (1, 1))[0, :, :, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    x = xp.zeros(shape, dtype=columns[0].dtype, device=device_of(columns[0]))
    size = columns[0].shape[1:3]
    for t, dtap in enumerate(columns):
        place = tap(t // kernel[1], t % kernel[1], size, stride, dilation)
        x[place] += dtap
    return x
