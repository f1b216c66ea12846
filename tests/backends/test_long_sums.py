"""Sums over a million rows of float32 are as good as those over a few: no kernel adds one row after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backends.array_ops import mean_axes, sum_axes, sum_rows
from backends.dispatch import kernels
from backends.namespace import NUMPY

MILLION = 1_000_000
ERROR = 1e-6


@pytest.fixture(scope="module")
def tall() -> np.ndarray:
    """(1,000,000, 3): equal numbers, whose rounding always goes the same way, and others."""
    x = np.full((MILLION, 3), 0.1, np.float32)
    x[:, 1] = np.random.default_rng(0).random(MILLION, dtype=np.float32)
    x[:, 2] += 100.0
    return x


def relative(found: Any, true: Any) -> float:
    return float(np.max(np.abs(np.asarray(found, np.float64) / true - 1)))


def kernel_of(name: str) -> Any:
    return kernels()[name]


def pairs(name: str, *inputs: Any, **params: Any) -> Any:
    kernel = kernel_of(name)
    kernel.choose(NUMPY, inputs, params)
    yield kernel
    yield from (a.pair for a in kernel.alternatives.get("numpy", ()) if a.unless(*inputs, **params) is None)


def test_sums_and_means_along_any_axis(tall: np.ndarray):
    true = tall.sum(axis=0, dtype=np.float64)
    assert relative(sum_axes(NUMPY, tall, 0), true) < ERROR
    assert relative(mean_axes(NUMPY, tall, 0), true / MILLION) < ERROR
    assert relative(sum_rows(NUMPY, tall), true) < ERROR
    assert relative(sum_axes(NUMPY, tall.T, 1), true) < ERROR  # of another order in memory
    assert relative(sum_axes(NUMPY, tall.T, -1, True)[:, 0], true) < ERROR
    assert relative(sum_axes(NUMPY, tall[::-1], 0), true) < ERROR
    assert relative(sum_axes(NUMPY, tall.reshape(1000, 1000, 3), (0, 1)), true) < ERROR
    assert relative(sum_axes(NUMPY, tall.reshape(1000, 1000, 3), None), true.sum()) < ERROR
    assert relative(sum_axes(NUMPY, tall[:, :2], None), true[:2].sum()) < ERROR
    assert relative(sum_axes(NUMPY, tall[:200_003].reshape(1, -1, 3), 1)[0], tall[:200_003].sum(0, np.float64)) < ERROR


@pytest.mark.parametrize("shape", [(257, 3), (300, 130), (1, 999, 2), (4097, 1, 2), (8, 260, 5), (513, 0), (0, 3)])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, -1), (0, 1)])
def test_long_sums_have_the_shape_and_the_value_of_short_ones(shape: tuple[int, ...], axis: Any):
    x = np.random.default_rng(1).standard_normal(shape)
    for keepdims in (False, True):
        found = sum_axes(NUMPY, x, axis, keepdims)
        np.testing.assert_allclose(found, x.sum(axis=axis, keepdims=keepdims), rtol=1e-12, atol=1e-11)


def test_the_gradient_of_a_bias(tall: np.ndarray):
    x, w, b = tall[:, :1], np.ones((1, 3), np.float32), np.zeros(3, np.float32)
    true = tall.sum(axis=0, dtype=np.float64)
    for name in ("linear", "linear_relu"):
        for pair in pairs(name, x, w, b):
            needed = (False, False, True)
            _, saved = pair.forward(NUMPY, x, w, b, needed=needed)
            assert relative(pair.backward(NUMPY, tall, saved, needed=needed)[2], true) < ERROR
    zero, row = np.zeros((1, 3), np.float32), np.zeros(3, np.float32)
    _, saved = kernel_of("add").forward(NUMPY, zero, tall, needed=(True, False))
    assert relative(kernel_of("add").backward(NUMPY, tall, saved, needed=(True, False))[0][0], true) < ERROR
    _, saved = kernel_of("multiply").forward(NUMPY, tall, row + 1, needed=(False, True))
    squares = np.sum(tall.astype(np.float64) ** 2, axis=0)
    assert relative(kernel_of("multiply").backward(NUMPY, tall, saved, needed=(False, True))[1], squares) < ERROR


def test_the_bias_of_a_convolution(tall: np.ndarray):
    dy = tall[: 700 * 700].reshape(1, 700, 700, 3)
    true = dy.sum(axis=(0, 1, 2), dtype=np.float64)
    x, w, b = np.ones((1, 700, 700, 1), np.float32), np.ones((1, 1, 1, 3), np.float32), np.zeros(3, np.float32)
    how = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    for pair in pairs("conv2d", x, w, b, **how):
        _, saved = pair.forward(NUMPY, x, w, b, needed=(False, False, True), **how)
        db = pair.backward(NUMPY, dy, saved, needed=(False, False, True), **how)[2]
        assert relative(db, true) < ERROR, pair


def test_the_statistics_of_a_batch_and_their_gradients(tall: np.ndarray):
    gamma, beta = np.ones(3, np.float32), np.zeros(3, np.float32)
    mean, dy = tall.mean(axis=0, dtype=np.float64), np.full_like(tall, 0.1)
    for pair in pairs("batch_norm", tall, gamma, beta, eps=1e-5):
        (_, found, _), saved = pair.forward(NUMPY, tall, gamma, beta, eps=1e-5, needed=(True, True, True))
        assert relative(found, mean) < ERROR, pair
        dbeta = pair.backward(NUMPY, (dy, None, None), saved, eps=1e-5, needed=(False, True, True))[2]
        assert relative(dbeta, np.float64(np.float32(0.1)) * MILLION) < ERROR, pair


def test_losses_penalties_and_the_norm_of_a_gradient(tall: np.ndarray):
    zeros, labels = np.zeros_like(tall), np.zeros(MILLION, np.int64)
    squares = np.mean(tall.astype(np.float64) ** 2)
    assert relative(kernel_of("mse")(tall, zeros, None), squares) < ERROR
    assert relative(kernel_of("cross_entropy")(zeros, labels, None, label_smoothing=0.0), np.log(3.0)) < ERROR
    weight = np.full(MILLION, 0.1, np.float32)
    assert relative(kernel_of("cross_entropy")(zeros, labels, weight, label_smoothing=0.0), np.log(3.0)) < ERROR
    assert relative(kernel_of("sum_of_squares")(tall, scale=1.0), squares * tall.size) < ERROR
    flat, norm = tall.reshape(-1).copy(), np.zeros((), np.float32)
    kernel_of("clip_by_norm_")(flat, norm, limit=1e9)
    assert relative(norm, np.sqrt(squares * tall.size)) < ERROR
