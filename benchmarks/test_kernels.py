"""The kernels that training spends its time in, forward and backward, on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backends.dispatch import Kernel, UpdateKernel
from backends.reference import conv, linear, loss, norm, optim, pool
from benchmarks.peers.ours import filter_of
from benchmarks.peers.workloads import SUITES, Block, Conv, Filter, Layer, labels
from benchmarks.peers.workloads import normal as _normal
from dlcore.bench.workloads import forward_and_backward

_PLAIN = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
_POOL = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}


def _conv(work: Block, layer: Layer) -> tuple[str, tuple[Kernel, list[Any], dict[str, Any]]]:
    """The convolution that a block begins with, of 3 × 3."""
    assert isinstance(layer, Conv)
    *pixels, c = work.shape
    arrays = [_normal(work.batch, *pixels, c), _normal(3, 3, c, layer.filters), _normal(layer.filters)]
    return f"conv2d {work.batch} {pixels[0]}x{pixels[1]} {c}-{layer.filters}", (conv.conv2d, arrays, _PLAIN)


CASES: dict[str, tuple[Kernel, list[Any], dict[str, Any]]] = {
    "linear 128 784-512": (linear.linear, [_normal(128, 784), _normal(784, 512), _normal(512)], {}),
    **dict(_conv(work, work.layers[0]) for work in SUITES["conv"] if isinstance(work, Block)),
    "batch_norm 64 28x28 32": (norm.batch_norm, [_normal(64, 28, 28, 32), _normal(32), _normal(32)], {"eps": 1e-5}),
    "batch_norm 64 32x32 64": (norm.batch_norm, [_normal(64, 32, 32, 64), _normal(64), _normal(64)], {"eps": 1e-5}),
    "max_pool2d 128 28x28 32": (pool.max_pool2d, [_normal(128, 28, 28, 32)], _POOL),
    "cross_entropy 4096 1000": (
        loss.cross_entropy,
        [_normal(4096, 1000), labels(4096, 1000), None],
        {"label_smoothing": 0.0},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_forward_and_backward(name: str, benchmark: Callable[..., None]) -> None:
    kernel, arrays, params = CASES[name]
    output = kernel(*arrays, **params)
    dy = np.ones_like(output[0] if isinstance(output, tuple) else output)
    benchmark(forward_and_backward(kernel, arrays, params, dy))


_STEPS: dict[str, tuple[UpdateKernel, int, dict[str, Any]]] = {
    "momentum_": (
        optim.momentum_,
        2,
        {"lr": 0.1, "beta": 0.9, "bias_correction": False, "nesterov": False, "step": 10},
    ),
    "rmsprop_": (optim.rmsprop_, 2, {"lr": 0.1, "beta": 0.9, "eps": 1e-8}),
    "adam_": (optim.adam_, 3, {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.0, "step": 10}),
    "adagrad_": (optim.adagrad_, 2, {"lr": 0.1, "eps": 1e-8}),
}


@pytest.mark.parametrize("name", _STEPS)
def test_a_step_on_four_million_parameters(name: str, benchmark: Callable[..., None]) -> None:
    kernel, written, settings = _STEPS[name]
    arrays = [np.abs(_normal(4_000_000)) for _ in range(written + 1)]
    benchmark(lambda: kernel(*arrays, **settings))


FILTERS = {work.name: work for work in SUITES["filters"] if isinstance(work, Filter)}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_of_four_million_pixels(name: str, benchmark: Callable[..., Any]) -> None:
    benchmark(filter_of(FILTERS[name]))
