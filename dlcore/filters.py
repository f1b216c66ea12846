"""Filters of images: correlation, convolution, smoothing and edges (notes 4.2 and 6.1).

An image is (H, W), (H, W, C) or a batch (N, H, W, C); three axes always mean (H, W, C). It holds float32 or float64,
which the result keeps, or integers such as uint8, of which the result is float32. Every channel is filtered by itself.
A Tensor gives a Tensor, which can be differentiated; an array of NumPy or CuPy gives an array of the same library, a
list one of NumPy.

``mode`` says how far the kernel goes:

=======  ==========================================  ================================
mode     kernel placed                               rows that come out, at stride 1
=======  ==========================================  ================================
valid    only where all of it is on the image        H - kh + 1
same     with its middle on every pixel              H
full     wherever any of it is on the image          H + kh - 1
=======  ==========================================  ================================

At stride s every s-th place is kept: floor((H + 2p - f) / s) + 1, the notes' formula. A kernel of even size f has no
middle: in "same", (f - 1) // 2 pixels lie before the pixel and f // 2 after it, as in the layers. ``border`` says what
stands beyond the image, with the meanings of ``numpy.pad``: "zero" (its "constant"), "reflect", "symmetric", "nearest"
(its "edge"), "wrap". ``correlate2d`` and ``convolve2d`` take zeros by default, as the notes do. The filters with names
take "symmetric": zeros would darken the rim of a smoothed picture and give it an edge all round.

A kernel of rank 1 is applied in two passes where that saves work; :func:`explain` says which way is taken, and why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlcore._core.configurable import settings
from dlcore._core.validation import is_number, is_whole
from dlcore.errors import ConfigError
from dlcore.functional import filter as _filter
from dlcore.functional.checks import pair, refuse, tensor
from dlcore.functional.filter import Way, known, separate
from dlcore.tensor import Tensor

__all__ = [
    "Way",
    "box",
    "convolve2d",
    "correlate2d",
    "edges",
    "explain",
    "gaussian",
    "gaussian_kernel",
    "laplacian",
    "moving_average",
    "prewitt",
    "scharr",
    "separate",
    "sobel",
]


def __dir__() -> list[str]:
    return sorted(__all__)


_SMOOTHING = {"sobel": (1.0, 2.0, 1.0), "scharr": (3.0, 10.0, 3.0), "prewitt": (1.0, 1.0, 1.0)}
"""The half of each edge mask that runs along the edge; the other half is (1, 0, -1)."""

_RADIUS = 10_000
"""Pixels: the largest that a Gaussian may have."""


# --- one kernel


def correlate2d(
    image: Any, kernel: Any, mode: str = "same", border: str = "zero", stride: int | tuple[int, int] = 1
) -> Any:
    """Slide a kernel over an image: G[i, j] = sum over u, v of H[u, v] F[i + u, j + v]. The kernel is not flipped.

    image : (H, W), (H, W, C) or (N, H, W, C) of float32, float64 or integers
    kernel : (kh, kw) finite numbers; a Tensor that asks for a gradient gets one
    mode : "valid", "same" or "full"
    border : "zero", "reflect", "symmetric", "nearest" or "wrap"
    stride : int, or (vertical, horizontal), in pixels

    Returns an image with as many axes. A kernel of rank 1 is applied in two passes where that saves work, unless it
    asks for a gradient or lies on a device. Zeros in the kernel count: 0 times infinity is NaN. Raises ConfigError for
    a kernel, mode or border that cannot be, ShapeError for an image or a stride that cannot be, and for a kernel
    larger than the image in mode "valid".

    The notes' example, light on the left and dark on the right, with their vertical edge filter; what they write as *
    is this correlation, without a flip:

    >>> image = [[1, 1, 1, 0, 0, 0]] * 4
    >>> correlate2d(image, [[1, 0, -1], [1, 0, -1], [1, 0, -1]], mode="valid")
    array([[0., 3., 3., 0.],
           [0., 3., 3., 0.]], dtype=float32)

    Source: notes, 4.2 and 6.1.
    """
    x = _images("correlate2d", image)
    return _like(image, _filter.correlate2d(x, kernel, mode=mode, border=border, stride=stride))


def convolve2d(
    image: Any, kernel: Any, mode: str = "same", border: str = "zero", stride: int | tuple[int, int] = 1
) -> Any:
    """Correlate with the kernel flipped along both axes: G[i, j] = sum over u, v of H[u, v] F[i - u, j - v].

    Arguments, result and errors as for :func:`correlate2d`; the two are the same for a symmetric kernel. The flipped
    kernel is placed as any other, so an even one in mode "same" has (f - 1) // 2 pixels before and f // 2 after.

    >>> convolve2d([[0.0, 1.0, 0.0]], [[1.0, 2.0, 3.0]])
    array([[1., 2., 3.]], dtype=float32)

    Source: notes, 6.1.
    """
    x = _images("convolve2d", image)
    if not isinstance(kernel, Tensor) and not hasattr(kernel, "shape"):
        kernel = _filter.Fixed("convolve2d", kernel).numbers
    flipped = kernel[::-1, ::-1] if len(kernel.shape) == 2 else kernel  # any other is refused below
    return _like(
        image, _filter.correlate2d(x, flipped, mode=mode, border=border, stride=stride, operation="convolve2d")
    )


def explain(image_shape: Sequence[int], kernel: Any, mode: str = "same", stride: int | tuple[int, int] = 1) -> Way:
    """Which way :func:`correlate2d` takes for a kernel of plain numbers on an image of this shape, and why.

    image_shape : (H, W), (H, W, C) or (N, H, W, C)
    mode, stride : as for :func:`correlate2d`

    Returns a Way: ``taken`` is "separable" (two passes) or "direct". Raises ConfigError and ShapeError.

    >>> print(explain((100, 100), [[1, 2, 1], [2, 4, 2], [1, 2, 1]]))
    separable: the kernel is a column times a row: 60,600 multiplications a channel in two passes, 90,000 in one
    >>> explain((100, 100), [[0, 1, 0], [1, -4, 1], [0, 1, 0]]).taken
    'direct'
    """
    shape = tuple(image_shape)
    if not 2 <= len(shape) <= 4:
        _refuse_axes("explain", shape)
    rows = 1 if len(shape) == 4 else 0
    return _filter.way("explain", (shape[rows], shape[rows + 1]), kernel, mode, stride)


# --- smoothing


def moving_average(image: Any, k: int, *, mode: str = "same", border: str = "symmetric") -> Any:
    """The mean of the (2k + 1) × (2k + 1) pixels around each: G[i, j] = 1/(2k+1)² sum over u, v = -k..k of F[i+u, j+v].

    image : as for :func:`correlate2d`
    k : int, at least 0: how far the window reaches, in pixels

    Returns an image. Raises ConfigError and ShapeError.

    >>> moving_average([[0.0, 0.0, 9.0, 0.0, 0.0]], 1)
    array([[0., 3., 3., 3., 0.]], dtype=float32)

    Source: notes, 6.1, the first formula.
    """
    if not is_whole(k) or k < 0:
        raise ConfigError(f"moving_average: k is {k!r} but a whole number of at least 0 is expected")
    size = 2 * int(k) + 1
    return _separable("moving_average", image, _mean(size), _mean(size), mode, border)


def box(image: Any, size: int | tuple[int, int], *, mode: str = "same", border: str = "symmetric") -> Any:
    """The mean of the pixels in a window of ``size`` pixels, an int or (height, width), which may be even.

    Arguments and result as for :func:`moving_average`, which is ``box(image, 2 * k + 1)``.

    >>> box([[1.0, 3.0, 5.0]], (1, 2), mode="valid")
    array([[2., 4.]], dtype=float32)

    Source: notes, 6.1.
    """
    with settings():
        height, width = pair("box", "size", size)
    return _separable("box", image, _mean(height), _mean(width), mode, border)


def gaussian_kernel(
    sigma: float | tuple[float, float], truncate: float = 4.0, order: int | tuple[int, int] = 0
) -> np.ndarray:
    """The kernel of a Gaussian, proportional to exp(-(u² + v²) / 2 sigma²), or of a derivative of it.

    sigma : standard deviation in pixels, above 0; or (vertical, horizontal)
    truncate : how many sigma the kernel reaches: floor(truncate · sigma + 1/2) pixels each way
    order : 0, 1 or 2, or (vertical, horizontal): of the derivative along that axis

    Returns a (kh, kw) float64 NumPy array, to correlate with; of order 0 its sum is 1. Order 1 gives the derivative of
    the smoothed image, positive where it grows lighter to the right (or downwards), as in SciPy's ``gaussian_filter``.
    Raises ConfigError.

    >>> gaussian_kernel(0.5, truncate=2.0).round(3)
    array([[0.011, 0.084, 0.011],
           [0.084, 0.619, 0.084],
           [0.011, 0.084, 0.011]])

    Source: notes, 6.1.
    """
    column, row = _gaussian_factors("gaussian_kernel", sigma, truncate, order)
    return np.outer(column, row)


def gaussian(
    image: Any,
    sigma: float | tuple[float, float],
    order: int | tuple[int, int] = 0,
    truncate: float = 4.0,
    *,
    mode: str = "same",
    border: str = "symmetric",
) -> Any:
    """Smooth an image by a Gaussian, or take a derivative of the smoothed image: two passes, whatever sigma is.

    image : as for :func:`correlate2d`
    sigma, order, truncate : as for :func:`gaussian_kernel`; order 1 means first derivatives along both axes, (0, 1)
        the one to the right alone

    Returns an image. Raises ConfigError and ShapeError.

    >>> gaussian([[0.0, 0.0, 1.0, 0.0, 0.0]], (1.0, 0.5), truncate=2.0).round(3)
    array([[0.   , 0.107, 0.787, 0.107, 0.   ]], dtype=float32)

    Source: notes, 6.1.
    """
    return _separable("gaussian", image, *_gaussian_factors("gaussian", sigma, truncate, order), mode, border)


# --- edges


def sobel(image: Any, axis: str = "x", *, mode: str = "same", border: str = "symmetric") -> Any:
    """How much darker an image grows, by the Sobel masks of the notes: [[1, 0, -1], [2, 0, -2], [1, 0, -1]] for "x".

    image : as for :func:`correlate2d`
    axis : "x" (light on the left, dark on the right is positive), "y" (light above, dark below is positive; the mask is
        transposed) or "both", which gives the pair (along x, along y)

    Returns an image, or two. The masks are correlated with and not scaled: a step of height 1 gives 4. SciPy's sign is
    the opposite: ``scipy.ndimage.sobel`` is positive from dark to light. Raises ConfigError and ShapeError.

    >>> sobel([[1, 1, 0, 0]] * 3)
    array([[0., 4., 4., 0.],
           [0., 4., 4., 0.],
           [0., 4., 4., 0.]], dtype=float32)

    Source: notes, 4.2.
    """
    return _edge("sobel", image, axis, mode, border)


def scharr(image: Any, axis: str = "x", *, mode: str = "same", border: str = "symmetric") -> Any:
    """As :func:`sobel`, by the Scharr mask [[3, 0, -3], [10, 0, -10], [3, 0, -3]]: a step of height 1 gives 16.

    >>> scharr([[1, 1, 0, 0]])
    array([[ 0., 16., 16.,  0.]], dtype=float32)

    Source: notes, 4.2.
    """
    return _edge("scharr", image, axis, mode, border)


def prewitt(image: Any, axis: str = "x", *, mode: str = "same", border: str = "symmetric") -> Any:
    """As :func:`sobel`, by the notes' first vertical edge filter [[1, 0, -1], [1, 0, -1], [1, 0, -1]].

    SciPy's sign is the opposite here too.

    >>> prewitt([[1, 1, 0, 0]], axis="both")[1]  # nothing changes downwards
    array([[0., 0., 0., 0.]], dtype=float32)

    Source: notes, 4.2.
    """
    return _edge("prewitt", image, axis, mode, border)


def laplacian(image: Any, *, mode: str = "same", border: str = "symmetric") -> Any:
    """The sum of the second differences, by the mask [[0, 1, 0], [1, -4, 1], [0, 1, 0]]: negative on a light dot.

    image : as for :func:`correlate2d`

    Returns an image. Raises ConfigError and ShapeError.

    >>> laplacian([[0.0, 1.0, 0.0]])
    array([[ 1., -2.,  1.]], dtype=float32)
    """
    mask = [[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]
    x = _images("laplacian", image)
    return _like(image, _filter.correlate2d(x, mask, mode=mode, border=border, operation="laplacian"))


def edges(image: Any, kind: str = "sobel", *, mode: str = "same", border: str = "symmetric") -> tuple[Any, Any]:
    """Strength and direction of the edges: sqrt(gx² + gy²) and atan2(gy, gx), gx and gy by the masks of ``kind``.

    image : as for :func:`correlate2d`
    kind : "sobel", "scharr" or "prewitt"

    Returns (magnitude, direction), two images. The direction points from light to dark, in radians within [-pi, pi]: 0
    to the right, pi/2 downwards (rows count downwards), pi to the left, -pi/2 upwards; where nothing changes it is
    an angle without a meaning. Where the magnitude is 0 its gradient counts as 0. Raises ConfigError and ShapeError.

    >>> magnitude, direction = edges([[1, 1, 1], [0, 0, 0]])  # light above, dark below
    >>> magnitude[0], direction[0].round(3)
    (array([4., 4., 4.], dtype=float32), array([1.571, 1.571, 1.571], dtype=float32))

    Source: notes, 4.2.
    """
    known("edges", "kind", kind, _SMOOTHING)
    x = _images("edges", image)
    gx, gy = (_edge_along(x, kind, axis, mode, border) for axis in ("x", "y"))
    magnitude, direction = _filter.polar(gx, gy)
    return _like(image, magnitude), _like(image, direction)


# --- in and out


def _images(operation: str, image: Any) -> Tensor:
    """The image as (N, H, W, C)."""
    x = tensor(operation, "image", image)
    shape = x.shape
    if len(shape) == 2:
        return x.reshape(1, *shape, 1)
    if len(shape) == 3:
        return x.reshape(1, *shape)
    if len(shape) != 4:
        _refuse_axes(operation, shape)
    return x


def _like(image: Any, y: Tensor) -> Any:
    """(N, OH, OW, C) with the axes of the image, as a Tensor where the image is one."""
    axes = image.ndim if hasattr(image, "ndim") else np.ndim(image)
    if axes < 4:
        y = y.reshape(*(y.shape[1:] if axes == 3 else y.shape[1:3]))
    return y if isinstance(image, Tensor) else y.data


def _refuse_axes(operation: str, shape: Sequence[int]) -> None:
    refuse(
        operation,
        f"the image has shape {tuple(shape)}",
        "(H, W), (H, W, C) or (N, H, W, C) is expected",
        "reshape it",
    )


# --- the kernels


def _separable(operation: str, image: Any, column: Any, row: Any, mode: str, border: str) -> Any:
    x = _images(operation, image)
    return _like(image, _filter.correlate_separable(x, column, row, mode=mode, border=border, operation=operation))


def _mean(size: int) -> np.ndarray:
    return np.full(size, 1.0 / size)


def _edge(kind: str, image: Any, axis: str, mode: str, border: str) -> Any:
    known(kind, "axis", axis, ("x", "y", "both"))
    x = _images(kind, image)
    found = tuple(
        _like(image, _edge_along(x, kind, one, mode, border)) for one in (("x", "y") if axis == "both" else (axis,))
    )
    return found if axis == "both" else found[0]


def _edge_along(x: Tensor, kind: str, axis: str, mode: str, border: str) -> Tensor:
    along, across = _SMOOTHING[kind], (1.0, 0.0, -1.0)
    column, row = (along, across) if axis == "x" else (across, along)
    return _filter.correlate_separable(x, column, row, mode=mode, border=border, operation=kind)


def _gaussian_factors(operation: str, sigma: Any, truncate: float, order: Any) -> tuple[np.ndarray, np.ndarray]:
    reach = _positive(operation, "truncate", truncate)
    sigmas, orders = _both(sigma), _both(order)
    if len(sigmas) != 2 or len(orders) != 2:
        raise ConfigError(f"{operation}: sigma is {sigma!r} and order {order!r}: give one number, or two, to each")
    lines = [
        _gaussian_line(operation, _positive(operation, "sigma", s), reach, o)
        for s, o in zip(sigmas, orders, strict=True)
    ]
    return lines[0], lines[1]


def _gaussian_line(operation: str, sigma: float, truncate: float, order: Any) -> np.ndarray:
    """The Gaussian along one axis, to correlate with: mirrored, where it is a derivative of odd order."""
    if not is_whole(order) or order not in (0, 1, 2):
        raise ConfigError(f"{operation}: order is {order!r} but 0, 1 or 2 is expected, for each axis")
    if truncate * sigma > _RADIUS:
        raise ConfigError(
            f"{operation}: sigma {sigma:g} and truncate {truncate:g} reach {truncate * sigma:,.0f} pixels, more than "
            f"{_RADIUS:,}; scale the image down"
        )
    radius = math.floor(truncate * sigma + 0.5)
    u = np.arange(-radius, radius + 1) / sigma
    bell = np.exp(-0.5 * u**2)
    bell /= bell.sum()
    return bell * (1.0, u / sigma, (u**2 - 1.0) / sigma**2)[int(order)]


def _both(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


def _positive(operation: str, name: str, value: Any) -> float:
    if not is_number(value) or not 0 < value < math.inf:
        raise ConfigError(f"{operation}: {name} is {value!r} but a finite number above 0 is expected")
    return float(value)
