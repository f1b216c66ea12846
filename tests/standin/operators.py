"""Gives the device array its operators, its indexing, its methods that compute, and its answers to NumPy's protocols.

Each method takes the arguments that the wheel's method takes, and passes them on to the function of the same name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from standin import device, indexing, spec, ufunc
from standin.array import ndarray, own
from standin.spec import bind, words

_BINARY = {
    "add": "add",
    "and": "bitwise_and",
    "divmod": "divmod",
    "floordiv": "floor_divide",
    "lshift": "left_shift",
    "matmul": "matmul",
    "mod": "remainder",
    "mul": "multiply",
    "or": "bitwise_or",
    "pow": "power",
    "rshift": "right_shift",
    "sub": "subtract",
    "truediv": "true_divide",
    "xor": "bitwise_xor",
}
_COMPARISON = {
    "eq": "equal",
    "ge": "greater_equal",
    "gt": "greater",
    "le": "less_equal",
    "lt": "less",
    "ne": "not_equal",
}
_UNARY = {"abs": "absolute", "invert": "invert", "neg": "negative", "pos": "positive"}

# Methods that are a function's short form, some of them with other names for its parameters.
_METHODS = words(
    "all any argmax argmin argpartition argsort choose clip compress cumprod cumsum diagonal dot max mean min nonzero "
    "prod ptp put ravel repeat round searchsorted squeeze std sum swapaxes take trace var"
)
_RENAMED = {"clip": {"min": "a_min", "max": "a_max"}, "put": {"indices": "ind", "values": "v"}}


def matmul(*args: Any, **kwargs: Any) -> Any:
    """``cupy.matmul``: the matrix product of two device arrays."""
    bound = bind("matmul", spec.module("cupy")["gufuncs"]["matmul"], args, kwargs).arguments
    operands, out = bound.pop("args", ()), bound.pop("out", None)
    if bound:
        raise NotImplementedError(f"cupy.matmul({', '.join(bound)}=): the stand-in takes only out")
    for array in operands if out is None else (*operands, out):
        if not isinstance(array, ndarray):
            raise TypeError(f"Unsupported type {type(array)}")
        device.check_use(array)
    with np.errstate(all="ignore"):
        result = np.asarray(np.matmul(*(array._host for array in operands)))
    if out is None:
        return own(result, "cupy.matmul")
    if out.shape != result.shape:
        raise ValueError("Output array has an invalid size")
    device.launch("cupy.matmul")
    np.copyto(out._host, result)
    return out


def _function(name: str) -> Callable[..., Any]:
    return matmul if name == "matmul" else ufunc.get(name)


def _leaves_it_to(other: Any) -> bool:
    """Whether the other operand's own operator goes first (NEP 13, with ``__array_priority__`` as a last resort)."""
    if hasattr(other, "__array_ufunc__"):
        return other.__array_ufunc__ is None
    return getattr(other, "__array_priority__", 0) > ndarray.__array_priority__


def _unsupported(other: Any) -> bool:
    """Whether an operand is of a type that neither CuPy nor Python's arithmetic knows."""
    return not isinstance(other, (ndarray, np.ndarray, np.generic, bool, int, float, complex))


def _binary(name: str, reflected: bool = False) -> Callable[[ndarray, Any], Any]:
    def operator(self: ndarray, other: Any) -> Any:
        if _leaves_it_to(other):
            return NotImplemented
        if _unsupported(other):
            raise TypeError(f"operand type(s) all returned NotImplemented from __array_ufunc__: {type(other)}")
        return _function(name)(other, self) if reflected else _function(name)(self, other)

    return operator


def _in_place(name: str) -> Callable[[ndarray, Any], ndarray]:
    def operator(self: ndarray, other: Any) -> ndarray:
        return _function(name)(self, other, out=self)

    return operator


def _comparison(name: str) -> Callable[[ndarray, Any], Any]:
    def operator(self: ndarray, other: Any) -> Any:
        if _leaves_it_to(other):
            return NotImplemented
        if other is None and name in ("equal", "not_equal"):
            return own(np.full(self.shape, name == "not_equal"), f"cupy.{name}")
        if _unsupported(other):
            raise TypeError(f"operand type(s) all returned NotImplemented from __array_ufunc__: {type(other)}")
        return _function(name)(self, other)

    return operator


def _unary(name: str) -> Callable[[ndarray], Any]:
    return lambda self: _function(name)(self)


def _method(name: str) -> Callable[..., Any]:
    parameters = spec.load()["classes"]["cupy.ndarray"]["methods"][name]

    def method(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        bound = bind(f"ndarray.{name}", parameters, args, kwargs).arguments
        renamed = {_RENAMED.get(name, {}).get(key, key): value for key, value in bound.items()}
        if name == "prod" and renamed.get("keepdims") is None:
            renamed.pop("keepdims", None)
        if name == "clip":
            renamed = {"a_min": None, "a_max": None} | renamed
        return getattr(sys.modules["cupy"], name)(self, **renamed)

    method.__name__ = name
    return method


def _sort(self: ndarray, axis: int = -1, kind: Any = None) -> None:
    """Sorts in place, stably."""
    self[...] = sys.modules["cupy"].sort(self, axis, kind)  # type: ignore[index]


def _flatten(self: ndarray, order: str = "C") -> ndarray:
    """A copy with one axis."""
    device.check_use(self)
    return own(self._host.flatten(order), "ndarray.flatten")  # type: ignore[arg-type]


def _array_ufunc(self: ndarray, function: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """What NumPy's ``add(x, 1)`` does with a device array: CuPy's function of the same name, which may refuse."""
    double = getattr(sys.modules["cupy"], function.__name__, None)
    if "out" in kwargs and len(kwargs["out"]) == 1:
        (kwargs["out"],) = kwargs["out"]
    if double is None or any(_unsupported(value) for value in inputs):
        return NotImplemented
    return double(*inputs, **kwargs) if method == "__call__" else getattr(double, method)(*inputs, **kwargs)


def _array_function(self: ndarray, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """What NumPy's ``sum(x)`` does with a device array: CuPy's function of the same name, which may refuse."""
    namespace: Any = sys.modules["cupy"]
    for part in function.__module__.split(".")[1:]:
        namespace = getattr(namespace, part, None)
    double = getattr(namespace, function.__name__, None)
    if double is None or not all(issubclass(t, (ndarray, np.ndarray)) for t in types):
        return NotImplemented
    return double(*args, **kwargs)


def attach() -> None:
    """Puts everything above into the class."""
    parts: dict[str, Any] = {
        "__array_function__": _array_function,
        "__array_ufunc__": _array_ufunc,
        "__getitem__": indexing.getitem,
        "__setitem__": indexing.setitem,
        "conj": _unary("conjugate"),
        "conjugate": _unary("conjugate"),
        "flatten": _flatten,
        "imag": property(lambda self: sys.modules["cupy"].imag(self)),
        "real": property(lambda self: sys.modules["cupy"].real(self)),
        "sort": _sort,
    }
    for short, name in _BINARY.items():
        parts[f"__{short}__"] = _binary(name)
        parts[f"__r{short}__"] = _binary(name, reflected=True)
        if f"__i{short}__" in spec.class_names("cupy.ndarray"):
            parts[f"__i{short}__"] = _in_place(name)
    parts |= {f"__{short}__": _comparison(name) for short, name in _COMPARISON.items()}
    parts |= {f"__{short}__": _unary(name) for short, name in _UNARY.items()}
    parts |= {name: _method(name) for name in _METHODS}
    for name, part in parts.items():
        setattr(ndarray, name, part)


attach()
