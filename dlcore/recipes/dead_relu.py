"""ReLU and leaky ReLU (notes 1.2).

A ReLU whose input is below 0 for every example gives 0 and gets no gradient: it is dead, and nothing can wake it.
Here every hidden unit begins so, by biases far below 0, as one step that was too large leaves them. A leaky ReLU,
max(ax, x), passes a hundredth of the gradient, and recovers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import label, lines, panels


def pushed_down(activation: dl.nn.Module, setup: Setup) -> dl.nn.Module:
    """A network whose hidden units are below 0 for every image."""
    model = dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(64), activation, dl.nn.Dense(10))
    model.build((8, 8, 1), seed=setup.seed, device=setup.device)
    state = model.state_dict()
    state["1.b"] = np.full(64, -10.0, dtype=np.float32)
    model.load_state_dict(state)
    return model


@recipe("1.2", "Leaky ReLU, max(ax, x), ensures that nodes in 0 don't die out without learning anything.")
def dead_relu(setup: Setup) -> Result:
    data: Any = dl.data.load("digits", normalize=True, seed=setup.seed)
    accuracy, moved, curves, dead = {}, {}, {}, {}
    for name, activation in {"ReLU": dl.nn.ReLU(), "leaky ReLU": dl.nn.LeakyReLU(0.01)}.items():
        model = pushed_down(activation, setup)
        before = model.state_dict()["1.w"]
        trainer = dl.Trainer(
            model, "cross_entropy", dl.optim.Adam(1e-2), ["accuracy"], seed=setup.seed, device=setup.device
        )
        history = trainer.fit(data.train, data.dev, epochs=setup.pick(60, 40), batch_size=32)
        state = model.state_dict()
        z = data.train.x.reshape(len(data.train), -1) @ state["1.w"] + state["1.b"]
        dead[name] = float((z.max(axis=0) <= 0).mean())
        moved[name] = float(np.linalg.norm(state["1.w"] - before) / np.linalg.norm(before))
        accuracy[name] = trainer.evaluate(data.test)["accuracy"]
        curves[name] = history["dev_accuracy"]

    def draw(figure: Any) -> None:
        left, right = panels(figure, 2)
        z = np.linspace(-3, 3, 101)
        lines(left, z, {"ReLU: max(0, x)": np.maximum(0, z), "leaky ReLU: max(0.1 x, x)": np.maximum(0.1 * z, z)})
        label(left, "Two activations (slope enlarged)", "x", "activation")
        lines(right, None, curves)
        label(right, "All hidden units begin below 0", "epoch", "accuracy, development set")
        right.set_ylim(0, 1)

    return Result(
        ("activation", "units below 0 for all", "weights moved by", "test accuracy"),
        [(name, f"{dead[name]:.0%}", f"{moved[name]:.1%}", accuracy[name]) for name in accuracy],
        [
            at_least("share of ReLU units still dead at the end", dead["ReLU"], 1),
            at_most("change of the weights into ReLU, relative", moved["ReLU"], 0),
            at_most("share of leaky units below 0 for all at the end", dead["leaky ReLU"], 0.5),
            at_least("accuracy of leaky ReLU less that of ReLU", accuracy["leaky ReLU"] - accuracy["ReLU"], 0.5),
        ],
        draw,
    )
