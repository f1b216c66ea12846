"""Saving a run while it trains."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcore._core.lock import Lock
from dlcore._core.validation import number, whole
from dlcore.errors import ConfigError
from dlcore.train.checkpoint import model_json, snapshot
from dlcore.train.checkpoint.arrays import remove_leftovers, save_weights
from dlcore.train.engine import resuming
from dlcore.train.engine.callback import Callback

if TYPE_CHECKING:
    from dlcore.train.engine.trainer import Trainer

__all__ = ["Checkpoint"]


class Checkpoint(Callback):
    """Save the run, so that it survives whatever happens: after each epoch, and more often if you like.

    folder : of the run; ``folder/checkpoints`` holds the states from which ``fit(resume=...)`` goes on,
        ``folder/model.safetensors`` the weights at the end, ``folder/model.json`` what the model is made of, unless one
        is there
    every_steps : save also each so many steps
    every_minutes : save also where so many minutes have passed since the last time
    keep : states that are kept, the newest ones, besides the one after the best epoch
    monitor : what makes an epoch the best, "dev_loss" where it is measured, else "loss", by default

    While training goes on, Ctrl-C, SIGTERM and SIGHUP save the run and end it with Interrupted; a second Ctrl-C ends it
    at once. Another process that trains into the same folder is refused, and so is a folder that holds another run.
    Wherever it stands in the list, it is run after the others: what it saves is the state after all have acted.

    >>> import dlcore as dl, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> def trainer():
    ...     return dl.Trainer(dl.nn.Dense(2), device="cpu", callbacks=[Checkpoint(folder, every_minutes=10)])
    >>> import numpy as np
    >>> data = dl.data.Dataset(np.eye(2, dtype=np.float32), np.arange(2))
    >>> _ = trainer().fit(data, epochs=2)
    >>> again = trainer()  # in another process, say, after a kill
    >>> len(again.fit(data, epochs=3, resume="auto")["loss"]), again.resumed.name
    (3, 'step-00000002.safetensors')
    >>> again.callbacks[0].path.name  # the weights at the end
    'model.safetensors'
    """

    saves_runs = True

    lock: Lock | None = None
    """The folder's lock, where whoever made the folder holds it already."""

    def __init__(
        self,
        folder: str | Path,
        every_steps: int | None = None,
        every_minutes: float | None = None,
        keep: int = 2,
        monitor: str | None = None,
    ) -> None:
        self.folder = Path(folder).expanduser()
        self.every_steps = None if every_steps is None else whole("Checkpoint", "every_steps", every_steps, 1)
        self.every_minutes = (
            None if every_minutes is None else number("Checkpoint", "every_minutes", every_minutes, 0, math.inf)
        )
        self.keep = whole("Checkpoint", "keep", keep, 1)
        self.monitor = monitor
        self.best: float | None = None
        self.best_step = -1

    @property
    def path(self) -> Path:
        """The weights at the end."""
        return self.folder / "model.safetensors"

    def on_start(self, trainer: Trainer) -> None:
        self._watched = self.monitor or ("dev_loss" if "dev_loss" in trainer.records else "loss")
        if self._watched not in trainer.records:
            raise ConfigError(
                f"Checkpoint: {self._watched!r} is not recorded; choose from {', '.join(trainer.records)}"
            )
        self._sign = 1.0 if trainer.larger_is_better(self._watched) else -1.0
        self._first_step = trainer.step
        self._held = self.lock or Lock(self.folder).acquire()
        try:
            self._take_over(trainer)
            self._log = snapshot.log_of(self.folder, trainer.step)
        except BaseException:
            self._let_go()
            raise
        self._saved_at = time.monotonic()

    def _take_over(self, trainer: Trainer) -> None:
        """Make sure that the folder is this run's, and tidy it."""
        there = snapshot.paths(self.folder)
        last = None if trainer.saved is None else trainer.saved.resolve()
        if last in {path.resolve() for step, path in there.items() if step > trainer.step}:
            self._forget_after(trainer)  # this trainer's own, and it has gone back to its best epoch since
            return
        if not there:
            self.best, self.best_step = None, -1
        elif last not in {path.resolve() for path in there.values()}:
            raise ConfigError(
                f"Checkpoint: {self.folder} holds the checkpoints of another run, up to step {max(there)}; go on with "
                "it by fit(resume='auto'), or choose another folder"
            )
        description = self.folder / "model.json"
        if description.exists() and not model_json.is_of(description, trainer.model):
            raise ConfigError(f"Checkpoint: {description} is of another model; choose another folder")
        remove_leftovers(self.folder / snapshot.FOLDER, ["step-*.safetensors"])
        remove_leftovers(self.folder, ["*.json", "*.jsonl", "config.toml", "model.*", "curves.png", "report.html"])
        for step, path in there.items():
            if step > trainer.step:  # damaged, or of a way that is not gone again
                aside = path.with_suffix(".aside")
                path.replace(aside)
                warnings.warn(
                    f"{path} is put aside as {aside.name}: the run goes on from step {trainer.step}", stacklevel=2
                )
        if not description.exists():
            model_json.save_model(description, trainer.model)

    def _forget_after(self, trainer: Trainer) -> None:
        """Remove the states of later steps; what is left is of the way that is gone on."""
        for step, path in reversed(snapshot.paths(self.folder).items()):
            if step > trainer.step:
                path.unlink(missing_ok=True)
        trainer.saved = next(reversed(snapshot.paths(self.folder).values()), None)
        if self.best_step > trainer.step:
            self.best, self.best_step = None, -1

    def _let_go(self) -> None:
        if self.lock is None:
            self._held.release()

    def on_step(self, trainer: Trainer) -> None:
        by_steps = self.every_steps is not None and trainer.step % self.every_steps == 0
        minutes = (time.monotonic() - self._saved_at) / 60
        if by_steps or (self.every_minutes is not None and minutes >= self.every_minutes):
            self.save(trainer)

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        value = float(record[self._watched])
        if not math.isnan(value) and (self.best is None or self._sign * (value - self.best) > 0):
            self.best, self.best_step = value, trainer.step
        self.save(trainer, epoch_done=True)

    def on_interrupt(self, trainer: Trainer) -> None:
        self.save(trainer)

    def on_end(self, trainer: Trainer) -> None:
        trained = trainer.step > self._first_step or trainer.resumed is not None
        try:
            if trained and not trainer.abandoned and trainer.healthy():
                self._held.check()
                about = {"step": str(trainer.step), "complete": "yes" if trainer.complete else "no"}
                save_weights(trainer.model, self.path, about)
        finally:
            self._let_go()

    def save(self, trainer: Trainer, epoch_done: bool = False) -> Path:
        """Write the state now, and remove what is not kept any more.

        trainer : whose run it is
        epoch_done : whether the epoch is at its end, and its record written

        Raises TrainingError where something is not finite, CheckpointError where the file cannot be written: what was
        saved before stays.

        A callback that knows a good moment calls it:

        >>> import dlcore as dl, tempfile
        >>> checkpoint = Checkpoint(tempfile.mkdtemp())
        >>> class Wary(Callback):
        ...     def on_step(self, trainer):
        ...         if trainer.step == 1:
        ...             print(checkpoint.save(trainer).name)
        >>> import numpy as np
        >>> data = dl.data.Dataset(np.eye(2, dtype=np.float32), np.arange(2))
        >>> _ = dl.Trainer(dl.nn.Dense(2), device="cpu", callbacks=[Wary(), checkpoint]).fit(data, batch_size=1)
        step-00000001.safetensors
        """
        self._held.check()
        path = self.folder / snapshot.FOLDER / f"step-{trainer.step:08}.safetensors"
        trainer.saved = snapshot.write(path, resuming.take(trainer, epoch_done), self._log)
        self._saved_at = time.monotonic()
        past = {step: old for step, old in snapshot.paths(self.folder).items() if step <= trainer.step}
        for step in [*past][: -self.keep]:
            if step != self.best_step:
                past[step].unlink(missing_ok=True)
        return path

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_step": self.best_step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.best_step = state["best"], state["best_step"]
