"""Losses by name, for one output or for several (notes 1.3).

The functions themselves are :mod:`dlcore.functional`'s; here they are gathered with what a trainer needs to know: how
outputs become predictions, and which labels are missing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends.namespace import isdtype, namespace_of
from dlcore._core.arrays import from_list, plain
from dlcore._core.configurable import did_you_mean
from dlcore._core.current_device import on_its_device
from dlcore.errors import ConfigError, DataError
from dlcore.functional import binary_cross_entropy, cross_entropy, mse
from dlcore.tensor import Tensor, as_tensor

__all__ = [
    "StandardizedMSE",
    "base",
    "binary_cross_entropy",
    "cross_entropy",
    "decode",
    "is_plain",
    "known",
    "mse",
    "named",
    "squared",
]


def __dir__() -> list[str]:
    return sorted(__all__)


@dataclass(frozen=True)
class StandardizedMSE:
    """The mean squared error of targets brought to mean 0 and standard deviation 1: mse(a, (y − μ) / σ).

    A model's outputs a are then of the size that initial weights, learning rates and penalties are made for, whether y
    is a price or a probability. The predictions are a σ + μ; metrics of a trainer are those of the predictions. A model
    that always gives the mean has the loss 1 on the data of which μ and σ are, so the loss is 1 − R² there.

    mean, std : μ and σ > 0, in the unit of y; :meth:`fit` takes them from the training set

    >>> loss = StandardizedMSE.fit(np.array([[100_000.0], [300_000.0]]))
    >>> loss
    StandardizedMSE(mean=200000.0, std=100000.0)
    >>> float(loss(np.array([[0.0]]), np.array([[300_000.0]])))
    1.0
    >>> loss.predictions(np.array([[0.5]])).tolist()
    [[250000.0]]
    """

    mean: float
    std: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean) and np.isfinite(self.std) and self.std > 0):
            raise DataError(
                f"StandardizedMSE: mean is {self.mean} and std {self.std}, but a finite mean and a finite std > 0 are "
                "expected; take them from finite targets by StandardizedMSE.fit"
            )

    @classmethod
    def fit(cls, y: Any) -> StandardizedMSE:
        """With the mean and the standard deviation of all numbers of y but NaN, which are missing; 1 of equal ones.

        y : (N, ...) numbers on the host
        """
        values = plain("StandardizedMSE.fit", y if hasattr(y, "dtype") else from_list(y)).astype(np.float64)
        values = values[~np.isnan(values)]
        if not values.size:
            raise DataError("StandardizedMSE.fit: no target is known; give at least one that is not NaN")
        constant = values.min() == values.max()
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused in one line
            return cls(float(values[0] if constant else values.mean()), 1.0 if constant else float(values.std()))

    @on_its_device
    def __call__(self, prediction: Any, target: Any, *, sample_weight: Any = None, lengths: Any = None) -> Tensor:
        """Arguments and errors as of :func:`mse`; ``target`` in its own unit."""
        target = as_tensor(target)
        xp = namespace_of(target.data)
        if not target.requires_grad:
            target = target.data if isdtype(xp, target.dtype, "real floating") else xp.astype(target.data, xp.float32)
        return mse(prediction, (target - self.mean) / self.std, sample_weight=sample_weight, lengths=lengths)

    def predictions(self, outputs: Any) -> Any:
        """a σ + μ of an array of a model's outputs a."""
        return outputs * self.std + self.mean


_LOSSES: dict[str, Callable[..., Tensor]] = {
    "binary_cross_entropy": binary_cross_entropy,
    "cross_entropy": cross_entropy,
    "mse": mse,
}


def named(loss: str | Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The loss of a name, or the function itself: ``loss(outputs, targets) -> scalar Tensor``.

    >>> named("mse") is mse
    True
    """
    if callable(loss):
        return loss
    if loss not in _LOSSES:
        raise ConfigError(f"loss: {loss!r} is not known{did_you_mean(loss, _LOSSES)}; known are {', '.join(_LOSSES)}")
    return _LOSSES[loss]


def base(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The loss that a ``functools.partial`` is of; any other is its own.

    >>> from functools import partial
    >>> base(partial(cross_entropy, class_weight=[1.0, 5.0])) is cross_entropy
    True
    """
    while isinstance(loss, functools.partial):
        loss = loss.func
    return loss


def decode(loss: Callable[..., Tensor], outputs: Any) -> Any:
    """Predictions from a model's outputs (an array), by the loss that it was trained on.

    cross_entropy : (..., K) logits -> (...) the class of the largest; -1, which is no class, where one of them is NaN
    binary_cross_entropy : logits -> 1 where positive (probability over one half), else 0; -1 where NaN
    StandardizedMSE : a σ + μ
    others : the outputs themselves

    A partial of a loss is decoded as that loss.

    >>> import numpy as np
    >>> decode(cross_entropy, np.array([[0.1, 2.0, -1.0], [3.0, 0.0, 0.0]])).tolist()
    [1, 0]
    >>> decode(binary_cross_entropy, np.array([[-0.5], [2.0]])).tolist()
    [[0.0], [1.0]]
    """
    xp = namespace_of(outputs)
    loss = base(loss)
    if loss is cross_entropy:
        best, largest = xp.argmax(outputs, axis=-1), xp.max(outputs, axis=-1)  # which is NaN where one is
        return xp.where(largest == largest, best, xp.full_like(best, -1))
    if loss is binary_cross_entropy:
        return xp.astype(outputs > 0, outputs.dtype) - xp.astype(outputs != outputs, outputs.dtype)
    return loss.predictions(outputs) if isinstance(loss, StandardizedMSE) else outputs


def is_plain(loss: Callable[..., Tensor]) -> bool:
    """Whether a loss is one of this module as it stands, and so without weights of its own.

    >>> is_plain(mse), is_plain(lambda outputs, y: mse(outputs, y))
    (True, False)
    """
    return isinstance(loss, StandardizedMSE) or any(loss is one for one in _LOSSES.values())


def squared(loss: Callable[..., Tensor]) -> bool:
    """Whether a loss is a mean squared error, of targets as they are or standardised.

    >>> squared(mse), squared(StandardizedMSE(3.0, 2.0)), squared(cross_entropy)
    (True, True, False)
    """
    loss = base(loss)
    return loss is mse or isinstance(loss, StandardizedMSE)


def known(y: Any) -> tuple[Any, Any]:
    """Targets with the missing ones (NaN, or -1 among integers) set to 0, and weights: 1 where known, 0 where missing.

    y : (N, ...) array

    >>> import numpy as np
    >>> known(np.array([1, -1, 2]))[1].tolist()
    [1.0, 0.0, 1.0]
    """
    xp = namespace_of(y)
    present = y >= 0 if isdtype(xp, y.dtype, "integral") else y == y
    filled = xp.where(present, y, xp.zeros_like(y))
    rows = present if present.ndim == 1 else xp.all(present, axis=tuple(range(1, present.ndim)))
    return filled, xp.astype(rows, xp.float32)
