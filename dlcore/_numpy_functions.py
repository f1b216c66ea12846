"""NumPy's functions on tensors: what ``np.exp(x)``, ``array * x`` and ``np.mean(x)`` give.

A function that has a counterpart here gives a Tensor with its gradient. Any other ufunc gives a Tensor of the numbers,
and is refused where a gradient would be lost. All other functions, such as ``np.argmax`` or ``np.allclose``, take
tensors for their numbers, as ``np.asarray`` does, and give what NumPy gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from backends.reference import elementwise
from dlcore.errors import GraphError, ShapeError
from dlcore.tensor import Tensor, apply, as_tensor, concat, grad_enabled, where

__all__ = ["call_function", "call_ufunc"]

_BINARY: dict[Any, tuple[str, str]] = {
    np.add: ("__add__", "__radd__"),
    np.subtract: ("__sub__", "__rsub__"),
    np.multiply: ("__mul__", "__rmul__"),
    np.divide: ("__truediv__", "__rtruediv__"),
    np.floor_divide: ("__floordiv__", "__rfloordiv__"),
    np.remainder: ("__mod__", "__rmod__"),
    np.divmod: ("__divmod__", "__rdivmod__"),
    np.power: ("__pow__", "__rpow__"),
    np.matmul: ("__matmul__", "__rmatmul__"),
    np.less: ("__lt__", "__gt__"),
    np.less_equal: ("__le__", "__ge__"),
    np.greater: ("__gt__", "__lt__"),
    np.greater_equal: ("__ge__", "__le__"),
    np.equal: ("__eq__", "__eq__"),
    np.not_equal: ("__ne__", "__ne__"),
    np.bitwise_and: ("__and__", "__rand__"),
    np.bitwise_or: ("__or__", "__ror__"),
    np.bitwise_xor: ("__xor__", "__rxor__"),
}
"""The operator of each ufunc of two arguments, and its reflection for a tensor on the right."""

_UNARY: dict[Any, Callable[[Tensor], Tensor]] = {
    np.negative: Tensor.__neg__,
    np.positive: Tensor.__pos__,
    np.invert: Tensor.__invert__,
    np.absolute: Tensor.abs,
    np.exp: Tensor.exp,
    np.log: Tensor.log,
    np.sqrt: Tensor.sqrt,
    np.square: lambda x: x * x,
    np.tanh: lambda x: apply(elementwise.tanh, x),
}


def call_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """A ufunc of NumPy on tensors: ``Tensor.__array_ufunc__``."""
    if method != "__call__" or settings:
        asked = f".{method}" if method != "__call__" else f" with {', '.join(settings)}="
        raise ShapeError(f"numpy.{ufunc.__name__}{asked} does not take tensors; pass .numpy() of each")
    if ufunc in _BINARY:
        plain, reflected = _BINARY[ufunc]
        x, y = inputs
        return getattr(x, plain)(y) if isinstance(x, Tensor) else getattr(y, reflected)(x)
    if ufunc in _UNARY:
        return _UNARY[ufunc](inputs[0])
    result = ufunc(*map(_numbers, inputs))
    asks = grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in inputs)
    if asks and getattr(result, "dtype", None) != np.bool_:  # what is true or false, such as isnan, has none
        raise GraphError(
            f"numpy.{ufunc.__name__}: no gradient is known for it; take .detach() of the tensor for the numbers alone"
        )
    return tuple(map(Tensor, result)) if isinstance(result, tuple) else Tensor(result)


def _sum(a: Any, axis: Any = None, *, keepdims: Any = False) -> Tensor:
    return as_tensor(a).sum(axis, bool(keepdims))


def _mean(a: Any, axis: Any = None, *, keepdims: Any = False) -> Tensor:
    return as_tensor(a).mean(axis, bool(keepdims))


def _max(a: Any, axis: Any = None, *, keepdims: Any = False) -> Tensor:
    return as_tensor(a).max(axis, bool(keepdims))


def _reshape(a: Any, shape: Any) -> Tensor:
    return as_tensor(a).reshape(shape)


def _transpose(a: Any, axes: Any = None) -> Tensor:
    return as_tensor(a).transpose() if axes is None else as_tensor(a).transpose(axes)


def _concatenate(arrays: Any, axis: int = 0) -> Tensor:
    return concat(arrays, axis)


def _stack(arrays: Any, axis: int = 0) -> Tensor:
    place = (*(slice(None),) * axis, None, ...) if axis >= 0 else (..., None, *(slice(None),) * (-axis - 1))
    return concat([as_tensor(x)[place] for x in arrays], axis)


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: _sum,
    np.mean: _mean,
    np.max: _max,
    np.amax: _max,
    np.reshape: _reshape,
    np.transpose: _transpose,
    np.concatenate: _concatenate,
    np.stack: _stack,
    np.where: lambda condition, *branches: where(condition, *branches),
}


def call_function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Any other function of NumPy on tensors: ``Tensor.__array_function__``."""
    ours = _FUNCTIONS.get(function)
    if ours is None or (function is np.where and len(args) == 1):
        return function(*_all_numbers(args), **{name: _all_numbers(value) for name, value in kwargs.items()})
    try:
        return ours(*args, **kwargs)
    except TypeError as error:
        raise ShapeError(
            f"numpy.{function.__name__} takes fewer settings of a tensor ({error}); pass .numpy() of it for the numbers"
        ) from None


def _numbers(x: Any) -> Any:
    return np.asarray(x) if isinstance(x, Tensor) else x


def _all_numbers(values: Any) -> Any:
    """The tensors within lists and tuples as arrays."""
    return type(values)(map(_all_numbers, values)) if type(values) in (list, tuple) else _numbers(values)
