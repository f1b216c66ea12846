"""The float16 twin of a model's parameters, in which mixed precision computes.

The master parameters stay in float32: in 16 bits most updates would be rounded away. Only while a pass is computed do
the parameters show the twin; optimisers, clipping, penalties, checkpoints and evaluation see the master.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from backends.reference import mixed
from dlcore.errors import ConfigError
from dlcore.nn.parameter import ParameterVector

__all__ = ["Half"]


class Half:
    """Parameters and gradients of a :class:`ParameterVector` in float16: one array each, with the same places.

    theta, grad : (n,) float16 arrays on the vector's device

    Raises ConfigError where the vector is not of float32, or its library has no float16.

    >>> from dlcore import nn
    >>> model = nn.Dense(1).build((2,))
    >>> half = Half(model.vector)
    >>> with half.shown():
    ...     print(model.w.dtype)
    float16
    >>> model.w.dtype
    dtype('float32')
    """

    def __init__(self, vector: ParameterVector) -> None:
        xp = vector.xp
        if not hasattr(xp, "float16"):
            raise ConfigError(f"mixed precision needs float16, which {vector.device} does not have; use float32")
        if vector.dtype != xp.float32:
            raise ConfigError(f"mixed precision needs a model of float32, this one is of {vector.dtype}; build it anew")
        self.vector = vector
        self.master = vector.theta
        with vector.device.active():
            self.theta = xp.zeros(len(vector), dtype=xp.float16, device=vector.device.native)
            self.grad = xp.zeros_like(self.theta)
        self._views = [(vector.view(self.theta, s), vector.view(self.grad, s)) for s in vector.segments]

    def is_of(self, vector: ParameterVector) -> bool:
        """Whether it still is the twin of ``vector``, which may have moved."""
        return self.vector is vector and self.master is vector.theta

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Inside, the parameters are the master's rounded to float16, and gradients are collected in float16."""
        mixed.cast_(self.theta, self.master)
        self.grad[...] = 0.0
        kept: list[tuple[Any, Any]] = []
        for p, (data, grad) in zip(self.vector.parameters, self._views, strict=True):
            kept.append((p.data, p.grad))
            p.place(self.vector, data, grad)
        try:
            yield
        finally:
            for p, (data, grad) in zip(self.vector.parameters, kept, strict=True):
                p.place(self.vector, data, grad)
