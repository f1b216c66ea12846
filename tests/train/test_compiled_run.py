"""A whole run with the compiled kernels is the run with the references, up to rounding.

From equal weights each step agrees with the other to some units in the last place. Over a run, rounding decides of a
few pixels whether they are above 0 and whether they are the largest of their window, which moves the weights by more
than rounding, in the second step already where the BLAS rounds so. The runs part slowly, as far as those in float32 and
float64 do.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest

import dlcore as dl
from backends.dispatch import explain, kernels, reference_only
from dlcore import nn

STEPS, BATCH = 60, 64


def losses(context: AbstractContextManager[None], seed: int) -> np.ndarray:
    """The loss of each step of a CNN whose second convolution goes by Winograd's algorithm."""
    return curves(context, seed)[:, 0]


def curves(context: AbstractContextManager[None], seed: int, steps: int = STEPS, both: bool = False) -> np.ndarray:
    """(steps, 1), and with ``both`` (steps, 2): the loss of each step, and that of the references from its weights."""
    data = dl.data.load("fashion-subset", normalize=True).train
    model = nn.Sequential(
        nn.Conv2D(16, 3, padding="same"), nn.ReLU(), nn.MaxPool2D(2),
        nn.Conv2D(32, 3, padding="same", bias=False), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2D(2),
        nn.Flatten(), nn.Dense(10),
    )  # fmt: skip
    opt = dl.optim.Adam(2e-3).attach(model.build((28, 28, 1), seed=seed))
    curve = []
    with context:
        for step in range(steps):
            rows = slice(step * BATCH, (step + 1) * BATCH)
            loss = dl.losses.cross_entropy(model(data.x[rows]), data.y[rows])
            found = [float(loss.numpy())]
            if both:
                with reference_only(), dl.no_grad():
                    found.append(float(dl.losses.cross_entropy(model(data.x[rows]), data.y[rows]).numpy()))
            loss.backward()
            opt.step()
            opt.zero_grad()
            curve.append(found)
    return np.array(curve)


def test_this_run_goes_by_winograds_algorithm():
    how = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
    arrays = np.zeros((BATCH, 14, 14, 16), np.float32), np.zeros((3, 3, 16, 32), np.float32), None
    assert explain(kernels()["conv2d"], *arrays, **how).taken == "Conv2dByWinograd"


@pytest.mark.parametrize("seed", [0, 1])
def test_from_equal_weights_compiled_kernels_and_references_give_one_loss(seed: int):
    compiled, reference = curves(nullcontext(), seed, steps=10, both=True).T
    assert (np.abs(compiled - reference) / reference).max() < 2e-6


def test_the_curves_of_compiled_kernels_and_references_overlay():
    ends = []
    for seed in range(3):
        compiled, reference = losses(nullcontext(), seed), losses(reference_only(), seed)
        assert (np.abs(compiled - reference) / reference).max() < 5e-3
        assert compiled[-20:].mean() < 0.7 * compiled[:5].mean()  # and it does learn
        ends.append([compiled[-20:].mean(), reference[-20:].mean()])
    compiled, reference = np.mean(ends, axis=0)  # of one seed it is chance how many decisions differ
    assert abs(compiled / reference - 1) < 1e-3
