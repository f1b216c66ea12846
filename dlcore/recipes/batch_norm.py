"""Batch normalisation (notes 3.9).

A deep network whose activations are normalised in every layer trains faster, and at rates that make the plain one
fail. The mean that is subtracted cancels any constant: a bias before batch norm does nothing, and is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import label, lines, panels


def network(normalised: bool) -> dl.nn.Module:
    """Eight hidden layers of 32 units."""
    layers: list[dl.nn.Module] = [dl.nn.Flatten()]
    for _ in range(8):
        layers += [dl.nn.Dense(32, bias=not normalised)] + [dl.nn.BatchNorm()] * normalised + [dl.nn.ReLU()]
    return dl.nn.Sequential(*layers, dl.nn.Dense(10))


@recipe("3.9", "Batch normalisation trains faster; the mean it subtracts cancels the bias before it.")
def batch_norm(setup: Setup) -> Result:
    data: Any = dl.data.load("digits", seed=setup.seed)
    rates, epochs = setup.pick((0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0), (0.01, 0.1, 1.0)), setup.pick(10, 5)
    accuracy: dict[str, list[float]] = {"plain": [], "batch norm": []}
    curves: dict[str, list[float]] = {}
    best: dict[str, float] = {}
    for name, found in accuracy.items():
        for rate in rates:
            trainer = dl.Trainer(
                network(name == "batch norm"), optimizer=dl.optim.SGD(rate), metrics=["accuracy"],
                clip=dl.optim.clip_by_norm(100.0), seed=setup.seed, device=setup.device,
            )  # fmt: skip
            loss = trainer.fit(data.train, epochs=epochs, batch_size=64)["loss"]
            found.append(trainer.evaluate(data.test)["accuracy"])
            if name not in curves or loss[-1] < curves[name][-1]:
                curves[name], best[name] = loss, rate
    wide = {n: sum(a > 0.8 for a in found) for n, found in accuracy.items()}

    # The bias: z and z + 5 give the same output, and so the gradient for the 5 is zero.
    z = np.random.default_rng(setup.seed).normal(size=(64, 8)).astype(np.float32)
    norm = dl.nn.BatchNorm().build((8,), seed=setup.seed, device=setup.device).train()
    with dl.no_grad():
        plain, shifted = (norm(dl.Tensor(values).to(setup.device)).numpy() for values in (z, z + 5))

    def draw(figure: Any) -> None:
        left, right = panels(figure, 2)
        lines(left, None, {f"{n}, rate {best[n]:g}": curve for n, curve in curves.items()}, marks=True)
        label(left, "Each at its best rate", "epoch", "training loss", log="y")
        lines(right, rates, accuracy, marks=True)
        label(right, f"After {epochs} epochs", "learning rate", "test accuracy", log="x")

    return Result(
        ("network", "best rate", f"loss after {epochs} epochs", "rates that reach .8", "best accuracy"),
        [(n, f"{best[n]:g}", curves[n][-1], f"{wide[n]} of {len(rates)}", max(accuracy[n])) for n in accuracy],
        [
            at_least("loss at the best rate, plain over batch norm", curves["plain"][-1] / curves["batch norm"][-1], 2),
            at_least("rates that reach an accuracy of .8, more than plain", wide["batch norm"] - wide["plain"], 1),
            at_most("change of the output by a bias of 5 before batch norm", np.abs(plain - shifted).max(), 1e-4),
        ],
        draw,
    )
