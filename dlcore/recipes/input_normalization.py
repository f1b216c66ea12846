"""Normalising the inputs (notes 2.4).

The cars' weight goes from 1,600 to 5,100 pounds, their cylinders from 3 to 8. The cost is then a long narrow valley: a
step that is small enough for its steep walls makes no way along its floor. With mean 0 and standard deviation 1, the
contours are nearly circles. How long a valley is, is the ratio of the largest and smallest curvature.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import label, lines, panels


def curvatures(x: np.ndarray) -> np.ndarray:
    """Of the mean squared error of a linear model, in each direction: the eigenvalues of its Hessian, 2/m XᵀX."""
    ones = np.concatenate([x, np.ones((len(x), 1))], axis=1).astype(np.float64)
    return np.linalg.eigvalsh(2 / len(x) * ones.T @ ones)


def descend(data: Any, setup: Setup, epochs: int) -> tuple[float, Any, dl.Trainer]:
    """Gradient descent on a linear model with nine tenths of the largest rate that does not diverge, 2 / curvature."""
    rate = 0.9 * 2 / curvatures(data.train.x)[-1]
    trainer = dl.Trainer(dl.nn.Dense(1), "mse", dl.optim.SGD(rate), ["r2"], seed=setup.seed, device=setup.device)
    return rate, trainer.fit(data.train, epochs=epochs, batch_size=len(data.train)), trainer


@recipe("2.4", "Normalised inputs allow larger steps: the contours of the cost become more spherical.")
def input_normalization(setup: Setup) -> Result:
    epochs = setup.pick(1000, 300)
    raw: Any
    normal: Any
    raw, normal = (dl.data.load("cars", normalize=n, seed=setup.seed) for n in (False, True))
    found = {"raw": descend(raw, setup, epochs), "normalised": descend(normal, setup, epochs)}
    r2 = {
        "raw": found["raw"][2].evaluate(raw.test)["r2"],
        "normalised": found["normalised"][2].evaluate(normal.test)["r2"],
    }
    # The test set by its own mean and deviation, not by those of the training set, where all its cars are heavy ones:
    heavy = raw.test[raw.test.x[:, raw.features.index("weight")] > 3000]
    own = dl.data.Normalizer.fit(heavy).apply(heavy)
    trainer, by_train = found["normalised"][2], normal.normalizer.apply(heavy)
    mse = {name: trainer.evaluate(data)["loss"] for name, data in (("own", own), ("train", by_train))}
    length = {
        name: float(np.ptp(np.log10(curvatures(d.train.x)))) for name, d in (("raw", raw), ("normalised", normal))
    }

    def draw(figure: Any) -> None:
        left, right = panels(figure, 2)
        lines(left, None, {name: history["loss"] for name, (_, history, _) in found.items()})
        label(left, "Gradient descent", "step", "mean squared error, (miles per gallon)²", log="xy")
        for name, (rate, _, _) in found.items():
            right.bar(name, rate, color="#3f6ea8" if name == "raw" else "#d0700f", width=0.5)
        label(right, "0.9 of the largest rate that converges", "inputs", "learning rate", log="y")

    return Result(
        ("inputs", "learning rate", "curvatures' ratio", f"loss after {epochs} steps", "test R²"),
        [(n, found[n][0], f"10^{length[n]:.1f}", found[n][1]["loss"][-1], r2[n]) for n in found],
        [
            at_least(
                "normalised rate over the raw one, in powers of ten",
                np.log10(found["normalised"][0] / found["raw"][0]),
                3,
            ),
            at_least("raw valley over the normalised one, in powers of ten", length["raw"] - length["normalised"], 2),
            at_most(
                "normalised loss over the raw one",
                found["normalised"][1]["loss"][-1] / found["raw"][1]["loss"][-1],
                0.7,
            ),
            at_least(
                "heavy cars by their own mean: error over that by the training set's", mse["own"] / mse["train"], 1.5
            ),
        ],
        draw,
        ["the test set takes the training set's mean and deviation: its own would hide that its cars are heavy"],
    )
