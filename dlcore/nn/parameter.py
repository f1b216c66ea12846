"""Parameters, buffers, and the flat vector that holds all parameters of a model.

The notes concatenate all W and b into one vector theta, and all dW and db into one dtheta, for the gradient check. Here
that vector is how a model is stored: an optimiser step is then one call on two arrays, on a GPU one launch. It stands
with the modules, not with the optimisers, because a model lays it out when it is built.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from backends.namespace import NUMPY, namespace_of
from backends.reference.embedding import add_rows_
from backends.runtime import copies
from backends.runtime.device import CPU, Device, resolve
from dlcore._core.configurable import did_you_mean
from dlcore._core.current_device import on_its_device
from dlcore._core.validation import number
from dlcore.errors import ConfigError, DeviceError, ShapeError
from dlcore.tensor import Tensor

__all__ = ["Buffer", "Parameter", "ParameterVector", "Run", "Segment"]

ALIGNMENT = 64
"""Elements: every parameter starts at a multiple of this, so vector loads on any device are aligned."""


class _Version:
    """Counts the updates of a parameter that is in no vector yet."""

    __slots__ = ("version",)

    def __init__(self) -> None:
        self.version: int = 0


class Parameter(Tensor):
    """A tensor that is learnt.

    data : float array or list — the initial values
    decay : whether L2, L1 and weight decay apply; by the notes' rule, to weights but not to biases

    Assigning to ``data`` or ``grad`` copies into place, so that the flat vector of the model sees it.

    >>> p = Parameter([[1.0, 2.0]])
    >>> p.shape, p.decay
    ((1, 2), True)
    """

    __slots__ = ("_data", "decay", "owner", "path")

    requires_grad: bool
    node: Any
    slot: int

    def __init__(self, data: Any, decay: bool = True) -> None:
        super().__init__(data, requires_grad=True)
        self._data = namespace_of(self._data).asarray(self._data, copy=True)  # assignments write into it
        self.owner: Any = _Version()
        self.decay: bool = decay
        self.path: str = ""

    @on_its_device
    def _set_data(self, value: Any) -> None:
        current = getattr(self, "_data", None)
        if current is None:
            self._data = value
            return
        value = _fitting(self, value)
        current[...] = value
        self.owner.version += 1

    if not TYPE_CHECKING:  # a plain attribute to type checkers, as Tensor has it
        data = property(attrgetter("_data"), _set_data)  # attrgetter: read in C, for it is read in every call

    @on_its_device
    def _set_grad(self, value: Any) -> None:
        if isinstance(self.owner, ParameterVector):
            if value is None:
                self._grad[...] = 0.0
            else:
                self._grad[...] = _fitting(self, value)
        else:
            self._grad = value

    grad = property(attrgetter("_grad"), _set_grad)  # pyright: ignore[reportIncompatibleMethodOverride]

    def accumulate(self, dy: Any) -> None:
        """Add ``dy`` to the gradient; the backward pass calls it.

        >>> p = Parameter([1.0])
        >>> p.accumulate(np.ones(1, np.float32))
        >>> p.grad
        array([1.], dtype=float32)
        """
        if isinstance(self.owner, ParameterVector):
            self._grad += dy
        else:
            super().accumulate(dy)

    def accumulate_rows(self, ids: Any, dy: Any) -> None:
        """Add ``dy`` to the rows ``ids`` of the gradient; rows of equal ids add up. The backward pass calls it.

        ids : (M,) integers in [0, V), for a parameter (V, ...)
        dy : array of M rows, in their order

        >>> p = Parameter([[1.0], [2.0], [3.0]])
        >>> p.accumulate_rows(np.array([2, 0, 2]), np.ones((3, 1), np.float32))
        >>> p.grad.tolist()
        [[1.0], [0.0], [2.0]]
        """
        if self._grad is None:
            self._grad = namespace_of(self._data).zeros_like(self._data)
        add_rows_(self._grad, ids, dy)

    def leave(self, data: np.ndarray) -> None:
        """Make this parameter one of its own again, in no vector."""
        self.place(_Version(), data, None)

    def place(self, owner: Any, data: Any, grad: Any) -> None:
        """Make this parameter a view of ``owner``'s arrays."""
        self.owner, self._data, self._grad = owner, data, grad

    def numpy(self) -> np.ndarray:
        """The values on the host, copied: on every device, later updates leave them as they are.

        >>> p = Parameter([1.0])
        >>> before = p.numpy()
        >>> p.data = [2.0]
        >>> before, p.numpy()
        (array([1.], dtype=float32), array([2.], dtype=float32))
        """
        return np.array(super().numpy())

    def __getstate__(self) -> tuple[Any, ...]:
        placed = isinstance(self.owner, ParameterVector)  # then the values are the vector's, which travels along
        arrays = (None, None) if placed else (self._data, self._grad)
        return (*arrays, self.owner, self.decay, self.path, self.requires_grad)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        data, grad, owner, self.decay, self.path, self.requires_grad = state
        self.node, self.slot = None, 0
        if data is not None:
            self.place(owner, data, grad)

    def __repr__(self) -> str:
        return f"Parameter({self.path or 'unnamed'}, shape {tuple(self.shape)})"


