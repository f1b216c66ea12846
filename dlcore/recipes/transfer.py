"""Transfer learning (notes 2.5).

Fifty labelled pictures of the digits 5 to 9 are to be learnt, each digit somewhere on an empty sheet. A dense network
has to learn for each place anew what a stroke is: fifty pictures cannot tell. One that has seen the digits 0 to 4 at
thousands of places knows: its trunk is taken over and frozen, or learns on in small steps, and only the last layer
begins anew. The larger the sheet, the more there is to take over; where the digits stand still, there is nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import dlcore as dl
from dlcore import nn
from dlcore.recipes.lesson import Result, Setup, at_least, recipe
from dlcore.recipes.picture import MUTED, label, lines, panels

PLACES = 20
"""At how many places the network that is taken over sees each digit."""
RATES = (1e-3, 3e-3, 1e-2)
ARMS = ("from scratch", "trunk frozen", "trunk learns slowly")


def placed(x: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Each picture (N, 8, 8, 1) at a random place of an empty sheet: (N, side, side, 1)."""
    sheets = np.zeros((len(x), side, side, 1), dtype=x.dtype)
    for sheet, picture, (row, column) in zip(sheets, x, rng.integers(0, side - 7, (len(x), 2)), strict=True):
        sheet[row : row + 8, column : column + 8] = picture
    return sheets


def dense() -> nn.Sequential:
    """A trunk, of the path 0, and the layer that tells the classes, of the path 1."""
    trunk = nn.Sequential(nn.Flatten(), nn.Dense(256), nn.ReLU(), nn.Dense(256), nn.ReLU())
    return nn.Sequential(trunk, nn.Dense(5))


def convolutional() -> nn.Sequential:
    """What a stroke is, wherever it stands, is built into this one."""
    blocks = [layer for filters in (32, 64) for layer in (*_twice(filters), nn.MaxPool2D(2))]
    return nn.Sequential(*blocks[:-1], nn.GlobalAvgPool2D(), nn.Dense(5))


def _twice(filters: int) -> list[nn.Module]:
    return [
        layer
        for _ in range(2)
        for layer in (nn.Conv2D(filters, 3, padding="same", bias=False), nn.BatchNorm(), nn.ReLU())
    ]


def fitted(setup: Setup, model: nn.Module, data: Any, rate: float, epochs: int, batch_size: int) -> dl.Trainer:
    trainer = dl.Trainer(
        model, "cross_entropy", dl.optim.Adam(rate), ["accuracy"], seed=setup.seed, device=setup.device
    )  # fmt: skip
    trainer.fit(data, epochs=epochs, batch_size=batch_size)
    return trainer


def arm(name: str, side: int, source: nn.Module) -> nn.Module:
    """A network for the new digits, begun in one of the three ways."""
    model = dense().build((side, side, 1), seed=7)
    if name == "from scratch":
        return model
    dl.train.transfer_weights(model, source, anew="1")
    return model.freeze("0") if name == "trunk frozen" else model.scale_lr("0", 0.1)


def digits(setup: Setup) -> tuple[Any, Any, np.ndarray]:
    """The digits 0 to 4; the digits 5 to 9, called 0 to 4; and which of these have a label, ten of each."""
    data: Any = dl.data.load("digits")
    parts = (data.train, data.dev, data.test)
    x, y = np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts])
    x = x / x.max()
    rng = np.random.default_rng(setup.seed)
    labelled = [rng.permutation(np.flatnonzero(y[y > 4] == digit))[:10] for digit in range(5, 10)]
    return dl.data.Dataset(x[y < 5], y[y < 5]), dl.data.Dataset(x[y > 4], y[y > 4] - 5), np.concatenate(labelled)


@recipe("2.5", "With few labels, a trunk that has learnt a related task does better than one that begins anew.")
def transfer(setup: Setup) -> Result:
    old, new, labelled = digits(setup)
    others = np.random.default_rng(setup.seed).permutation(np.setdiff1d(np.arange(len(new)), labelled))
    accuracy: dict[str, list[float]] = {name: [] for name in ARMS}
    sides, built_in = setup.pick((8, 10, 12, 14), (8, 12)), math.nan
    for side in sides:
        rng = np.random.default_rng(setup.seed)
        sheets = np.concatenate([placed(old.x, side, rng) for _ in range(PLACES)])
        many = dl.data.Dataset(sheets, np.tile(old.y, PLACES))
        few, dev, test = (
            dl.data.Dataset(placed(new.x[rows], side, rng), new.y[rows])
            for rows in (labelled, *np.array_split(others, 2))
        )
        source = fitted(setup, dense(), many, 1e-3, setup.pick(5, 1), 64).model
        for name, reached in accuracy.items():
            trials = [
                fitted(setup, arm(name, side, source), few, rate, 40, 10) for rate in setup.pick(RATES, RATES[1:])
            ]
            best = max(trials, key=lambda trainer: trainer.evaluate(dev)["accuracy"])
            reached.append(best.evaluate(test)["accuracy"])
        if side == 12:
            built_in = fitted(setup, convolutional(), few, 1e-2, setup.pick(40, 20), 10).evaluate(test)["accuracy"]
    lead: Any = np.subtract(accuracy["trunk frozen"], accuracy["from scratch"])

    def draw(figure: Any) -> None:
        (axes,) = panels(figure, 1)
        figure.set_size_inches(6.2, 3.6)
        axes.axhline(0.2, color=MUTED, linestyle="dotted", linewidth=1.2, label="a guess")
        lines(axes, sides, accuracy, marks=True, place="upper right")
        label(axes, "The digits 5 to 9, ten labels of each", "side of the sheet, pixels", "test accuracy")
        axes.set_xticks(sides)
        axes.set_ylim(0, 1)

    return Result(
        ("sheet", *ARMS, "lead of the frozen trunk"),
        [(f"{s} x {s}", *(reached[i] for reached in accuracy.values()), lead[i]) for i, s in enumerate(sides)],
        [
            at_least("lead of the frozen trunk on sheets of 12 x 12", lead[sides.index(12)], 0.05),
            at_least("its lead there over that on sheets without room", lead[sides.index(12)] - lead[0], 0.05),
        ],
        draw,
        [
            "the notes only name transfer learning as further reading; the claim is the course's own",
            "each number is that of the learning rate that did best on the development set",
            f"what it brings can be built in: a convolutional network reaches {built_in:.2f} from scratch on 12 x 12",
        ],
    )
