"""Exploding gradients through time, and clipping (notes 5).

Backpropagation through time multiplies by the recurrent weights once a step. With weights scaled by 1.5 the gradient
grows with the length of the sequence, until a single step throws the weights away. ``clip_by_norm`` keeps its direction
and limits its length, and the same network, from the same weights on the same batches, learns.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import MUTED, label, lines, panels

LIMIT, RATE, SCALE = 1.0, 0.1, 1.5
LOST = 1e6
"""A loss beyond this, or one that is no number, ends the training and is recorded as this."""


def network(setup: Setup, scale: float) -> dl.nn.Sequential:
    """One number from a sequence of numbers; the recurrent weights begin as ``scale`` times an orthogonal matrix."""
    layer: Any = dl.nn.RNN(32)
    model = dl.nn.Sequential(layer, dl.nn.Dense(1)).build((None, 1), seed=setup.seed, device=setup.device)
    layer.w.data = layer.w.data * scale
    return model


def batch(setup: Setup, steps: int, number: int) -> tuple[dl.Tensor, dl.Tensor]:
    """64 sequences of noise, and of each the sum of its last five values, divided by √5: its variance is 1."""
    x = np.random.default_rng((setup.seed, number)).normal(size=(64, steps, 1)).astype(np.float32)
    y = x[:, -5:].sum(axis=1) / np.float32(math.sqrt(5))
    return dl.Tensor(x).to(setup.device), dl.Tensor(y).to(setup.device)


def length(model: dl.nn.Module) -> float:
    """The Euclidean norm of the whole gradient."""
    return math.hypot(*(float(np.linalg.norm(dl.Tensor(p.grad).numpy())) for p in model.parameters()))


def first(setup: Setup, scale: float, steps: int) -> float:
    """The length of the gradient at the initial weights."""
    model = network(setup, scale)
    x, y = batch(setup, steps, 0)
    dl.losses.mse(model(x), y).backward()
    return length(model)


def train(setup: Setup, steps: int, clip: Any, updates: int) -> tuple[list[float], list[float]]:
    """The loss and the length of the gradient before clipping, by update, until the end or until it is lost."""
    model = network(setup, SCALE)
    opt = dl.optim.SGD(RATE).attach(model)
    losses, norms = [], []
    with np.errstate(over="ignore", invalid="ignore"):  # without clipping the numbers overflow
        for number in range(updates):
            x, y = batch(setup, steps, number)
            loss = dl.losses.mse(model(x), y)
            losses.append(float(loss) if float(loss) < LOST else LOST)  # LOST for NaN too
            if losses[-1] == LOST:
                break
            loss.backward()
            norms.append(length(model))
            if clip is not None:
                clip(model)
            opt.step()
            opt.zero_grad()
    return losses, norms


@recipe("5", "The exploding gradients of a recurrent network can be solved with gradient clipping.")
def exploding_gradients(setup: Setup) -> Result:
    lengths, updates = setup.pick((5, 10, 20, 50, 100), (10, 100)), setup.pick(600, 250)
    steps = lengths[-1]
    growth = {
        f"orthogonal × {scale:g}": [first(setup, scale, count) for count in lengths] for scale in (1.0, SCALE, 2.0)
    }
    runs = {
        "no clipping": train(setup, steps, None, updates),
        f"clip_by_norm({LIMIT:g})": train(setup, steps, dl.optim.clip_by_norm(LIMIT), updates),
    }
    wild, clipped = runs.values()
    powers = {name: math.log10(norms[-1] / norms[0]) for name, norms in growth.items()}
    grows = f"powers of ten that the first gradient grows from {lengths[0]} to {steps} steps, orthogonal"
    last = {name: float(np.mean(losses[-50:])) if losses[-1] < LOST else LOST for name, (losses, _) in runs.items()}

    def draw(figure: Any) -> None:
        left, middle, right = panels(figure, 3)
        lines(left, lengths, growth, marks=True)
        label(left, "The first gradient", "steps of the sequence", "length", log="xy")
        lines(middle, None, {name: norms for name, (_, norms) in runs.items()}, place="none")
        middle.axhline(LIMIT, color=MUTED, linestyle="dotted", linewidth=1.4)
        label(middle, "The gradient before clipping", "update", "length", log="y")
        lines(right, None, {name: losses for name, (losses, _) in runs.items()})
        label(right, "Training", "update", "loss (variance of the target: 1)", log="y")

    return Result(
        ("training", "updates done", "longest gradient", "largest loss", "loss at the end"),
        [(n, len(norms), f"{max(norms):.1e}", max(losses), last[n]) for n, (losses, norms) in runs.items()],
        [
            at_least(f"{grows} × 2", powers["orthogonal × 2"], 3),
            at_most(f"{grows} × 1, up or down", abs(powers["orthogonal × 1"]), 1),
            at_least("longest gradient, with clipping, before it was clipped", max(clipped[1]), 10 * LIMIT),
            at_most("loss at the end with clipping", last[f"clip_by_norm({LIMIT:g})"], 0.5),
            at_least("loss at the end, without clipping over with it", wild[0][-1] / clipped[0][-1], 3),
        ],
        draw,
        [
            f"a loss of {LOST:,.0f} stands for one that overflows, after which there is no going on",
            "clipping makes long gradients harmless, not right: where they stay long, as with orthogonal × 2, each "
            "step goes a fixed way in a direction that says little, and the network learns late or not at all",
        ],
    )  # fmt: skip
