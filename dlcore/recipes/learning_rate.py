"""The learning rate (notes 1.4).

In a valley with one steep and one flat direction, gradient descent with too small a rate creeps along the floor, with
too large a rate bounces from wall to wall, and beyond 2 over the curvature climbs out of it. A network shows the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, recipe
from dlcore.recipes.picture import label, lines, panels
from dlcore.recipes.valley import cost, descend, paths

CURVATURES = (10.0, 1.0)
VALLEY = {"too small: 0.005": 0.005, "right: 0.15": 0.15, "too large: 0.195": 0.195, "beyond 2/10: 0.204": 0.204}
NETWORK = {"too small: 0.0003": 0.0003, "right: 0.1": 0.1, "too large: 10": 10.0}


@recipe("1.4", "Too large a rate bounces between the walls of the valley; too small a rate takes forever to get down.")
def learning_rate(setup: Setup) -> Result:
    walks = {n: descend(setup, dl.optim.SGD(rate), CURVATURES, 40) for n, rate in VALLEY.items()}
    heights = {n: cost(path, CURVATURES) for n, path in walks.items()}
    turns = {n: int((np.diff(np.sign(path[:, 0])) != 0).sum()) for n, path in walks.items()}
    small, right, large, beyond = VALLEY

    data: Any = dl.data.load("digits", normalize=True, seed=setup.seed)
    loss, accuracy = {}, {}
    for name, rate in NETWORK.items():
        model = dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(64), dl.nn.ReLU(), dl.nn.Dense(10))
        trainer = dl.Trainer(
            model, "cross_entropy", dl.optim.SGD(rate), ["accuracy"], seed=setup.seed, device=setup.device
        )
        loss[name] = trainer.fit(data.train, epochs=setup.pick(30, 20), batch_size=64)["loss"]
        accuracy[name] = trainer.evaluate(data.test)["accuracy"]
    slow, good, fast = NETWORK

    def draw(figure: Any) -> None:
        left, middle, last = panels(figure, 3, height=3.8)
        paths(left, {n: walks[n][:25] for n in (small, right, large)}, CURVATURES, "A valley, 24 steps", 1.7)
        middle.set_ylim(1e-10, 1e3)
        lines(middle, range(41), heights, place="lower left")
        label(middle, "The height in the valley", "step", "cost", log="y")
        lines(last, None, loss)
        label(last, "A network on digits", "epoch", "training loss", log="y")

    return Result(
        ("rate", "cost after 40 steps, or loss", "turns, or test accuracy"),
        [
            *((f"valley, {n}", heights[n][-1], turns[n]) for n in VALLEY),
            *((f"network, {n}", loss[n][-1], accuracy[n]) for n in NETWORK),
        ],
        [
            at_least("cost in the valley, too small over right", heights[small][-1] / heights[right][-1], 100),
            at_least("cost in the valley, too large over right", heights[large][-1] / heights[right][-1], 100),
            at_least("turns from wall to wall with the rate too large, of 40 steps", turns[large], 38),
            at_least("cost beyond 2 / curvature, end over start", heights[beyond][-1] / heights[beyond][0], 2),
            at_least("network's loss, too small over right", loss[slow][-1] / loss[good][-1], 5),
            at_least("network's loss, too large over right", loss[fast][-1] / loss[good][-1], 5),
        ],
        draw,
    )