class Buffer:
    """State of a layer that is saved with the model but not learnt, such as running statistics.

    data : float array

    >>> from dlcore import nn
    >>> class Counter(nn.Module):
    ...     def __init__(self):
    ...         self.calls = nn.Buffer(np.zeros(1, np.float32))
    ...     def forward(self, x):
    ...         self.calls.data = self.calls.data + 1
    ...         return x
    >>> model = Counter().build((2,))
    >>> list(model.state_dict()), model.calls.shape
    (['calls'], (1,))
    """

    __slots__ = ("data", "path")

    data: Any
    path: str

    def __init__(self, data: Any) -> None:
        self.data = data
        self.path = ""

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        twin = Buffer(namespace_of(self.data).asarray(self.data, copy=True))
        twin.path = self.path
        return twin

    def __getstate__(self) -> tuple[Any, str]:
        return copies.to_host(self.data), self.path  # the model brings it to its device again

    def __setstate__(self, state: tuple[Any, str]) -> None:
        self.data, self.path = state

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return self.data.shape


@dataclass
class Segment:
    """One parameter's place in the vector, and how optimisers treat it.

    path : its name in the model
    start, size : elements
    active : False freezes it: nothing is written there
    decay : whether weight decay applies
    lr_scale : factor on the learning rate

    >>> p = Parameter([[1.0, 2.0]], decay=False)
    >>> p.path = "gamma"
    >>> segment = ParameterVector([p]).segments[0]
    >>> segment.path, segment.shape, segment.start, segment.size, segment.decay
    ('gamma', (1, 2), 0, 2, False)
    """

    path: str
    shape: tuple[int, ...]
    start: int
    size: int
    active: bool = True
    decay: bool = True
    lr_scale: float = 1.0


class Run(NamedTuple):
    """A stretch of the vector in which every segment has equal settings.

    >>> model = ParameterVector([Parameter([1.0]), Parameter([2.0])])
    >>> model.theta[model.runs()[0].place].shape
    (128,)
    """

    place: slice
    decay: bool
    lr_scale: float


