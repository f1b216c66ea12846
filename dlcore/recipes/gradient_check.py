"""Gradient checking (notes 2.4).

A derivative is better approximated from both sides: the error of (f(θ + ε) − f(θ − ε)) / 2ε falls with ε², that of
(f(θ + ε) − f(θ)) / ε with ε. Such quotients find a mistake in a backward pass, which training alone would hide: a
layer with a wrong gradient learns too, only not as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import bars, label, lines, panels


class Bug(dl.nn.Module):
    """x² whose gradient lacks a part: of the product x · x it follows one factor only, x instead of 2x."""

    def forward(self, x: Any) -> dl.Tensor:
        return x * x.detach()


class Square(dl.nn.Module):
    """x², with its gradient."""

    def forward(self, x: Any) -> dl.Tensor:
        return x * x


@recipe("2.4", "The two-sided difference approximates a gradient better, and checks an implementation of backprop.")
def gradient_check(setup: Setup) -> Result:
    steps = 10.0 ** np.arange(-1, -5, -1)
    one = [abs((np.exp(1 + e) - np.exp(1)) / e - np.exp(1)) for e in steps]
    two = [abs((np.exp(1 + e) - np.exp(1 - e)) / (2 * e) - np.exp(1)) for e in steps]
    order = {n: float(np.polyfit(np.log10(steps), np.log10(e), 1)[0]) for n, e in (("one", one), ("two", two))}

    data: Any = dl.data.load("digits", normalize=True, seed=setup.seed).train[:32]
    penalty = dl.optim.L2(0.5)
    model, wrong = (
        dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(8), layer, dl.nn.Dense(10)).build(
            (8, 8, 1), seed=setup.seed, device=setup.device
        )
        for layer in (Square(), Bug())
    )
    checks = {
        "right": dl.testing.gradient_check(model, data.x, data.y, "cross_entropy"),
        "right, with the penalty L2": dl.testing.gradient_check(model, data.x, data.y, "cross_entropy", penalty),
        "half a gradient": dl.testing.gradient_check(wrong, data.x, data.y, "cross_entropy"),
    }
    noisy = dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dropout(0.5), dl.nn.Dense(10))
    noisy.build((8, 8, 1), seed=setup.seed, device=setup.device).train()
    try:
        dl.testing.gradient_check(noisy, data.x, data.y, "cross_entropy")
        refused = 0.0
    except dl.ConfigError:
        refused = 1.0

    # The network with the wrong gradient learns all the same: its accuracy would not give it away.
    trainer = dl.Trainer(
        wrong, optimizer=dl.optim.Adam(5e-3), metrics=["accuracy"], seed=setup.seed, device=setup.device
    )
    accuracy = trainer.fit(dl.data.load("digits", normalize=True).train, epochs=10)["accuracy"][-1]

    def draw(figure: Any) -> None:
        left, right = panels(figure, 2)
        lines(left, steps, {"one-sided": one, "two-sided": two}, marks=True)
        label(left, "Derivative of eᶿ at θ = 1", "ε", "error of the difference quotient", log="xy")
        errors = [max(check.relative_error, 1e-16) for check in checks.values()]
        bars(right, ["right", "right,\nwith L2", "half a\ngradient"], {"error": errors})
        right.axhline(1e-6, color="#68717e", linestyle="dotted")
        label(right, "Passes below the line", "backward pass", "relative error", log="y")

    return Result(
        ("backward pass", "relative error", "passes", "worst parameter"),
        [(n, c.relative_error, "yes" if c else "no", c.worst) for n, c in checks.items()],
        [
            at_most("order of the one-sided error in ε", order["one"], 1.1),
            at_least("order of the two-sided error in ε", order["two"], 1.9),
            at_most("relative error of the right gradient", checks["right"].relative_error, 1e-7),
            at_most("the same with a penalty", checks["right, with the penalty L2"].relative_error, 1e-7),
            at_least("relative error of the planted bug", checks["half a gradient"].relative_error, 1e-2),
            at_least("training accuracy that the bug reaches all the same", accuracy, 0.8),
            at_least("whether a check with active dropout is refused", refused, 1),
        ],
        draw,
    )
