"""Multi-task learning (notes 2.5).

What kind of penguin it is, of what sex, and how heavy, is to be told from its bill and its flipper, after forty birds
with a third of their labels missing. One network with a head for each question learns from each bird what is known of
it; each of three networks learns from the birds whose label it has. What the heads share they learn together: with so
few labels the one network does a little better, with all birds it does as well, and it has half the weights.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import dlcore as dl
from dlcore import nn
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import bars, label, panels

UNITS = {"species": 3, "sex": 1, "body_mass": 1}
LOSS = {"species": "cross_entropy", "sex": "binary_cross_entropy", "body_mass": "mse"}
SCORE = {"species": "accuracy", "sex": "accuracy", "body_mass": "r2"}
WORDS = {"species": "species,\naccuracy", "sex": "sex,\naccuracy", "body_mass": "body mass,\nR²"}


def known(y: np.ndarray) -> np.ndarray:
    """Which birds have this label: −1 and NaN mark those that have none."""
    column = y.reshape(len(y), -1)[:, 0]
    return column >= 0 if column.dtype.kind == "i" else ~np.isnan(column)


def birds(setup: Setup, split: int, count: int = 40) -> tuple[dl.data.Dataset, dl.data.Dataset]:
    """A few birds to learn from, each label missing with probability 1/3, and all others, to test with."""
    data: Any = dl.data.load("penguins")
    parts = (data.train, data.dev, data.test)
    rng = np.random.default_rng(100 * setup.seed + split)
    x = np.concatenate([part.x for part in parts])
    order = rng.permutation(len(x))
    train, test = order[:count], order[count:]
    x = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
    learnt, tested = {}, {}
    for task in UNITS:
        y = np.concatenate([part.y[task] for part in parts])
        if task == "body_mass":
            y = (y - np.nanmean(y[train])) / np.nanstd(y[train])
        learnt[task], tested[task] = y[train], y[test]
        learnt[task][rng.random(count) < 1 / 3] = -1 if y.dtype.kind == "i" else np.nan
    return dl.data.Dataset(x[train], learnt), dl.data.Dataset(x[test], tested)


def network(head: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Dense(64), nn.ReLU(), head)


def heads() -> nn.Module:
    return nn.Heads({task: nn.Dense(units) for task, units in UNITS.items()})


def weights(head: nn.Module) -> int:
    """How many numbers such a network learns."""
    parameters = network(head).build((3,)).named_parameters()
    return sum(math.prod(parameter.shape) for _, parameter in parameters)


def fitted(setup: Setup, head: nn.Module, loss: Any, metrics: Any, data: dl.data.Dataset, epochs: int) -> dl.Trainer:
    trainer = dl.Trainer(
        network(head), loss, dl.optim.Adam(3e-3), metrics, penalty=dl.optim.L2(0.12), seed=setup.seed,
        device=setup.device,
    )  # fmt: skip
    trainer.fit(data, epochs=epochs, batch_size=16)
    return trainer


@recipe(
    "2.5", "One network with a head for each task learns them together: no worse than one network a task, and smaller."
)
def multi_task(setup: Setup) -> Result:
    epochs, splits = setup.pick((200, 20), (100, 3))
    one: dict[str, list[float]] = {task: [] for task in UNITS}
    three: dict[str, list[float]] = {task: [] for task in UNITS}
    for split in range(splits):
        train, test = birds(setup, split)
        shared = fitted(setup, heads(), LOSS, {task: [score] for task, score in SCORE.items()}, train, epochs)
        found = shared.evaluate(test)
        for task, score in SCORE.items():
            learnt, tested = (dl.data.Dataset(d.x[k], d.y[task][k]) for d in (train, test) for k in [known(d.y[task])])
            single = fitted(
                setup, nn.Dense(UNITS[task]), LOSS[task], [score], learnt, math.ceil(epochs * len(train) / len(learnt))
            )
            one[task].append(found[f"{task}_{score}"])
            three[task].append(single.evaluate(tested)[score])
    lead: list[Any] = [np.subtract(one[task], three[task]) for task in UNITS]
    mean = {task.replace("_", " "): round(float(found.mean()), 9) for task, found in zip(UNITS, lead, strict=True)}
    share = weights(heads()) / sum(weights(nn.Dense(units)) for units in UNITS.values())

    def draw(figure: Any) -> None:
        (axes,) = panels(figure, 1)
        figure.set_size_inches(6.2, 3.6)
        ways = {"one network, three heads": one, "three networks": three}
        bars(
            axes, list(WORDS.values()), {w: [float(np.mean(s)) for s in way.values()] for w, way in ways.items()},
            place="upper right",
        )  # fmt: skip
        label(axes, f"Forty penguins, a third of the labels missing: {splits} draws", "task", "score on other birds")
        axes.set_ylim(0, 1.35)
        axes.set_yticks(np.linspace(0, 1, 6))

    return Result(
        ("task", "one network, three heads", "three networks", "lead", "± standard error"),
        [
            (named, np.mean(one[task]), np.mean(three[task]), mean[named], np.std(found, ddof=1) / math.sqrt(splits))
            for task, named, found in zip(UNITS, mean, lead, strict=True)
        ],
        [
            at_least("lead of the one network, mean of the tasks", sum(mean.values()) / 3, setup.pick(0.0, -0.01)),
            *(at_least(f"its lead in {named}", ahead, setup.pick(-0.01, -0.03)) for named, ahead in mean.items()),
            at_most("its weights over those of the three", share, 0.6),
        ],
        draw,
        ["the notes only name multi-task learning as further reading; the claim is the course's own"],
    )  # fmt: skip
