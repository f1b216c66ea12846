"""The inputs of batch normalisation; the oracles go by the definition, number by number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from case import OFFSET, Case, average, case, largest, normal, positive

__all__ = ["normalisations"]


def _batch_norm_fixed(x, gamma, beta, mean, variance, *, eps) -> np.ndarray:
    y = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        c = place[-1]
        y[place] = gamma[c] * (x[place] - mean[c]) / np.sqrt(variance[c] + eps) + beta[c]
    return y


def _batch_norm(x, gamma, beta, *, eps) -> tuple[np.ndarray, ...]:
    channels = [x[..., c].ravel().tolist() for c in range(x.shape[-1])]
    mean = np.array([average(values) for values in channels])
    variance = np.array([average([(v - m) ** 2 for v in values]) for values, m in zip(channels, mean, strict=True)])
    return _batch_norm_fixed(x, gamma, beta, mean, variance, eps=eps), mean, variance


def _windows(shape: tuple[int, ...], pool: tuple[int, int] | None) -> Iterator[tuple[Any, Any]]:
    """Each place of the pooled images, and the pixels of its window."""
    if pool is None:
        yield from ((place, [place]) for place in np.ndindex(*shape))
        return
    n, h, w, c = shape
    for image, i, j, channel in np.ndindex(n, h // pool[0], w // pool[1], c):
        taps = np.ndindex(*pool)
        yield (image, i, j, channel), [(image, i * pool[0] + u, j * pool[1] + v, channel) for u, v in taps]


def _pooled_shape(shape: tuple[int, ...], pool: tuple[int, int] | None) -> tuple[int, ...]:
    return shape if pool is None else (shape[0], shape[1] // pool[0], shape[2] // pool[1], shape[3])


def _batch_norm_relu(x, gamma, beta, *, eps, pool) -> tuple[np.ndarray, ...]:
    normalised, mean, variance = _batch_norm(x, gamma, beta, eps=eps)
    y = np.empty(_pooled_shape(x.shape, pool))
    for place, window in _windows(x.shape, pool):
        y[place] = largest([0.0, *(normalised[pixel] for pixel in window)])
    return y, mean, variance


def _batch_norm_relu_gradient(dy, x, gamma, beta, *, eps, pool) -> tuple[np.ndarray, ...]:
    """dx = gamma / s (g - mean of g - u mean of g u), with u = (x - mean) / s and g what comes through the windows."""
    normalised, mean, variance = _batch_norm(x, gamma, beta, eps=eps)
    g = np.zeros(x.shape)
    for place, window in _windows(x.shape, pool):
        largest = max(window, key=lambda pixel: normalised[pixel])
        g[largest] = dy[place] * (normalised[largest] > 0)
    deviation = np.sqrt(variance + eps)
    u, axes = (x - mean) / deviation, tuple(range(x.ndim - 1))
    dx = gamma / deviation * (g - g.mean(axis=axes) - u * (g * u).mean(axis=axes))
    return dx, (g * u).sum(axis=axes), g.sum(axis=axes)


def normalisations() -> Iterator[Case]:
    for name, shape in (
        ("images", (2, 3, 4, 3)),
        ("rows", (6, 2)),
        ("sequences", (3, 4, 2)),
        ("one channel", (4, 3, 1)),
        ("three rows", (3, 2)),
        ("sixteen channels", (2, 3, 3, 16)),
        ("seventeen channels", (13, 17)),
        ("more than lie in a cache", (39, 1030)),
    ):
        inputs = normal(*shape, mean=0.7), normal(shape[-1]), normal(shape[-1])
        statistics = normal(shape[-1]), positive(shape[-1])
        yield case("batch_norm", name, *inputs, eps=1e-5, oracle=_batch_norm)
        yield case(
            "batch_norm_fixed", name, *inputs, *statistics, eps=1e-5, oracle=_batch_norm_fixed,
            differentiable=(0, 1, 2),
        )  # fmt: skip
    yield case("batch_norm", "eps 0", normal(5, 2, mean=-0.7), normal(2), normal(2), eps=0.0, oracle=_batch_norm)
    yield case(
        "batch_norm", "a constant channel", [[7.0, 1.0], [7.0, 2.0], [7.0, 4.0]], normal(2), normal(2), eps=0.25,
        oracle=_batch_norm,
    )  # fmt: skip
    yield case(
        "batch_norm", "far from zero", normal(50, 2, mean=1e3, scale=2.0), normal(2), normal(2), eps=1e-5,
        oracle=_batch_norm, tolerance=OFFSET, gradient_tolerance=OFFSET,
    )  # fmt: skip
    yield case(
        "batch_norm_fixed", "one position", normal(1, 3), normal(3), normal(3), normal(3), [0.0, 1.0, 4.0], eps=0.25,
        oracle=_batch_norm_fixed, differentiable=(0, 1, 2),
    )  # fmt: skip
    for name, shape, pool in (
        ("rows", (6, 2), None),
        ("sequences", (3, 4, 2), None),
        ("images", (2, 3, 4, 17), None),
        ("pooled", (2, 4, 6, 3), (2, 2)),
        ("pixels left over", (3, 5, 7, 33), (2, 2)),
        ("another pool", (2, 7, 4, 2), (3, 1)),
        ("a window each", (4, 2, 2, 5), (2, 2)),
    ):
        yield case(
            "batch_norm_relu", name, normal(*shape, mean=0.7), normal(shape[-1]), normal(shape[-1]), eps=1e-5,
            pool=pool, oracle=_batch_norm_relu, gradient=_batch_norm_relu_gradient,
        )  # fmt: skip
