"""The base of the callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dlcore._core.configurable import Recorded

if TYPE_CHECKING:
    from dlcore.train.engine.trainer import Trainer

__all__ = ["Callback"]


class Callback(Recorded):
    """Base of the callbacks: override what is needed. ``trainer.stop()`` ends training after the epoch.

    A callback that remembers something between epochs gives it in ``state_dict`` and takes it back in
    ``load_state_dict``, so that a resumed run is the same run.

    >>> import dlcore as dl
    >>> class Slowing(Callback):  # halves the learning rate whenever the loss has risen
    ...     def on_start(self, trainer):
    ...         self.last = float("inf")
    ...     def on_epoch(self, trainer, record):
    ...         if record["loss"] > self.last:
    ...             trainer.set_lr(trainer.lr / 2)
    ...         self.last = record["loss"]
    ...     def state_dict(self):
    ...         return {"last": self.last}
    ...     def load_state_dict(self, state):
    ...         self.last = state["last"]
    >>> trainer = dl.Trainer(dl.nn.Dense(2), device="cpu", callbacks=[Slowing()])
    >>> import numpy as np
    >>> data = dl.data.Dataset(np.eye(2, dtype=np.float32), np.arange(2))
    >>> len(trainer.fit(data, epochs=3)["loss"])
    3
    >>> class Spoken(Callback):
    ...     def on_epoch_start(self, trainer):
    ...         print(f"epoch {trainer.epoch}:", end="")
    ...     def on_step(self, trainer):
    ...         print(f" step {trainer.step}", end="")
    ...     def on_end(self, trainer):
    ...         print("; done")
    >>> _ = dl.Trainer(dl.nn.Dense(2), device="cpu", callbacks=[Spoken()]).fit(data, batch_size=1)
    epoch 0: step 1 step 2; done
    """

    saves_runs: bool = False
    """Whether a run with this callback can be resumed: a signal then ends it between two steps, and it is saved."""

    @property
    def remembers(self) -> bool:
        """Whether it has a ``state_dict`` of its own: then it serves one fit at a time.

        >>> from dlcore.train import EarlyStopping
        >>> EarlyStopping().remembers, Callback().remembers
        (True, False)
        """
        return type(self).state_dict is not Callback.state_dict

    def on_start(self, trainer: Trainer) -> None:
        """Before the first epoch; the model is built and on its device."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Before the first step of ``trainer.epoch``; not again where a run goes on in the middle of it."""

    def on_step(self, trainer: Trainer) -> None:
        """After each step; ``trainer.step`` counts them over the run, ``trainer.step_lr`` is its learning rate, and
        ``trainer.step_loss()`` its loss, for which it waits for the device."""

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """After each epoch, with its record, which ``trainer.history`` holds too."""

    def on_interrupt(self, trainer: Trainer) -> None:
        """A signal ends training here, between two steps; ``on_end`` follows."""

    def on_end(self, trainer: Trainer) -> None:
        """After the last epoch; also where an error or Ctrl-C ends training."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: JSON values and NumPy arrays, in dicts and lists; empty where there is nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave; called after ``on_start``."""