class ParameterVector:
    """All parameters of a model in one array ``theta``, their gradients in another, ``grad``.

    parameters : in the order in which they are laid out
    device, dtype : of the arrays; float32 or float64

    Each parameter starts at a multiple of 64 elements; the gaps hold zeros and stay zero under every rule. ``version``
    counts updates: a backward pass through values that are gone raises.

    >>> vector = ParameterVector([Parameter([1.0, 2.0]), Parameter([3.0])])
    >>> vector.theta.shape, [s.start for s in vector.segments]
    ((128,), [0, 64])
    >>> vector.dtype, vector.parameters[1].owner is vector  # which has placed it
    (dtype('float32'), True)

    Source: notes, 2.4.
    """

    version: int

    def __init__(self, parameters: Sequence[Parameter], device: Device = CPU, dtype: str = "float32") -> None:
        self.parameters: list[Parameter] = list(parameters)
        self.segments: list[Segment] = []
        self.version = 0
        end = 0
        for p in self.parameters:
            self.segments.append(Segment(p.path, tuple(p.shape), end, p.size, p.requires_grad, p.decay))
            end += -(-p.size // ALIGNMENT) * ALIGNMENT
        host = np.zeros(end, dtype=dtype)
        for p, s in zip(self.parameters, self.segments, strict=True):
            host[s.start : s.start + s.size] = np.ravel(copies.to_host(p.data))
        self._runs: list[Run] | None = None
        self._lay_out(copies.to_device(host, device), device)

    def _lay_out(self, theta: Any, device: Device) -> None:
        self.device: Device = device
        self.xp: Any = namespace_of(theta)
        self.theta: Any = theta
        with device.active():
            self.grad: Any = self.xp.zeros_like(theta)
        for p, s in zip(self.parameters, self.segments, strict=True):
            p.place(self, self.view(self.theta, s), self.view(self.grad, s))

    def view(self, flat: Any, s: Segment) -> Any:
        """The part of an array like theta that belongs to one parameter, in its shape.

        flat : (size of theta,) array
        s : the parameter's segment

        >>> vector = ParameterVector([Parameter([[1.0, 2.0]])])
        >>> vector.view(vector.theta, vector.segments[0])
        array([[1., 2.]], dtype=float32)
        """
        return self.xp.reshape(flat[s.start : s.start + s.size], s.shape)

    @property
    def dtype(self) -> Any:
        """float32, or float64 in a model that was built so."""
        return self.theta.dtype

    def __len__(self) -> int:
        return self.theta.shape[0]

    def __deepcopy__(self, memo: dict[int, Any]) -> ParameterVector:
        twin = ParameterVector.__new__(ParameterVector)
        memo[id(self)] = twin
        twin.parameters = copy.deepcopy(self.parameters, memo)
        twin.segments = copy.deepcopy(self.segments, memo)
        twin.version, twin._runs = self.version, None
        twin._lay_out(self.xp.asarray(self.theta, copy=True), self.device)
        with self.device.active():
            twin.grad[...] = self.grad
        return twin

    def __getstate__(self) -> dict[str, Any]:
        arrays = {"theta": copies.to_host(self.theta), "grad": copies.to_host(self.grad)}
        return {**arrays, "device": self.device.name} | {
            name: getattr(self, name) for name in ("parameters", "segments", "version")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.parameters, self.segments = state["parameters"], state["segments"]
        self.version, self._runs = state["version"], None
        device = resolve(state["device"])
        self._lay_out(copies.to_device(state["theta"], device), device)
        with device.active():
            self.grad[...] = copies.to_device(state["grad"], device)

    def to(self, device: Device) -> None:
        """Move every parameter to ``device``; gradients start at zero there.

        >>> vector = ParameterVector([Parameter([1.0])])
        >>> vector.to(CPU)
        >>> str(vector.device)
        'cpu'
        """
        self._lay_out(copies.to_device(copies.to_host(self.theta), device), device)
        self.version += 1

    def zero_grad(self) -> None:
        """Set all gradients to zero, in place.

        >>> p = Parameter([1.0])
        >>> vector = ParameterVector([p])
        >>> p.grad = [3.0]
        >>> vector.zero_grad()
        >>> p.grad
        array([0.], dtype=float32)
        """
        if (place := self.device.elsewhere()) is not None:
            with place:
                self.zero_grad()
            return
        self.grad[...] = 0.0

    def set_active(self, path: str, active: bool) -> None:
        """Freeze or unfreeze one parameter; nothing moves.

        path : of the parameter
        active : False freezes it

        >>> a, b = Parameter([1.0]), Parameter([2.0])
        >>> a.path, b.path = "a", "b"
        >>> vector = ParameterVector([a, b])
        >>> vector.set_active("a", False)
        >>> [run.place for run in vector.runs()]
        [slice(64, 128, None)]
        """
        for p, s in zip(self.parameters, self.segments, strict=True):
            if s.path == path:
                s.active = p.requires_grad = active
        self._runs = None

    def scale_lr(self, path: str, factor: float) -> None:
        """Give one parameter its own factor on the learning rate.

        factor : at least 0; raises ConfigError where it is not, or ``path`` is no parameter

        >>> p = Parameter([1.0])
        >>> p.path = "w"
        >>> vector = ParameterVector([p])
        >>> vector.scale_lr("w", 0.1)
        >>> vector.runs()[0].lr_scale
        0.1
        """
        matching = [s for s in self.segments if s.path == path]
        if not matching:
            paths = [s.path for s in self.segments]
            raise ConfigError(
                f"scale_lr: {path!r} is no parameter{did_you_mean(path, paths)}; there are {', '.join(paths)}"
            )
        for s in matching:
            s.lr_scale = number("scale_lr", "factor", factor, 0.0, float("inf"))
        self._runs = None

    def runs(self) -> list[Run]:
        """The active stretches of equal settings; one for a plain model, over the whole vector.

        >>> ParameterVector([Parameter([1.0]), Parameter([2.0])]).runs()
        [Run(place=slice(0, 128, None), decay=False, lr_scale=1.0)]
        """
        if self._runs is None:
            self._runs = list(self._join(by_decay=False))
            self._decay_runs = list(self._join(by_decay=True))
        return self._runs

    def decay_runs(self) -> list[Run]:
        """As :meth:`runs`, broken also where ``decay`` changes: for rules with weight decay.

        >>> vector = ParameterVector([Parameter([1.0]), Parameter([2.0], decay=False)])
        >>> [(run.place.start, run.decay) for run in vector.decay_runs()]
        [(0, True), (64, False)]
        """
        self.runs()
        return self._decay_runs

    def _join(self, by_decay: bool) -> Iterator[Run]:
        start, last = 0, (False, False, 1.0)
        for s in self.segments:
            settings = (s.active, s.decay if by_decay else False, s.lr_scale)
            if settings != last:
                if last[0] and start < s.start:
                    yield Run(slice(start, s.start), last[1], last[2])
                start, last = s.start, settings
        if last[0] and start < len(self):
            yield Run(slice(start, len(self)), last[1], last[2])


def _fitting(p: Parameter, value: Any) -> Any:
    """``value`` as an array of the parameter's shape, dtype and device."""
    xp = namespace_of(p.data)
    if isinstance(value, Tensor):
        value = value.data
    if hasattr(value, "shape") and namespace_of(value) is not NUMPY and Device.of(value) != Device.of(p.data):
        raise DeviceError(
            f"parameter {p.path}: an array on {Device.of(value)} came but the parameter is on {Device.of(p.data)}",
            fix="copy it by dl.Tensor(array).numpy(), or bring the model to it by .to(device)",
        )
    if xp is NUMPY or isinstance(value, np.ndarray | list | tuple | int | float):
        value = np.asarray(value)
        value = value if xp is NUMPY else xp.asarray(value, dtype=p.dtype, device=p.data.device)
    if tuple(value.shape) != tuple(p.shape):
        raise ShapeError(f"parameter {p.path}: shape {tuple(value.shape)} came but {tuple(p.shape)} is expected")
    return xp.astype(value, p.dtype)
