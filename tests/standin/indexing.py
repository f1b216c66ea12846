"""Indexing as CuPy does it, and refusals where CuPy goes wrong without a word.

An index array outside the axis wraps around on a GPU, and of two values stored at one place either may stay. NumPy
raises in the first case and keeps the last value in the second; the stand-in raises AssertionError in both.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from standin import device
from standin.array import ndarray, own, view_of
from standin.counters import record
from standin.spec import module

_Key = tuple[Any, ...]


def getitem(array: ndarray, key: Any) -> ndarray:
    """``array[key]``: a view for integers and slices, a new array for index arrays, a wait as well for masks."""
    host_key, advanced = _on_host(key, "ndarray.__getitem__")
    if not advanced:
        if Ellipsis not in host_key:
            host_key = (*host_key, Ellipsis)  # or NumPy would make a scalar, a copy, of a single element
        return view_of(array, array._host[host_key])
    _check_devices(array, key)
    with wrapping_refused("ndarray.__getitem__"):
        host = array._host[host_key]
    return own(np.asarray(host), "ndarray.__getitem__")


def setitem(array: ndarray, key: Any, value: Any) -> None:
    """``array[key] = value``; a host array is refused for slices, and is a hidden copy for index arrays and masks."""
    host_key, advanced = _on_host(key, "ndarray.__setitem__")
    if not advanced:
        place = getitem(array, key)
        if not isinstance(value, ndarray):
            place.fill(value)
            return
        if _is_same_place(place._host, value._host):
            return  # the last step of array[key] += other
    _check_devices(array, key, value)
    if advanced:
        value = _uploaded(value, "ndarray.__setitem__")
        with wrapping_refused("ndarray.__setitem__"):
            if getattr(value, "size", 1) > 1 and _meets_itself(array._host, host_key):
                raise AssertionError(
                    "ndarray.__setitem__: duplicate indices; which of their values stays is undefined on a real GPU "
                    "(to sum them up, use cupy.add.at)"
                )
    device.launch("ndarray.__setitem__")
    with np.errstate(all="ignore"), wrapping_refused("ndarray.__setitem__"):
        array._host[host_key] = value._host if isinstance(value, ndarray) else value


# The dtypes that CuPy's atomic operations take, by the name of the operation.
_ATOMIC = {
    "add": "int32 float16 float32 float64 uint32 uint64",
    "sub": "int32 uint32",
    "max": "int32 float32 float64 uint32 uint64",
    "min": "int32 float32 float64 uint32 uint64",
    "and": "int32 int64 uint32 uint64",
    "or": "int32 int64 uint32 uint64",
    "xor": "int32 int64 uint32 uint64",
}


def scatter(name: str, array: ndarray, key: Any, value: Any) -> None:
    """``cupy.<name>.at(array, key, value)``: every value takes part, also where indices meet."""
    call = f"cupy.{name}.at"
    operation = module("cupy")["ufuncs"][name].get("at")
    if operation is None:
        raise NotImplementedError(f"`cupy_{name}.at` is not supported yet")
    host_key, advanced = _on_host(key, call)
    _check_devices(array, key, value)
    if advanced and array.dtype.name not in _ATOMIC[operation].split() and not _is_mask(host_key):
        raise TypeError(f"{call} only supports {_ATOMIC[operation].replace(' ', ', ')} as data type, not {array.dtype}")
    value = _uploaded(value, call) if advanced else value
    device.launch(call)
    with np.errstate(all="ignore"), wrapping_refused(call):
        getattr(np, name).at(array._host, host_key, value._host if isinstance(value, ndarray) else value)


def scatter_add(a: ndarray, slices: Any, value: Any) -> None:
    """``cupyx.scatter_add``, the old name of ``cupy.add.at``."""
    message = "`ndarray.scatter_add` is deprecated. Please use `cupy.add.at` instead."
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    scatter("add", a, slices, value)


@contextlib.contextmanager
def wrapping_refused(call: str) -> Iterator[None]:
    """Turns NumPy's IndexError for an index array into an AssertionError that says what a GPU does instead."""
    try:
        yield
    except IndexError as error:
        if "out of bounds" not in str(error):
            raise
        raise AssertionError(f"{call}: {error}; NumPy raises here, real CuPy wraps around silently") from error


def _on_host(key: Any, call: str) -> tuple[_Key, bool]:
    """The key for NumPy, and whether arrays are in it; counts the copies and waits that those cost."""
    parts = list(key) if isinstance(key, tuple) else [key]
    advanced = False
    for position, part in enumerate(parts):
        if part is None or part is Ellipsis or isinstance(part, slice):
            continue
        if isinstance(part, (int, np.integer)) and not isinstance(part, bool):
            continue
        if isinstance(part, ndarray):
            index = part._host
        else:
            index = np.asarray(part)
            index = index.astype(np.int32) if isinstance(part, (list, tuple)) and not index.size else index
            if index.ndim:
                record("h2d", call, index.nbytes)
        if index.dtype.kind not in "biu":
            raise IndexError(f"arrays used as indices must be of integer or boolean type. (actual: {index.dtype.type})")
        if index.dtype.kind == "b":
            device.synchronize(call)  # the number of elements comes back to the host
        parts[position], advanced = index, True
    return tuple(parts), advanced


def _is_mask(host_key: _Key) -> bool:
    arrays = [part for part in host_key if isinstance(part, np.ndarray)]
    return len(arrays) == 1 and arrays[0].dtype.kind == "b"


def _is_same_place(one: np.ndarray, other: np.ndarray) -> bool:
    return (one.shape, one.strides, one.ctypes.data) == (other.shape, other.strides, other.ctypes.data)


def _meets_itself(host: np.ndarray, host_key: _Key) -> bool:
    """Whether two places of the selection are the same element."""
    elements = np.arange(host.size).reshape(host.shape)[host_key]
    return np.unique(elements).size < elements.size


def _uploaded(value: Any, call: str) -> Any:
    """A value that is stored through index arrays: CuPy copies sequences and host arrays to the device, unasked."""
    if isinstance(value, (list, tuple, np.ndarray)):
        value = np.asarray(value)
        if value.ndim:
            record("h2d", call, value.nbytes)
    return value


def _check_devices(array: ndarray, key: Any, value: Any = None) -> None:
    for part in (array, value, *(key if isinstance(key, tuple) else (key,))):
        if isinstance(part, ndarray):
            device.check_use(part)


def refuse_wrapping(function: Callable[..., Any], call: str) -> Callable[..., Any]:
    """``function`` of NumPy, for a CuPy function that takes index arrays."""

    def refusing(*args: Any, **kwargs: Any) -> Any:
        with wrapping_refused(call):
            return function(*args, **kwargs)

    return refusing
