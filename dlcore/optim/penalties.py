"""Penalties on the weights, as part of the loss (notes 2.3)."""

from __future__ import annotations

from typing import Any

from backends.kernel import Kernel
from backends.reference import loss as _loss
from dlcore.errors import ConfigError
from dlcore.nn.module import Module
from dlcore.recorded import Recorded
from dlcore.tensor import Tensor, apply

__all__ = ["L1", "L2", "Penalty"]


class Penalty(Recorded):
    """Base of the penalties: ``penalty(model, examples)`` is a scalar Tensor to add to the loss.

    lam : lambda, the strength

    >>> from dlcore import nn
    >>> class Far(Penalty):  # lambda / 2m · sum (w - 1)²
    ...     def __call__(self, model, examples):
    ...         parts = [((p - 1.0) ** 2).sum() for p in model.parameters() if p.decay]
    ...         return sum(parts[1:], parts[0]) * (self.lam / (2 * examples))
    >>> model = nn.Dense(1).build((2,)); model.w.data = [[1.0], [3.0]]
    >>> float(Far(0.5)(model, examples=1))
    1.0
    """

    kernel: Kernel

    def __init__(self, lam: float) -> None:
        if isinstance(lam, bool) or not isinstance(lam, int | float) or not 0 <= lam < float("inf"):
            raise ConfigError(f"{type(self).__name__}: lam is {lam!r} but a number >= 0 is expected")
        self.lam = float(lam)

    def __call__(self, model: Module, examples: int) -> Tensor:
        """The penalty of a batch of ``examples`` examples, the notes' m; biases and norm parameters are left out."""
        vector = model.built()
        weights: list[Any] = [p for p in vector.parameters if p.decay]
        if not weights:
            return Tensor(vector.xp.zeros((), dtype=vector.dtype, device=vector.device.native))
        return apply(self.kernel, *weights, scale=self.lam / (2.0 * examples))


class L2(Penalty):
    """lambda / 2m · sum of the squared Frobenius norms of all weights; its gradient is lambda / m · W.

    >>> from dlcore import nn
    >>> model = nn.Dense(1, init=nn.init.uniform(1.0, 1.0)).build((2,))
    >>> float(L2(0.5)(model, examples=1))
    0.5

    Source: notes, 2.3 (whose gradient needs this m: the examples in the batch).
    """

    kernel = _loss.sum_of_squares


class L1(Penalty):
    """lambda / 2m · sum of the absolute values of all weights; many weights become zero.

    >>> from dlcore import nn
    >>> model = nn.Dense(1, init=nn.init.uniform(1.0, 1.0)).build((2,))
    >>> float(L1(1.0)(model, examples=1))
    1.0

    Source: notes, 2.3.
    """

    kernel = _loss.sum_of_absolutes
