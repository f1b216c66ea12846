"""Random against grid search (notes 3.8).

Of two hyperparameters one matters, here the learning rate, and one hardly does, Adam's ε. A grid of 9 trials looks at
3 rates, three times each; 9 random trials look at 9 rates. Which of the two will matter is not known beforehand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import MUTED, PALETTE, label, lines, panels, power

RATES, EPSILONS = (-5.0, 1.0), (-10.0, -6.0)
"""Powers of ten, from and to."""


def measured(setup: Setup, data: Any, rate: float, eps: float) -> float:
    """The development loss of a network trained with these two, given as powers of ten."""
    model = dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(32), dl.nn.ReLU(), dl.nn.Dense(10))
    trainer = dl.Trainer(model, optimizer=dl.optim.Adam(10**rate, eps=10**eps), seed=setup.seed, device=setup.device)
    trainer.fit(data.train, epochs=5, batch_size=64)
    return trainer.evaluate(data.dev)["loss"]


@recipe("3.8", "The learning rate matters by far the most; random points try more values of it than uniform ones.")
def random_search(setup: Setup) -> Result:
    data: Any = dl.data.load("digits", normalize=True, seed=setup.seed)
    # One search is luck. So the losses are measured once, on a fine mesh, and a thousand searches look there.
    rates, epsilons = np.linspace(*RATES, setup.pick(61, 31)), np.linspace(*EPSILONS, setup.pick(3, 2))
    loss = np.array([[measured(setup, data, rate, eps) for eps in epsilons] for rate in rates])
    rng, side = np.random.default_rng(setup.seed), 3
    best: dict[str, list[float]] = {"grid": [], "random": []}
    trials: dict[str, np.ndarray] = {}
    for _ in range(1000):
        # A grid lies somewhere, and luck decides whether near the best rate: it is moved in each round. From 0 to 1:
        u, v = (np.arange(side) + rng.uniform()) / side, (np.arange(side) + rng.uniform()) / side
        trials["grid"] = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
        trials["random"] = rng.uniform(size=(side * side, 2))
        for name, points in trials.items():
            rows, columns = np.rint(points * (np.array(loss.shape) - 1)).astype(int).T
            best[name].append(float(loss[rows, columns].min()))
    spread = {
        "rate": np.ptp(np.log10(loss), axis=0).max(),
        "eps": float(np.median(np.ptp(np.log10(loss), axis=1))),
    }
    missed = {n: float((np.array(found) > 2 * loss.min()).mean()) for n, found in best.items()}
    gain = float(np.exp(np.mean(np.log(best["grid"])) - np.mean(np.log(best["random"]))))

    def draw(figure: Any) -> None:
        left, middle, right = panels(figure, 3)
        for axes, (name, points) in zip((left, middle), trials.items(), strict=True):
            rate, eps = 10 ** (points * np.ptp([RATES, EPSILONS], axis=1) + [RATES[0], EPSILONS[0]]).T
            for r in rate:
                axes.axvline(r, color=MUTED, linewidth=0.8, linestyle="dotted")
            axes.plot(rate, eps, "o", color=PALETTE[name == "random"], markersize=7, clip_on=False)
            axes.set_xlim(10 ** RATES[0], 10 ** RATES[1])
            axes.set_ylim(10 ** EPSILONS[0], 10 ** EPSILONS[1])
            different = len(set(np.round(np.log(rate), 6)))
            label(axes, f"{name.capitalize()}: {different} rates in 9 trials", "learning rate", "ε", log="xy")
        lines(right, 10**rates, {f"ε = {power(10**eps)}": loss[:, i] for i, eps in enumerate(epsilons)})
        label(right, "What matters", "learning rate", "development loss", log="xy")

    return Result(
        ("", "different rates in 9 trials", "best loss, mean of 1,000", "searches that miss by a factor of 2"),
        [(n, {"grid": 3, "random": 9}[n], float(np.mean(found)), f"{missed[n]:.0%}") for n, found in best.items()],
        [
            at_least("spread of the loss over the rates, in powers of ten", spread["rate"], 1),
            at_most("the same over ε, from 1e-10 to 1e-6, median of all rates", spread["eps"], 0.05),
            at_least("best loss of 9 trials, grid over random, geometric mean", gain, 1.05),
        ],
        draw,
    )
