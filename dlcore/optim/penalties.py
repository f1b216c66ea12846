"""Penalties on the weights, as part of the loss (notes 2.3)."""

from __future__ import annotations

from typing import Any

from backends.dispatch import Kernel
from backends.reference import loss as _loss
from dlcore._core.configurable import Recorded
from dlcore._core.validation import number, whole
from dlcore.errors import ConfigError
from dlcore.nn.module import Module
from dlcore.tensor import Tensor, apply

__all__ = ["L1", "L2", "Penalty"]


class Penalty(Recorded):
    """Base of the penalties: ``penalty(model, examples)`` is a scalar Tensor to add to the loss.

    lam : lambda, the strength
    examples : the notes' m, the examples of the training set; None takes it from the call. A Trainer counts its
        training set; for an iterable, whose length it cannot know, give m here

    m is that of the training set in every step, however large a batch is: the sum over the set and the penalty keep
    their proportion, so that the optimum depends neither on the batch size nor on a short last batch.

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
    examples: int | None = None

    def __init__(self, lam: float, examples: int | None = None) -> None:
        self.lam = number(type(self).__name__, "lam", lam, 0.0, float("inf"))
        self.examples = None if examples is None else self._count(examples)

    def __call__(self, model: Module, examples: int | None = None) -> Tensor:
        """The penalty on a model's weights, a scalar of its dtype; biases and norm parameters are left out.

        examples : m, where the penalty was not made with it; ConfigError where neither says

        In a loop of one's own, over batches of a set of 1,000:

        >>> from dlcore import nn
        >>> model = nn.Dense(1, init=nn.init.uniform(1.0, 1.0)).build((2,))
        >>> float(L2(1000.0)(model, 1000)), float(L2(1000.0, examples=1000)(model))
        (1.0, 1.0)
        """
        m = self.examples if examples is None else self._count(examples)
        if m is None:
            raise ConfigError(
                f"{type(self).__name__}: examples is None but the number of examples in the training set is expected, "
                f"as in {type(self).__name__}({self.lam:g}, examples=1000)"
            )
        vector = model.built()
        weights: list[Any] = [p for p in vector.parameters if p.decay]
        if not weights:
            return Tensor(vector.xp.zeros((), dtype=vector.dtype, device=vector.device.native))
        return apply(self.kernel, *weights, scale=self.lam / (2.0 * m))

    def _count(self, examples: int) -> int:
        return whole(type(self).__name__, "examples", examples, 1)


class L2(Penalty):
    """lambda / 2m · sum of the squared Frobenius norms of all weights; its gradient is lambda / m · W.

    >>> from dlcore import nn
    >>> model = nn.Dense(1, init=nn.init.uniform(1.0, 1.0)).build((2,))
    >>> float(L2(0.5)(model, examples=1))
    0.5

    Source: notes, 2.3, where m is the number of examples in the training set.
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
