"""Optimisers, schedules, penalties and clipping."""

from dlcore.optim.clipping import clip_by_norm, clip_by_value
from dlcore.optim.penalties import L1, L2
from dlcore.optim.rules import SGD, Adagrad, Adam, AdamW, Momentum, Optimizer, RMSprop
from dlcore.optim.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseSqrt,
    InverseTime,
    Piecewise,
    Schedule,
    Staircase,
    Warmup,
)

__all__ = [
    "L1",
    "L2",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Exponential",
    "InverseSqrt",
    "InverseTime",
    "Momentum",
    "Optimizer",
    "Piecewise",
    "RMSprop",
    "Schedule",
    "Staircase",
    "Warmup",
    "clip_by_norm",
    "clip_by_value",
]


def __dir__() -> list[str]:
    return sorted(__all__)
