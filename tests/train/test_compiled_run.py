"""A whole run with the compiled kernels is the run with the references, up to rounding.

Each step agrees with the other to some units in the last place at first. Then rounding decides of a few pixels whether
they are above 0 and whether they are the largest of their window, which moves the weights by more than rounding, and
the runs part slowly: they part as far between float32 and float64. So the tolerance is stated for three stretches.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest

import dlcore as dl
from backends.kernel import explain, kernels, reference_only
from dlcore import nn

STEPS, BATCH = 60, 64


def losses(context: AbstractContextManager[None], seed: int) -> np.ndarray:
    """The loss of each step of a CNN whose second convolution goes by Winograd's algorithm."""
    data = dl.data.load("fashion-subset", normalize=True).train
    model = nn.Sequential(
        nn.Conv2D(16, 3, padding="same"), nn.ReLU(), nn.MaxPool2D(2),
        nn.Conv2D(32, 3, padding="same", bias=False), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2D(2),
        nn.Flatten(), nn.Dense(10),
    )  # fmt: skip
    opt = dl.optim.Adam(2e-3).attach(model.build((28, 28, 1), seed=seed))
    curve = []
    with context:
        for step in range(STEPS):
            rows = slice(step * BATCH, (step + 1) * BATCH)
            loss = dl.losses.cross_entropy(model(data.x[rows]), data.y[rows])
            loss.backward()
            opt.step()
            opt.zero_grad()
            curve.append(float(loss.numpy()))
    return np.array(curve)


def test_this_run_goes_by_winograds_algorithm():
    how = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
    arrays = np.zeros((BATCH, 14, 14, 16), np.float32), np.zeros((3, 3, 16, 32), np.float32), None
    assert explain(kernels()["conv2d"], *arrays, **how).taken == "Conv2dByWinograd"


@pytest.mark.parametrize("seed", [0, 1])
def test_the_curves_of_compiled_kernels_and_references_overlay(seed: int):
    compiled, reference = losses(nullcontext(), seed), losses(reference_only(), seed)
    apart = np.abs(compiled - reference) / reference
    assert apart[:10].max() < 2e-6  # before decisions differ
    assert apart.max() < 5e-3
    assert abs(compiled[-20:].mean() / reference[-20:].mean() - 1) < 1e-3
    assert compiled[-20:].mean() < 0.7 * compiled[:5].mean()  # and it does learn
