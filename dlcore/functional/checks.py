"""Checks that run before any launch, alike on every device."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from backends.array_ops import Padding
from backends.namespace import NUMPY, isdtype, namespace_of
from dlcore._core.arrays import asks_for_gradient
from dlcore._core.validation import is_whole
from dlcore.errors import ShapeError
from dlcore.tensor import Tensor, grad_enabled

__all__ = [
    "NotIntegersError",
    "channels_first",
    "check_key",
    "constant",
    "floats",
    "none_empty",
    "not_probabilities",
    "on_host",
    "out_of_range",
    "padding_of",
    "pair",
    "refuse",
    "same_dtype",
    "tensor",
]


class NotIntegersError(ShapeError):
    """Floats came where integers say which row is meant."""


def refuse(operation: str, came: str, expected: str, fix: str) -> NoReturn:
    """Raise a ShapeError in one line: what came, what was expected, what to do."""
    raise ShapeError(f"{operation}: {came} but {expected}; {fix}")


def tensor(operation: str, name: str, x: Any) -> Tensor:
    """``x`` as a tensor; what cannot be one is refused by the name that a user knows it by.

    >>> tensor("relu", "x", np.array([1j]))
    Traceback (most recent call last):
    ...
    backends.errors.ShapeError: relu: x: an array of complex128 came but real numbers are expected; take its .real or \
.imag part, or abs() of it
    """
    try:
        return x if isinstance(x, Tensor) else Tensor(x)
    except ShapeError as error:
        raise ShapeError(f"{operation}: {name}: {str(error).removeprefix('Tensor: ')}") from None


def floats(operation: str, name: str, x: Any, fix: str = "") -> Tensor:
    """``x`` as a tensor of floating-point numbers; a list, or a number, of integers is taken for the same floats.

    An array of integers or bool is refused: in its own dtype a result would wrap round.

    >>> floats("relu", "x", [1, 2]).dtype
    dtype('float32')
    """
    if isinstance(x, Tensor):
        if x.requires_grad:  # which only floats may
            return x
    else:
        listed = isinstance(x, list | tuple)
        x = tensor(operation, name, x)
        if listed and x.data.dtype.kind in "biu":
            x = Tensor(x.data.astype(np.float32))
    if not isdtype(namespace_of(x.data), x.data.dtype, "real floating"):
        dtype = str(x.data.dtype).rpartition(".")[2]
        refuse(
            operation, f"{name} is {dtype}", "floating-point numbers are expected",
            fix or f"convert {name} to float32, such as by {name}.astype('float32')",
        )  # fmt: skip
    return x


def constant(operation: str, name: str, x: Any, given: str) -> Any:
    """``x``, which no gradient is known for: refused where it asks for one.

    given : what does get a gradient
    """
    if x is not None and grad_enabled() and asks_for_gradient(x):
        refuse(operation, f"{name} asks for a gradient", f"only {given} can have one", f"pass {name}.detach()")
    return x


def check_key(operation: str, key: Any) -> None:
    """Refuse what is no key of random numbers."""
    if not (isinstance(key, tuple | list) and len(key) == 2 and all(_is_word(word) for word in key)):
        refuse(operation, f"key is {key!r:.60}", "two integers from 0 to 2**32 - 1 are expected", "derive makes one")


def _is_word(word: Any) -> bool:
    return isinstance(word, int | np.integer) and 0 <= int(word) < 2**32


def none_empty(operation: str, **axes: tuple[str, int]) -> None:
    """Refuse an axis of size 0 other than that of the examples.

    axes : by the array's name, what the axis counts, and how many there are
    """
    for name, (what, n) in axes.items():
        if n == 0:
            refuse(
                operation,
                f"{name} {'have' if name == 'logits' else 'has'} no {what}",
                "at least one is expected",
                "check the shape of the data",
            )


def same_dtype(operation: str, x: Tensor, name: str, w: Tensor) -> None:
    """``x`` must have the parameters' dtype: a silent promotion would run everything in double precision."""
    if x.data.dtype != w.data.dtype:
        floating = isdtype(namespace_of(x.data), x.data.dtype, "real floating")
        rebuild = f", or build the model with dtype={str(x.data.dtype).split('.')[-1]!r}" if floating else ""
        refuse(operation, f"x is {x.data.dtype}", f"{name} is {w.data.dtype}", f"convert x to {w.data.dtype}{rebuild}")


def channels_first(shape: Any, expected: Any) -> str:
    """What to do about images of ``shape`` (C, H, W) where (H, W, C) is expected; "" where they are no such images.

    >>> channels_first((3, 32, 32), (32, 32, 3))[:45]
    'images come as (N, H, W, C) and these seem to'
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
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int and min(value) > 0:
        return value  # first, for it is asked in every step
    both = value if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or not all(is_whole(side) and side > 0 for side in both):
        refuse(operation, f"{name} is {value!r}", "a positive integer or two of them are expected", f"change {name}")
    return int(both[0]), int(both[1])


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


SUM_TOLERANCE = 1e-3
"""How far the sum of a row of probabilities may be from 1: rows that were rounded, or computed in float16, pass."""


def not_probabilities(rows: np.ndarray) -> np.ndarray:
    """(...) bool, for rows (..., K): which are no distribution, because an entry is negative or the sum is not 1.

    >>> not_probabilities(np.array([[0.25, 0.75], [0.5, 0.6], [1.5, -0.5]])).tolist()
    [False, True, True]
    """
    with np.errstate(invalid="ignore"):
        off = np.abs(rows.sum(axis=-1, dtype=np.float64) - 1.0)
        return ~((off <= SUM_TOLERANCE) & (rows >= 0).all(axis=-1))


def _sides(padding: Any) -> Padding | None:
    """Explicit padding as nested tuples; None where it is none."""
    try:
        (top, bottom), (left, right) = padding
    except (TypeError, ValueError):
        return None
    fits = all((type(side) is int or is_whole(side)) and side >= 0 for side in (top, bottom, left, right))
    return ((int(top), int(bottom)), (int(left), int(right))) if fits else None
