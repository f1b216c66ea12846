"""Activation functions (notes 1.2).

Two spirals, one a class, wind around each other. A network of dense layers without activations is one dense layer,
however deep: its boundary is a straight line. With ReLU or tanh between the layers, the same network follows the
spirals.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import PALETTE, label, panels

CHOICES: dict[str, Any] = {"none": None, "ReLU": dl.nn.ReLU, "tanh": dl.nn.Tanh}


def spirals(n: int, seed: int) -> dl.data.Dataset:
    """n points on two spirals in the plane, with some noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    radius = np.sqrt(rng.uniform(0.02, 1, n))
    angle = 3 * np.pi * radius + np.pi * y
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1) + rng.normal(0, 0.02, (n, 2))
    return dl.data.Dataset((2 * points).astype(np.float32), y)


def network(activation: Any) -> dl.nn.Module:
    """Two hidden layers of 64 units, with the activation after each, or with none."""
    layers: list[dl.nn.Module] = []
    for _ in range(2):
        layers += [dl.nn.Dense(64)] + ([] if activation is None else [activation()])
    return dl.nn.Sequential(*layers, dl.nn.Dense(2))


@recipe("1.2", "Activation functions allow arbitrarily complex partitions of data; linear ones give linear outputs.")
def activations(setup: Setup) -> Result:
    train, test = spirals(600, 2 * setup.seed), spirals(1000, 2 * setup.seed + 1)
    accuracy, trainers = {}, {}
    for name, activation in CHOICES.items():
        trainer = dl.Trainer(
            network(activation),
            "cross_entropy",
            dl.optim.Adam(1e-2),
            ["accuracy"],
            seed=setup.seed,
            device=setup.device,
        )
        trainer.fit(train, epochs=setup.pick(100, 50), batch_size=64)
        accuracy[name], trainers[name] = trainer.evaluate(test)["accuracy"], trainer

    # A linear function has no curvature: f(a + b) + f(0) = f(a) + f(b) wherever a and b are.
    a, b = test.x[:500], test.x[500:]
    bend = {}
    for name, trainer in trainers.items():
        both, zero, at_a, at_b = (trainer.predict(x) for x in (a + b, np.zeros_like(a), a, b))
        bend[name] = float(np.abs(both + zero - at_a - at_b).mean() / np.abs(both).mean())

    def draw(figure: Any) -> None:
        ticks = np.linspace(-2.6, 2.6, 131, dtype=np.float32)
        grid = np.stack(np.meshgrid(ticks, ticks), axis=-1)
        for axes, (name, trainer) in zip(panels(figure, 3), trainers.items(), strict=True):
            z = trainer.predict(grid.reshape(-1, 2))
            axes.contourf(
                ticks, ticks, (z[:, 1] > z[:, 0]).reshape(131, 131), [-0.5, 0.5, 1.5], colors=["#d9e4f0", "#f8e3d0"]
            )
            for label_, mark in ((0, "o"), (1, "^")):
                axes.plot(
                    *test.x[:400][np.asarray(test.y)[:400] == label_].T, mark, color=PALETTE[label_], markersize=2.5
                )
            label(axes, f"Activation: {name}, accuracy {accuracy[name]:.2f}", "x₁", "x₂")

    return Result(
        ("activation", "test accuracy", "departure from linear"),
        [(name, accuracy[name], bend[name]) for name in CHOICES],
        [
            at_most("departure of the output from linear, without activations", bend["none"], 1e-4),
            at_most("accuracy without activations", accuracy["none"], 0.8),
            at_least("accuracy with ReLU less accuracy without", accuracy["ReLU"] - accuracy["none"], 0.15),
            at_least("accuracy with tanh less accuracy without", accuracy["tanh"] - accuracy["none"], 0.15),
        ],
        draw,
    )
