"""The activations as layers (notes 1.2)."""

from __future__ import annotations

from typing import Any

from dlcore import functional as F
from dlcore._core.validation import number
from dlcore.nn.module import Module
from dlcore.tensor import Tensor

__all__ = ["LeakyReLU", "ReLU", "Sigmoid", "Softmax", "Tanh"]


class ReLU(Module):
    """max(0, x).

    >>> ReLU()([[-1.0, 2.0]]).numpy()
    array([[0., 2.]], dtype=float32)

    Source: notes, 1.2.
    """

    def forward(self, x: Any) -> Tensor:
        return F.relu(x)


class LeakyReLU(Module):
    """max(alpha x, x), 0 <= alpha < 1.

    >>> LeakyReLU(0.5)([[-1.0, 2.0]]).numpy()
    array([[-0.5,  2. ]], dtype=float32)

    Source: notes, 1.2.
    """

    def __init__(self, alpha: float = 0.01) -> None:
        self.alpha = number("LeakyReLU", "alpha", alpha, 0.0, 1.0)

    def forward(self, x: Any) -> Tensor:
        return F.leaky_relu(x, self.alpha)


class Sigmoid(Module):
    """1 / (1 + e^-x).

    >>> Sigmoid()([[0.0]]).numpy()
    array([[0.5]], dtype=float32)

    Source: notes, 1.2.
    """

    def forward(self, x: Any) -> Tensor:
        return F.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent.

    >>> Tanh()([[0.0, 100.0]]).numpy()
    array([[0., 1.]], dtype=float32)

    Source: notes, 1.2.
    """

    def forward(self, x: Any) -> Tensor:
        return F.tanh(x)


class Softmax(Module):
    """Probabilities over the last axis. The losses take logits: leave this layer out while training.

    >>> Softmax()([[5.0, 5.0]]).numpy()
    array([[0.5, 0.5]], dtype=float32)

    Source: notes, 1.2.
    """

    def forward(self, x: Any) -> Tensor:
        return F.softmax(x)
