"""Checks that run before any launch, alike on every device."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from backends.namespace import NUMPY, isdtype, namespace_of
from backends.standard import Padding
from dlcore.errors import ShapeError
from dlcore.tensor import Tensor

__all__ = [
    "NotIntegersError",
    "channels_first",
    "on_host",
    "out_of_range",
    "padding_of",
    "pair",
    "refuse",
    "same_dtype",
]


class NotIntegersError(ShapeError):
    """Floats came where integers say which row is meant."""


def refuse(operation: str, came: str, expected: str, fix: str) -> NoReturn:
    """Raise a ShapeError in one line: what came, what was expected, what to do."""
    raise ShapeError(f"{operation}: {came} but {expected}; {fix}")


def same_dtype(operation: str, x: Tensor, name: str, w: Tensor) -> None:
    """``x`` must have the parameters' dtype: a silent promotion would run everything in double precision."""
    if x.data.dtype != w.data.dtype:
        floating = isdtype(namespace_of(x.data), x.data.dtype, "real floating")
        rebuild = f", or build the model with dtype={str(x.data.dtype).split('.')[-1]!r}" if floating else ""
        refuse(operation, f"x is {x.data.dtype}", f"{name} is {w.data.dtype}", f"convert x to {w.data.dtype}{rebuild}")


def channels_first(shape: Any, expected: Any) -> str:
    """What to do about images of ``shape`` (C, H, W) where (H, W, C) is expected; "" where they are no such images.

    >>> channels_first((3, 32, 32), (32, 32, 3))[:45]
    'images come as (N, H, W, C) and these seem to '
    >>> channels_first((3, 32, 32), (None, None, 1)), channels_first((32,), (3,))
    ('', '')
    """
    found = isinstance(shape, tuple) and isinstance(expected, tuple) and len(shape) == len(expected) == 3
    if not found or not all(isinstance(n, int | None) for n in (*shape, *expected)) or min(shape[1:]) <= 4:
        return ""
    c, h, w = shape
    if expected[2] != c or expected[0] not in (None, h) or expected[1] not in (None, w):
        return ""
    return "images come as (N, H, W, C) and these seem to be (N, C, H, W): give x.transpose(0, 2, 3, 1)"


def pair(operation: str, name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    """A positive integer or two of them, as (vertical, horizontal).

    >>> pair("conv2d", "stride", 2)
    (2, 2)
    """
    if isinstance(value, int | np.integer):
        value = (int(value), int(value))
    if not (isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(v, int) and v > 0 for v in value)):
        refuse(operation, f"{name} is {value!r}", "a positive integer or two of them are expected", f"change {name}")
    return value[0], value[1]


def padding_of(operation: str, padding: Any, kernel: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> Padding:
    """The pixels that "valid", "same" or ((top, bottom), (left, right)) add.

    "same" is (f - 1) // 2 before and f // 2 after, with f the extent of the (dilated) kernel.

    >>> padding_of("conv2d", "same", (3, 4))
    ((1, 1), (1, 2))
    """
    if padding == "valid":
        return ((0, 0), (0, 0))
    if padding == "same":
        top, left = (d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
        return (((top - 1) // 2, top // 2), ((left - 1) // 2, left // 2))
    sides = _sides(padding)
    if sides is None:
        refuse(
            operation,
            f"padding is {padding!r}",
            "'valid', 'same' or ((top, bottom), (left, right)) of pixels is expected",
            "change padding",
        )
    return sides


def on_host(x: Tensor) -> bool:
    """Whether the values can be looked at without a copy or a wait."""
    return isinstance(x.data, np.ndarray)


def out_of_range(integers: Tensor, count: int) -> bool:
    """Whether an integer on the host is outside [0, count); what is on a device was checked when it was loaded."""
    if not on_host(integers) or not integers.data.size:
        return False
    x = integers.data
    unsigned = x.view(np.uint64) if x.dtype == np.int64 else x.astype(np.uint64)  # a negative one becomes the largest
    return NUMPY.max(unsigned) >= count


def _sides(padding: Any) -> Padding | None:
    """Explicit padding as nested tuples; None where it is none."""
    try:
        (top, bottom), (left, right) = padding
    except (TypeError, ValueError):
        return None
    fits = all(isinstance(side, int | np.integer) and side >= 0 for side in (top, bottom, left, right))
    return ((int(top), int(bottom)), (int(left), int(right))) if fits else None
