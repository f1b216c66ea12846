"""Early stopping, and the return to the best epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dlcore._core.validation import number, whole
from dlcore.errors import ConfigError
from dlcore.train.engine import resuming
from dlcore.train.engine.callback import Callback

if TYPE_CHECKING:
    from dlcore.train.engine.trainer import Trainer

__all__ = ["EarlyStopping"]


class EarlyStopping(Callback):
    """Stop when a figure has not improved for some epochs; restore the best weights in any case.

    patience : epochs without improvement after which training stops
    monitor : name in the epoch's record, such as "dev_loss" or "dev_accuracy"
    min_delta : how much better counts as an improvement

    The weights of the best epoch are restored at the end, whether or not the run was stopped early, and with them all
    from which another ``fit`` goes on: running statistics, the optimiser's state, the learning rate, and the counters
    of epochs and steps, which name schedule, order and masks. It goes on as if there had been no epoch after the best
    one, and so does the history. Losses and errors are better when smaller, other metrics when larger.

    >>> import dlcore as dl
    >>> data = dl.data.load("penguins", target="sex", normalize=True)
    >>> model = dl.nn.Sequential(dl.nn.Dense(16), dl.nn.ReLU(), dl.nn.Dense(1))
    >>> stopping = EarlyStopping(patience=3, monitor="dev_loss")
    >>> trainer = dl.Trainer(model, "binary_cross_entropy", dl.optim.Adam(0.03), device="cpu", callbacks=[stopping])
    >>> history = trainer.fit(data.train, data.dev, epochs=200)
    >>> len(history["loss"]) == history.stopped_epoch + 1 == history.best_epoch + 4 < 200
    True
    >>> stopping.best == min(history["dev_loss"])
    True

    Source: notes, 2.3.
    """

    def __init__(self, patience: int = 3, monitor: str = "dev_loss", min_delta: float = 0.0) -> None:
        self.patience = whole("EarlyStopping", "patience", patience, 1)
        self.monitor = monitor
        self.min_delta = number("EarlyStopping", "min_delta", min_delta, -math.inf, math.inf, "()")
        self.best: float | None = None
        self.best_epoch = -1
        self._kept: Mapping[str, Any] = {}

    def on_start(self, trainer: Trainer) -> None:
        if self.monitor not in trainer.records:
            raise ConfigError(
                f"EarlyStopping: {self.monitor!r} is not recorded; give fit a dev set, or choose from "
                f"{', '.join(trainer.records)}"
            )
        self.best, self.best_epoch, self._kept = None, -1, {}
        trainer.history.stopped_epoch = None
        self._sign = 1.0 if trainer.larger_is_better(self.monitor) else -1.0

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        value = float(record[self.monitor])
        if math.isnan(value):
            value = -self._sign * math.inf  # no figure is worse
        if self.best is None or self._sign * (value - self.best) > self.min_delta:
            self.best, self.best_epoch = value, record["epoch"]
            self._kept = resuming.after_epoch(trainer)
        elif record["epoch"] - self.best_epoch >= self.patience:
            trainer.history.stopped_epoch = record["epoch"]
            trainer.stop()

    def on_end(self, trainer: Trainer) -> None:
        if not self._kept:
            return
        if trainer.complete and "optimizer" in self._kept:
            resuming.go_back(trainer, self._kept)
        else:  # an interrupted run goes on from its checkpoint; one of version 0.1 has kept the weights alone
            trainer.model.load_state_dict(self._kept["model"])
        trainer.history.best_epoch = self.best_epoch

    def state_dict(self) -> dict[str, Any]:
        kept = {name: value for name, value in self._kept.items() if name != "model"}
        return {"best": self.best, "best_epoch": self.best_epoch, "weights": self._kept.get("model", {}), "kept": kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self._kept = {"model": dict(state["weights"]), **state.get("kept", {})} if state["weights"] else {}
