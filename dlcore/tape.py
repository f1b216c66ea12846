"""The tape: record which kernels ran, then walk them backwards.

A :class:`Node` holds the kernel that ran, what its forward pass saved and where the gradients for its inputs go.
:func:`walk` visits nodes from the newest to the oldest, which is a topological order, because a node is always newer
than those it read.

Two mistakes that would silently give wrong gradients raise a :class:`GraphError` instead: a second backward pass
through a node, whose saved arrays are released as they are used; and a backward pass after the parameters it read have
been updated, which the ``version`` of their vector tells.

First derivatives only: gradients are plain arrays and record nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from heapq import heappop, heappush
from itertools import count
from typing import Any

from backends.namespace import namespace_of
from dlcore.errors import GraphError

__all__ = ["Node", "grad_enabled", "no_grad", "recording", "walk"]

_grad_enabled: ContextVar[bool] = ContextVar("grad_enabled", default=True)
_clock = count()
_USED = object()  # in place of ``saved`` once backward has used it


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside, nothing is recorded: for evaluation, and for changing parameters by hand.

    >>> import dlcore as dl
    >>> w = dl.Tensor([1.0], requires_grad=True)
    >>> with dl.no_grad():
    ...     y = w * 2
    >>> y.requires_grad, (w * 2).requires_grad
    (False, True)
    """
    token = _grad_enabled.set(False)
    try:
        yield
    finally:
        _grad_enabled.reset(token)


def grad_enabled() -> bool:
    """Whether computations are being recorded.

    >>> with no_grad():
    ...     grad_enabled()
    False
    """
    return _grad_enabled.get()


recording = _grad_enabled.get
"""The same, as a name for the variable's own method: every kernel call asks."""


class Node:
    """One recorded kernel call."""

    __slots__ = ("dtype", "guards", "index", "name", "needed", "outputs", "pair", "params", "parents", "saved", "xp")

    name: str
    pair: Any
    xp: Any
    parents: Sequence[Any]
    needed: Sequence[bool]
    params: dict[str, Any]
    saved: Any
    outputs: int
    index: int
    guards: Sequence[tuple[Any, int]]

    def __init__(
        self,
        name: str,
        pair: Any,
        xp: Any,
        parents: Sequence[Any],
        needed: Sequence[bool],
        params: dict[str, Any],
        saved: Any,
        guards: Sequence[tuple[Any, int]],
    ) -> None:
        self.name = name
        self.pair = pair
        self.xp = xp
        self.parents = parents  # where each gradient goes: a leaf, or a node and its output; None where not needed
        self.needed = needed
        self.params = params
        self.saved = saved
        self.outputs = 0  # how many, where the kernel gives a tuple; 0 where it gives one array
        self.dtype: Any = None  # of the output, or of each of them: a gradient has the dtype of what it is for
        self.index = next(_clock)
        self.guards = guards  # each vector of parameters that was read, with its version

    def backward(self, dy: Any) -> Sequence[Any]:
        """The gradients for the parents; uses the node up."""
        saved, self.saved = self.saved, _USED
        if saved is _USED:
            raise GraphError(
                f"backward: this graph was used before (at {self.name}), and what it saved is released; "
                "run the forward pass again, or add the losses and call backward once"
            )
        for owner, version in self.guards:
            if owner.version != version:
                raise GraphError(
                    f"backward: the parameters that {self.name} read have been updated since the forward pass; "
                    "call backward before the optimiser's step, or run the forward pass again"
                )
        return self.pair.backward(self.xp, dy, saved, needed=self.needed, **self.params)


def walk(node: Node, slot: int, dy: Any) -> None:
    """Bring the gradient ``dy`` of output ``slot`` of ``node`` to every leaf that it came from."""
    collected: dict[Node, Any] = {}  # of each node that waits: the gradient for its output
    _collect(collected, node, slot, dy)
    waiting = [(-node.index, node)]
    while waiting:
        node = heappop(waiting)[1]
        for parent, dx in zip(node.parents, node.backward(collected.pop(node)), strict=True):
            if dx is None or parent is None:
                continue
            if not isinstance(parent, tuple):
                dtype = parent.data.dtype
                parent.accumulate(dx if dx.dtype is dtype else _as(dx, dtype))  # a leaf
                continue
            source, slot = parent
            if source not in collected:
                heappush(waiting, (-source.index, source))
            _collect(collected, source, slot, dx)


def _collect(collected: dict[Node, Any], node: Node, slot: int, dy: Any) -> None:
    """Add ``dy`` to the gradient of a node's output: of the output ``slot``, where its kernel gives several."""
    if not node.outputs:
        if dy.dtype is not node.dtype:
            dy = _as(dy, node.dtype)
        collected[node] = collected[node] + dy if node in collected else dy
        return
    dy = _as(dy, node.dtype[slot])
    slots = collected.setdefault(node, [None] * node.outputs)
    slots[slot] = dy if slots[slot] is None else slots[slot] + dy


def _as(dy: Any, dtype: Any) -> Any:
    """``dy`` in the dtype of what it is the gradient of, which mixed operands change."""
    return dy if dy.dtype == dtype else namespace_of(dy).astype(dy, dtype)
