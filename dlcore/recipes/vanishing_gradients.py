"""Vanishing gradients through time, and gated cells (notes 5 and 5.1).

How much does the loss at the end of a sequence depend on a step far back? The length of the gradient for that step says
it. In a simple recurrent network among noise it shrinks by the same factor each step. In an LSTM and a GRU a gate
decides what is kept; its bias says how much before anything is learnt. Then a task that needs the first of many steps:
a mark of +1 or -1, noise after it, and the question at the end which it was.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import label, lines, panels

HIDDEN, NOISE = 32, 8
CELLS: dict[str, tuple[type[dl.nn.RNN], Any]] = {
    "RNN": (dl.nn.RNN, None),
    "GRU, bias 1": (dl.nn.GRU, lambda lag: 1.0),
    "LSTM, bias 1": (dl.nn.LSTM, lambda lag: 1.0),
    "GRU, bias ln lag": (dl.nn.GRU, math.log),
    "LSTM, bias ln lag": (dl.nn.LSTM, math.log),
}
"""By name: the layer, and the bias of the gate that keeps (f of an LSTM, z of a GRU) for a lag."""


def network(setup: Setup, name: str, lag: int, dtype: str = "float32") -> dl.nn.Sequential:
    """A cell and a dense layer for two classes; recurrent weights begin orthogonal, the best that an RNN can have."""
    cell, bias = CELLS[name]
    layer: Any = cell(HIDDEN)
    model = dl.nn.Sequential(layer, dl.nn.Dense(2))
    model.build((lag, 1 + NOISE), seed=setup.seed, dtype=dtype, device=setup.device)
    if bias is not None:
        b = np.zeros(layer.b.shape)
        b[HIDDEN : 2 * HIDDEN] = bias(lag)  # in both cells the second gate
        layer.b.data = b
    return model


def batch(setup: Setup, lag: int, size: int, number: int, dtype: str = "float32") -> tuple[Any, Any]:
    """Sequences of ``lag`` steps: the mark is the first feature of the first step, the other features are noise."""
    rng = np.random.default_rng((setup.seed, number))
    y = rng.integers(0, 2, size)
    x = rng.normal(size=(size, lag, 1 + NOISE))
    x[:, :, 0] = 0
    x[:, 0, 0] = 2 * y - 1
    return x.astype(dtype), y


def by_step(setup: Setup, name: str, lag: int) -> np.ndarray:
    """The length of the gradient for the input of each step, the last step first, at the initial weights."""
    model = network(setup, name, lag, "float64")
    x, y = batch(setup, lag, 64, 0, "float64")
    inputs = dl.Tensor(dl.Tensor(x).to(setup.device).data, requires_grad=True)
    dl.losses.cross_entropy(model(inputs), dl.Tensor(y).to(setup.device)).backward()
    return np.linalg.norm(dl.Tensor(inputs.grad).numpy(), axis=(0, 2))[::-1]


def learnt(setup: Setup, name: str, lag: int, updates: int, size: int) -> float:
    """The accuracy on new sequences after training."""
    model, clip = network(setup, name, lag), dl.optim.clip_by_norm(1.0)
    opt = dl.optim.Adam(0.01).attach(model)
    for number in range(1, updates + 1):
        x, y = (dl.Tensor(values).to(setup.device) for values in batch(setup, lag, size, number))
        dl.losses.cross_entropy(model(x), y).backward()
        clip(model)
        opt.step()
        opt.zero_grad()
    x, y = batch(setup, lag, 1000, 0)
    with dl.no_grad():
        return dl.metrics.accuracy(y, model(dl.Tensor(x).to(setup.device)).numpy().argmax(axis=1))


@recipe("5.1", "Gradients that vanish over many steps are best solved with gated cells such as LSTM and GRU.")
def vanishing_gradients(setup: Setup) -> Result:
    lags, updates, size = setup.pick((10, 20, 40, 70, 100), (100,)), setup.pick(200, 150), setup.pick(64, 32)
    tried = [name for name in CELLS if not (setup.quick and name.endswith("bias 1"))]
    slopes = {name: by_step(setup, name, 100) for name in CELLS}
    change = {
        name: math.log10(values[-2] / values[0]) for name, values in slopes.items()
    }  # the first step has the mark
    accuracy = {name: [learnt(setup, name, lag, updates, size) for lag in lags] for name in tried}
    far = {name: found[-1] for name, found in accuracy.items()}

    def draw(figure: Any) -> None:
        left, right = panels(figure, 2)
        lines(left, np.arange(99), {name: values[:-1] for name, values in slopes.items()})
        label(left, "At the initial weights, 100 steps", "steps back from the end", "length of the gradient", log="y")
        lines(right, lags, {name: accuracy.get(name, []) for name in slopes}, marks=True, place="none")  # same colours
        label(right, f"The mark, after {updates} updates", "lag in steps", "accuracy")

    return Result(
        ("cell", "gradient, last step", "98 steps before", "kept per step", f"accuracy, lag {lags[-1]}"),
        [(n, f"{g[0]:.1e}", f"{g[-2]:.1e}", 10 ** (change[n] / 98), far.get(n)) for n, g in slopes.items()],
        [
            at_most("powers of ten that the gradient changes in 98 steps, RNN", change["RNN"], -10),
            at_least("the same, LSTM with bias 1 less RNN", change["LSTM, bias 1"] - change["RNN"], 4),
            at_least("the same, GRU with bias 1 less RNN", change["GRU, bias 1"] - change["RNN"], 2),
            at_least("the same, LSTM with bias ln 100", change["LSTM, bias ln lag"], -1),
            at_least("the same, GRU with bias ln 100", change["GRU, bias ln lag"], -2),
            at_most(f"accuracy at a lag of {lags[-1]}, RNN", far["RNN"], 0.75),
            at_least(f"accuracy at a lag of {lags[-1]}, LSTM with bias ln lag", far["LSTM, bias ln lag"], 0.9),
            at_least(f"accuracy at a lag of {lags[-1]}, GRU with bias ln lag", far["GRU, bias ln lag"], 0.9),
        ],
        draw,
        [
            "the gate alone is not enough: with a bias of 1 a cell begins by keeping 0.73 a step, of which nothing is "
            "left after 100, and it may learn a lag later than an RNN whose weights are orthogonal; with ln lag it "
            "keeps lag / (lag + 1) a step, and a third is there at the end",
        ],
    )
