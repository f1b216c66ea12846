"""The objective of ``dlcore tune``: a training run with some settings of its own, and the figure that it ends with."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dlcore._core.configurable import did_you_mean
from dlcore.errors import ConfigError
from dlcore.train.config.config import Config, settings
from dlcore.train.engine.callback import Callback
from dlcore.tune.space import Choice, Parameter, Range, Space

if TYPE_CHECKING:
    from dlcore.data import Splits
    from dlcore.train.engine.trainer import Trainer
    from dlcore.tune.rounds import Report

__all__ = ["Training", "checked_parameter"]

_NO_MATTER = ("device", "threads", "baseline", "checkpoint_steps", "checkpoint_minutes", "runs", "name")
"""Settings that do not make a search another one."""
_NOT_SEARCHED = ("device", "threads", "metrics", "monitor")


class Training:
    """Train with some settings, and say how good it became. Another process loads its own data.

    config : the settings that all trials share
    given : more of them, which also hold where a trial changes a choice that they depend on
    metric : a name in the epochs' records; by default the first metric, of several heads the loss, of the development
        set

    The figure is that of the weights that the run keeps: of the last epoch, or of the best one with early stopping.
    """

    def __init__(self, config: Config, given: Mapping[str, Any] | None = None, metric: str | None = None) -> None:
        self.config, self.given, self.metric = config, dict(given or {}), metric
        self.maximize = True
        self._data: Splits | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_data": None}

    def __call__(self, chosen: dict[str, Any], report: Report) -> float:
        import numpy as np

        trainer = self._trainer(chosen, [_Reporting(str(self.metric), report)])
        train = self.of(chosen).resolve(self.data).train
        with np.errstate(all="ignore"):  # of many trials some diverge, which the trainer sees by their losses
            history = trainer.fit(
                self.data.train, self.data.dev, train.epochs or 1, train.batch_size or 1, verbose=False
            )
        kept = -1 if history.best_epoch is None else history.best_epoch
        return float(history[str(self.metric)][kept])

    @property
    def data(self) -> Splits:
        if self._data is None:
            self._data = self.config.override(self.given).data.load()
        return self._data

    def of(self, chosen: Mapping[str, Any]) -> Config:
        """The settings of a trial."""
        return self.config.override({**self.given, **{name: _listed(name, value) for name, value in chosen.items()}})

    def prepare(self, space: Space) -> dict[str, Any]:
        """Check the space and the metric against the data, and choose what was left open.

        Returns what identifies the search besides the space. Raises ConfigError for a parameter that is no setting, or
        not one to search, for values out of its range, for choices that do not go together, and for a metric that no
        run records.
        """
        for name, parameter in space.items():
            checked_parameter(name, parameter)
        first = {name: parameter.grid()[0] for name, parameter in space.items()}
        owners = {name: space[name].grid() for name in ("model", "optimizer", "schedule", "penalty") if name in space}
        for values in itertools.product(*owners.values()):
            chosen = self.of({**first, **dict(zip(owners, values, strict=True))})
            if chosen.model.model == "knn":
                raise ConfigError("knn is not trained, so there is no epoch's figure to search by; take another model")
            chosen.resolve(self.data)
        trainer = self._trainer(first, [])
        measures = ("loss", *trainer.objectives.names())
        recorded = [f"{part}{name}" for part in ("dev_", "") for name in measures]
        if self.metric is None:
            self.metric = "dev_loss" if len(trainer.objectives) > 1 else f"dev_{measures[:2][-1]}"
        if self.metric not in recorded:
            raise ConfigError(
                f"metric is {self.metric!r} but a run records {', '.join(recorded)}"
                f"{did_you_mean(self.metric, recorded)}; --metrics makes it record more"
            )
        self.maximize = trainer.larger_is_better(self.metric)
        return {"settings": self._shared(space), "data": self._fingerprints()}

    def _trainer(self, chosen: Mapping[str, Any], callbacks: list[Callback]) -> Trainer:
        return self.of(chosen).trainer(self.data, callbacks=callbacks)

    def _shared(self, space: Space) -> dict[str, Any]:
        flat = self.config.override(self.given).anchored().flat()
        return {name: value for name, value in flat.items() if name not in (*_NO_MATTER, *space) and value is not None}

    def _fingerprints(self) -> dict[str, Any]:
        from dlcore.data.source import as_source, fingerprint

        return {part: fingerprint(as_source(getattr(self.data, part))) for part in ("train", "dev")}


class _Reporting(Callback):
    """Tell a search the figure of each epoch; it may end the run."""

    def __init__(self, metric: str, report: Report) -> None:
        self.metric, self.report = metric, report

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.report(float(record[self.metric]))


def checked_parameter(name: str, parameter: Parameter) -> None:
    """Raises ConfigError where ``name`` is no setting to search, or a value is out of the setting's range."""
    known = settings()
    if name not in known:
        raise ConfigError(f"{name} is not a setting{did_you_mean(name, known)}; dlcore train --help lists them")
    setting = known[name]
    if setting.section in ("data", "run") or name in _NOT_SEARCHED:
        raise ConfigError(
            f"{name} is not to be searched: trials with different values could not be compared; give it as a flag"
        )
    if isinstance(parameter, Range):
        if setting.kind not in (int, float):
            raise ConfigError(f"{name} is {parameter.described()} but {setting.expected} is expected; give a choice")
        if setting.kind is int and not parameter.whole:
            raise ConfigError(f"{name} is {parameter.described()} but whole numbers are expected; take integers")
    values = parameter.values if isinstance(parameter, Choice) else (parameter.low, parameter.high)
    for value in values:
        setting.check(_listed(name, value), name)


def _listed(name: str, value: Any) -> Any:
    """A single value of a setting that takes a list becomes a list."""
    return (value,) if settings()[name].many and not isinstance(value, tuple) else value
