"""Mini batches (notes 3.3).

One step for the whole set is exact and dear: few steps an epoch. One example a step makes many steps, none of them
vectorised, and they never settle. Between the two lie the sizes that people use.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, recipe
from dlcore.recipes.picture import label, lines, panels

SIZES = {"1": 1, "64": 64, "all": 1078}


def wandering(setup: Setup, data: Any, size: int) -> float:
    """How far the training loss moves up and down from step to step, near the minimum of a linear classifier."""
    model = dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(10))
    model.build((8, 8, 1), seed=setup.seed, device=setup.device)
    trainer = dl.Trainer(model, optimizer=dl.optim.SGD(0.1), seed=setup.seed, device=setup.device)
    trainer.fit(data.train, epochs=40, batch_size=64)
    opt, heights = dl.optim.SGD(0.1).attach(model), []
    for epoch in range(40):
        x, y = next(iter(dl.data.batches(data.train, size, seed=setup.seed, epoch=epoch)))
        dl.losses.cross_entropy(model(dl.Tensor(x).to(setup.device)), dl.Tensor(y).to(setup.device)).backward()
        opt.step()
        opt.zero_grad()
        heights.append(trainer.evaluate(data.train)["loss"])
    return float(np.abs(np.diff(heights)).mean())


@recipe(
    "3.3", "The whole set makes slow progress, single examples never settle and are slow to compute: 64 to 512 do best."
)
def mini_batches(setup: Setup) -> Result:
    data: Any = dl.data.load("digits", normalize=True, seed=setup.seed)
    epochs = setup.pick(10, 4)
    loss, seconds = {}, {}
    for name, size in SIZES.items():
        model = dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(32), dl.nn.ReLU(), dl.nn.Dense(10))
        trainer = dl.Trainer(model, optimizer=dl.optim.SGD(0.1), seed=setup.seed, device=setup.device)
        loss[name], spent = [trainer.evaluate(data.train)["loss"]], 0.0
        for _ in range(epochs):
            start = time.process_time()
            trainer.fit(data.train, epochs=1, batch_size=size)
            spent += time.process_time() - start
            loss[name].append(trainer.evaluate(data.train)["loss"])
        seconds[name] = spent / epochs
    wander = {name: wandering(setup, data, size) for name, size in SIZES.items()}

    def draw(figure: Any) -> None:
        left, right = panels(figure, 2)
        lines(left, range(epochs + 1), {f"batches of {name}": one for name, one in loss.items()}, marks=True)
        label(left, "Training, by the size of a batch", "epoch", "training loss", log="y")
        right.bar(list(seconds), [1e3 * s for s in seconds.values()], width=0.5, color="#3f6ea8")
        label(right, "The time of an epoch", "batch size", "CPU time, ms", log="y")

    return Result(
        ("batch size", "steps an epoch", "loss after the epochs", "CPU ms an epoch", "loss moves a step by"),
        [(n, -(-1078 // SIZES[n]), loss[n][-1], 1e3 * seconds[n], wander[n]) for n in SIZES],
        [
            at_least("loss, all at once over 64", loss["all"][-1] / loss["64"][-1], 3),
            at_least("CPU time of an epoch, one at a time over 64", seconds["1"] / seconds["64"], 5),
            at_least("wandering near the minimum, one at a time over 64", wander["1"] / wander["64"], 3),
        ],
        draw,
        ["erratum: in the notes Y{t} is said to be testing data; it is the labels of X{t}"],
    )
