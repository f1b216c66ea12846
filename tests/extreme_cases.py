"""Inputs with infinities, NaN, denormals, ±1e4 and zeros for every kernel: cases of the table, with other numbers.

The oracles are those of the table, and others where its formulas do not hold for such numbers. A gradient is given
where a mask decides it: what a mask leaves out is 0, whatever is behind it.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from case import Case, average, largest, total
from cases import CASES

__all__ = ["BEHIND_A_MASK", "EXTREMES", "behind_a_mask"]

TEMPLATES: dict[str, tuple[str, ...]] = {
    "softmax": ("shape (3, 4)",),
    "cross_entropy": ("no weights, smoothing 0.0", "no weights, smoothing 0.1", "weights with zeros, smoothing 0.0"),
    "soft_cross_entropy": ("no weights, smoothing 0.0", "weights with zeros, smoothing 0.1"),
    "binary_cross_entropy": ("extreme, no weights, smoothing 0.0", "no weights, smoothing 0.1"),
    "mse": ("no weights", "weights with zeros"),
    "leaky_relu": ("shape (2, 3)", "alpha 0.0"),
    "max_pool2d": ("2x2", "overlap and padding", "seventeen channels"),
    "avg_pool2d": ("2x2", "overlap and padding"),
    "batch_norm": ("rows", "seventeen channels"),
    "batch_norm_relu": ("rows", "pooled"),
    "dropout": ("rate 0.5",),
    "where": ("equal shapes",),
    "add": ("equal shapes",),
    "power": ("exponent 2", "exponent 2.5"),
}
"""The cases that are varied; of other kernels the first one."""

POSITIONS = {
    "batch_norm_fixed": (0, 1, 2, 3),
    "binary_cross_entropy": (0,),
    "conv2d": (0,),  # a weight of a filter meets the zeros of the padding, and infinity times 0 is NaN
    "conv2d_relu": (0,),
    "correlate2d": (0,),
    "correlate_separable": (0,),
    "cross_entropy": (0,),
    "gru": (0, 3, 4, 5),  # weights of 1e4 would make any rounding as large
    "lstm": (0, 3, 4, 5),
    "mse": (0, 1),
    "power_of": (0,),  # an exponent of 1e4 leaves the range on the way, in float32 and not in float64
    "rnn": (0, 3, 4),
    "soft_cross_entropy": (0,),
}
"""Of the arrays that get such numbers; of other kernels all of floats."""


def _at(rng: np.random.Generator, x: np.ndarray, *values: float) -> np.ndarray:
    """The array with the values at places of its own."""
    x = x.copy()
    places = rng.choice(x.size, min(len(values), x.size), replace=False)
    for place, value in zip(places, values, strict=False):
        x.flat[place] = value
    return x


VARIANTS: dict[str, Callable[[np.random.Generator, np.ndarray], np.ndarray]] = {
    "infinity": lambda rng, x: _at(rng, x, math.inf),
    "minus infinity": lambda rng, x: _at(rng, x, -math.inf),
    "both infinities": lambda rng, x: _at(rng, x, math.inf, -math.inf),
    "NaN": lambda rng, x: _at(rng, x, math.nan),
    "denormals": lambda rng, x: rng.choice([1e-40, -3e-42, 0.0], x.shape),
    "1e4": lambda rng, x: rng.choice([1e4, -1e4], x.shape),
    "zeros": lambda rng, x: rng.choice([0.0, -0.0], x.shape),
}


def _log_softmax(x: np.ndarray) -> np.ndarray:
    y = np.full(x.shape, np.nan)
    for place in np.ndindex(x.shape[:-1]):
        row = [float(v) for v in x[place]]
        most = largest(row)
        if math.isfinite(most):
            size = math.log(math.fsum(math.exp(v - most) for v in row))
            y[place] = [v - most - size for v in row]
    return y


def _weighted(losses: list[float], weight: Any) -> np.ndarray:
    if weight is None:
        return np.array(average(losses))
    weights = np.ravel(weight).tolist()
    return np.array(total(a * w for a, w in zip(losses, weights, strict=True) if w) / total(weights))


def _cross_entropy(logits, labels, weight, *, label_smoothing) -> np.ndarray:
    classes, losses = logits.shape[1], []
    for row, label in zip(_log_softmax(logits).tolist(), labels.tolist(), strict=True):
        share = [label_smoothing / classes + (1.0 - label_smoothing) * (k == label) for k in range(classes)]
        spoilt = any(v != v for v in row)
        losses.append(math.nan if spoilt else -total(q * p for q, p in zip(share, row, strict=True) if q))
    return _weighted(losses, weight)


def _soft_cross_entropy(logits, target, weight, *, label_smoothing) -> np.ndarray:
    losses = []
    for row, shares in zip(_log_softmax(logits).tolist(), target.tolist(), strict=True):
        shares = [(1.0 - label_smoothing) * q + label_smoothing / len(row) for q in shares]
        losses.append(
            math.nan if any(v != v for v in row) else -total(q * p for q, p in zip(shares, row, strict=True) if q)
        )
    return _weighted(losses, weight)


def _binary_cross_entropy(logits, target, weight, *, label_smoothing) -> np.ndarray:
    losses = []
    for z, y in zip(logits.ravel().tolist(), np.ravel(target).tolist(), strict=True):
        y = (1.0 - label_smoothing) * y + label_smoothing / 2.0
        sides = [(y, -z), (1.0 - y, z)]  # the share of each class, and the logit against it
        softplus = [share * (max(v, 0.0) + math.log1p(math.exp(-abs(v)))) for share, v in sides if share]
        losses.append(math.nan if z != z else total(softplus))
    return _weighted(losses, weight)


ORACLES: dict[str, Callable[..., Any]] = {
    "softmax": lambda x: np.exp(_log_softmax(x)),
    "log_softmax": _log_softmax,
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
    "soft_cross_entropy": _soft_cross_entropy,
    "negative": lambda x: np.array([math.copysign(v, -math.copysign(1.0, v)) for v in x.flat]).reshape(x.shape),
    "power": lambda x, exponent: np.float_power(x.astype(np.longdouble), exponent).astype(np.float64),
}


def _to_the_first(dy: np.ndarray, x: np.ndarray, *, kernel, stride, padding) -> tuple[np.ndarray]:
    """The gradient of a window goes to its first NaN, or else to the first of its largest pixels."""
    dx = np.zeros(x.shape)
    for n, i, j, c in np.ndindex(dy.shape):
        top, left = i * stride[0] - padding[0][0], j * stride[1] - padding[1][0]
        window = [
            (n, h, w, c)
            for h in range(max(top, 0), min(top + kernel[0], x.shape[1]))
            for w in range(max(left, 0), min(left + kernel[1], x.shape[2]))
        ]
        sick = [pixel for pixel in window if x[pixel] != x[pixel]]
        dx[sick[0] if sick else max(window, key=lambda pixel: x[pixel])] += dy[n, i, j, c]
    return (dx,)


GRADIENTS: dict[str, Callable[..., Any]] = {
    "relu": lambda dy, x: (
        np.array([d if v > 0 else 0.0 for d, v in zip(dy.flat, x.flat, strict=True)]).reshape(x.shape),
    ),
    "max_pool2d": _to_the_first,
    "absolute": lambda dy, x: (
        np.array([d if v > 0 else -d if v < 0 else 0.0 for d, v in zip(dy.flat, x.flat, strict=True)]).reshape(x.shape),
    ),
}


def extremes() -> Iterator[Case]:
    for kernel in dict.fromkeys(case.kernel for case in CASES):
        own = [case for case in CASES if case.kernel == kernel]
        wanted = TEMPLATES.get(kernel, (own[0].name,))
        for case in (case for case in own if case.name in wanted):
            floats = [
                position
                for position, x in enumerate(case.arrays)
                if isinstance(x, np.ndarray) and x.dtype == np.float64 and x.size
            ]
            for position in POSITIONS.get(kernel, floats):
                for name, vary in VARIANTS.items() if position in floats else ():
                    if kernel == "squared_distances" and "infinit" in name:
                        continue  # its products are for finite numbers, as whoever calls it makes sure
                    rng = np.random.default_rng(zlib.crc32(f"{case}/{position}/{name}".encode()))
                    arrays = list(case.arrays)
                    arrays[position] = vary(rng, arrays[position])
                    yield dataclasses.replace(
                        case,
                        name=f"{case.name}, {name} in array {position}",
                        arrays=tuple(arrays),
                        oracle=ORACLES.get(kernel, case.oracle),
                        gradient=GRADIENTS.get(kernel),
                    )


EXTREMES: list[Case] = list(extremes())

BEHIND_A_MASK = ("relu", "leaky_relu", "dropout", "linear_relu", "conv2d_relu", "batch_norm_relu")
"""Kernels that let the gradient of some elements of the output pass, and that of others not."""


def behind_a_mask(kernel: str) -> Iterator[tuple[Case, np.ndarray, np.ndarray]]:
    """Cases of a kernel, gradients that are infinite where nothing passes, and the same with 0 in these places.

    The gradients for the inputs must be the same.
    """
    for case in (case for case in CASES if case.kernel == kernel and not case.params.get("alpha")):
        y = case.expected("float64")[0]
        rng = np.random.default_rng(zlib.crc32(f"{case}, mask".encode()))
        dy = rng.standard_normal(y.shape)
        masked = y == 0
        if masked.any():
            yield case, np.where(masked, rng.choice([np.inf, -np.inf, np.nan], y.shape), dy), np.where(masked, 0.0, dy)
