"""What a configuration does about the targets of a data set, of which there may be several (notes 2.5).

Several targets are told apart by name, each with a task, a loss and metrics of its own; one has the name "".
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from dlcore.errors import ConfigError
from dlcore.train.config.defaults import TASKS

if TYPE_CHECKING:
    from dlcore.data import Splits
    from dlcore.losses import StandardizedMSE

__all__ = [
    "check_metrics",
    "default_metrics",
    "losses_of",
    "metrics_of",
    "outputs_of",
    "recorded",
    "standardized",
    "tasks_of",
]


def tasks_of(data: Splits) -> dict[str, str]:
    """The task of each target: classification, binary or regression; of one alone under the name "".

    >>> from dlcore.data import load
    >>> tasks_of(load("penguins"))
    {'species': 'classification', 'sex': 'binary', 'body_mass': 'regression'}
    """
    if data.task != "multitask":
        return {"": data.task}
    classes = data.classes if isinstance(data.classes, dict) else {}
    return {
        name: "regression" if name not in classes else "classification" if y.dtype.kind in "iu" else "binary"
        for name, y in data.train.y.items()
    }


def outputs_of(data: Splits) -> int | dict[str, int]:
    """How many numbers a model gives for an example: the classes' logits, one, or the values ahead of a series; of
    several targets by name.

    >>> from dlcore.data import load
    >>> outputs_of(load("digits")), outputs_of(load("penguins"))
    (10, {'species': 3, 'sex': 1, 'body_mass': 1})
    """
    classes = data.classes if isinstance(data.classes, dict) else {"": data.classes or ()}
    one = ("binary", "regression")
    found = {name: 1 if task in one else len(classes[name]) for name, task in tasks_of(data).items()}
    if data.last_value is not None:  # a series, of which several values ahead are predicted
        return data.train.y.shape[1]
    return found.get("", found)  # pyright: ignore[reportReturnType]


def losses_of(data: Splits) -> str | dict[str, str]:
    """The loss that suits each task: cross_entropy, binary_cross_entropy or mse; of several targets by name."""
    found = {name: TASKS[task]["loss"] for name, task in tasks_of(data).items()}
    return found.get("", found)


def standardized(data: Splits) -> dict[str, StandardizedMSE]:
    """The losses of the numbers to predict, which are standardised where the inputs are normalised; by target.

    >>> from dlcore.data import load
    >>> standardized(load("cars")), list(standardized(load("penguins", normalize=True)))
    ({}, ['body_mass'])
    """
    from dlcore.losses import StandardizedMSE

    if data.normalizer is None:
        return {}
    if data.change is not None:
        return {"": StandardizedMSE(data.change.mean, data.change.std)}
    tasks = tasks_of(data).items()
    return {name: StandardizedMSE.fit(_target(data, name)) for name, task in tasks if task == "regression"}


def _target(data: Splits, name: str) -> Any:
    return data.train.y[name] if name else data.train.y


def default_metrics(data: Splits) -> tuple[str, ...]:
    """The first metric of each task, each once."""
    return tuple(dict.fromkeys(TASKS[task]["metrics"][0] for task in tasks_of(data).values()))


def metrics_of(data: Splits, names: Collection[str]) -> list[str] | dict[str, list[str]]:
    """The metrics of these ``names`` as a trainer takes them: of several targets, each has those that suit it."""
    found = {
        head: [name for name in names if not head or name in TASKS[task]["metrics"]]
        for head, task in tasks_of(data).items()
    }
    return found.get("", found)


def check_metrics(data: Splits, names: Collection[str]) -> None:
    """Raise a ConfigError for a metric that suits none of the targets."""
    known = list(dict.fromkeys(name for task in tasks_of(data).values() for name in TASKS[task]["metrics"]))
    for name in names:
        if name not in known:
            raise ConfigError(
                f"metrics has {name}, which does not suit {data.name} ({data.task}); take from {', '.join(known)}"
            )


def recorded(data: Splits, names: Collection[str]) -> list[str]:
    """What an epoch's record holds of the training set: the loss, and the metrics as they are called there."""
    found: Any = metrics_of(data, names)
    if isinstance(found, dict):
        return ["loss", *(f"{head}_{name}" for head, metrics in found.items() for name in metrics)]
    return ["loss", *found]
