"""Gradient clipping, against exploding gradients (notes 5): between the backward pass and the step."""

from __future__ import annotations

from typing import Any

from backends.reference import optim as update
from dlcore._core.configurable import Recorded
from dlcore._core.validation import number
from dlcore.nn.module import Module

__all__ = ["Clip", "clip_by_norm", "clip_by_value"]


class Clip(Recorded):
    """Base of the clips: ``clip(model)`` changes the gradients in place.

    limit : the largest norm or value

    >>> from dlcore import nn
    >>> class clip_each(Clip):  # the norm of each parameter by itself
    ...     def __call__(self, model):
    ...         for p in model.parameters():
    ...             norm = float((p.grad**2).sum() ** 0.5)
    ...             p.grad = p.grad * min(1.0, self.limit / norm) if norm else p.grad
    >>> model = nn.Dense(1, bias=False).build((2,)); model.w.grad = [[3.0], [4.0]]
    >>> clip_each(2.5)(model); model.w.grad.ravel()
    array([1.5, 2. ], dtype=float32)
    """

    def __init__(self, limit: float) -> None:
        self.limit = number(type(self).__name__, "limit", limit, 0.0, float("inf"), "(]")

    def __call__(self, model: Module) -> None:
        raise NotImplementedError(f"{type(self).__name__} defines no __call__")


class clip_by_norm(Clip):  # noqa: N801  a verb: it reads as the function that it is
    """dtheta = dtheta · min(1, limit / norm) with the Euclidean norm of the whole dtheta.

    ``clip.norm`` holds the norm before clipping, a 0-d array on the model's device.

    >>> from dlcore import nn
    >>> model = nn.Dense(1, bias=False).build((2,))
    >>> model.w.grad = [[3.0], [4.0]]
    >>> clip = clip_by_norm(1.0); clip(model)
    >>> float(clip.norm), model.w.grad.ravel().round(2).tolist()
    (5.0, [0.6000000238418579, 0.800000011920929])

    Source: notes, 5; Pascanu, Mikolov and Bengio (2013).
    """

    norm: Any = None

    def __call__(self, model: Module) -> None:
        vector = model.built()
        if self.norm is None or not vector.device.holds(self.norm) or self.norm.dtype != vector.dtype:
            self.norm = vector.xp.zeros((), dtype=vector.dtype, device=vector.device.native)
        update.clip_by_norm_(vector.grad, self.norm, limit=self.limit)


class clip_by_value(Clip):  # noqa: N801
    """Every element of dtheta is brought into [-limit, limit].

    >>> from dlcore import nn
    >>> model = nn.Dense(1, bias=False).build((2,))
    >>> model.w.grad = [[3.0], [-0.5]]
    >>> clip_by_value(1.0)(model); model.w.grad.ravel()
    array([ 1. , -0.5], dtype=float32)

    Source: notes, 5.
    """

    def __call__(self, model: Module) -> None:
        update.clip_(model.built().grad, limit=self.limit)
