"""Launches of a training step: what a small model's step lasts on a GPU is what its launches cost the host.

With smaller images and fewer units there are fewer: a convolution of many pixels takes them in several blocks, and a
sum over many rows two launches. Counted on the host; the full tier has the workloads as they are timed on a GPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import standin
from arrays import Backend

import dlcore as dl
from backends.runtime import copies
from dlcore import nn

pytestmark = pytest.mark.level5


def convolution(filters: int, bias: bool = True) -> nn.Conv2D:
    return nn.Conv2D(filters, 3, padding="same", bias=bias)


def mlp(units: int, classes: int) -> list[nn.Module]:
    return [nn.Dense(units), nn.ReLU(), nn.Dense(units), nn.ReLU(), nn.Dense(classes)]


def cnn(filters: int, classes: int) -> list[nn.Module]:
    widths = (filters, 2 * filters)
    blocks = [layer for width in widths for layer in (convolution(width), nn.ReLU(), nn.MaxPool2D(2))]
    return [*blocks, nn.Flatten(), nn.Dense(4 * filters), nn.ReLU(), nn.Dense(classes)]


def normalised_cnn(filters: int, classes: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in (filters, 2 * filters, 4 * filters):
        for _ in range(2):
            layers += [convolution(width, bias=False), nn.BatchNorm(), nn.ReLU()]
        layers.append(nn.MaxPool2D(2))
    return [*layers, nn.Flatten(), nn.Dense(classes)]


def lstm(units: int, classes: int) -> list[nn.Module]:
    return [nn.LSTM(units), nn.Dense(classes)]


Layers = Callable[[int, int], list[nn.Module]]
SMALL: dict[str, tuple[Layers, int, tuple[int, ...], int]] = {
    "mlp": (mlp, 8, (6,), 26),
    "cnn": (cnn, 2, (8, 8, 1), 40),
    "cnn with batch norm": (normalised_cnn, 2, (8, 8, 3), 113),
    "lstm, 6 steps": (lstm, 4, (6, 3), 50),
}
"""The layers, units, the shape of an example, and the launches; with a batch of 4."""

LARGE: dict[str, tuple[Layers, int, tuple[int, ...], int, int]] = {
    "mlp 784-2048-2048-10": (mlp, 2048, (784,), 256, 28),
    "cnn 28x28 32-64-128": (cnn, 32, (28, 28, 1), 128, 43),
    "cnn with batch norm 32x32 64-128-256": (normalised_cnn, 64, (32, 32, 3), 128, 169),
    "lstm 64-256, 64 steps": (lstm, 256, (64, 64), 32, 283),
}
"""As they are timed on a GPU, with their batches."""


def launches(layers: list[nn.Module], shape: tuple[int, ...], batch: int, host_cuda: Backend) -> Counter[str]:
    """What a step of training makes the device do, by name."""
    device, rng = host_cuda.device, np.random.default_rng(0)
    host = rng.random((batch, *shape), np.float32), np.arange(batch) % 4
    x, y = (copies.to_device(a, device) for a in host)
    model = nn.Sequential(*layers).build(shape, seed=0, device=device)
    optimizer = dl.optim.Adam(1e-3).attach(model)
    made: Counter[str] = Counter()
    with standin.hook(lambda event: made.update([event.call if event.kind == "kernel" else event.kind])):
        dl.losses.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    return made


@pytest.mark.parametrize("name", SMALL)
def test_a_step_takes_so_many_launches_and_never_waits(name: str, host_cuda: Backend) -> None:
    layers, units, shape, expected = SMALL[name]
    made = launches(layers(units, 4), shape, 4, host_cuda)
    assert not {"h2d", "d2h", "sync"} & set(made)
    assert made.total() == expected, made


@pytest.mark.full
@pytest.mark.parametrize("name", LARGE)
def test_a_step_of_the_workloads_that_are_timed_takes_so_many(name: str, host_cuda: Backend) -> None:
    layers, units, shape, batch, expected = LARGE[name]
    made = launches(layers(units, 10), shape, batch, host_cuda)
    assert not {"h2d", "d2h", "sync"} & set(made)
    assert made.total() == expected, made
