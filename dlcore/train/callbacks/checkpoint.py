"""What happens around training: callbacks, run in the order of their list."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcore._core.configurable import Recorded
from dlcore._core.lock import Lock
from dlcore._core.validation import number, whole
from dlcore.errors import ConfigError
from dlcore.train.checkpoint import model_json, snapshot
from dlcore.train.checkpoint.arrays import remove_leftovers, save_weights

if TYPE_CHECKING:
    from dlcore.train.engine.trainer import Trainer

__all__ = ["Callback", "Checkpoint", "EarlyStopping"]


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
            self._kept = snapshot.after_epoch(trainer)
        elif record["epoch"] - self.best_epoch >= self.patience:
            trainer.history.stopped_epoch = record["epoch"]
            trainer.stop()

    def on_end(self, trainer: Trainer) -> None:
        if not self._kept:
            return
        if trainer.complete and "optimizer" in self._kept:
            snapshot.go_back(trainer, self._kept)
        else:  # an interrupted run goes on from its checkpoint; one of version 0.1 has kept the weights alone
            trainer.model.load_state_dict(self._kept["model"])
        trainer.history.best_epoch = self.best_epoch

    def state_dict(self) -> dict[str, Any]:
        kept = {name: value for name, value in self._kept.items() if name != "model"}
        return {"best": self.best, "best_epoch": self.best_epoch, "weights": self._kept.get("model", {}), "kept": kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self._kept = {"model": dict(state["weights"]), **state.get("kept", {})} if state["weights"] else {}


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
        trainer.saved = snapshot.write(path, snapshot.take(trainer, epoch_done), self._log)
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
