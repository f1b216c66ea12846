"""End-to-end learning against a pipeline (notes 2.5).

Two handwritten digits stand side by side, and their sum is wanted. A pipeline reads each digit, then adds: it is told
what the digits are. End to end, one network goes from pixels to the sum. With few examples the pipeline, which knows
how the task is built, is far ahead; with many the other catches up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import label, lines, panels


def pairs(data: Any, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """n pictures (n, 8, 16, 1) of two digits each, and the digits (n, 2)."""
    chosen = np.random.default_rng(seed).integers(0, len(data), (n, 2))
    return np.concatenate([data.x[chosen[:, 0]], data.x[chosen[:, 1]]], axis=2), data.y[chosen]


def learnt(setup: Setup, x: np.ndarray, y: np.ndarray, units: int, steps: int) -> dl.Trainer:
    """A dense network from pixels to ``units`` classes."""
    model = dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(256), dl.nn.ReLU(), dl.nn.Dense(units))
    trainer = dl.Trainer(model, "cross_entropy", dl.optim.Adam(2e-3), seed=setup.seed, device=setup.device)
    trainer.fit(dl.data.Dataset(x, y), epochs=max(1, steps * 32 // len(x)), batch_size=32)
    return trainer


@recipe("2.5", "With little data a pipeline of steps beats end-to-end learning, which needs much.")
def end_to_end(setup: Setup) -> Result:
    data: Any = dl.data.load("digits", normalize=True, seed=setup.seed)
    test, digits = pairs(data.test, 1000, setup.seed)
    sizes, steps = setup.pick((100, 300, 1000, 3000, 10000, 30000), (100, 5000)), setup.pick(3000, 800)
    accuracy: dict[str, list[float]] = {"pipeline": [], "end to end": []}
    for n in sizes:
        x, y = pairs(data.train, n, 100 + setup.seed)
        reader = learnt(setup, np.concatenate([x[:, :, :8], x[:, :, 8:]]), y.T.ravel(), 10, steps)
        read = [reader.predict(half).argmax(axis=1) for half in (test[:, :, :8], test[:, :, 8:])]
        accuracy["pipeline"].append(float((read[0] + read[1] == digits.sum(axis=1)).mean()))
        whole = learnt(setup, x, y.sum(axis=1), 19, steps)
        accuracy["end to end"].append(float((whole.predict(test).argmax(axis=1) == digits.sum(axis=1)).mean()))
    ahead = np.array(accuracy["pipeline"]) - np.array(accuracy["end to end"])

    def draw(figure: Any) -> None:
        (axes,) = panels(figure, 1)
        figure.set_size_inches(6.2, 3.6)
        lines(axes, sizes, accuracy, marks=True, place="lower right")
        label(axes, "The sum of two digits", "training pictures", "test accuracy", log="x")
        axes.set_ylim(0, 1)

    return Result(
        ("training pictures", "pipeline", "end to end", "pipeline ahead by"),
        [(f"{n:,}", p, e, p - e) for n, p, e in zip(sizes, *accuracy.values(), strict=True)],
        [
            at_least("lead of the pipeline with the fewest pictures", ahead[0], 0.3),
            at_most("its lead with the most pictures over that with the fewest", ahead[-1] / ahead[0], 0.7),
        ],
        draw,
        ["the notes only name end-to-end learning as further reading; the claim is the course's own"],
    )
