"""One training step (forward, loss, backward, Adam) through the framework, on the CPU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import dlcore as dl
from dlcore import nn


def step_of(model: nn.Module, shape: tuple[int, ...], batch: int) -> Callable[[], None]:
    """A function that takes one step of ``model`` on random data of 10 classes."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *shape)).astype(np.float32)
    y = rng.integers(0, 10, batch)
    opt = dl.optim.Adam().attach(model.build(shape, seed=0))

    def step() -> None:
        loss = dl.losses.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        opt.zero_grad()

    return step


def small_mlp() -> Callable[[], None]:
    """64-32-10, batch 32: what is left is the tape's own cost."""
    return step_of(nn.Sequential(nn.Dense(32), nn.ReLU(), nn.Dense(10)), (64,), 32)


def test_small_mlp_64_32_10_batch_32(benchmark: Callable[..., None]) -> None:
    benchmark(small_mlp())


def test_mlp_784_512_256_10_batch_128(benchmark: Callable[..., None]) -> None:
    model = nn.Sequential(nn.Dense(512), nn.ReLU(), nn.Dense(256), nn.ReLU(), nn.Dense(10))
    benchmark(step_of(model, (784,), 128))


def test_cnn_28_conv32_conv64_dense128_batch_128(benchmark: Callable[..., None]) -> None:
    model = nn.Sequential(
        nn.Conv2D(32, 3, padding="same"),
        nn.ReLU(),
        nn.MaxPool2D(2),
        nn.Conv2D(64, 3, padding="same"),
        nn.ReLU(),
        nn.MaxPool2D(2),
        nn.Flatten(),
        nn.Dense(128),
        nn.ReLU(),
        nn.Dense(10),
    )
    benchmark(step_of(model, (28, 28, 1), 128))
