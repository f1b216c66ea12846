"""L2, L1, dropout and data augmentation (notes 2.3).

A network learns 500 images by heart, a fifth of them with wrong labels, and errs on new ones. Each of the four ways
takes some of its freedom away: the training error rises, and what counts, error and loss on new images, falls.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import bars, label, panels


def network(dropout: float) -> dl.nn.Module:
    """A dense network with many more weights than there are images."""
    layers = [dl.nn.Dropout(dropout / 4), dl.nn.Dense(128), dl.nn.ReLU(), dl.nn.Dropout(dropout), dl.nn.Dense(10)]
    return dl.nn.Sequential(dl.nn.Flatten(), *layers)


WAYS: dict[str, dict[str, Any]] = {
    "none": {},
    "L2": {"penalty": dl.optim.L2(16.0)},
    "L1": {"penalty": dl.optim.L1(5.0)},
    "dropout": {"dropout": 0.7},
    "augmentation": {"augment": dl.data.augment.Compose([dl.data.augment.Shift(1), dl.data.augment.Rotate(10)])},
}


@recipe("2.3", "L2, dropout and augmentation reduce variance; L1 does not help as much.")
def regularization(setup: Setup) -> Result:
    data: Any = dl.data.load("digits", normalize=True, seed=setup.seed)
    x, y = data.train.rows(slice(500))
    rng = np.random.default_rng(setup.seed)
    few = dl.data.Dataset(x, np.where(rng.random(500) < 0.2, rng.integers(0, 10, 500), y))
    wrong = float((few.y != y).mean())  # drawn at random, a tenth of the new labels are the old ones
    train, test, loss = {}, {}, {}
    for name, way in WAYS.items():
        others = {key: value for key, value in way.items() if key != "dropout"}
        trainer = dl.Trainer(
            network(way.get("dropout", 0.0)), "cross_entropy", dl.optim.Adam(2e-3), ["accuracy"],
            seed=setup.seed, device=setup.device, **others,
        )  # fmt: skip
        trainer.fit(few, epochs=setup.pick(200, 70), batch_size=32)
        train[name], found = 1 - trainer.evaluate(few)["accuracy"], trainer.evaluate(data.test)
        test[name], loss[name] = 1 - found["accuracy"], found["loss"]
    better = "less than" if test["L1"] > test["L2"] else "as much as, or more"

    def draw(figure: Any) -> None:
        left, right = panels(figure, 2)
        left.axhline(wrong, color="#68717e", linestyle="dotted", linewidth=1.2, label="labels that are wrong")
        bars(
            left,
            [n.replace("ation", "-\nation") for n in WAYS],
            {"training": list(train.values()), "test": list(test.values())},
            place="upper right",
        )
        label(left, "Errors after learning 500 images", "way of regularising", "share of errors")
        left.set_ylim(0, 0.34)
        bars(right, [n.replace("ation", "-\nation") for n in WAYS], {"loss": list(loss.values())})
        label(right, "Loss on new images", "way of regularising", "test loss")

    return Result(
        ("way", "training error", "test error", "test loss"),
        [(n, train[n], test[n], loss[n]) for n in WAYS],
        [
            at_most("training error without: the wrong labels are learnt too", train["none"], 0.02),
            *(
                at_least(f"test loss, without over {n}", loss["none"] / loss[n], 1.1)
                for n in ("dropout", "augmentation")
            ),
            *(
                at_least(f"test errors, without over {n}", test["none"] / test[n], 1.1)
                for n in ("L2", "dropout", "augmentation")
            ),
        ],
        draw,
        [f"the notes say that L1 does not help as much; here it helps {better} L2, so that depends on the data"],
    )
