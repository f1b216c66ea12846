"""Random against grid search (notes 3.8).

Of two hyperparameters one matters, here the learning rate, and one hardly does, Adam's ε. A grid of 9 trials looks at
3 rates, three times each; 9 random trials look at 9 rates. Which of the two will matter is not known beforehand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import MUTED, PALETTE, label, legend, panels

RATES, EPSILONS = (-5.0, 1.0), (-10.0, -6.0)
"""Powers of ten, from and to."""


def scores(setup: Setup, data: Any, rate: float, eps: float) -> float:
    """The loss on the development set of a network trained with these two, given as powers of ten."""
    model = dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(32), dl.nn.ReLU(), dl.nn.Dense(10))
    trainer = dl.Trainer(model, optimizer=dl.optim.Adam(10**rate, eps=10**eps), seed=setup.seed, device=setup.device)
    trainer.fit(data.train, epochs=5, batch_size=64)
    return trainer.evaluate(data.dev)["loss"]


@recipe("3.8", "The learning rate matters by far the most; random points try more values of it than uniform ones.")
def random_search(setup: Setup) -> Result:
    data = dl.data.load("digits", normalize=True, seed=setup.seed)
    rng = np.random.default_rng(setup.seed)
    rounds, side = setup.pick(12, 6), 3
    grid_best, random_best, trials = [], [], {}
    for _ in range(rounds):
        # A grid lies somewhere, and luck decides whether near the best rate: it is moved in each round.
        steps = [(high - low) / side for low, high in (RATES, EPSILONS)]
        offsets = rng.uniform(0, 1, 2)
        points = {
            "grid": [
                (RATES[0] + (i + offsets[0]) * steps[0], EPSILONS[0] + (j + offsets[1]) * steps[1])
                for i in range(side)
                for j in range(side)
            ],
            "random": [(rng.uniform(*RATES), rng.uniform(*EPSILONS)) for _ in range(side * side)],
        }
        trials = {name: [(*point, scores(setup, data, *point)) for point in at] for name, at in points.items()}
        grid_best.append(min(trial[2] for trial in trials["grid"]))
        random_best.append(min(trial[2] for trial in trials["random"]))
    # What matters: the spread of the loss along each of the two, with the other in the middle.
    by_rate = [scores(setup, data, rate, -8.0) for rate in np.linspace(*RATES, 9)]
    by_eps = [scores(setup, data, -2.5, eps) for eps in np.linspace(*EPSILONS, 5)]
    spread = {"learning rate": np.ptp(np.log10(by_rate)), "ε": np.ptp(np.log10(by_eps))}
    gain = float(np.exp(np.mean(np.log(grid_best)) - np.mean(np.log(random_best))))

    def draw(figure: Any) -> None:
        left, middle, right = panels(figure, 3)
        for axes, (name, tried) in zip((left, middle), trials.items(), strict=True):
            rate, eps, loss = np.array(tried).T
            axes.scatter(10**rate, 10**eps, s=60, c=np.log10(loss), cmap="viridis", edgecolors=MUTED, zorder=3)
            for r in rate:
                axes.axvline(10**r, color=MUTED, linewidth=0.6, linestyle="dotted")
            different = len(set(np.round(rate, 6)))
            label(axes, f"{name.capitalize()}: {different} rates in 9 trials", "learning rate", "ε", log="xy")
        right.plot(10 ** np.linspace(*RATES, 9), by_rate, "o-", color=PALETTE[0], label="over the rate")
        label(right, "What matters", "learning rate", "development loss", log="xy")
        right.axhspan(min(by_eps), max(by_eps), color=PALETTE[1], alpha=0.4, label="over all ε, rate 0.003")
        legend(right)

    return Result(
        ("", "different rates in 9 trials", "best loss, mean of rounds", "worst round"),
        [
            ("grid", side, float(np.mean(grid_best)), max(grid_best)),
            ("random", side * side, float(np.mean(random_best)), max(random_best)),
        ],
        [
            at_least("spread of the loss over the rates, in powers of ten", spread["learning rate"], 1),
            at_most("the same over ε, from 1e-10 to 1e-6", spread["ε"], 0.05),
            at_least("best loss of 9 trials, grid over random, geometric mean", gain, 1.05),
        ],
        draw,
        ["dark points are the good ones"],
    )
