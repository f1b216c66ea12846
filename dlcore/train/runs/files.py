"""The files of a run that callbacks write: what it is at the start, its figures and its health, line by line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcore._core.plain import plain
from dlcore.train.callbacks.gradient_health import GradientHealth
from dlcore.train.checkpoint.lines import LinesFile
from dlcore.train.config import config
from dlcore.train.engine.callback import Callback
from dlcore.train.runs.creation import write_settings
from dlcore.train.runs.learned_rows import write_rows
from dlcore.train.runs.model_about import about

if TYPE_CHECKING:
    from dlcore.data import Splits
    from dlcore.train.engine.trainer import Trainer

__all__ = ["TIMING", "Begin", "HealthFile", "MetricsFile"]


TIMING = ("seconds", "examples_per_second")
"""Figures that differ each time; they stand in a file of their own."""


class Begin(Callback):
    """Write what a run is as soon as it is sure to begin: config.toml and model.json; a former result is void.

    settings : as the run was asked for
    data : what it learns from

    >>> import tempfile
    >>> settings = config.Config.of(data="penguins", target="sex", epochs=1)
    >>> data = settings.data.load()
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = settings.trainer(data, "cpu", [Begin(folder, settings, data)]).fit(data.train)
    >>> sorted(path.name for path in folder.iterdir())
    ['config.toml', 'model.json']
    """

    def __init__(self, folder: str | Path, settings: config.Config, data: Splits) -> None:
        self.folder = Path(folder)
        self.settings = settings
        self.data = data

    def on_start(self, trainer: Trainer) -> None:
        settings = self.settings
        write_settings(self.folder, settings)
        if trainer.resumed is None:
            from dlcore.train.checkpoint import model_json

            own = settings.model.model if ".py:" in (settings.model.model or "") else None
            known = about(settings, self.data)
            model_json.save_model(
                self.folder / "model.json",
                trainer.model,
                reference=own,
                outputs=config.outputs_of(self.data),
                about=known,
            )
            write_rows(self.folder, self.data.digests)


class MetricsFile(Callback):
    """Append the record of each epoch, one JSON record a line, and how long the epoch took to a second file.

    path : of the figures; they depend on the run alone, not on the machine's speed
    timing : of the rest; beside the first, ``timing.jsonl``

    JSON has no NaN and no infinity: such a figure is null.

    >>> import dlcore as dl, numpy as np, tempfile
    >>> import json
    >>> file = MetricsFile(f"{tempfile.mkdtemp()}/metrics.jsonl")
    >>> data = dl.data.Dataset(np.eye(2, dtype=np.float32), np.arange(2))
    >>> _ = dl.Trainer(dl.nn.Dense(2), device="cpu", callbacks=[file]).fit(data, epochs=2)
    >>> [sorted(json.loads(line)) for line in file.path.read_text().splitlines()]
    [['epoch', 'loss', 'lr'], ['epoch', 'loss', 'lr']]
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.timing = self.path.with_name("timing.jsonl")
        self._files = ((LinesFile(self.timing), _times), (LinesFile(self.path), _figures))

    def on_start(self, trainer: Trainer) -> None:
        for file, _ in self._files:
            file.begin()

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        for file, line in self._files:
            file.follow(trainer.history.records, line)

    def on_end(self, trainer: Trainer) -> None:
        if trainer.complete:
            for file, line in self._files:
                file.end(trainer.history.records, line)


def _figures(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in plain(dict(record)).items() if name not in TIMING}


def _times(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in plain(dict(record)).items() if name in ("epoch", *TIMING)}


class HealthFile(Callback):
    """Append the record of a :class:`GradientHealth` after each epoch, one JSON record a line.

    health : another callback of the same trainer, before this one
    """

    def __init__(self, path: str | Path, health: GradientHealth) -> None:
        self.path, self.health = Path(path), health
        self._file = LinesFile(self.path)

    def on_start(self, trainer: Trainer) -> None:
        self._file.begin()

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self._file.follow(self.health.records)

    def on_end(self, trainer: Trainer) -> None:
        if trainer.complete:
            self._file.end(self.health.records)
