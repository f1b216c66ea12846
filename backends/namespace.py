"""Which Array API namespace an array belongs to, resolved once per array type.

``array_api_compat.array_namespace`` costs 1 to 3 microseconds a call, so its answer is kept in a table keyed by type.
NumPy stands in the table as :mod:`backends.numpy_namespace`, which is NumPy with less overhead, and CuPy as
:mod:`backends.cupy_namespace`, which creates arrays where it is told to.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import array_api_compat
import numpy as np

from backends import cupy_namespace, numpy_namespace
from backends.errors import DeviceError

__all__ = ["NUMPY", "Array", "isdtype", "name_of", "namespace", "namespace_of"]


@runtime_checkable
class Array(Protocol):
    """What every array of the standard has; CuPy ships no types, so signatures name this protocol.

    >>> isinstance(np.ones((2, 3)), Array), isinstance(3.0, Array)
    (True, False)
    >>> x: Array = np.ones((2, 3))
    >>> x.shape, x.dtype, x.ndim, x.size
    ((2, 3), dtype('float64'), 2, 6)
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    @property
    def ndim(self) -> int: ...

    @property
    def size(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Any: ...


NUMPY = numpy_namespace
"""NumPy, as the kernels get it."""

_TABLE: dict[type, Any] = {np.ndarray: NUMPY, bool: None, int: None, float: None, type(None): None}
_TABLE.update(dict.fromkeys(np.sctypeDict.values(), NUMPY))


def namespace_of(x: Any) -> Any:
    """The namespace of one array; None for a Python number or None, which go with any namespace.

    >>> namespace_of(np.ones(2)) is NUMPY
    True
    """
    try:
        return _TABLE[type(x)]
    except KeyError:
        return _learn(x)


def _learn(x: Any) -> Any:
    try:
        xp = array_api_compat.array_namespace(x)
    except TypeError:
        raise DeviceError(
            f"{type(x).__name__} is not an array",
            fix="pass a NumPy or CuPy array, or a dl.Tensor; numpy.asarray makes one of a list",
        ) from None
    if array_api_compat.is_numpy_namespace(xp):
        xp = NUMPY
    elif name_of(xp) == "cupy":
        xp = cupy_namespace.of(xp)
    _TABLE[type(x)] = xp
    return xp


def namespace(operation: str, arrays: Sequence[Any]) -> Any:
    """The one namespace of all ``arrays``; a :class:`DeviceError` where they belong to several.

    >>> namespace("linear", (np.ones(2), 3.0, None)) is NUMPY
    True
    """
    found = None
    for x in arrays:
        try:
            xp = _TABLE[type(x)]
        except KeyError:
            xp = _learn(x)
        if xp is not None and xp is not found:
            if found is not None:
                raise DeviceError(
                    f"{operation}: arrays of {name_of(found)} and of {name_of(xp)} do not mix",
                    cause="they live on different devices",
                    fix="move one of them with .to(device)",
                )
            found = xp
    return NUMPY if found is None else found


def name_of(xp: Any) -> str:
    """The library's short name: "numpy", "cupy", "array_api_strict".

    >>> name_of(NUMPY)
    'numpy'
    """
    return xp.__name__.removeprefix("array_api_compat.").split(".")[0]


@functools.cache
def isdtype(xp: Any, dtype: Any, kind: str) -> bool:
    """``xp.isdtype``, remembered: "integral", "real floating", "bool".

    >>> isdtype(NUMPY, np.dtype("float32"), "real floating")
    True
    """
    return xp.isdtype(dtype, kind)
