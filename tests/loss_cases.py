"""Losses and penalties: their inputs, and sums without rounding as their oracle."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from case import (
    FAR_APART,
    LOGITS,
    NEARLY_CERTAIN,
    Case,
    away,
    case,
    extreme,
    integers,
    normal,
    positive,
    shares,
    total,
)
from scipy import special

__all__ = ["losses", "penalties"]


def _weighted(losses: Any, weight: Any) -> np.ndarray:
    losses = np.ravel(losses).tolist()
    weights = [1.0] * len(losses) if weight is None else np.ravel(weight).tolist()
    whole = total(weights)
    return np.array(total(a * w for a, w in zip(losses, weights, strict=True) if w) / whole if whole else 0.0)


def _mse(prediction, target, weight) -> np.ndarray:
    return _weighted([(a - y) ** 2 for a, y in zip(prediction.flat, target.flat, strict=True)], weight)


def _binary_cross_entropy(logits, target, weight, *, label_smoothing) -> np.ndarray:
    target = (1.0 - label_smoothing) * target + label_smoothing / 2.0
    return _weighted(-target * special.log_expit(logits) - (1.0 - target) * special.log_expit(-logits), weight)


def _cross_entropy(logits, labels, weight, *, label_smoothing) -> np.ndarray:
    losses, classes = [], logits.shape[1]
    for row, label in zip(special.log_softmax(logits, axis=1).tolist(), labels.tolist(), strict=True):
        share = [label_smoothing / classes + (1.0 - label_smoothing) * (k == label) for k in range(classes)]
        losses.append(-total(q * p for q, p in zip(share, row, strict=True)))
    return _weighted(losses, weight)


def _soft_cross_entropy(logits, target, weight, *, label_smoothing) -> np.ndarray:
    losses = []
    for row, probabilities in zip(special.log_softmax(logits, axis=1).tolist(), target.tolist(), strict=True):
        shares = [(1.0 - label_smoothing) * q + label_smoothing / len(row) for q in probabilities]
        losses.append(-math.fsum(q * p for q, p in zip(shares, row, strict=True) if q))
    return _weighted(losses, weight)


def _rows(n: int, classes: int) -> Callable[..., Any]:
    return lambda rng: rng.dirichlet(np.ones(classes), n)


def losses() -> Iterator[Case]:
    weights: dict[str, Callable[..., Any]] = {
        "no weights": lambda *shape: None,
        "weights": positive,
        "weights with zeros": lambda *shape: lambda rng: rng.integers(0, 2, shape) * 1.5,
        "weights all zero": lambda *shape: np.zeros(shape),
    }
    for name, weight in weights.items():
        yield case("mse", name, normal(3, 4), normal(3, 4), weight(3, 4), oracle=_mse, differentiable=(0, 1))
        for smoothing in (0.0, 0.1):
            label = f"{name}, smoothing {smoothing}"
            how = {"label_smoothing": smoothing, "differentiable": (0,)}
            yield case(
                "binary_cross_entropy", label, normal(4, 2), shares(4, 2), weight(4, 2),
                oracle=_binary_cross_entropy, **how,
            )  # fmt: skip
            yield case(
                "binary_cross_entropy", f"extreme, {label}", LOGITS, [[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.5, 0.0]],
                weight(2, 4), oracle=_binary_cross_entropy, **how,
            )  # fmt: skip
            yield case("cross_entropy", label, normal(5, 3), integers(3, 5), weight(5), oracle=_cross_entropy, **how)
            yield case(
                "soft_cross_entropy", label, normal(5, 3), _rows(5, 3), weight(5), oracle=_soft_cross_entropy,
                label_smoothing=smoothing, differentiable=(0, 1),
            )  # fmt: skip
            yield case(
                "cross_entropy", f"extreme, {label}", extreme(8, 4), integers(4, 8), weight(8),
                oracle=_cross_entropy, **how,
            )  # fmt: skip
    yield case(
        "cross_entropy", "rows far apart", FAR_APART, [1, 0], None, label_smoothing=0.0, oracle=_cross_entropy,
        differentiable=(0,),
    )  # fmt: skip
    for name, logits, target in (
        ("rows far apart", FAR_APART, [[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]]),
        ("one example", normal(1, 3), [[0.0, 1.0, 0.0]]),
        ("one class", normal(3, 1), [[1.0], [1.0], [1.0]]),
        ("seventeen classes", normal(5, 17), _rows(5, 17)),
    ):
        yield case(
            "soft_cross_entropy", name, logits, target, None, label_smoothing=0.0, oracle=_soft_cross_entropy,
            differentiable=(0,),
        )  # fmt: skip
    yield case(
        "soft_cross_entropy", "a masked class of probability 0", [[0.5, -math.inf, 1.0]], [[0.25, 0.0, 0.75]], None,
        label_smoothing=0.0, oracle=_soft_cross_entropy, differentiable=(0,),
        gradient=lambda dy, z, q, weight, label_smoothing: (dy * (special.softmax(z, axis=1) - q), None, None),
    )  # fmt: skip
    yield case(
        "binary_cross_entropy", "nearly certain and right", [12.0, -12.0], [1.0, 0.0], None, label_smoothing=0.0,
        oracle=_binary_cross_entropy, differentiable=(0,), gradient_tolerance=NEARLY_CERTAIN,
    )  # fmt: skip
    yield case("mse", "one element", normal(1), normal(1), None, oracle=_mse)
    yield case("mse", "images", normal(2, 2, 2, 3), normal(2, 2, 2, 3), None, oracle=_mse)
    for name, logits, labels in (
        ("int32 labels", (4, 3), integers(3, 4, dtype="int32")),
        ("one example", (1, 3), [2]),
        ("one class", (3, 1), [0, 0, 0]),
        ("two classes", (4, 2), integers(2, 4)),
        ("sixteen classes", (3, 16), integers(16, 3)),
        ("seventeen classes", (5, 17), integers(17, 5)),
        ("more than lie in a cache", (5, 6001), integers(6001, 5)),
    ):
        yield case(
            "cross_entropy", name, normal(*logits), labels, None, label_smoothing=0.0, oracle=_cross_entropy,
            differentiable=(0,),
        )  # fmt: skip


def penalties() -> Iterator[Case]:
    squares = lambda *weights, scale: np.array(scale * total(v**2 for w in weights for v in w.flat))  # noqa: E731
    absolutes = lambda *weights, scale: np.array(scale * total(abs(v) for w in weights for v in w.flat))  # noqa: E731
    for name, shapes in (("one array", [(3, 4)]), ("three arrays", [(3, 4), (2, 2, 1, 3), (5,)])):
        inputs = [away(*shape) for shape in shapes]
        yield case("sum_of_squares", name, *inputs, scale=0.05, oracle=squares)
        yield case("sum_of_absolutes", name, *inputs, scale=0.05, oracle=absolutes)
    yield case("sum_of_squares", "at zero", [0.0, -2.0], scale=2.0, oracle=squares)
    yield case(
        "sum_of_absolutes", "at zero", [0.0, -0.0, -2.0], scale=2.0, oracle=absolutes,
        gradient=lambda dy, w, scale: (dy * [0.0, 0.0, -2.0],),
    )  # fmt: skip
