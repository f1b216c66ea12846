"""What many tests take: seeded numbers, and one optimiser of every rule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dlcore.optim import SGD, Adagrad, Adam, AdamW, Momentum, Optimizer, RMSprop

__all__ = ["RULES", "numbers"]

RULES: dict[str, Callable[[], Optimizer]] = {
    "SGD": lambda: SGD(0.1),
    "Momentum": lambda: Momentum(0.1),
    "Momentum, all": lambda: Momentum(0.1, bias_correction=True, nesterov=True),
    "RMSprop": lambda: RMSprop(0.01),
    "Adam": lambda: Adam(0.01),
    "AdamW": lambda: AdamW(0.01, decay=0.1),
    "Adagrad": lambda: Adagrad(0.1),
}


def numbers(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    """Standard normal numbers; another shape or seed gives others."""
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)
