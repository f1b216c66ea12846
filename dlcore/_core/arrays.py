"""What becomes a tensor, and as what: one rule for every array, list and axis that a user passes."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from dlcore.errors import ShapeError

__all__ = ["PLAIN", "asks_for_gradient", "axes_of", "beyond_int64", "from_list", "plain", "whole_numbers"]

PLAIN = frozenset(
    np.dtype(name)
    for name in (
        "bool",
        "float16",
        "float32",
        "float64",
        *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)),
    )
)
"""The dtypes of NumPy that are taken as they are: real numbers, in this machine's order of bytes."""

_REMEDIES = {
    "c": "take its .real or .imag part, or abs() of it",
    "O": "make it one of numbers by .astype(float)",
    "U": "turn names into numbers first",
    "S": "turn names into numbers first",
    "M": "turn dates into numbers first",
    "m": "turn durations into numbers first",
    "V": "take one field of the records, such as array['x']",
    "f": "convert it to float64",
}


def plain(operation: str, data: Any) -> np.ndarray:
    """A NumPy array or scalar of real numbers, aligned and in this machine's order of bytes; copied where it is not so.

    operation : what an error says first

    >>> plain("Tensor", np.array([1.0, 2.0], ">f4")).dtype == np.float32
    True
    """
    if isinstance(data, np.ma.MaskedArray):
        raise ShapeError(f"{operation}: a masked array came but its gaps are no numbers; fill them by .filled(0.0)")
    array = np.asarray(data)
    native = array.dtype.newbyteorder("=")
    if native not in PLAIN:
        raise ShapeError(
            f"{operation}: an array of {array.dtype} came but real numbers are expected; {_REMEDIES[array.dtype.kind]}"
        )
    return array if array.flags.aligned and array.dtype.isnative else np.require(array, native, "A")


def from_list(values: Any) -> np.ndarray:
    """A list, or a number, as a NumPy array of real numbers; integers stay integers.

    Tensors in it are taken for their numbers, and refused where they ask for a gradient, which would be lost.
    """
    if asks_for_gradient(values):
        raise ShapeError(
            "a list of tensors that ask for a gradient would lose it; join them by dl.concat, or take .detach() of each"
        )
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, ShapeError):
            raise
        raise ShapeError(
            f"the list {values!r:.60} is no array: {' '.join(str(error).split()):.120}; give rows of one length"
        ) from error
    return plain("a list", array)


def asks_for_gradient(values: Any) -> bool:
    """Whether a tensor, or one inside of a list, asks for a gradient."""
    if isinstance(values, list | tuple):
        kinds = set(map(type, values))
        if kinds <= {int, float, bool}:
            return False
        return any(asks_for_gradient(value) for value in values)
    return bool(getattr(values, "requires_grad", False))


def beyond_int64(labels: np.ndarray) -> bool:
    """Whether a whole number among these would wrap round, or meet another, as int64.

    >>> beyond_int64(np.array([2**63], np.uint64)), beyond_int64(np.array([2.0, -1e30])), beyond_int64(np.array([7]))
    (True, True, False)
    """
    if labels.dtype.kind not in "uf" or not labels.size:
        return False
    return not bool(labels.max() < 2**63 and labels.min() >= -(2.0**63))


def axes_of(operation: str, axis: Any, shape: tuple[int, ...]) -> Any:
    """``axis``, an integer or several, as an int or a tuple of them, each of ``shape`` and none twice.

    >>> axes_of("sum", [0, -1], (2, 3))
    (0, -1)
    """
    ndim = len(shape)
    if type(axis) is int and -ndim <= axis < ndim:
        return axis
    several = isinstance(axis, list | tuple)
    axes = whole_numbers(operation, "axis", tuple(axis) if several else (axis,))
    if any(not -ndim <= a < ndim for a in axes):
        bounds = f"{-ndim} to {ndim - 1} is expected" if ndim else "there are no axes"
        raise ShapeError(f"{operation}: axis is {axis!r} but {bounds} for shape {tuple(shape)}")
    if len({a % ndim for a in axes}) < len(axes):
        raise ShapeError(f"{operation}: axis {axis!r} names an axis of {tuple(shape)} twice; name each once")
    return axes if several else axes[0]


def whole_numbers(operation: str, name: str, values: tuple[Any, ...]) -> tuple[int, ...]:
    """Integers that came apart, or as one list, tuple or array.

    >>> whole_numbers("reshape", "shape", ([2, -1],)), whole_numbers("reshape", "shape", (2, np.int64(3)))
    ((2, -1), (2, 3))
    """
    sizes: Any = values[0] if len(values) == 1 and isinstance(values[0], Iterable) else values
    if getattr(sizes, "ndim", 1) == 0:
        sizes = values
    try:
        if any(isinstance(size, bool) for size in sizes):
            raise TypeError
        return tuple(operator.index(size) for size in sizes)
    except TypeError:
        raise ShapeError(
            f"{operation}: {name} is {values!r:.60} but integers are expected; pass a tuple of them"
        ) from None
