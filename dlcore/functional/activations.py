"""The activations of the notes' section 1.2."""

from __future__ import annotations

from typing import Any

from backends.reference import elementwise
from backends.reference import softmax as _softmax
from dlcore.errors import ShapeError
from dlcore.functional.checks import floats, none_empty, refuse
from dlcore.tensor import Tensor, apply

__all__ = ["leaky_relu", "log_softmax", "relu", "sigmoid", "softmax", "tanh"]


def relu(x: Any) -> Tensor:
    """The rectified linear unit, max(0, x), with derivative 0 at 0.

    x : float array of any shape

    >>> relu([-1.0, 2.0]).numpy()
    array([0., 2.], dtype=float32)

    Source: notes, 1.2.
    """
    return apply(elementwise.relu, floats("relu", "x", x))


def leaky_relu(x: Any, alpha: float = 0.01) -> Tensor:
    """max(alpha x, x): a unit that is off still learns; derivative alpha at 0.

    x : float array of any shape
    alpha : slope of the negative side, 0 <= alpha < 1

    >>> leaky_relu([-1.0, 2.0], alpha=0.5).numpy()
    array([-0.5,  2. ], dtype=float32)

    Source: notes, 1.2.
    """
    if not 0 <= alpha < 1:
        raise ShapeError(f"leaky_relu: alpha is {alpha} but 0 <= alpha < 1 is expected; the notes use 0.01")
    return apply(elementwise.leaky_relu, floats("leaky_relu", "x", x), alpha=float(alpha))


def sigmoid(x: Any) -> Tensor:
    """The logistic function, 1 / (1 + e^-x), in (0, 1); finite for every finite x.

    x : float array of any shape

    >>> sigmoid([0.0, 1e4]).numpy()
    array([0.5, 1. ], dtype=float32)

    Source: notes, 1.2.
    """
    return apply(elementwise.sigmoid, floats("sigmoid", "x", x))


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent, in (-1, 1) and centred at 0.

    x : float array of any shape

    >>> tanh([0.0]).numpy()
    array([0.], dtype=float32)

    Source: notes, 1.2.
    """
    return apply(elementwise.tanh, floats("tanh", "x", x))


def softmax(x: Any) -> Tensor:
    """e^x_k / sum_j e^x_j over the last axis: probabilities of K classes.

    x : (..., K) float array

    >>> softmax([[0.0, 0.0]]).numpy()
    array([[0.5, 0.5]], dtype=float32)

    Source: notes, 1.2.
    """
    return apply(_softmax.softmax, _classes("softmax", x))


def log_softmax(x: Any) -> Tensor:
    """The logarithm of :func:`softmax`, x_k - log sum_j e^x_j, without forming the quotient.

    x : (..., K) float array

    >>> log_softmax([[0.0, -1e4]]).numpy()
    array([[     0., -10000.]], dtype=float32)

    Source: notes, 1.2.
    """
    return apply(_softmax.log_softmax, _classes("log_softmax", x))


def _classes(operation: str, x: Any) -> Tensor:
    x = floats(operation, "x", x)
    if not x.ndim:
        refuse(operation, "x has shape ()", "(..., K) is expected", "give the axis of the classes")
    none_empty(operation, x=("classes", x.shape[-1]))
    return x
