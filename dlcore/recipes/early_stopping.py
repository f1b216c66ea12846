"""Early stopping (notes 2.3).

A network with many more weights than examples learns its few training images by heart. Its training loss falls for as
long as one likes; its development loss falls, and then rises. The plot shows where to stop, and the callback
``EarlyStopping`` finds the place without anyone looking, and puts the weights back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import MUTED, label, lines, panels


def train(setup: Setup, data: dl.data.Splits, epochs: int, callbacks: list[Any]) -> tuple[dl.Trainer, Any]:
    """A dense network on 500 images, of which one label in five is wrong, as people who label make mistakes."""
    few = data.train[:500]
    rng = np.random.default_rng(setup.seed)
    y = np.where(rng.random(500) < 0.2, rng.integers(0, 10, 500), few.y)
    model = dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(128), dl.nn.ReLU(), dl.nn.Dense(10))
    trainer = dl.Trainer(
        model, "cross_entropy", dl.optim.Adam(2e-3), ["accuracy"],
        seed=setup.seed, device=setup.device, callbacks=callbacks,
    )  # fmt: skip
    history = trainer.fit(dl.data.Dataset(few.x, y), data.dev, epochs=epochs, batch_size=32)
    return trainer, history


@recipe("2.3", "The training error falls on and on, the development error falls and then rises: stop at its minimum.")
def early_stopping(setup: Setup) -> Result:
    data: Any = dl.data.load("digits", normalize=True, seed=setup.seed)
    epochs = setup.pick(400, 300)
    to_the_end, whole = train(setup, data, epochs, [])
    stopped, part = train(setup, data, epochs, [dl.train.EarlyStopping(patience=5)])
    best = part.best_epoch
    end, early = to_the_end.evaluate(data.test), stopped.evaluate(data.test)

    def draw(figure: Any) -> None:
        for axes, name, words in zip(panels(figure, 2), ("loss", "accuracy"), ("Loss", "Accuracy"), strict=True):
            lines(axes, None, {"training": whole[name], "development": whole[f"dev_{name}"]})
            axes.axvline(best + 1, color=MUTED, linestyle="dotted", linewidth=1.4)
            label(axes, f"{words}; stop at epoch {best + 1}", "epoch", name)

    return Result(
        ("", "epochs", "training loss", "development loss", "test loss", "test accuracy"),
        [
            ("to the end", epochs, whole["loss"][-1], whole["dev_loss"][-1], end["loss"], end["accuracy"]),
            ("stopped early", best + 1, whole["loss"][best], whole["dev_loss"][best], early["loss"], early["accuracy"]),
        ],
        [
            at_most(
                "training loss at the end over that at the best epoch", whole["loss"][-1] / whole["loss"][best], 0.5
            ),
            at_least(
                "development loss at the end over its minimum", whole["dev_loss"][-1] / min(whole["dev_loss"]), 1.3
            ),
            at_least("test loss at the end over that of the early stop", end["loss"] / early["loss"], 1.2),
            at_least("test accuracy of the early stop less that at the end", early["accuracy"] - end["accuracy"], 0.01),
        ],
        draw,
        ["the joint minimum of the notes is that of the development loss: the training loss has none"],
    )
