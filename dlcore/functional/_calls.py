"""What a loss of one's own is made of: the losses of :mod:`dlcore.functional` that it calls, noted while it runs.

A trainer must know two things of a loss that it has no name for, such as ``lambda z, y: cross_entropy(z, y,
class_weight=w)``: how outputs become predictions, and by what the loss of a batch was divided. Without the second, the
loss of a data set would depend on how it is cut into batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from backends.namespace import namespace_of
from dlcore.tensor import Tensor

__all__ = ["Call", "calls", "noted"]


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a loss.

    loss : its name
    shape : of the outputs
    value : what it returned
    weight : the scalar sum of the weights, by which it was divided; None for equal weights
    sequences : of padded ones the (weighted) sums of valid steps and of sequences, by whose ratio the loss was
        multiplied; else None
    """

    loss: str
    shape: tuple[int, ...]
    value: Tensor
    weight: Any = None
    sequences: tuple[Any, Any] | None = None


_NOTES: ContextVar[list[Call] | None] = ContextVar("calls", default=None)


@contextmanager
def calls() -> Iterator[list[Call]]:
    """The calls of losses within, in their order.

    >>> from dlcore.functional import mse
    >>> with calls() as found:
    ...     loss = mse([[1.0]], [[0.0]], sample_weight=[3.0])
    >>> found[0].loss, float(found[0].weight)
    ('mse', 3.0)
    """
    found: list[Call] = []
    token = _NOTES.set(found)
    try:
        yield found
    finally:
        _NOTES.reset(token)


def noted(
    loss: str, shape: tuple[int, ...], value: Tensor, weight: Any, sequences: tuple[Any, Any] | None = None
) -> Tensor:
    """``value``, after the call was noted where somebody asks.

    weight : of each example's loss, whose sum is noted; None for equal weights
    sequences : as in :class:`Call`
    """
    found = _NOTES.get()
    if found is not None:
        total = None if weight is None else namespace_of(weight).sum(weight)
        found.append(Call(loss, tuple(shape), value, total, sequences))
    return value
