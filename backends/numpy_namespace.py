"""NumPy as the kernels' namespace: ``numpy`` itself, with a shorter way to the calls that small models make most.

From 2.1 on NumPy's main namespace follows the Array API standard. Its reductions are Python functions that cost 1.5 to
2 microseconds more than the ufunc method they end in, and ``matmul`` costs as much more than ``dot`` on two matrices:
together a sixth of a step on a small model. The functions here do the same without the detour, for the arguments that
the standard gives them.
"""

from __future__ import annotations

from typing import Any

import numpy

__name__ = "numpy"

_add_reduce: Any = numpy.add.reduce
_maximum_reduce: Any = numpy.maximum.reduce


def __getattr__(name: str) -> Any:
    value = getattr(numpy, name)
    globals()[name] = value  # found at once the next time
    return value


def sum(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """As ``numpy.sum``."""
    return _add_reduce(x, axis, dtype, None, keepdims)


def max(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """As ``numpy.max``."""
    return _maximum_reduce(x, axis, None, None, keepdims)


def matrix_transpose(x: Any, /) -> Any:
    """As ``numpy.matrix_transpose``."""
    return x.mT


def astype(x: Any, dtype: Any, /, *, copy: bool = True) -> Any:
    """As ``numpy.astype``."""
    return x.astype(dtype, copy=copy)


def matmul(x1: Any, x2: Any, /) -> Any:
    """As ``numpy.matmul``."""
    return x1.dot(x2) if x1.ndim == x2.ndim == 2 else numpy.matmul(x1, x2)


_BITS: Any = {numpy.dtype(numpy.float32): numpy.dtype("int32"), numpy.dtype(numpy.float64): numpy.dtype("int64")}


def keep(condition: Any, x: Any, /) -> Any:
    """``x`` where the condition holds, else 0: its bits times 0 or 1, as ``numpy.where`` takes a branch an element."""
    dtype = x.dtype
    bits = _BITS.get(dtype)
    if bits is None:
        return numpy.where(condition, x, numpy.zeros((), dtype))
    return (x.view(bits) * condition).view(dtype)
