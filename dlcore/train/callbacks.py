"""What happens around training: callbacks, run in the order of their list."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore.errors import ConfigError
from dlcore.recorded import Recorded
from dlcore.train.checkpoint import save_weights

if TYPE_CHECKING:
    from dlcore.train.trainer import Trainer

__all__ = ["Callback", "Checkpoint", "EarlyStopping"]


class Callback(Recorded):
    """Base of the callbacks: override what is needed. ``trainer.stop()`` ends training after the epoch."""

    def on_start(self, trainer: Trainer) -> None:
        """Before the first epoch; the model is built and on its device."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Before the first step of ``trainer.epoch``."""

    def on_step(self, trainer: Trainer) -> None:
        """After each step; ``trainer.step`` counts them over the run. Reading a loss here waits for the device."""

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """After each epoch, with its record, which ``trainer.history`` holds too."""

    def on_end(self, trainer: Trainer) -> None:
        """After the last epoch; also where an error or Ctrl-C ends training."""


class EarlyStopping(Callback):
    """Stop when a figure has not improved for some epochs; restore the best weights in any case.

    patience : epochs without improvement after which training stops
    monitor : name in the epoch's record, such as "dev_loss" or "dev_accuracy"
    min_delta : how much better counts as an improvement

    The weights of the best epoch are restored at the end, whether or not the run was stopped early. Losses and errors
    are better when smaller, other metrics when larger.

    Source: notes, 2.3.
    """

    def __init__(self, patience: int = 3, monitor: str = "dev_loss", min_delta: float = 0.0) -> None:
        if patience < 1:
            raise ConfigError(f"EarlyStopping: patience is {patience} but at least 1 epoch is expected")
        self.patience = patience
        self.monitor = monitor
        self.min_delta = min_delta
        self.best: float | None = None
        self.best_epoch = -1
        self._weights: dict[str, np.ndarray] = {}

    def on_start(self, trainer: Trainer) -> None:
        if self.monitor not in trainer.records:
            raise ConfigError(
                f"EarlyStopping: {self.monitor!r} is not recorded; give fit a dev set, or choose from "
                f"{', '.join(trainer.records)}"
            )
        self.best, self.best_epoch, self._weights = None, -1, {}
        trainer.history.stopped_epoch = None
        self._sign = 1.0 if trainer.larger_is_better(self.monitor) else -1.0

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        value = float(record[self.monitor])
        if math.isnan(value):
            value = -self._sign * math.inf  # no figure is worse
        if self.best is None or self._sign * (value - self.best) > self.min_delta:
            self.best, self.best_epoch = value, record["epoch"]
            self._weights = trainer.model.state_dict()
        elif record["epoch"] - self.best_epoch >= self.patience:
            trainer.history.stopped_epoch = record["epoch"]
            trainer.stop()

    def on_end(self, trainer: Trainer) -> None:
        if self._weights:
            trainer.model.load_state_dict(self._weights)
            trainer.history.best_epoch = self.best_epoch


class Checkpoint(Callback):
    """Write the weights to ``folder/model.safetensors`` at the end, unless a loss was not finite.

    In a list it comes after EarlyStopping, whose restored weights it then writes.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def path(self) -> Path:
        return self.folder / "model.safetensors"

    def on_end(self, trainer: Trainer) -> None:
        if trainer.healthy():
            save_weights(trainer.model, self.path)
