"""Tensors: arrays that can be differentiated with respect to, and the operators between them.

What a computation did is recorded by :func:`apply`, one :class:`~dlcore.tape.Node` a kernel call.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.array_ops import device_of
from backends.dispatch import Kernel
from backends.namespace import NUMPY, isdtype, namespace, namespace_of
from backends.reference import elementwise, embedding
from backends.runtime import copies
from backends.runtime.current import elsewhere, elsewhere_of
from backends.runtime.device import Device, resolve
from dlcore._core.arrays import PLAIN, axes_of, from_list, plain
from dlcore._core.arrays import whole_numbers as _whole_numbers
from dlcore._core.current_device import on_its_device
from dlcore._core.device_mismatch import arguments_apart, together
from dlcore.errors import DeviceError, DlcoreError, GraphError, ShapeError
from dlcore.tape import Node, grad_enabled, no_grad, recording, walk

__all__ = ["Node", "Tensor", "apply", "as_tensor", "concat", "grad_enabled", "no_grad", "where"]

_FLOAT32 = np.dtype(np.float32)


def apply(kernel: Kernel, /, *inputs: Any, **params: Any) -> Any:
    """Run ``kernel`` on tensors, Python numbers and None, and record it where a gradient is wanted.

    Gives a Tensor, or a tuple of Tensors where the kernel gives a tuple.
    """
    arrays, needed, parents, guards = [], [], [], []
    taped = recording()
    for x in inputs:
        if not isinstance(x, Tensor):
            arrays.append(x)
            needed.append(False)
            parents.append(None)
            continue
        arrays.append(x.data)
        wanted = taped and x.requires_grad
        needed.append(wanted)
        # Where the gradient goes: to a leaf itself, else to an output of a node. A graph that kept its tensors would
        # keep every intermediate array, whether a kernel saved it or not.
        parents.append(None if not wanted else x if x.node is None else (x.node, x.slot))
        if x.owner is not None:
            guards.append((x.owner, x.owner.version))
    try:
        xp = namespace(kernel.name, arrays)
        place = None if xp is NUMPY else elsewhere(kernel.name, xp, arrays)
    except DeviceError as error:
        raise arguments_apart(kernel, inputs) or error from None
    if place is not None:  # arrays of a GPU that is not current
        with place:
            return apply(kernel, *inputs, **params)
    pair = kernel.choose(xp, arrays, params)
    try:
        output, saved = pair.forward(xp, *arrays, needed=needed, **params)
    except (ValueError, IndexError, TypeError) as error:
        if isinstance(error, DlcoreError) or kernel.__module__ != elementwise.__name__:
            raise
        raise _misfit(kernel, arrays, params, error) from error
    node = Node(kernel.name, pair, xp, parents, needed, params, saved, guards) if True in needed else None
    if isinstance(output, tuple):
        if node is not None:
            node.outputs, node.dtype = len(output), [y.dtype for y in output]
        return tuple([_made_by(node, y, slot) for slot, y in enumerate(output)])
    if node is not None:
        node.dtype = output.dtype
    return _made_by(node, output, 0)


def pick(w: Tensor, ids: Tensor) -> Tensor:
    """``w[ids]`` for integers in [0, len(w)); the gradient of a parameter of many rows is added to the rows read."""
    y = apply(embedding.embedding, w, ids)
    if y.node is not None and w.owner is not None and w.shape[0] > embedding.SMALL:
        y.node.pair = _IntoRows(w)
    return y


class _IntoRows:
    """In place of a kernel's pair: a backward pass that brings the gradient to a table itself, row by row."""

    def __init__(self, w: Any) -> None:
        self.w = w

    def backward(self, xp: Any, dy: Any, saved: Any, *, needed: Sequence[bool]) -> tuple[None, None]:
        self.w.accumulate_rows(saved[0], dy)
        return None, None


def _misfit(kernel: Kernel, arrays: Sequence[Any], params: dict[str, Any], error: Exception) -> ShapeError:
    """The library's complaint that shapes, axes or indices do not go together, with what came."""
    shapes = " and ".join(str(tuple(x.shape)) if hasattr(x, "shape") else repr(x) for x in arrays)
    settings = "".join(f", {name}={value!r}" for name, value in params.items())
    return ShapeError(f"{kernel.name}: {shapes}{settings} do not fit: {error}")


