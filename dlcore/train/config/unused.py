"""Settings that were given and can have no effect: one table, of which every row says when a setting does nothing.

That a setting goes with another choice of optimizer, schedule, penalty or model, or with another kind of data, is said
where that choice is made (``CHOICES``, ``DataConfig.load``). Here are those that any configuration may hold, since each
has a default, but that somebody who gives one expects to matter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from dlcore.errors import ConfigError
from dlcore.train.config.classes import OF_A_CLASS, classes_of
from dlcore.train.config.config import Config
from dlcore.train.config.defaults import CHOICES
from dlcore.train.config.sections import settings

if TYPE_CHECKING:
    from dlcore.data import Splits

__all__ = ["refuse_unused"]

Reason = Callable[[Config, "Splits"], str]
"""Why a setting has no effect under a resolved configuration, and what to do; empty where it has one."""

_TRAINING = (
    "optimizer", "lr", "clip_norm", "clip_value", "schedule", "warmup", "penalty", "epochs", "batch_size", "seed",
    "precision", "memory_limit", "tf32", "augment", "patience", "monitor",
    *(name for owner in ("optimizer", "schedule", "penalty") for takes in CHOICES[owner].values() for name in takes),
)  # fmt: skip
"""What only a model that learns step by step uses."""


def _nothing_learns(config: Config, data: Splits) -> str:
    alone = config.model.model == "knn" and config.run.baseline == "none"
    return "--model knn is not trained, and with --baseline none nothing else is; leave {flag} out" if alone else ""


def _no_checkpoints(config: Config, data: Splits) -> str:
    return "--model knn saves no checkpoints; leave {flag} out" if config.model.model == "knn" else ""


def _nothing_watches(config: Config, data: Splits) -> str:
    return "" if config.train.patience else "nothing stops early; give --patience, or leave {flag} out"


def _no_positive_class(config: Config, data: Splits) -> str:
    pairs = [head for head, names in classes_of(data).items() if len(names) == 2]
    if pairs and set(config.train.metrics or ()) & set(OF_A_CLASS):
        return ""
    return f"no metric is of the positive class; give --metrics {' or '.join(OF_A_CLASS)}, or leave {{flag}} out"


def _not_normalised(config: Config, data: Splits) -> str:
    kind = "a text" if data.task == "text" else "of whole numbers that are no amounts"
    return "" if data.normalizer is not None else f"{data.name} is {kind}, which is not normalised; leave {{flag}} out"


def _not_split(config: Config, data: Splits) -> str:
    about = config.data
    if about.train_dev:
        return ""
    if about.split is not None:
        return "--split names the part of each row; leave {flag} out"
    ordered = data.task == "text" or data.last_value is not None or about.time is not None
    return "the parts follow one another in time; leave {flag} out" if ordered else ""


def _no_categories(config: Config, data: Splits) -> str:
    columns = getattr(data.inputs, "columns", None)
    if columns is None or any(column.get("kind") != "number" for column in columns):
        return ""
    return f"{data.name} has no column of categories; leave {{flag}} out, or name one by --category"


RULES: tuple[tuple[tuple[str, ...], Reason], ...] = (
    (_TRAINING, _nothing_learns),
    (("checkpoint_steps", "checkpoint_minutes"), _no_checkpoints),
    (("monitor",), _nothing_watches),
    (("positive",), _no_positive_class),
    (("normalize",), _not_normalised),
    (("split_seed",), _not_split),
    (("unknown_level",), _no_categories),
)
"""By settings, the function that says why one of them does nothing."""

_OFF = (False, 0, "none")
"""Values that ask for nothing: they hold anyway."""


def refuse_unused(
    flags: Collection[str], config: Config, trials: Iterable[Config], data: Splits, never: Collection[str] = ()
) -> None:
    """Raise ConfigError for a setting that was given and has no effect.

    flags : the settings that came as flags
    config : as it was given, before the data filled it in: what differs in it from the defaults came from a file
    trials : the configurations that are trained with, resolved; a setting matters where it does in one of them
    never : settings that the command does not use

    >>> from dlcore.data import load
    >>> config, data = Config.of(data="digits", monitor="dev_accuracy"), load("digits", normalize=True)
    >>> refuse_unused({"monitor"}, config, [config.resolve(data)], data)
    Traceback (most recent call last):
    dlcore.errors.ConfigError: --monitor has no effect: nothing stops early; give --patience, or leave --monitor out
    """
    trials = list(trials)
    known, values = settings(), config.flat()
    for name in sorted((*flags, *config.changed()), key=lambda name: name not in flags):
        if any(values[name] is off or values[name] == off for off in _OFF):
            continue
        label = _flag(name) if name in flags else f"{name}, in [{known[name].section}] of --config,"
        if name in never and name in flags:
            raise ConfigError(f"{label} has no effect in this command; leave it out")
        reasons = [why for names, why in RULES if name in names]
        for why in reasons:
            said = [why(trial, data) for trial in trials]
            if all(said) and (name in flags or _matters_by_itself(name, config, data)):
                raise ConfigError(f"{label} has no effect: {said[0].format(flag=_flag(name))}")


def _matters_by_itself(name: str, config: Config, data: Splits) -> bool:
    """Whether a file's value is another than the one that would stand there without it. A run's own config.toml holds
    every setting as it was filled in, used or not: such a value says nothing."""
    values = config.flat()
    try:
        without = Config.of(**{**values, name: settings()[name].default}).resolve(data).flat()
    except ConfigError:
        return True
    return without[name] != values[name]


def _flag(name: str) -> str:
    return settings()[name].alias or settings()[name].flag
