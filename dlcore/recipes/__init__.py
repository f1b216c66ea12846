"""Recipes: one for each claim of the notes, which is tried, measured and drawn.

A recipe is a file of this package, made to be read and copied: it uses the public names of dlcore alone. It says what
the notes claim, does the experiment, and gives a :class:`Result`: a table, the figures that the claim hangs on, each
with the margin that it must keep, and a picture.

>>> found = run("edges", quick=True)
>>> found.holds
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from dlcore._core.configurable import did_you_mean
from dlcore.errors import ConfigError
from dlcore.recipes.lesson import Check, Recipe, Result, Setup, at_least, at_most, recipe

if TYPE_CHECKING:
    from backends.runtime.device import Device

__all__ = ["NAMES", "Check", "Recipe", "Result", "Setup", "at_least", "at_most", "find", "recipe", "run"]


def __dir__() -> list[str]:
    return sorted(__all__)


NAMES = (
    "activations",
    "dead-relu",
    "learning-rate",
    "dev-and-test",
    "train-dev",
    "bias-and-variance",
    "regularization",
    "l1-sparsity",
    "early-stopping",
    "input-normalization",
    "exploding-and-vanishing",
    "initialization",
    "gradient-check",
    "end-to-end",
    "transfer",
    "multi-task",
    "orthogonalization",
    "mini-batches",
    "weighted-average",
    "optimizers",
    "learning-rate-decay",
    "random-search",
    "batch-norm",
    "nearest-neighbours",
    "edges",
    "exploding-gradients",
    "vanishing-gradients",
    "correlation-and-convolution",
    "separable-filters",
)
"""All recipes, in the order of the notes. Each stands in the file of its name, with underscores."""


def find(name: str) -> Recipe:
    """The recipe of that name. Raises ConfigError for one that is not known.

    >>> find("edges").chapter
    '4.2'
    >>> find("edge")
    Traceback (most recent call last):
    dlcore.errors.ConfigError: recipe: 'edge' is not known (did you mean edges?); dlcore recipe list shows all
    """
    if name not in NAMES:
        raise ConfigError(f"recipe: {name!r} is not known{did_you_mean(name, NAMES)}; dlcore recipe list shows all")
    function = name.replace("-", "_")
    return getattr(importlib.import_module(f"dlcore.recipes.{function}"), function)


def run(name: str, *, seed: int = 0, quick: bool = False, device: str | Device | None = None) -> Result:
    """Do the experiment of a recipe and return what came of it.

    seed : names the data's split, the weights, the batch order and whatever else is random
    quick : a smaller experiment, in less than 5 seconds
    device : as for :class:`dlcore.Trainer`

    Raises ConfigError for an unknown name and DeviceError for a device that cannot be used.

    >>> found = run("edges", quick=True, device="cpu")
    >>> found.holds, found.checks[0].what
    (True, "difference from the notes' result")
    """
    from backends.runtime.device import resolve

    return find(name)(Setup(seed=seed, quick=quick, device=resolve(device)))