def _made_by(node: Node | None, data: Any, slot: int) -> Tensor:
    tensor = Tensor.__new__(Tensor)
    tensor.data = data
    tensor.requires_grad = node is not None
    tensor.node = node
    tensor.slot = slot
    tensor._grad = None
    return tensor


class Tensor:
    """An array that can be differentiated with respect to.

    data : array of NumPy, CuPy or another Array API library, a Tensor, a Python number or a list; a number and a list
        of fractions become float32, a list of integers stays integers (labels, ids). Numbers are float16, float32,
        float64, integers or bool: complex numbers, objects, strings and records are refused. A NumPy array that is not
        aligned, or has its bytes swapped, is copied; any other is shared
    requires_grad : bool: whether ``backward()`` shall collect a gradient here

    NumPy takes a tensor for its numbers: ``np.asarray(x)`` gives them, also of one that asks for a gradient, and raises
    DeviceError on a GPU. Its functions that have a counterpart here, such as ``np.exp``, ``np.mean`` or
    ``np.concatenate``, give Tensors with their gradients; see :mod:`dlcore._numpy_functions`.

    Raises ShapeError, and DeviceError for what is no array.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4.], dtype=float32)
    >>> x.shape, x.ndim, x.size, x.dtype, x.device
    ((2,), 1, 2, dtype('float32'), 'cpu')
    """

    __slots__ = ("__weakref__", "_grad", "data", "node", "requires_grad", "slot")
    __array_priority__ = 1000  # other libraries' arrays leave mixed arithmetic to the Tensor
    if TYPE_CHECKING:

        def __hash__(self) -> int: ...

    else:
        __hash__ = object.__hash__

    data: Any
    requires_grad: bool
    slot: int
    owner: Any = None  # of a parameter: the object whose ``version`` counts its updates

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        plain = type(data) is np.ndarray and (data.dtype is _FLOAT32 or data.dtype in PLAIN) and data.flags.aligned
        self.data = data if plain else _as_array(data)
        if requires_grad:
            _check_differentiable(self.data)
        self.requires_grad = requires_grad
        self.node: Node | None = None
        self.slot = 0
        self._grad: Any = None

    # --- what it is

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """How many elements there are."""
        return self.data.size

    @property
    def dtype(self) -> Any:
        """The array's type of number; a list of fractions became float32, one of integers stays whole."""
        return self.data.dtype

    @property
    def device(self) -> Any:
        """The library's own device object of the array."""
        return getattr(self.data, "device", "cpu")

    @property
    def grad(self) -> Any:
        """The gradient collected by ``backward()``, an array like ``data``; None before, and for results."""
        return self._grad if self.node is None else None

    @grad.setter
    def grad(self, value: Any) -> None:
        self._grad = value

    def __repr__(self) -> str:
        return f"Tensor({self.data!r}{', requires_grad=True' if self.requires_grad else ''})"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor without axes has no length")
        return self.shape[0]

    def __bool__(self) -> bool:
        """The one value of a tensor of one element as a bool; waits for the device."""
        if self.size != 1:
            raise ShapeError(
                f"bool: a tensor of shape {tuple(self.shape)} is neither true nor false; compare one element, or "
                "take numpy().all() or .any()"
            )
        return bool(self.item())

    def numpy(self) -> np.ndarray:
        """The values on the host; waits for the device.

        >>> (Tensor([1.0, 2.0]) + 1).numpy()
        array([2., 3.], dtype=float32)
        """
        return copies.to_host(self.data)

    def item(self) -> float:
        """The one value of a tensor of one element, as a Python number; waits for the device.

        >>> Tensor([1.0, 2.0]).sum().item()
        3.0
        """
        if self.size != 1:
            raise ShapeError(
                f"item: the shape is {tuple(self.shape)} but one element is expected; pick or reduce first"
            )
        return self.numpy().item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        number = self.item() if self.ndim == 0 else None
        if type(number) is not int:
            raise TypeError(f"a tensor of {self.dtype} and shape {tuple(self.shape)} is no index; a whole number is")
        return number

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    # --- beside NumPy

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The numbers, for ``np.asarray``; of one that asks for a gradient too, which NumPy knows nothing of."""
        if namespace_of(self.data) is not NUMPY:
            raise DeviceError(
                f"a tensor on {self.device} does not become a NumPy array by itself", fix="copy it by .numpy()"
            )
        if copy is None:
            return np.asarray(self.data, dtype=dtype)
        return np.array(self.data, dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        from dlcore._numpy_functions import call_ufunc

        return call_ufunc(ufunc, method, inputs, settings)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from dlcore._numpy_functions import call_function

        return call_function(function, args, kwargs)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.node is not None:
            raise GraphError("copy: a result of a recorded computation has no copy of its own; take .detach() first")
        return super().__reduce_ex__(protocol)

    def to(self, device: Device | str) -> Tensor:
        """The same values on another device, such as "cuda"; outside the graph.

        Raises DeviceError, with its cause and its fix, where the device cannot be used.

        >>> Tensor([1.0]).to("cpu").numpy()
        array([1.], dtype=float32)
        """
        moved = Tensor(copies.to_device(self.data, resolve(device)))
        moved.requires_grad = self.requires_grad and self.node is None
        return moved

    def detach(self) -> Tensor:
        """The same array outside the graph.

        No gradient goes back through it:

        >>> x = Tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x.detach()).sum().backward()
        >>> x.grad  # x, and not 2 x
        array([1., 2.], dtype=float32)
        """
        return _made_by(None, self.data, 0)

    # --- the backward pass

    def backward(self, dy: Any = None) -> None:
        """Add the gradients of this tensor into ``.grad`` of every tensor that asked for one.

        dy : array of the shape of ``data``, or a number for a scalar: the gradient of the final loss for this tensor,
            in whose dtype it is taken; 1 by default, for a scalar

        Raises :class:`GraphError` where nothing was recorded, or a result would be wrong (see the module).
        """
        if type(self.data) is not np.ndarray and (place := elsewhere_of(self.data)) is not None:
            with place:  # of all the graph: it is on one device
                self.backward(dy)
            return
        if not self.requires_grad:
            raise GraphError(
                "backward: nothing was recorded; a tensor with requires_grad=True or a model's parameter, not frozen, "
                "must take part, outside no_grad()"
            )
        if dy is None:
            if self.data.shape != ():
                raise ShapeError(
                    f"backward: the tensor has shape {tuple(self.shape)} but only a scalar has a gradient of its own; "
                    "reduce it with .sum() or .mean(), or pass dy"
                )
            xp = namespace_of(self.data)
            dy = _one(self.data.dtype) if xp is NUMPY else xp.ones((), dtype=self.dtype, device=device_of(self.data))
        else:
            dy = self._given(dy)
        if self.node is None:
            self.accumulate(dy)
        else:
            walk(self.node, self.slot, dy)

    def _given(self, dy: Any) -> Any:
        """The gradient that a caller starts from, of this tensor's shape and dtype."""
        if type(dy) is np.ndarray is type(self.data) and dy.dtype is self.data.dtype and dy.shape == self.data.shape:
            return dy if dy.flags.aligned else dy.copy()
        if isinstance(dy, Tensor) and dy.requires_grad:
            raise GraphError("backward: dy asks for a gradient, but only first derivatives are given; pass dy.detach()")
        xp = namespace_of(self.data)
        if isinstance(dy, list | tuple | bool | int | float):
            dy = xp.asarray(from_list(dy), dtype=self.dtype, device=device_of(self.data))
        dy = as_tensor(dy).data
        if type(self.data) is not np.ndarray or namespace_of(dy) is not NUMPY:
            together("backward", {"dy": dy, "the tensor": self.data})
        if dy.shape != self.shape:
            raise ShapeError(f"backward: dy has shape {tuple(dy.shape)} but the tensor {tuple(self.shape)}")
        return dy if dy.dtype == self.dtype else xp.astype(dy, self.dtype)

    def accumulate(self, dy: Any) -> None:
        """Add ``dy`` to the gradient of this leaf; the backward pass calls it.

        >>> x = Tensor([1.0, 2.0], requires_grad=True)
        >>> x.accumulate(np.ones(2, np.float32))
        >>> x.accumulate(np.ones(2, np.float32))
        >>> x.grad
        array([2., 2.], dtype=float32)
        """
        # The first gradient is copied: the same array may have gone to another tensor too.
        self._grad = namespace_of(dy).asarray(dy, copy=True) if self._grad is None else self._grad + dy

    # --- arithmetic

    def __add__(self, other: Any) -> Tensor:
        return apply(elementwise.add, self, _operand(self, other))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Tensor:
        return apply(elementwise.subtract, self, _operand(self, other))

    def __rsub__(self, other: Any) -> Tensor:
        return apply(elementwise.subtract, _operand(self, other), self)

    def __mul__(self, other: Any) -> Tensor:
        return apply(elementwise.multiply, self, _operand(self, other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Tensor:
        return apply(elementwise.divide, self, _operand(self, other))

    def __rtruediv__(self, other: Any) -> Tensor:
        return apply(elementwise.divide, _operand(self, other), self)

    def __pow__(self, exponent: Any) -> Tensor:
        exponent = _operand(self, exponent)
        if isinstance(exponent, Tensor):
            return apply(elementwise.power_of, self, exponent)
        return apply(elementwise.power, self, exponent=exponent)

    def __rpow__(self, base: Any) -> Tensor:
        return apply(elementwise.power_of, _operand(self, base), self)

    def __floordiv__(self, other: Any) -> Tensor:
        return _without_gradient("floor division", operator.floordiv, self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return _without_gradient("floor division", operator.floordiv, self, other, swapped=True)

    def __mod__(self, other: Any) -> Tensor:
        return _without_gradient("remainder", operator.mod, self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return _without_gradient("remainder", operator.mod, self, other, swapped=True)

    def __divmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return other // self, other % self

    def __pos__(self) -> Tensor:
        return self

    def __neg__(self) -> Tensor:
        return apply(elementwise.negative, self)

    def __matmul__(self, other: Any) -> Tensor:
        other = as_tensor(_operand(self, other))
        if self.ndim < 2 or other.ndim < 2 or self.shape[-1] != other.shape[-2]:
            raise ShapeError(
                f"matmul: {tuple(self.shape)} @ {tuple(other.shape)} do not fit; expected (..., N, D) @ (..., D, K)"
            )
        return apply(elementwise.matmul, self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return as_tensor(other) @ self

    # --- bits of integers, and logic of bool tensors

    def __invert__(self) -> Tensor:
        _check_bits("~", self)
        return Tensor(~self.data)

    def __and__(self, other: Any) -> Tensor:
        _check_bits("&", self, other)
        return _plainly("&", operator.and_, self, other)

    __rand__ = __and__

    def __or__(self, other: Any) -> Tensor:
        _check_bits("|", self, other)
        return _plainly("|", operator.or_, self, other)

    __ror__ = __or__

    def __xor__(self, other: Any) -> Tensor:
        _check_bits("^", self, other)
        return _plainly("^", operator.xor, self, other)

    __rxor__ = __xor__

    # --- comparison: bool tensors, which have no gradient

    @on_its_device
    def __lt__(self, other: Any) -> Tensor:
        return _plainly("<", operator.lt, self, other)

    @on_its_device
    def __le__(self, other: Any) -> Tensor:
        return _plainly("<=", operator.le, self, other)

    @on_its_device
    def __gt__(self, other: Any) -> Tensor:
        return _plainly(">", operator.gt, self, other)

    @on_its_device
    def __ge__(self, other: Any) -> Tensor:
        return _plainly(">=", operator.ge, self, other)

    @on_its_device
    def __eq__(self, other: object) -> Any:
        if other is None:
            return NotImplemented
        return _plainly("==", operator.eq, self, other)

    @on_its_device
    def __ne__(self, other: object) -> Any:
        if other is None:
            return NotImplemented
        return _plainly("!=", operator.ne, self, other)

    # --- reductions, functions, rearrangements

    def sum(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """The sum of all elements, or along one axis or several.

        axis : one axis or several, negative ones from the end; None takes all
        keepdims : keep these axes, with size 1

        >>> x = Tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> x.sum().item(), x.sum(axis=0).numpy().tolist(), x.sum(axis=1, keepdims=True).shape
        (10.0, [4.0, 6.0], (2, 1))
        """
        if axis is not None:
            axis = axes_of("sum", axis, self.shape)
        return apply(elementwise.sum_, self, axis=axis, keepdims=keepdims)

    def mean(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """The mean of all elements, or along one axis or several.

        axis, keepdims : as for :meth:`sum`

        >>> Tensor([[1.0, 2.0], [3.0, 4.0]]).mean(axis=0).numpy().tolist()
        [2.0, 3.0]
        """
        if axis is not None:
            axis = axes_of("mean", axis, self.shape)
        _not_empty("mean", self, axis)
        return apply(elementwise.mean, self, axis=axis, keepdims=keepdims)

    def max(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """The largest elements; equal ones share the gradient.

        axis, keepdims : as for :meth:`sum`

        >>> x = Tensor([1.0, 3.0, 3.0], requires_grad=True)
        >>> x.max().backward()
        >>> x.grad
        array([0. , 0.5, 0.5], dtype=float32)
        """
        if axis is not None:
            axis = axes_of("max", axis, self.shape)
        _not_empty("max", self, axis)
        return apply(elementwise.max_, self, axis=axis, keepdims=keepdims)

    def exp(self) -> Tensor:
        """e to the power of each element.

        >>> Tensor([0.0, 1.0]).exp().numpy().round(4).tolist()
        [1.0, 2.7183001041412354]
        """
        return apply(elementwise.exp, self)

    def log(self) -> Tensor:
        """The natural logarithm of each element.

        >>> Tensor([1.0, 4.0]).log().sum().exp().item()
        4.0
        """
        return apply(elementwise.log, self)

    def sqrt(self) -> Tensor:
        """The square root of each element.

        >>> Tensor([1.0, 4.0]).sqrt().numpy().tolist()
        [1.0, 2.0]
        """
        return apply(elementwise.sqrt, self)

    def abs(self) -> Tensor:
        """The absolute value of each element; its gradient at 0 is 0.

        >>> x = Tensor([-2.0, 0.0, 3.0], requires_grad=True)
        >>> x.abs().sum().backward()
        >>> x.grad.tolist()
        [-1.0, 0.0, 1.0]
        """
        return apply(elementwise.absolute, self)

    __abs__ = abs

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        """The same elements in row-major order; one size may be -1.

        shape : the new sizes, apart or as one tuple

        >>> Tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(-1).numpy().tolist()
        [1.0, 2.0, 3.0, 4.0]
        """
        return apply(elementwise.reshape, self, shape=_whole_numbers("reshape", "shape", shape))

    def transpose(self, *axes: int | Sequence[int]) -> Tensor:
        """The axes in another order; reversed without arguments.

        axes : each axis once, apart or as one tuple; negative ones count from the end

        Raises ShapeError where ``axes`` does not name each axis once.

        >>> Tensor(np.zeros((2, 3, 4))).transpose(0, 2, 1).shape
        (2, 4, 3)
        """
        if not axes:
            return apply(elementwise.transpose, self, axes=tuple(range(self.ndim))[::-1])
        order = axes_of("transpose", _whole_numbers("transpose", "axes", axes), self.shape)
        if len(order) != self.ndim:
            raise ShapeError(f"transpose: axes {axes} are no order of the {self.ndim} axes of {tuple(self.shape)}")
        return apply(elementwise.transpose, self, axes=tuple(a % self.ndim for a in order))

    @property
    def T(self) -> Tensor:
        """The axes in reversed order: of a matrix, its transpose.

        >>> Tensor([[1.0, 2.0]]).T.shape
        (2, 1)
        """
        return self.transpose()

    def __getitem__(self, key: Any) -> Tensor:
        """Basic indexing, or an array of integers, which picks along the first axis."""
        if isinstance(key, Tensor | list) or (hasattr(key, "dtype") and not isinstance(key, np.generic)):
            return pick(self, _places(self, key))
        for part in key if isinstance(key, tuple) else (key,):
            if isinstance(part, bool) or not isinstance(part, slice | int | np.integer | EllipsisType | None):
                raise ShapeError(
                    f"index: {type(part).__name__} cannot index here; expected integers, slices, ... and None, "
                    "or one array of integers"
                )
        key = key if isinstance(key, tuple) else (key,)
        # The standard wants every axis mentioned.
        return apply(elementwise.getitem, self, key=key if Ellipsis in key else (*key, Ellipsis))

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))


def as_tensor(x: Any) -> Tensor:
    """``x`` itself if it is a Tensor, else a Tensor of it.

    >>> x = Tensor([1.0])
    >>> as_tensor(x) is x, as_tensor([1.0, 2.0]).shape
    (True, (2,))
    """
    return x if isinstance(x, Tensor) else Tensor(x)


def concat(tensors: Iterable[Any], axis: int = 0) -> Tensor:
    """Tensors of equal shape but for ``axis``, joined along it.

    tensors : a list or another iterable of Tensors, arrays or lists, which have at least one axis
    axis : that they are joined along

    Raises ShapeError where the shapes do not fit, or no tensor came.

    >>> a, b = Tensor([[1.0], [2.0]], requires_grad=True), [[3.0], [4.0]]
    >>> concat([a, b], axis=1).numpy().tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    if isinstance(tensors, Tensor) or hasattr(tensors, "shape") or not isinstance(tensors, Iterable):
        raise ShapeError(f"concat: {type(tensors).__name__} came but a list of tensors is expected; write [a, b]")
    tensors = list(tensors)
    if not tensors:
        raise ShapeError("concat: no tensors came; pass at least one")
    like = next((t for t in tensors if isinstance(t, Tensor)), None)
    joined = [as_tensor(t if like is None else _operand(like, t)) for t in tensors]
    if not all(t.ndim for t in joined):
        raise ShapeError("concat: a tensor without axes came, shape (), but at least one is expected; use reshape(1)")
    if isinstance(axis, bool) or not isinstance(axis, int | np.integer):
        raise ShapeError(f"concat: axis is {axis!r} but an integer is expected; flatten first to join all elements")
    return apply(elementwise.concat, *joined, axis=axes_of("concat", int(axis), joined[0].shape))


def where(condition: Any, x: Any, y: Any) -> Tensor:
    """x where ``condition`` (bool), elsewhere y; the three broadcast.

    Raises ShapeError for shapes that do not fit, and for a condition that is not bool.

    A gradient goes to the one that was taken:

    >>> x = Tensor([1.0, -2.0], requires_grad=True)
    >>> where(x > 0, x, 0.1 * x).sum().backward()
    >>> x.grad
    array([1. , 0.1], dtype=float32)
    """
    condition = as_tensor(np.asarray(condition) if isinstance(condition, bool) else condition)
    if not isdtype(namespace_of(condition.data), condition.dtype, "bool"):
        raise ShapeError(f"where: the condition is {condition.dtype} but bool is expected; compare, as in x != 0")
    x, y = _operand(condition, x), _operand(condition, y)
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        x = Tensor(_like(condition.data, np.asarray(x, dtype=np.float32)))
    return apply(elementwise.where, condition, x, y)


@functools.cache
def _one(dtype: Any) -> Any:
    """The gradient of a loss for itself; kept, because kernels never write into what they are given."""
    one = np.ones((), dtype=dtype)
    one.flags.writeable = False
    return one


def _as_array(data: Any) -> Any:
    if isinstance(data, Tensor):
        return data.data
    if isinstance(data, np.ndarray | np.generic | complex):
        return plain("Tensor", data)
    if isinstance(data, bool | int | float | list | tuple):
        array = from_list(data)
        return array.astype(np.float32) if array.dtype == np.float64 or isinstance(data, int) else array
    xp = namespace_of(data)  # which refuses what is not an array
    if xp is None:
        raise ShapeError("Tensor: None came but an array, a number or a list is expected")
    if not isdtype(xp, data.dtype, ("bool", "integral", "real floating")):
        raise ShapeError(f"Tensor: an array of {data.dtype} came but real numbers are expected; take its real part")
    return data


def _check_differentiable(array: Any) -> None:
    if not isdtype(namespace_of(array), array.dtype, "real floating"):
        raise ShapeError(f"Tensor: requires_grad needs floating-point numbers, but the dtype is {array.dtype}")


def _like(x: Any, host: np.ndarray) -> Any:
    """``host`` as an array beside ``x``."""
    xp = namespace_of(x)
    return host if xp is NUMPY else xp.asarray(host, device=x.device)


def _plain(x: Any) -> Any:
    """A NumPy scalar or a bool as the Python number that it stands for, which never changes a dtype or a device."""
    if isinstance(x, np.generic):
        x = x.item()
    return int(x) if isinstance(x, bool) else x


def _operand(self: Tensor, other: Any) -> Any:
    """Numbers stay Python numbers, so that they never change the dtype; all else becomes a Tensor."""
    if isinstance(other, Tensor) or type(other) in (int, float):
        return other
    other = _plain(other)
    if isinstance(other, int | float):
        return other
    if isinstance(other, list | tuple):
        xp = namespace_of(self.data)
        if isdtype(xp, self.dtype, "real floating"):
            other = xp.asarray(from_list(other), dtype=self.dtype, device=device_of(self.data))
        else:
            other = _like(self.data, _as_array(other))
    return Tensor(other)


@on_its_device
def _places(self: Tensor, key: Any) -> Tensor:
    """Integers that pick along the first axis, negative ones from its end; checked where they are on the host."""
    ids = key.data if isinstance(key, Tensor) else key
    if isinstance(ids, list):
        ids = from_list(ids) if ids else np.zeros(0, np.int64)
    xp = namespace_of(ids)
    if not isdtype(xp, ids.dtype, "integral"):
        raise ShapeError(f"index: an array of {ids.dtype} cannot index, expected integers; use where for masks")
    if not self.ndim:
        raise ShapeError("index: a tensor without axes has no elements to pick; reshape it first")
    n = self.shape[0]
    if xp is NUMPY:
        if ids.size and not (-n <= ids.min() and ids.max() < n):
            raise ShapeError(
                f"index: integers from {ids.min()} to {ids.max()} came but {-n} to {n - 1} is expected for "
                f"shape {tuple(self.shape)}"
            )
        ids = _like(self.data, ids)
        xp = namespace_of(ids)
    ids = xp.astype(ids, xp.int64)  # a small integer type could not hold n
    return Tensor(xp.where(ids < 0, ids + n, ids))


def _array(self: Tensor, other: Any) -> Any:
    operand = _operand(self, other)
    if not isinstance(operand, Tensor):
        return operand
    if type(self.data) is not np.ndarray or namespace_of(operand.data) is not NUMPY:
        together("comparison", {"the left side": self, "the right side": operand})
    return operand.data


def _check_bits(sign: str, *sides: Any) -> None:
    """Both sides of an operator on bits must be integers or bool."""
    for side in sides:
        x = side.data if isinstance(side, Tensor) else side
        if isinstance(x, bool | int | list | tuple):
            continue
        if not hasattr(x, "dtype") or not isdtype(namespace_of(x), x.dtype, ("bool", "integral")):
            came = getattr(x, "dtype", type(x).__name__)
            raise ShapeError(f"{sign}: {came} came but bool or integers are expected; compare first, as in x > 0")


def _plainly(name: str, function: Callable[[Any, Any], Any], x: Tensor, y: Any, swapped: bool = False) -> Tensor:
    """A function of two arrays that has no gradient, and is not recorded."""
    other = y if isinstance(y, bool) else _array(x, y)
    try:
        return Tensor(function(other, x.data) if swapped else function(x.data, other))
    except (ValueError, TypeError) as error:
        if isinstance(error, DlcoreError):
            raise
        shape = tuple(getattr(other, "shape", ()))
        raise ShapeError(f"{name}: {tuple(x.shape)} and {shape} do not fit: {error}") from error


def _without_gradient(
    name: str, function: Callable[[Any, Any], Any], x: Tensor, y: Any, swapped: bool = False
) -> Tensor:
    """A function of two arrays whose steps have no gradient worth the name."""
    if grad_enabled() and (x.requires_grad or (isinstance(y, Tensor) and y.requires_grad)):
        raise GraphError(f"{name}: it jumps and has no gradient; take .detach() of what asks for one")
    return _plainly(name, function, x, y, swapped)


def _not_empty(operation: str, x: Tensor, axis: Any) -> None:
    if x.size == 0:
        axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        if 0 in [x.shape[a] for a in axes]:
            raise ShapeError(f"{operation}: shape {tuple(x.shape)} holds no elements to take it of; check the data")
