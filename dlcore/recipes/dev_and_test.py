"""A development set and a test set from different distributions (notes 2.1).

Users turn their cameras; the images that were collected are upright. Five networks were trained, each on images turned
by another angle. An upright development set picks one that is good at upright images, and the team aims beside the
target; a development set like the test set picks the one that the users need.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, recipe
from dlcore.recipes.picture import image, label, lines

ANGLES = (0, 10, 20, 45, 90)


def turned(data: Any, degrees: float, seed: int) -> dl.data.Dataset:
    """The images, each turned by an angle from -degrees to degrees."""
    return dl.data.Dataset(dl.data.augment.Rotate(degrees)(data.x, seed=seed), data.y)


@recipe("2.1", "Development and test set must have the same distribution: the one chooses what the other measures.")
def dev_and_test(setup: Setup) -> Result:
    data: Any = dl.data.load("digits", seed=setup.seed)
    sets = data.dev, turned(data.dev, 90, setup.seed), turned(data.test, 90, setup.seed + 1)
    scores: dict[str, list[float]] = {
        "upright development set": [],
        "users' development set": [],
        "users' test set": [],
    }
    for angle in ANGLES:
        model = dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(64), dl.nn.ReLU(), dl.nn.Dense(10))
        trainer = dl.Trainer(
            model, "cross_entropy", dl.optim.Adam(3e-3), ["accuracy"], seed=setup.seed, device=setup.device,
            augment=dl.data.augment.Rotate(angle) if angle else None,
        )  # fmt: skip
        trainer.fit(data.train, epochs=setup.pick(60, 20), batch_size=32)
        for found, part in zip(scores.values(), sets, strict=True):
            found.append(trainer.evaluate(part)["accuracy"])
    by_upright, by_users, on_test = scores.values()
    chosen = {"upright": int(np.argmax(by_upright)), "users'": int(np.argmax(by_users))}
    promise = {"upright": max(by_upright), "users'": max(by_users)}
    reached = {n: on_test[i] for n, i in chosen.items()}

    def draw(figure: Any) -> None:
        figure.set_size_inches(9.2, 3.8)
        axes = figure.subplot_mosaic([["a", "c", "c"], ["b", "c", "c"]])
        image(axes["a"], data.test.x[0, :, :, 0], "As collected")
        image(axes["b"], sets[2].x[0, :, :, 0], "From a user")
        lines(axes["c"], ANGLES, scores, marks=True, place="lower right")
        label(axes["c"], "Five candidates, on three sets", "trained on images turned by up to, degrees", "accuracy")

    return Result(
        ("development set", "chooses, degrees", "promises", "test accuracy"),
        [(n, ANGLES[i], promise[n], reached[n]) for n, i in chosen.items()],
        [
            at_least(
                "test accuracy of the users' choice less the upright one's",
                reached["users'"] - reached["upright"],
                0.05,
            ),
            at_least("promise of the upright set less the test accuracy", promise["upright"] - reached["upright"], 0.2),
            at_least("test accuracy of the users' choice over the best of all", reached["users'"] / max(on_test), 0.95),
        ],
        draw,
    )
