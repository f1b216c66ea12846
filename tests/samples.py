"""What many tests take: seeded numbers and images, one optimiser of every rule, and a small model and its training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from arrays import Backend

from dlcore import functional as F
from dlcore import nn
from dlcore.data import Dataset
from dlcore.optim import SGD, Adagrad, Adam, AdamW, Momentum, Optimizer, RMSprop

__all__ = ["RULES", "images", "model_on", "numbers", "train"]

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


def images() -> Dataset:
    """96 images of 8 × 8 pixels in four classes, which their channels tell apart."""
    rng = np.random.default_rng(7)
    y = rng.integers(0, 4, 96)
    x = rng.standard_normal((96, 8, 8, 2)) + np.eye(4)[y][:, :2, None, None].transpose(0, 2, 3, 1)
    return Dataset(x.astype(np.float32), y)


def model_on(arrays: Backend, **settings: Any) -> nn.Sequential:
    """A model for 7 numbers, built where the arrays are."""
    model = nn.Sequential(nn.Dense(5), nn.BatchNorm(), nn.ReLU(), nn.Dense(3))
    return model.build((7,), seed=0, device=arrays.device, **settings)


def train(arrays: Backend, model: nn.Module, optimizer: Optimizer, steps: int = 3, penalty: Any = None) -> None:
    """Steps of :func:`model_on`'s model on 6 examples."""
    x, y = arrays.place(numbers(6, 7)), arrays.place(numbers(6, 3, seed=1))
    for _ in range(steps):
        loss = F.mse(model(x), y)
        if penalty is not None:
            loss = loss + penalty(model, 6)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
