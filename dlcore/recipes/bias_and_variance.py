"""Bias and variance (notes 2.2).

Where both errors are high, the model has not learnt: bias, which a larger network reduces. Where the training error is
low and the development error is not, it has learnt by heart: variance, which more data reduce.
"""

from __future__ import annotations

from typing import Any

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import bars, label, panels

CASES = {"small network": (2, 1078), "large network": (128, 1078), "large, few data": (128, 60)}
"""By name: hidden units, and training images."""


@recipe("2.2", "Both errors high is bias, which a larger network reduces; a gap is variance, which more data reduce.")
def bias_and_variance(setup: Setup) -> Result:
    data: Any = dl.data.load("digits", normalize=True, seed=setup.seed)
    error: dict[str, tuple[float, float]] = {}
    for name, (units, images) in CASES.items():
        model = dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(units), dl.nn.Tanh(), dl.nn.Dense(10))
        trainer = dl.Trainer(
            model, "cross_entropy", dl.optim.Adam(5e-3), ["accuracy"], seed=setup.seed, device=setup.device
        )
        few = data.train[:images]
        steps = setup.pick(1600, 500)  # the same for each
        trainer.fit(few, epochs=steps // -(-images // 32), batch_size=32)
        error[name] = 1 - trainer.evaluate(few)["accuracy"], 1 - trainer.evaluate(data.dev)["accuracy"]
    (small, small_dev), (large, large_dev), (few_train, few_dev) = error.values()

    def draw(figure: Any) -> None:
        (axes,) = panels(figure, 1)
        figure.set_size_inches(6.4, 3.8)
        train, dev = zip(*error.values(), strict=True)
        bars(
            axes,
            [f"{n}\n{u} units, {i:,} images" for n, (u, i) in CASES.items()],
            {"training": train, "development": dev},
        )
        label(axes, "Bias, neither, and variance", "", "share of errors")

    return Result(
        ("", "training error", "development error", "gap: variance"),
        [(n, *pair, pair[1] - pair[0]) for n, pair in error.items()],
        [
            at_least("training error of the small network: bias", small, 0.2),
            at_most("its gap, a share of its training error", (small_dev - small) / small, 0.5),
            at_most("training error of the large network", large, 0.02),
            at_least("gap with few data: variance", few_dev - few_train, 0.12),
            at_least("gap with few data over that with all data", (few_dev - few_train) / (large_dev - large), 2),
        ],
        draw,
        ["people make almost no errors on these digits, so the training error itself is the bias"],
    )
