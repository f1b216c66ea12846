"""Losses by name, for one output or for several (notes 1.3).

The functions themselves are :mod:`dlcore.functional`'s; here they are gathered with what a trainer needs to know: how
outputs become predictions, and which labels are missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backends.namespace import isdtype, namespace_of
from dlcore.errors import ConfigError
from dlcore.functional import binary_cross_entropy, cross_entropy, mse
from dlcore.recorded import did_you_mean
from dlcore.tensor import Tensor

__all__ = ["binary_cross_entropy", "cross_entropy", "decode", "known", "mse", "named"]

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


def decode(loss: Callable[..., Tensor], outputs: Any) -> Any:
    """Predictions from a model's outputs (an array), by the loss that it was trained on.

    cross_entropy : (..., K) logits -> (...) the class of the largest
    binary_cross_entropy : logits -> 1 where positive (probability over one half), else 0
    others : the outputs themselves

    >>> import numpy as np
    >>> decode(cross_entropy, np.array([[0.1, 2.0, -1.0], [3.0, 0.0, 0.0]])).tolist()
    [1, 0]
    >>> decode(binary_cross_entropy, np.array([[-0.5], [2.0]])).tolist()
    [[0.0], [1.0]]
    """
    xp = namespace_of(outputs)
    if loss is cross_entropy:
        return xp.argmax(outputs, axis=-1)
    if loss is binary_cross_entropy:
        return xp.astype(outputs > 0, outputs.dtype)
    return outputs


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
