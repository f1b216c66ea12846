"""Arrays out of nothing, out of arrays and out of the host's data, which is the one explicit copy to the device."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from standin import device
from standin.array import check_dtype, ndarray, own, share_or_own
from standin.counters import record
from standin.cuda import alloc_pinned_memory


def array(
    obj: Any,
    dtype: Any = None,
    copy: bool | None = True,
    order: str = "K",
    subok: bool = False,
    ndmin: int = 0,
    *,
    blocking: bool = False,
) -> ndarray:
    """An array on the current device; from the host's data by a copy, from a single number by a kernel."""
    if subok:
        raise NotImplementedError("cupy.array(subok=True)")
    if isinstance(obj, ndarray):
        new = _from_device(obj, dtype, copy, order)
    elif _holds_device_arrays(obj):
        new = own(np.array(_hosts(obj), dtype), "cupy.array")
    else:
        new = _from_host(obj, dtype, copy, order, ndmin)
    if new.ndim < ndmin:
        new = new.reshape((1,) * (ndmin - new.ndim) + new.shape)
    if blocking:
        device.synchronize("cupy.array")
    return new


def asarray(
    a: Any, dtype: Any = None, order: Any = None, *, copy: bool | None = None, blocking: bool = False
) -> ndarray:
    """The array itself where it is on the current device and has the dtype; otherwise a new array."""
    return array(a, dtype, copy, order or "K", blocking=blocking)


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    """The array in C order, with at least one dimension."""
    a = asarray(a, dtype)
    laid_out = lambda: np.ascontiguousarray(a._host)  # noqa: E731
    return share_or_own(laid_out(), (a,), "cupy.ascontiguousarray", again=laid_out)


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> np.ndarray:
    """A copy on the host; data of the host goes through without being counted."""
    if isinstance(a, ndarray):
        return a._to_host("cupy.asnumpy", order, out, blocking)
    return np.asarray(a, order=order)  # type: ignore[call-overload]


def empty(shape: Any, dtype: Any = float, order: Any = "C") -> ndarray:
    """Memory with garbage in it."""
    return ndarray(shape, float if dtype is None else dtype, order=order)


def empty_like(prototype: Any, dtype: Any = None, order: str = "K", subok: None = None, shape: Any = None) -> ndarray:
    """Memory with garbage in it, of the shape and dtype of another array."""
    if subok is not None:
        raise TypeError("subok is not supported yet")
    if not isinstance(prototype, ndarray):
        raise TypeError(f"Unsupported type {type(prototype)}")
    like = np.empty_like(prototype._host, dtype, order, False, shape)  # type: ignore[call-overload]
    return ndarray(like.shape, like.dtype, order="C" if like.flags.c_contiguous else "F")


def get_array_module(*args: Any) -> ModuleType:
    """``cupy`` if one of the arguments is a device array, otherwise ``numpy``."""
    return sys.modules["cupy"] if any(isinstance(value, ndarray) for value in args) else np


def empty_pinned(shape: Any, dtype: Any = float, order: Any = "C") -> np.ndarray:
    """Memory of the host that a real device copies from without the processor, with garbage in it."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    return np.ndarray(shape, dtype, alloc_pinned_memory(nbytes), order=order)


def zeros_pinned(shape: Any, dtype: Any = float, order: Any = "C") -> np.ndarray:
    """The same, filled with zeros."""
    new = empty_pinned(shape, dtype, order)
    new.fill(0)
    return new


def _from_device(source: ndarray, dtype: Any, copy: bool | None, order: str) -> ndarray:
    if copy is False and dtype is not None and np.dtype(dtype) != source.dtype:
        raise ValueError("Unable to avoid copy while creating an array as requested.")
    if source._device != device.current():
        return source.copy(order).astype(source.dtype if dtype is None else dtype, copy=False)
    return source.astype(source.dtype if dtype is None else dtype, order, copy=bool(copy))


def _from_host(obj: Any, dtype: Any, copy: bool | None, order: str, ndmin: int) -> ndarray:
    if copy is False:
        raise ValueError("Unable to avoid copy while creating an array as requested.")
    host = np.array(obj, dtype, order=order, ndmin=ndmin)  # type: ignore[call-overload]
    host = host.astype(check_dtype(host.dtype.newbyteorder("<")), copy=False)
    if host.ndim == 0:
        return own(host, "cupy.array")
    new = own(host, None)
    if host.size:
        record("h2d", "cupy.array", host.nbytes)
    return new


def _leaves(obj: Any) -> Iterator[Any]:
    if isinstance(obj, (list, tuple)):
        for part in obj:
            yield from _leaves(part)
    else:
        yield obj


def _holds_device_arrays(obj: Any) -> bool:
    """Whether a sequence is made of device arrays and nothing else; a mixture is refused by NumPy's conversion."""
    return isinstance(obj, (list, tuple)) and bool(obj) and all(isinstance(leaf, ndarray) for leaf in _leaves(obj))


def _hosts(obj: Any) -> Any:
    if isinstance(obj, ndarray):
        device.check_use(obj)
        return obj._host
    return [_hosts(part) for part in obj]
