"""Initial weights (notes 2.4).

The same network from six beginnings. Zeros give every unit the same gradient, here none at all, and the symmetry
never breaks. Large numbers begin at a cost of thousands and come down. Numbers between 0 and 1, as the notes have it,
all push in one direction: with the notes' factor √(2/n), every layer multiplies the values by about √(n/2). He's and
Xavier's rules are for standard *normal* numbers, which are as often below 0 as above.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import bars, label, lines, panels

init = dl.nn.init
CHOICES = {
    "zeros": init.zeros,
    "tiny, 0.001": init.normal(0.001),
    "He": init.he_normal,
    "Xavier": init.xavier_normal,
    "large, 1": init.normal(1.0),
    "0 to 1, × √(2/n)": init.uniform(0.0, float(np.sqrt(2 / 64))),
}


def network(how: init.Initializer) -> dl.nn.Module:
    """Five hidden layers of 64 units."""
    hidden = [layer for _ in range(5) for layer in (dl.nn.Dense(64, init=how), dl.nn.ReLU())]
    return dl.nn.Sequential(dl.nn.Flatten(), *hidden, dl.nn.Dense(10, init=how))


@recipe("2.4", "Zeros never break the symmetry; large weights begin at a high cost, which falls; He's rule suits ReLU.")
def initialization(setup: Setup) -> Result:
    data: Any = dl.data.load("digits", normalize=True, seed=setup.seed)
    first, curves, accuracy, size = {}, {}, {}, {}
    for name, how in CHOICES.items():
        # Clipped: from 0 to 1 the first gradient alone would send the weights to infinity.
        trainer = dl.Trainer(
            network(how), "cross_entropy", dl.optim.SGD(0.05), ["accuracy"], clip=dl.optim.clip_by_norm(1.0),
            seed=setup.seed, device=setup.device,
        )  # fmt: skip
        size[name] = float(np.abs(trainer.predict(data.train.x)).mean())
        first[name] = trainer.evaluate(data.train)["loss"]
        history = trainer.fit(data.train, epochs=setup.pick(40, 20), batch_size=32)
        curves[name] = [first[name], *history["loss"]]
        accuracy[name] = trainer.evaluate(data.test)["accuracy"]

    def draw(figure: Any) -> None:
        left, right = panels(figure, 2)
        lines(left, range(len(curves["He"])), curves, place="none")
        left.set_ylim(1e-3, 1e11)
        label(left, "Training", "epoch", "training loss", log="y")
        left.legend(ncols=2, fontsize=8, handlelength=2.6, loc="upper right")
        bars(right, [n.replace(", ", "\n") for n in CHOICES], {"accuracy": list(accuracy.values())})
        label(right, "After training", "initial weights", "test accuracy")

    return Result(
        ("initial weights", "mean |output|", "loss at first", "loss at the end", "test accuracy"),
        [(n, size[n], first[n], curves[n][-1], accuracy[n]) for n in CHOICES],
        [
            at_most("mean |output| with zeros", size["zeros"], 0),
            at_most("test accuracy with zeros, as by chance", accuracy["zeros"], 0.2),
            at_least("test accuracy with He", accuracy["He"], 0.9),
            at_least("loss at first, large over He", first["large, 1"] / first["He"], 100),
            at_least("large: loss at first over loss at the end", first["large, 1"] / curves["large, 1"][-1], 10),
            at_least(
                "mean |output| from 0 to 1 over that with He, in powers of ten",
                np.log10(size["0 to 1, × √(2/n)"] / size["He"]),
                2.5,
            ),
            at_least("accuracy with He less that from 0 to 1", accuracy["He"] - accuracy["0 to 1, × √(2/n)"], 0.3),
        ],
        draw,
        [
            "erratum: the notes scale numbers between 0 and 1; it is standard normal numbers that He's and Xavier's "
            "factors scale, as often below 0 as above",
            "with zeros the biases of the last layer learn how frequent each class is, and nothing else",
        ],
    )
