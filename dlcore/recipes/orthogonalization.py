"""Orthogonal knobs (notes 3.1).

Two ways to write momentum. In v = βv + dθ a larger β also makes larger steps, 1 / (1 − β) times: who turns the one
knob must turn the learning rate too. In the notes' v = βv + (1 − β) dθ the size of a step does not depend on β: the
rate that was best for one β is about the best for another, and each can be tuned by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import label, lines, panels

BETAS = (0.0, 0.5, 0.9, 0.97)
RATES = 10.0 ** np.arange(-3.5, 1.01, 0.25)


def losses(setup: Setup, data: Any, beta: float) -> np.ndarray:
    """The training loss for each rate, in the notes' form."""
    found = []
    for rate in RATES:
        model = dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(16), dl.nn.Tanh(), dl.nn.Dense(10))
        trainer = dl.Trainer(
            model, optimizer=dl.optim.Momentum(float(rate), beta), seed=setup.seed, device=setup.device
        )
        found.append(trainer.fit(data, epochs=setup.pick(8, 4), batch_size=32)["loss"][-1])
    return np.array(found)


@recipe("3.1", "Tuning is easier with knobs that act on one thing each, instead of on a combination.")
def orthogonalization(setup: Setup) -> Result:
    data: Any = dl.data.load("digits", normalize=True, seed=setup.seed).train
    found = {beta: losses(setup, data, beta) for beta in BETAS}
    # v = βv + dθ at the rate α takes the steps of the notes' form at the rate α / (1 − β).
    best = {beta: float(RATES[np.argmin(loss)]) for beta, loss in found.items()}
    other = {beta: rate * (1 - beta) for beta, rate in best.items()}
    spread = {n: float(np.ptp(np.log10(list(b.values())))) for n, b in (("notes", best), ("other", other))}

    def draw(figure: Any) -> None:
        left, right = panels(figure, 2)
        lines(left, RATES, {f"β = {beta:g}": loss for beta, loss in found.items()}, place="none")
        label(left, "v = βv + (1 − β) dθ", "learning rate α", "training loss", log="xy")
        for number, (beta, loss) in enumerate(found.items()):
            lines(right, RATES * (1 - beta), {f"β = {beta:g}": loss}, place="none")
            right.lines[-1].set(color=left.lines[number].get_color(), linestyle=left.lines[number].get_linestyle())
        label(right, "v = βv + dθ", "learning rate α", "training loss", log="xy")
        left.legend(loc="upper left")

    return Result(
        ("β", "best rate, v = βv + (1 − β) dθ", "best rate, v = βv + dθ"),
        [(f"{beta:g}", best[beta], other[beta]) for beta in BETAS],
        [
            at_most("spread of the best rate over β in the notes' form, in powers of ten", spread["notes"], 0.8),
            at_least("the same in the other form", spread["other"], 1.0),
        ],
        draw,
    )
