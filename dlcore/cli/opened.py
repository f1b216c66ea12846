"""What a check of a model is about: a run's model with its weights, one of the built-in models, or one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlcore._core.configurable import did_you_mean
from dlcore.errors import CheckpointError, ConfigError
from dlcore.train.config.config import Config, outputs_of

if TYPE_CHECKING:
    from dlcore.data import Splits
    from dlcore.nn import Module

__all__ = ["first_batch", "open_model"]

MODELS = ("cnn", "mlp", "gru", "lstm", "rnn", "logistic", "linear")


def open_model(command: str, model: str, data: str | None, seed: int, runs: str) -> tuple[Config, Module, Splits]:
    """The settings, the model built on the CPU, and the data."""
    from dlcore.data.source import as_source
    from dlcore.train.runs.run import Run

    given: dict[str, Any] = {} if data is None else {"data": data}
    if model not in (*MODELS, "knn") and ".py" not in model:
        try:
            run = Run.find(model, runs)
        except CheckpointError as error:
            hint = did_you_mean(model, MODELS)
            raise CheckpointError(f"{error}; nor is it one of the models {', '.join(MODELS)}{hint}") from None
        settings = run.settings.override(given)
        _refuse_knn(command, settings)
        built = run.model("cpu")[0]
        splits = settings.data.load()
        if splits.train.shape != built.input_shape:
            raise ConfigError(
                f"{splits.name} has examples of shape {splits.train.shape}, but the model of {run.folder} takes "
                f"{built.input_shape}; leave --data out, or give data of that shape"
            )
        return settings, built, splits
    settings = Config.of(model=model, seed=seed, **given)
    _refuse_knn(command, settings)
    splits = settings.data.load()
    settings = settings.resolve(splits)
    ids = "int64" if as_source(splits.train).dtype.kind in "iu" else None
    made = settings.model.build(outputs_of(splits), text=splits.task == "text", change=settings.seen(splits).change)
    built = made.build(splits.train.shape, seed, input_dtype=ids)
    return settings, built, splits


def _refuse_knn(command: str, settings: Config) -> None:
    if settings.model.model == "knn":
        raise ConfigError(f"{command}: knn has no layers; take a model that is trained, such as cnn or mlp")


def first_batch(splits: Splits, size: int) -> tuple[Any, ...]:
    """The first examples of the training set: x and y, and lengths where there are any."""
    import numpy as np

    from dlcore.data.source import as_source

    source = as_source(splits.train)
    return source.rows(np.arange(min(size, len(splits.train))))  # pyright: ignore[reportAttributeAccessIssue]
