"""What each layer of one training step computes: its output, the gradient for it, and those for its parameters.

Layers that a :class:`~dlcore.nn.Sequential` computes in one go, such as batch norm, ReLU and pooling, are one layer
here, "1 + 2 + 3": what lies between them is never stored, and what the group gives is all there is to see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backends.runtime import copies
from dlcore._core.input_tree import leaves
from dlcore.nn.module import Module
from dlcore.nn.parameter import Buffer, Parameter
from dlcore.tensor import Tensor, apply

__all__ = ["Seen", "Watch"]


@dataclass
class Seen:
    """One call of a layer. Arrays are by name: copies on the host, unless the watch keeps something else of them.

    path, kind : of the layer, or of those that were computed in one go, joined by " + "
    kernel : that made the last output, and its implementation: "linear: reference"; empty where nothing was recorded
    within : the layer that called this one
    readers : the layers that took the output
    outputs, slopes : "output" and the gradient of the loss for it, by one name
    buffers : after the call
    gradients : of the parameters, by their names in the layer; there once :meth:`Watch.collect` has been called
    """

    path: str
    kind: str
    kernel: str
    within: str
    readers: list[str] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    slopes: dict[str, Any] = field(default_factory=dict)
    buffers: dict[str, np.ndarray] = field(default_factory=dict)
    gradients: dict[str, np.ndarray] = field(default_factory=dict)
    parameters: list[tuple[str, Parameter]] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        """For messages: "1 + 2 (BatchNorm + ReLU)"."""
        return f"{self.path} ({self.kind})" if self.path else self.kind


class Watch:
    """Takes notes of the calls of a model's layers, in the order in which they end.

    model : a copy of one's own, for its layers are changed: their ``forward`` is wrapped up
    output, slope : what is kept of a call's output, and of the gradient for it: functions of the Seen so far and the
        array, whose memory may be used again; by default a copy on the host

    >>> from dlcore import nn
    >>> model = nn.Sequential(nn.Dense(2), nn.Tanh()).build((3,))
    >>> watch = Watch(model)
    >>> model([[1.0, 2.0, 3.0]]).sum().backward()
    >>> [(seen.path, seen.kernel, list(seen.gradients)) for seen in watch.collect()]
    [('0', 'linear: reference', ['w', 'b']), ('1', 'tanh: reference', [])]
    """

    def __init__(
        self,
        model: Module,
        *,
        output: Callable[[Seen, Any], Any] = lambda _, x: _host(x),
        slope: Callable[[Seen, Any], Any] = lambda _, dy: _host(dy),
    ) -> None:
        self._output, self._slope = output, slope
        self.seen: list[Seen] = []
        self._open: list[str] = []
        self._made: dict[int, tuple[Tensor, Seen]] = {}  # by identity; the tensors are kept, so that none is used again
        self._taken: set[int] = set()  # parameters that have their place
        for _, module in model.named_modules():
            self._wrap(module)

    def collect(self) -> list[Seen]:
        """All calls, with the gradients of their parameters, once backward has been called."""
        for seen in self.seen:
            seen.gradients = {name: _host(p.grad) for name, p in seen.parameters if p.grad is not None}
        return self.seen

    def let_go(self) -> None:
        """Keep no tensor of the calls so far, so that their memory is free for the next batch."""
        self._made.clear()

    def _wrap(self, module: Module) -> None:
        forward, takes_over = module.forward, module.takes_over
        group = [module]

        def take(following: Sequence[Module]) -> tuple[int, dict[str, Any]]:
            count, how = takes_over(following)
            group[1:] = following[:count]
            return count, how

        def call(*args: Any, **kwargs: Any) -> Any:
            members = list(group)
            group[1:] = []
            self._open.append(_name(members))
            try:
                y = forward(*args, **kwargs)
            finally:
                self._open.pop()
            return self._note(members, [*args, *kwargs.values()], y)

        module.forward, module.takes_over = call, take

    def _note(self, members: list[Module], inputs: list[Any], y: Any) -> Any:
        """Keep what a call gave, and put tensors that tell their gradient in its place."""
        outputs = {name: value for name, value in _tensors(y) if id(value) not in self._made}
        parameters = self._own(members, Parameter)
        if not outputs and not parameters:
            return y  # a container, whose last layer has told it all
        seen = Seen(*_titles(members), _kernel(outputs), self._open[-1] if self._open else "")
        seen.parameters = [(name, p) for name, p in parameters if p.requires_grad]
        seen.buffers = {name: _host(buffer.data) for name, buffer in self._own(members, Buffer)}
        seen.outputs = {name: self._output(seen, value.data) for name, value in outputs.items()}
        self.seen.append(seen)
        for x in (leaf for given in inputs for leaf in leaves(given)):
            if id(x) in self._made:
                self._made[id(x)][1].readers.append(seen.name)
        told = {id(value): self._telling(seen, name, value) for name, value in outputs.items()}
        return _replaced(y, lambda value: told.get(id(value), value))

    def _telling(self, seen: Seen, name: str, value: Tensor) -> Tensor:
        if value.requires_grad:
            value = apply(_Tell(seen, name, self._slope), value)  # pyright: ignore[reportArgumentType]
        self._made[id(value)] = value, seen
        return value

    def _own(self, members: list[Module], kind: type) -> list[tuple[str, Any]]:
        """The parameters or buffers of these modules themselves; a shared one where it is first used."""
        found = []
        for module in members:
            for name, value in module._members():
                if isinstance(value, kind) and (kind is Buffer or id(value) not in self._taken):
                    self._taken.add(id(value))
                    found.append((name, value))
        return found


class _Tell:
    """In the place of a kernel: gives what it gets, and keeps something of the gradient that comes back."""

    def __init__(self, seen: Seen, slot: str, keep: Callable[[Seen, Any], Any]) -> None:
        self.name, self.seen, self.slot, self.keep = "watch", seen, slot, keep

    def choose(self, *_: Any) -> _Tell:
        return self

    def forward(self, xp: Any, x: Any, *, needed: Any) -> Any:
        return x, None

    def backward(self, xp: Any, dy: Any, saved: Any, *, needed: Any) -> tuple[Any]:
        self.seen.slopes[self.slot] = self.keep(self.seen, dy)
        return (dy,)


def _host(x: Any) -> np.ndarray:
    return np.array(copies.to_host(x))


def _titles(members: list[Module]) -> tuple[str, str]:
    return " + ".join(m.path for m in members), " + ".join(type(m).__name__ for m in members)


def _name(members: list[Module]) -> str:
    path, kind = _titles(members)
    return f"{path} ({kind})" if path else kind


def _kernel(outputs: dict[str, Tensor]) -> str:
    node = next((value.node for value in reversed(outputs.values()) if value.node is not None), None)
    if node is None or node.name == "watch":
        return ""
    return f"{node.name}: {getattr(node.pair, '__name__', 'reference')}"


def _tensors(y: Any) -> list[tuple[str, Tensor]]:
    """The tensors of an output, which may be one, several by name, or several in a row."""
    if isinstance(y, Tensor):
        return [("output", y)]
    parts = y.items() if isinstance(y, dict) else enumerate(y) if isinstance(y, tuple | list) else ()
    return [(f"output {name}", value) for name, value in parts if isinstance(value, Tensor)]


def _replaced(y: Any, by: Callable[[Any], Any]) -> Any:
    if isinstance(y, dict):
        return {name: by(value) for name, value in y.items()}
    return type(y)(by(value) for value in y) if isinstance(y, tuple | list) else by(y)
