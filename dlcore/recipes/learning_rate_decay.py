"""Learning-rate decay (notes 3.7).

Small batches give noisy gradients. With a large rate the steps get down fast and then float around the minimum; with a
small one they end near it, but take long. A rate that falls is fast first and near in the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, recipe
from dlcore.recipes.picture import label, lines, panels
from dlcore.recipes.valley import cost, descend

CURVATURES, START = (1.0, 0.3), (20.0, 30.0)
RULES: dict[str, tuple[float, dl.optim.Schedule]] = {
    "large, constant": (0.5, dl.optim.Constant()),
    "small, constant": (0.005, dl.optim.Constant()),
    "α₀ / (1 + 0.05 t)": (0.5, dl.optim.InverseTime(0.05)),
    "α₀ · k / √t": (0.5, dl.optim.InverseSqrt(1.0)),
    "halved every 60": (0.5, dl.optim.Staircase(0.5, every=60)),
}
"""By name: the first rate α₀, and what becomes of it."""


@recipe(
    "3.7", "A large rate gets down fast but floats around the minimum; a rate that decays is fast and ends near it."
)
def learning_rate_decay(setup: Setup) -> Result:
    steps, walks = setup.pick(600, 400), setup.pick(8, 3)
    curves = {}
    for name, (rate, schedule) in RULES.items():
        heights = [
            cost(
                descend(
                    Setup(setup.device, 100 * setup.seed + walk), dl.optim.SGD(rate), CURVATURES, steps,
                    start=START, schedule=schedule, noise=1.0,
                ),
                CURVATURES,
            )
            for walk in range(walks)
        ]  # fmt: skip
        curves[name] = np.mean(heights, axis=0)
    end = {n: float(curve[-100:].mean()) for n, curve in curves.items()}
    early = {n: float(curve[50]) for n, curve in curves.items()}
    decays = [n for n in RULES if "constant" not in n]

    def draw(figure: Any) -> None:
        left, right = panels(figure, 2)
        lines(
            left,
            range(1, steps + 1),
            {n: [how(rate, t, t + 1) for t in range(steps)] for n, (rate, how) in RULES.items()},
        )
        left.set_ylim(1e-5, 1)
        label(left, "The rate", "step", "learning rate", log="y")
        smooth = {n: np.convolve(curve, np.ones(10) / 10, mode="valid") for n, curve in curves.items()}
        lines(right, range(5, steps), smooth, place="none")
        label(right, "The cost, mean of 10 steps", "step", "cost above the minimum", log="y")

    return Result(
        ("rate", "cost after 50 steps", "mean cost of the last 100"),
        [(n, early[n], end[n]) for n in RULES],
        [
            at_least("cost after 50 steps, small over large", early["small, constant"] / early["large, constant"], 10),
            *(at_least(f"cost in the end, large over {n}", end["large, constant"] / end[n], 2) for n in decays),
            *(
                at_least(f"cost after 50 steps, small over {n}", early["small, constant"] / early[n], 10)
                for n in decays
            ),
        ],
        draw,
        ["erratum: what the notes call exponential are inverse square roots; dl.optim.Exponential(0.95) is 0.95^epoch"],
    )
