"""A training set of another distribution, and the train-dev set (notes 2.1).

The training set may have a slightly different distribution from the development set. Then a gap between the two errors
has two possible causes. A train-dev set, of the training set's distribution but not trained on, tells them apart: the
gap from training to train-dev is variance, the gap from train-dev to dev is the mismatch of the data.
"""

from __future__ import annotations

from typing import Any

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, recipe
from dlcore.recipes.picture import bars, label, panels


def turned(data: Any, setup: Setup) -> dl.data.Dataset:
    """The images turned by up to 25 degrees, as users hold their cameras."""
    return dl.data.Dataset(dl.data.augment.Rotate(25)(data.x, seed=setup.seed), data.y)


@recipe(
    "2.1", "The training set may differ a little in distribution; a train-dev set then tells mismatch from variance."
)
def train_dev(setup: Setup) -> Result:
    data: Any = dl.data.load("digits", seed=setup.seed)
    same, users = data.dev, turned(data.dev, setup)
    cases = {"mismatch: 1,078 images, dev turned": (1078, users), "variance: 60 images, dev as trained": (60, same)}
    errors: dict[str, tuple[float, float, float]] = {}
    for name, (images, dev) in cases.items():
        few = data.train[:images]
        model = dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(64), dl.nn.ReLU(), dl.nn.Dense(10))
        trainer = dl.Trainer(
            model, "cross_entropy", dl.optim.Adam(3e-3), ["accuracy"], seed=setup.seed, device=setup.device
        )
        trainer.fit(few, epochs=setup.pick(1200, 500) // -(-images // 32), batch_size=32)
        sets = few, data.test, dev  # the test set serves as train-dev: it is like the training set, and not trained on
        one, two, three = (1 - trainer.evaluate(part)["accuracy"] for part in sets)
        errors[name] = one, two, three
    mismatch, variance = errors.values()

    def draw(figure: Any) -> None:
        (axes,) = panels(figure, 1)
        figure.set_size_inches(6.4, 3.8)
        bars(axes, ["training", "train-dev", "development"], dict(errors), place="upper left")
        label(axes, "Where the error rises tells the cause", "set", "share of errors")
        axes.set_ylim(0, 1.6 * max(max(pair) for pair in errors.values()))

    return Result(
        ("", "training", "train-dev", "development"),
        [(n, *found) for n, found in errors.items()],
        [
            at_least(
                "mismatch: dev less train-dev, over train-dev less training",
                (mismatch[2] - mismatch[1]) / max(mismatch[1] - mismatch[0], 0.005),
                2,
            ),
            at_least(
                "variance: train-dev less training, over |dev less train-dev|",
                (variance[1] - variance[0]) / max(abs(variance[2] - variance[1]), 0.005),
                2,
            ),
            at_least("total gap in the case of mismatch", mismatch[2] - mismatch[0], 0.1),
            at_least("total gap in the case of variance", variance[2] - variance[0], 0.1),
        ],
        draw,
    )
