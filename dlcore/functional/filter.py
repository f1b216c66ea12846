"""Correlation of every channel with one kernel: what :mod:`dlcore.filters` and ``dlcore.nn.Filter2D`` stand on.

A kernel of rank 1 is a column times a row, and the two passes, down and across, take kh + kw multiplications a pixel in
place of kh · kw. :func:`separate` finds the factors; :func:`way` says whether they save work on an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from backends.array_ops import Padding, device_of, output_size
from backends.namespace import NUMPY, isdtype, namespace_of
from backends.reference import filter as _filter
from backends.reference.filter import BORDERS
from dlcore._core.arrays import from_list, plain
from dlcore._core.configurable import did_you_mean
from dlcore._core.current_device import on_its_device
from dlcore.errors import ConfigError, ShapeError
from dlcore.functional.checks import constant, floats, none_empty, on_host, padding_of, pair, refuse, same_dtype, tensor
from dlcore.tensor import Tensor, apply

__all__ = [
    "BORDERS",
    "MODES",
    "Fixed",
    "Way",
    "correlate2d",
    "correlate_separable",
    "known",
    "polar",
    "separate",
    "way",
]

MODES = ("valid", "same", "full")

TOLERANCE = 16
"""A kernel counts as rank 1 where no other singular value exceeds this many roundings of the largest."""


@dataclass(frozen=True)
class Way:
    """How a kernel is applied: ``taken`` is "separable" or "direct".

    multiplications : of the way that is taken, for one channel of one image
    why : the reason, with the numbers

    >>> from dlcore.filters import explain
    >>> found = explain((100, 100), [[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    >>> found.taken, found.multiplications
    ('separable', 60600)
    """

    taken: str
    multiplications: int
    why: str

    def __str__(self) -> str:
        return f"{self.taken}: {self.why}"


class Fixed:
    """A kernel of plain numbers: checked, factored where it has rank 1, and kept beside the arrays it was used with.

    numbers : (kh, kw) float64 array
    factors : (column, row), or None
    reason : why there are no factors
    """

    def __init__(self, operation: str, kernel: Any) -> None:
        self.numbers = _numbers(operation, kernel)
        self.factors, self.reason = _factors(self.numbers, _precision(kernel))
        self._placed: tuple[Any, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_placed": ()}  # a copy places its own

    def beside(self, x: Any, dtype: Any, taken: str) -> tuple[Tensor, ...]:
        """The kernel, or its two factors, as Tensors on the device of x; uploaded once."""
        where = (namespace_of(x), device_of(x), dtype, taken)
        if not self._placed or self._placed[0] != where:
            parts = self.factors if taken == "separable" and self.factors else (self.numbers,)
            self._placed = (where, *(Tensor(_beside(x, part, dtype)) for part in parts))
        return self._placed[1:]


def separate(kernel: Any) -> tuple[np.ndarray, np.ndarray]:
    """The column and the row whose product is the kernel: kernel[u, v] = column[u] · row[v].

    kernel : (kh, kw) array or nested list of finite numbers

    The singular values say whether there are such factors: the second may be at most 16 roundings of the first (of
    float32 for a float32 array, else of float64). The factors themselves are the column and the row through the largest
    element, so those of a mask of whole numbers are exact and its zeros stay zeros.

    Returns (column, row), float64 arrays of shapes (kh,) and (kw,). Raises ConfigError, with the rank and the singular
    values, where there are none.

    >>> separate([[1, 0, -1], [2, 0, -2], [1, 0, -1]])  # the notes' Sobel mask
    (array([1., 2., 1.]), array([ 1.,  0., -1.]))

    Source: notes, 4.2; the factors by the singular value decomposition (Eckart and Young, 1936).
    """
    fixed = Fixed("separate", kernel)
    if fixed.factors is None:
        raise ConfigError(f"separate: {fixed.reason}; apply it by correlate2d as it is")
    return fixed.factors


@on_its_device
def correlate2d(
    x: Any,
    kernel: Any,
    *,
    mode: str = "same",
    border: str = "zero",
    stride: int | tuple[int, int] = 1,
    operation: str = "correlate2d",
) -> Tensor:
    """Every channel of a batch of images, correlated with one kernel; see :func:`dlcore.filters.correlate2d`.

    x : (N, H, W, C) array of float32, float64, integers or bool; the last two give float32
    kernel : (kh, kw) numbers, a :class:`Fixed`, or a Tensor or device array, which is applied directly
    operation : the name that errors begin with

    Returns (N, OH, OW, C). Raises ConfigError and ShapeError.
    """
    x = tensor(operation, "x", x)
    dtype = _result_dtype(operation, x)
    if not isinstance(kernel, Fixed | Tensor):
        kernel = Fixed(operation, kernel) if _is_host(kernel) else Tensor(kernel)
    elif isinstance(kernel, Tensor) and not kernel.requires_grad and on_host(kernel):
        kernel = Fixed(operation, kernel.data)
    if isinstance(kernel, Fixed):
        how = _how(operation, x, kernel.numbers.shape, mode, border, stride)
        taken = _way(kernel, x.shape[1:3], how["padding"], how["stride"]).taken
        parts = kernel.beside(x.data, dtype, taken)
        return apply(_filter.correlate_separable if taken == "separable" else _filter.correlate2d, x, *parts, **how)
    _check_kernel(operation, kernel.data)
    if kernel.dtype != dtype and kernel.requires_grad:
        refuse(operation, f"the result is {dtype}", f"the kernel is {kernel.dtype}", "give both one dtype")
    if kernel.dtype != dtype:
        kernel = Tensor(namespace_of(kernel.data).astype(kernel.data, dtype))
    how = _how(operation, x, kernel.shape, mode, border, stride)
    return apply(_filter.correlate2d, x, kernel, **how)


@on_its_device
def correlate_separable(
    x: Any,
    column: Any,
    row: Any,
    *,
    mode: str = "same",
    border: str = "zero",
    stride: int | tuple[int, int] = 1,
    operation: str = "correlate_separable",
) -> Tensor:
    """As :func:`correlate2d` with the kernel column[u] · row[v], in two passes.

    column, row : (kh,) and (kw,) finite numbers on the host

    Returns (N, OH, OW, C). Raises ConfigError and ShapeError.

    >>> correlate_separable([[[[1.0], [2.0], [4.0]]]], [1.0], [1.0, 0.0, -1.0], mode="valid").numpy().ravel()
    array([-3.], dtype=float32)
    """
    x = tensor(operation, "x", x)
    dtype = _result_dtype(operation, x)
    column, row = (_factor(operation, name, values) for name, values in (("column", column), ("row", row)))
    how = _how(operation, x, (len(column), len(row)), mode, border, stride)
    parts = (Tensor(_beside(x.data, part, dtype)) for part in (column, row))
    return apply(_filter.correlate_separable, x, *parts, **how)


def polar(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Length and angle of each vector (x, y): sqrt(x² + y²) and atan2(y, x), the latter in [-pi, pi].

    x, y : float arrays of one shape

    Returns two arrays of that shape; where both are 0, the gradient is 0. Raises ShapeError.

    >>> length, angle = polar([3.0, 0.0], [4.0, -1.0])
    >>> length.numpy(), angle.numpy().round(3)
    (array([5., 1.], dtype=float32), array([ 0.927, -1.571], dtype=float32))
    """
    x, y = floats("polar", "x", x), floats("polar", "y", y)
    if x.shape != y.shape:
        refuse("polar", f"x has shape {tuple(x.shape)}", f"y {tuple(y.shape)}", "give both one shape")
    same_dtype("polar", x, "y", y)
    return apply(_filter.polar, x, y)


def way(operation: str, shape: tuple[int, int], kernel: Any, mode: str, stride: int | tuple[int, int]) -> Way:
    """How :func:`correlate2d` applies a kernel of plain numbers to an image of (H, W) pixels, and why."""
    fixed = Fixed(operation, kernel)
    padding, stride = _padding(operation, mode, fixed.numbers.shape), pair(operation, "stride", stride)
    _check_size(operation, shape, fixed.numbers.shape, padding)
    return _way(fixed, shape, padding, stride)


def known(operation: str, name: str, value: Any, names: Any) -> str:
    """``value`` where it is one of ``names``, else a ConfigError.

    >>> known("correlate2d", "border", "mirror", ("zero", "reflect"))
    Traceback (most recent call last):
    ...
    dlcore.errors.ConfigError: correlate2d: border is 'mirror' but one of zero, reflect is expected
    """
    if value not in tuple(names):
        raise ConfigError(
            f"{operation}: {name} is {value!r:.60} but one of {', '.join(names)} is expected"
            f"{did_you_mean(value, names)}"
        )
    return value


# --- which way


def _way(kernel: Fixed, shape: tuple[int, ...], padding: Padding, stride: tuple[int, int]) -> Way:
    kh, kw = kernel.numbers.shape
    size = [output_size(n + sum(p), k, s) for n, p, k, s in zip(shape, padding, (kh, kw), stride, strict=True)]
    direct = prod(size) * kh * kw
    if kernel.factors is None:
        return Way("direct", direct, f"{kernel.reason}; {direct:,} multiplications a channel")
    passes = (
        size[0] * (shape[1] + sum(padding[1])) * kh + prod(size) * kw
    )  # down every column of the image, then across
    costs = f"{passes:,} multiplications a channel in two passes, {direct:,} in one"
    if passes < direct:
        return Way("separable", passes, f"the kernel is a column times a row: {costs}")
    return Way("direct", direct, f"the kernel is a column times a row, which saves nothing here: {costs}")


def _factors(kernel: np.ndarray, eps: float) -> tuple[tuple[np.ndarray, np.ndarray] | None, str]:
    """(column, row), or None and the reason."""
    largest = np.abs(kernel).max()
    if largest == 0:
        return (np.zeros(kernel.shape[0]), np.zeros(kernel.shape[1])), ""
    scaled = kernel / largest  # of which no square overflows
    values = np.linalg.svd(scaled, compute_uv=False)
    rank = int(np.sum(values > TOLERANCE * eps * values[0]))
    if rank > 1:
        shown = ", ".join(f"{v:.4g}" for v in values[:4] * largest) + (", ..." if len(values) > 4 else "")
        return None, f"the kernel {kernel.shape} has rank {rank}, not 1 (singular values {shown})"
    i, j = divmod(int(np.abs(kernel).argmax()), kernel.shape[1])
    return (kernel[:, j].copy(), kernel[i, :] / kernel[i, j]), ""


# --- checks


def _how(
    operation: str, x: Tensor, kernel: tuple[int, ...], mode: str, border: str, stride: int | tuple[int, int]
) -> dict[str, Any]:
    """The kernels' parameters, once everything is checked."""
    if x.ndim != 4:
        refuse(operation, f"x has shape {tuple(x.shape)}", "(N, H, W, C) is expected", "reshape to four axes")
    padding = _padding(operation, mode, kernel)
    known(operation, "border", border, BORDERS)
    steps = pair(operation, "stride", stride)
    _check_size(operation, x.shape[1:3], kernel, padding)
    return {"padding": padding, "border": border, "stride": steps}


def _padding(operation: str, mode: str, kernel: tuple[int, ...]) -> Padding:
    kh, kw = kernel
    if known(operation, "mode", mode, MODES) == "full":
        return ((kh - 1, kh - 1), (kw - 1, kw - 1))
    return padding_of(operation, mode, (kh, kw))


def _check_size(operation: str, shape: tuple[int, ...], kernel: tuple[int, ...], padding: Padding) -> None:
    if 0 in shape:
        refuse(operation, f"the image has {shape[0]} × {shape[1]} pixels", "at least one is expected", "leave it out")
    if any(n + sum(p) < k for n, p, k in zip(shape, padding, kernel, strict=True)):
        refuse(
            operation,
            f"the kernel has {kernel[0]} × {kernel[1]} pixels",
            f"in mode 'valid' it must fit into the image of {shape[0]} × {shape[1]}",
            "use mode='same' or a smaller kernel",
        )


def _numbers(operation: str, kernel: Any) -> np.ndarray:
    """A kernel on the host, in float64."""
    try:
        host = kernel.data if isinstance(kernel, Tensor) else kernel
        numbers = plain(operation, host if hasattr(host, "dtype") else from_list(host)).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{operation}: the kernel is no array of numbers ({' '.join(str(error).split()):.160}); give its rows"
        ) from None
    _check_kernel(operation, numbers)
    if not np.isfinite(numbers).all():
        u, v = np.argwhere(~np.isfinite(numbers))[0]
        raise ConfigError(
            f"{operation}: the kernel holds {numbers[u, v]} at [{u}, {v}] but finite numbers are expected"
        )
    return numbers


def _factor(operation: str, name: str, values: Any) -> np.ndarray:
    constant(operation, name, values, "x")
    host = values.numpy() if isinstance(values, Tensor) else values
    factor = plain(operation, host if hasattr(host, "dtype") else from_list(host)).astype(np.float64)
    if factor.ndim != 1 or not factor.size:
        refuse(operation, f"{name} has shape {factor.shape}", "at least one number in a row is expected", "flatten it")
    return factor


def _check_kernel(operation: str, kernel: Any) -> None:
    if kernel.ndim != 2 or 0 in kernel.shape:
        raise ConfigError(
            f"{operation}: the kernel has shape {tuple(kernel.shape)} but (kh, kw) with at least one number is "
            "expected; give its rows"
        )


def _precision(kernel: Any) -> float:
    """The rounding that the numbers of a kernel have seen."""
    dtype = getattr(kernel.data if isinstance(kernel, Tensor) else kernel, "dtype", None)
    return float(np.finfo(dtype).eps) if dtype is not None and dtype.kind == "f" else float(np.finfo(np.float64).eps)


def _result_dtype(operation: str, x: Tensor) -> Any:
    xp = namespace_of(x.data)
    if x.ndim == 4:
        none_empty(operation, x=("channels", x.shape[3]))
    if x.dtype in (xp.float32, xp.float64):
        return x.dtype
    if isdtype(xp, x.dtype, "integral") or isdtype(xp, x.dtype, "bool"):
        return xp.float32
    raise ShapeError(f"{operation}: x is {x.dtype} but float32, float64 or integers are expected; convert the image")


def _beside(x: Any, host: np.ndarray, dtype: Any) -> Any:
    """Numbers of the host as an array beside x."""
    xp = namespace_of(x)
    return host.astype(dtype) if xp is NUMPY else xp.asarray(host, dtype=dtype, device=device_of(x))


def _is_host(kernel: Any) -> bool:
    """Whether the numbers of a kernel can be looked at without waiting for a device."""
    return not hasattr(kernel, "shape") or isinstance(kernel, np.ndarray | np.generic)
