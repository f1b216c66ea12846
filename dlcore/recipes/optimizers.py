"""Momentum, RMSprop and Adam (notes 3.4 – 3.6).

In a narrow valley gradient descent oscillates between the walls, and its rate cannot be raised. Averaged gradients
cancel across the valley and add up along it: momentum damps the oscillations. RMSprop and Adam divide each direction
by the size of its gradients, so that the steep and the flat one get steps of equal size. A deep network is such a
valley.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, recipe
from dlcore.recipes.picture import label, lines, panels
from dlcore.recipes.valley import cost, descend, paths

CURVATURES = (40.0, 0.1)
RULES: dict[str, Any] = {
    "gradient descent": lambda rate: dl.optim.SGD(rate),
    "momentum": lambda rate: dl.optim.Momentum(rate),
    "RMSprop": lambda rate: dl.optim.RMSprop(rate),
    "Adam": lambda rate: dl.optim.Adam(rate),
}
IN_THE_VALLEY = {"gradient descent": 0.0475, "momentum": 0.5, "RMSprop": 0.03, "Adam": 0.1}
RATES = {
    "gradient descent": (0.01, 0.03, 0.1, 0.3, 1.0),
    "momentum": (0.01, 0.03, 0.1, 0.3, 1.0),
    "RMSprop": (0.0003, 0.001, 0.003, 0.01, 0.03),
    "Adam": (0.0003, 0.001, 0.003, 0.01, 0.03),
}
"""Each rule is tried with five rates, and the best is taken: a comparison at one rate would be one of rates."""


def network() -> dl.nn.Module:
    """Eight hidden layers of 32 tanh units."""
    hidden = [layer for _ in range(8) for layer in (dl.nn.Dense(32, init="xavier_normal"), dl.nn.Tanh())]
    return dl.nn.Sequential(dl.nn.Flatten(), *hidden, dl.nn.Dense(10))


@recipe(
    "3.4", "Averaged gradients oscillate less and get down faster; RMSprop and Adam give each direction its own step."
)
def optimizers(setup: Setup) -> Result:
    steps = 100
    walks = {n: descend(setup, rule(IN_THE_VALLEY[n]), CURVATURES, steps) for n, rule in RULES.items()}
    heights = {n: cost(path, CURVATURES) for n, path in walks.items()}
    same = descend(setup, dl.optim.Momentum(IN_THE_VALLEY["gradient descent"]), CURVATURES, steps)
    turns = {n: int((np.diff(np.sign(path[:, 0])) != 0).sum()) for n, path in {**walks, "same": same}.items()}

    data: Any = dl.data.load("digits", seed=setup.seed)  # as it comes: pixels from 0 to 1
    curves, taken = {}, {}
    for name, rule in RULES.items():
        tried = {}
        for rate in setup.pick(RATES[name], RATES[name][2:4]):
            trainer = dl.Trainer(network(), optimizer=rule(rate), seed=setup.seed, device=setup.device)
            tried[rate] = trainer.fit(data.train, epochs=setup.pick(12, 6), batch_size=64)["loss"]
        taken[name] = min(tried, key=lambda rate: tried[rate][-1])
        curves[name] = tried[taken[name]]

    def draw(figure: Any) -> None:
        left, middle, right = panels(figure, 3, height=3.8)
        paths(left, {n: path[:60] for n, path in walks.items()}, CURVATURES, "A narrow valley, 59 steps", 1.7)
        lines(middle, range(steps + 1), heights, place="lower left")
        middle.set_ylim(1e-8, 100)
        label(middle, "The height in the valley", "step", "cost", log="y")
        lines(right, None, {f"{n}, {taken[n]:g}": curve for n, curve in curves.items()}, place="lower left")
        label(right, "A network, each at its best rate", "epoch", "training loss", log="y")

    base = "gradient descent"
    return Result(
        ("rule", "valley: turns in 100 steps", "cost after 100 steps", "network: best rate", "training loss"),
        [(n, turns[n], heights[n][-1], f"{taken[n]:g}", curves[n][-1]) for n in RULES],
        [
            at_least(
                "turns from wall to wall at one rate, gradient descent over momentum", turns[base] / turns["same"], 4
            ),
            *(
                at_least(f"cost in the valley, gradient descent over {n}", heights[base][-1] / heights[n][-1], 2)
                for n in RULES
                if n != base
            ),
            at_least("network's loss, gradient descent over Adam", curves[base][-1] / curves["Adam"][-1], 1.2),
        ],
        draw,
        [
            "errata: the notes average θ in 3.4 and W in 3.6 by a slip: it is dθ; Adam combines momentum with RMSprop, "
            "not mini batches",
            "in 3.5 W is the direction of descent and b that of the oscillations; which is which depends on the data",
        ],
    )
