"""Penalties that make weights zero (notes 2.3).

Of 40 inputs, 5 decide the label. A linear classifier with an L1 penalty pushes every weight towards 0 with the same
force, however small it is, so most reach it; an L2 penalty pushes a small weight less and less, and none arrives.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import PALETTE, label, panels

INPUTS, THAT_MATTER = 40, 5


def examples(n: int, seed: int) -> dl.data.Dataset:
    """Labels 0 and 1 by the sum of the first five inputs and some noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, INPUTS)).astype(np.float32)
    y = x[:, :THAT_MATTER].sum(axis=1, keepdims=True) + rng.normal(0, 1, (n, 1)) > 0
    return dl.data.Dataset(x, y.astype(np.float32))


@recipe("2.3", "With the L1 norm the weights have a lot of zeros, are sparse; with L2 they do not.")
def l1_sparsity(setup: Setup) -> Result:
    train, test = examples(400, 2 * setup.seed), examples(2000, 2 * setup.seed + 1)
    penalties = {"none": None, "L1": dl.optim.L1(80.0), "L2": dl.optim.L2(80.0)}
    weights, zeros, kept, accuracy = {}, {}, {}, {}
    for name, penalty in penalties.items():
        # All examples in each batch, and a rate that falls: so the weights settle.
        trainer = dl.Trainer(
            dl.nn.Dense(1), "binary_cross_entropy", dl.optim.SGD(0.5), ["accuracy"], penalty=penalty,
            schedule=dl.optim.InverseTime(0.05), seed=setup.seed, device=setup.device,
        )  # fmt: skip
        trainer.fit(train, epochs=setup.pick(2000, 600), batch_size=400)
        w = np.abs(trainer.model.state_dict()["w"][:, 0])
        weights[name] = w
        zeros[name] = float((w[THAT_MATTER:] < 0.01 * w.max()).mean())
        kept[name] = float((w[:THAT_MATTER] > 0.1 * w.max()).mean())
        accuracy[name] = trainer.evaluate(test)["accuracy"]

    def draw(figure: Any) -> None:
        for number, (axes, name) in enumerate(zip(panels(figure, 3), penalties, strict=True)):
            axes.bar(range(1, INPUTS + 1), weights[name], color=[PALETTE[1]] * THAT_MATTER + [PALETTE[0]] * INPUTS)
            axes.axvline(THAT_MATTER + 0.5, color=PALETTE[5], linestyle="dotted", linewidth=1)
            label(axes, f"Penalty: {name}", "input; those left of the line matter", "|weight|" if not number else "")

    return Result(
        ("penalty", "zeros among the 35 others", "of the 5 kept", "test accuracy"),
        [(name, f"{zeros[name]:.0%}", f"{kept[name]:.0%}", accuracy[name]) for name in penalties],
        [
            at_least("share of zeros with L1, among the weights that do not matter", zeros["L1"], 0.6),
            at_most("the same with L2", zeros["L2"], 0.3),
            at_least("share of the weights that matter which L1 keeps", kept["L1"], 1),
        ],
        draw,
        ["gradient descent steps across 0 and back, so a weight counts as zero below a hundredth of the largest one"],
    )
