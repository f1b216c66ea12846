"""Launches of a training step: what a small model's step lasts on a GPU is what its launches cost the host.

The layers are those of the benchmark on a GPU, with smaller images and fewer units: a convolution of more pixels takes
them in several blocks, and a sum over many rows two launches. Counted on the host.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import standin
from arrays import Backend

import dlcore as dl
from backends import transfer
from dlcore import nn

pytestmark = pytest.mark.level5


def convolution(filters: int, bias: bool = True) -> nn.Conv2D:
    return nn.Conv2D(filters, 3, padding="same", bias=bias)


def mlp() -> list[nn.Module]:
    return [nn.Dense(8), nn.ReLU(), nn.Dense(8), nn.ReLU(), nn.Dense(4)]


def cnn() -> list[nn.Module]:
    blocks = [layer for filters in (2, 3) for layer in (convolution(filters), nn.ReLU(), nn.MaxPool2D(2))]
    return [*blocks, nn.Flatten(), nn.Dense(8), nn.ReLU(), nn.Dense(4)]


def normalised_cnn() -> list[nn.Module]:
    layers: list[nn.Module] = []
    for filters in (2, 3, 4):
        for _ in range(2):
            layers += [convolution(filters, bias=False), nn.BatchNorm(), nn.ReLU()]
        layers.append(nn.MaxPool2D(2))
    return [*layers, nn.Flatten(), nn.Dense(4)]


def lstm() -> list[nn.Module]:
    return [nn.LSTM(4), nn.Dense(4)]


WORKLOADS: dict[str, tuple[Callable[[], list[nn.Module]], tuple[int, ...], int]] = {
    "mlp": (mlp, (6,), 26),
    "cnn": (cnn, (8, 8, 1), 40),
    "cnn with batch norm": (normalised_cnn, (8, 8, 3), 113),
    "lstm, 6 steps": (lstm, (6, 3), 50),
}


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_step_takes_so_many_launches_and_never_waits(name: str, host_cuda: Backend) -> None:
    layers, shape, launches = WORKLOADS[name]
    device, rng = host_cuda.device, np.random.default_rng(0)
    x, y = (transfer.to_device(a, device) for a in (rng.random((4, *shape), np.float32), np.arange(4)))
    model = nn.Sequential(*layers()).build(shape, seed=0, device=device)
    optimizer = dl.optim.Adam(1e-3).attach(model)
    made: Counter[str] = Counter()

    def step() -> None:
        dl.losses.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    with standin.hook(lambda event: made.update([event.call if event.kind == "kernel" else event.kind])):
        step()
    assert not {"h2d", "d2h", "sync"} & set(made)
    assert made.total() == launches, made
