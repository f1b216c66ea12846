"""The trainer: fetch, forward, backward, update, notify."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from backends.runtime import copies
from backends.runtime import tf32 as _tf32
from backends.runtime.device import Device, resolve
from backends.runtime.threads import blas_threads
from dlcore._core.input_tree import mapped
from dlcore._core.validation import whole
from dlcore.data import Source, Stream, batches
from dlcore.data.augment import Augmentation
from dlcore.data.loader import numbers_of
from dlcore.data.source import BadExampleError, as_source, fingerprint
from dlcore.errors import ConfigError, DataError, TrainingError
from dlcore.nn.mode import evaluation
from dlcore.nn.module import Module, default_seed
from dlcore.optim import Adam, Constant, Optimizer, Schedule
from dlcore.optim.clipping import Clip
from dlcore.optim.penalties import Penalty
from dlcore.tensor import Tensor, no_grad
from dlcore.train.callbacks.progress_lines import ProgressLines, lines_of
from dlcore.train.checkpoint import snapshot
from dlcore.train.engine import resuming, shown
from dlcore.train.engine.batch import Feed
from dlcore.train.engine.callback import Callback
from dlcore.train.engine.callback_list import notified, notify
from dlcore.train.engine.evaluate import examples, measure, predictions
from dlcore.train.engine.history import History
from dlcore.train.engine.in_use import fitting, reading
from dlcore.train.engine.loss_buffer import Progress
from dlcore.train.engine.loss_scaling import PRECISIONS, Mixed
from dlcore.train.engine.memory import Memory
from dlcore.train.engine.objective import Measured, Objectives
from dlcore.train.engine.own_code import own_code
from dlcore.train.engine.recurrent_state import Carried, called
from dlcore.train.engine.signals import Interrupted, deferred
from dlcore.train.engine.step import one_step
from dlcore.train.engine.validate import (
    NORMALISES_ONE,
    check_schedule,
    check_set,
    examples_of,
    instance,
    least_rows,
    steps_of_epoch,
)

__all__ = ["Trainer"]

READ_EVERY = 50
"""Steps between two reads of the losses: a read waits for the device."""


class Trainer:
    """Trains, evaluates and predicts with one model on one device.

    model : Module; built on the first data where it is not built yet
    loss : "cross_entropy", "binary_cross_entropy", "mse", or a function (outputs, targets) -> scalar Tensor; a dict of
        them for a model with Heads. Targets of cross_entropy are integer labels, or float rows of class probabilities,
        of which the metrics take the most probable class
    optimizer : Optimizer; Adam() by default
    metrics : names or functions of ``dlcore.metrics``; a dict of lists for a model with Heads
    schedule : learning rate over epochs or steps; constant by default
    penalty : L1 or L2, part of the reported loss and also printed apart; its m is the number of training examples
    clip : clip_by_norm or clip_by_value
    device : "auto", "cpu", "cuda", "cuda:N" or a Device; None asks DLCORE_DEVICE
    seed : names the initial weights, the batch order, all masks and augmentations; ``dl.seed`` sets the default
    callbacks : run in this order
    loss_weights : by head, for several outputs; 1 by default
    augment : of ``dl.data.augment``, what is done to each training batch; evaluation sees the images as they are
    precision : "float32", "float64", or "mixed": float16 beside master parameters in float32, with a loss scale (see
        :mod:`dlcore.train.engine.loss_scaling`); by default the model's, float32 where it is not built yet
    memory_limit : the most that CuPy's pool may take of a CUDA device wherever the trainer computes, "4GiB" or a share
        such as 0.5 of the device's memory; no limit by default, and no effect on a CPU (see
        :mod:`backends.runtime.memory`)
    tf32 : compute products of float32 in TF32 wherever the trainer computes: faster on a GPU of compute capability 8.0
        or later, refused elsewhere; a CPU's and a GPU's results then differ by about 1e-3 (see
        :mod:`backends.runtime.tf32`)
    class_weight : of cross_entropy and binary_cross_entropy: "balanced", n / (k · n_c) of the training set's labels, as
        in scikit-learn; one weight a class; or a dict by label, where others weigh 1. With heads, a dict by head
    threads : of the BLAS on a CPU; with 1 a run gives the same bits on any number of cores. None leaves the BLAS's own

    >>> import dlcore as dl
    >>> data = dl.data.load("cars", normalize=True)
    >>> trainer = Trainer(dl.nn.Dense(1), loss="mse", optimizer=dl.optim.Adam(0.3), metrics=["r2"], device="cpu")
    >>> history = trainer.fit(data.train, data.dev, epochs=30)
    >>> history["loss"][-1] < history["loss"][0]
    True
    """

    def __init__(
        self,
        model: Module,
        loss: str | Callable[..., Tensor] | Mapping[str, Any] = "cross_entropy",
        optimizer: Optimizer | None = None,
        metrics: Sequence[Any] | Mapping[str, Sequence[Any]] = (),
        *,
        schedule: Schedule | None = None,
        penalty: Penalty | None = None,
        clip: Clip | None = None,
        device: str | Device | None = None,
        seed: int | None = None,
        callbacks: Sequence[Callback] = (),
        loss_weights: Mapping[str, float] | None = None,
        threads: int | None = 1,
        augment: Augmentation | None = None,
        precision: str | None = None,
        memory_limit: str | float | None = None,
        tf32: bool = False,
        class_weight: Any = None,
    ) -> None:
        optimizer = Adam() if optimizer is None else optimizer
        instance("model", model, Module, "a layer or model of dl.nn")
        instance("optimizer", optimizer, Optimizer, "such as dl.optim.Adam(1e-3)")
        instance("schedule", schedule, Schedule | None, "such as dl.optim.InverseTime(0.1)")
        instance("penalty", penalty, Penalty | None, "such as dl.optim.L2(1e-4)")
        instance("clip", clip, Clip | None, "such as dl.optim.clip_by_norm(1.0)")
        for callback in callbacks if isinstance(callbacks, Sequence) else [callbacks]:
            instance("callbacks", callback, Callback, "or rather a list of them, such as [dl.train.EarlyStopping()]")
        instance("augment", augment, Augmentation | None, "such as dl.data.augment.Flip()")
        self.model = model
        self.optimizer = optimizer
        self.objectives = Objectives(loss, metrics, loss_weights, class_weight)
        self.schedule = schedule or Constant()
        self.penalty = penalty
        self.clip = clip
        self.augment = augment
        self.device = resolve(device)
        self.seed = default_seed() if seed is None else whole("Trainer", "seed", seed)
        self.callbacks = list(callbacks)
        if precision not in (None, *PRECISIONS):
            raise ConfigError(f"Trainer: precision is {precision!r} but one of {', '.join(PRECISIONS)} is expected")
        self.precision = precision
        self.mixed = Mixed() if precision == "mixed" else None
        self.memory = Memory(self.device, memory_limit, mixed=self.mixed is not None)
        if not isinstance(tf32, bool):
            raise ConfigError(f"Trainer: tf32 is {tf32!r} but True or False is expected")
        if tf32:
            _tf32.check(self.device)
        self.tf32 = tf32
        self.threads = None if threads is None else whole("Trainer", "threads", threads, 1)
        self.history = History()
        self.epoch = 0
        self.fits = 0
        """Fits that have begun."""
        self.first_epoch = 0
        """The epoch in which the last of them began."""
        self.epochs = 0
        self.step = 0
        self.steps_per_epoch = 0
        self.examples: int | None = None
        """Of the training set, the m of the penalty; None where only the end of an iterable will tell."""
        self.least_rows = 1
        """Of a batch that can be trained on; a last batch of fewer is left out."""
        self.batch_size = 0
        self.drop_last = False
        self.fingerprints: dict[str, str | None] = {}
        """Of the training and the development set."""
        self.own_code: dict[str, Any] = {}
        """Digests of the user's own functions and classes, as this fit has begun with them."""
        self.progress = Progress(self.objectives)
        self.records: list[str] = []
        """The names of the figures in this fit's records that can be monitored."""
        self.saved: Path | None = None
        """The last good checkpoint of this run."""
        self.resumed: Path | None = None
        """The checkpoint from which this fit goes on."""
        self.complete = False
        """Whether the last fit came to its end."""
        self.interrupted = ""
        """What asked for the run to be saved and ended, such as "SIGTERM"."""
        self.abandoned = False
        """Whether a second signal came: end at once, and save nothing."""
        self.lr = self.optimizer.lr
        """The base learning rate, on which the schedule works."""
        self.stopping = False
        self._diverged = False
        self._fitting = False
        self._feed = Feed(self.device)

    def __repr__(self) -> str:
        return shown.trainer_text(self)

    def _repr_html_(self) -> str:
        """The settings, the model and the curves so far, for notebooks."""
        return shown.trainer_html(self)

    # --- the public verbs

    def fit(
        self,
        train: Any,
        dev: Any = None,
        epochs: int = 1,
        batch_size: int = 64,
        drop_last: bool = False,
        *,
        train_dev: Any = None,
        resume: str | Path | None = None,
        verbose: bool | None = None,
    ) -> History:
        """Train for ``epochs`` more passes over ``train``, and measure ``dev`` and ``train_dev`` after each.

        train, dev : a Dataset; or, for data beyond memory, an object with ``__len__`` and ``__getitem__`` whose items
            are (x, y), or an iterable of such pairs, which come in its own order
        drop_last : leave the last batch out where it is smaller than the others; a last batch of one example is left
            out in any case, with a warning, where a BatchNorm would see one position alone
        train_dev : a part of the training data that is held out, recorded as ``train_dev_...``: where ``dev`` is of
            another kind, it tells what that does from overfitting (see :func:`dlcore.diagnose`)
        resume : go on where a fit with the same arguments ended: its checkpoint or the folder of its run, of which the
            newest good checkpoint is taken; "auto" looks in the folder of this trainer's Checkpoint, and starts anew
            where that holds none. The result is, bit for bit, that of a fit that was never interrupted
        verbose : True prints one line after each epoch, as :class:`~dlcore.train.ProgressLines` does, False nothing;
            None prints on a terminal and in a notebook, and nothing where the output goes to a file, a pipe or pytest

        Returns the history of all epochs so far; where early stopping has restored an earlier epoch, a further fit goes
        on from there, and so does the history. Raises DataError, ConfigError and ShapeError before the first step
        where the data do not fit, CheckpointError where there is nothing to go on from, TrainingError where a loss is
        not finite, DeviceError where a CUDA device is out of memory, and Interrupted (a KeyboardInterrupt) where a
        signal ended a run that has a Checkpoint: the run is saved then.
        """
        whole("Trainer", "epochs", epochs, 0)
        batch_size = whole("Trainer", "batch_size", batch_size, 1)
        lines = lines_of(self, verbose)
        given = {"train": train, "dev": dev, "train_dev": train_dev}
        sets = {name: as_source(data, name) for name, data in given.items() if data is not None}
        if "train" not in sets:
            raise DataError("train: None came but a Dataset is expected; make one by dl.data.Dataset(x, y)")
        with fitting(self.model, *self._own()), self._once():
            found = None if resume is None else resuming.find(resume, self.callbacks)
            if found is not None and resume == "auto" and found.plain["fit"] <= self.fits:
                found = None  # of a fit that this trainer has done already
            self.batch_size = batch_size
            self._prepare(sets["train"])
            self.objectives.learn_from(getattr(sets["train"], "y", None))
            for name, data in sets.items():
                check_set(self, data, name)
            self.drop_last = drop_last
            self.fingerprints = {name: fingerprint(data) for name, data in sets.items()}
            self.examples = examples_of(self, sets["train"])
            self.least_rows = least_rows(self, sets["train"])
            self.steps_per_epoch = steps_of_epoch(self, sets["train"])
            self.records = self._recorded(sets)
            self.own_code = own_code(self)
            self.history.examples = {name: len(data) for name, data in sets.items() if isinstance(data, Source)}
            self.progress = Progress(self.objectives)
            self.stopping = self.abandoned = self.complete = self._diverged = False
            self.interrupted = ""
            with self.place(), deferred(self):
                self._attach()
                self.memory.begin()
                self.fits += 1
                self.first_epoch, self.resumed = self.epoch, None
                self.history.forget_after(self.epoch)
                if found is not None and resume == "auto" and found.plain["fit"] > self.fits:
                    self._pass_over(found)
                    return self.history
                if found is not None:
                    resuming.check(self, found)
                    resuming.put_back(self, found)
                self.epochs = self.first_epoch + epochs
                check_schedule(self)
                if found is not None and self.stopping and self.epochs > found.plain["epochs"]:
                    warnings.warn("resume: the run had been stopped early, and so nothing is left to do", stacklevel=2)
                with notified(self):
                    if found is not None:  # again: what on_start has changed, the run has changed since
                        resuming.put_back(self, found)
                        resuming.put_back_callbacks(self, found)
                    if lines is not None:
                        lines.on_start(self)
                    self._epochs(sets.pop("train"), sets, lines)
        return self.history

    def _pass_over(self, found: snapshot.Snapshot) -> None:
        """Leave out a fit that was done before the interruption: the one that was interrupted comes after it."""
        this = self.fits
        resuming.put_back(self, found)
        self.fits, self.resumed = this, None

    def evaluate(self, data: Any, batch_size: int = 256) -> dict[str, float]:
        """The loss (without penalty) and the metrics on ``data``, in evaluation mode.

        data : as ``train`` in :meth:`fit`
        batch_size : examples at a time; it changes the result by rounding alone

        The loss is the mean over the examples, each head's over its known labels, times ``loss_weights``. With weights
        of classes or examples it is Σ w l / Σ w over all of them; a loss of your own that returns anything but one call
        of a loss of :mod:`dlcore.losses` counts by the examples of a batch.

        >>> import dlcore as dl
        >>> data = dl.data.load("penguins", target="sex", normalize=True)
        >>> trainer = dl.Trainer(dl.nn.Dense(1), loss="binary_cross_entropy", metrics=["accuracy"], device="cpu")
        >>> _ = trainer.fit(data.train, epochs=20)
        >>> figures = trainer.evaluate(data.test)
        >>> sorted(figures), figures["accuracy"] > 0.6
        (['accuracy', 'loss'], True)
        """
        figures, measured = self.measure(data, batch_size)
        for head, number in measured.faults().get("not_a_number", {}).items():
            what = f"outputs of {head}" if head else "outputs"
            warnings.warn(
                f"evaluate: {what} of {number:,} examples are NaN: they count as wrong, a regression's figures are NaN",
                stacklevel=2,
            )
        return figures

    def measure(self, data: Any, batch_size: int = 256) -> tuple[dict[str, float], Measured]:
        """What :meth:`evaluate` gives, and the predictions and targets that the metrics are of.

        >>> import dlcore as dl
        >>> data = dl.data.load("cars", normalize=True)
        >>> trainer = dl.Trainer(dl.nn.Dense(1), loss="mse", metrics=["r2"], device="cpu")
        >>> figures, measured = trainer.measure(data.dev)
        >>> sorted(figures), list(measured.chance()["standard_errors"])
        (['loss', 'r2'], ['r2'])
        """
        whole("Trainer", "batch_size", batch_size, 1)
        source = as_source(data, "data")
        with self._reading("evaluate", source):
            check_set(self, source, "data")
            return measure(self, source, batch_size)

    def predict(self, x: Any, batch_size: int = 256) -> Any:
        """The model's outputs in evaluation mode, (N, ...) on the host: logits for a classifier; where the loss is
        StandardizedMSE, numbers in the unit of the targets.

        x : (N, ...) inputs, several in a tuple or a dict; or a Dataset or other source, of which the inputs, and
            lengths where there are any, are taken
        batch_size : examples at a time

        Gives a dict of arrays, by head, for a model with Heads. Raises DataError where x is empty or no array.

        >>> import dlcore as dl
        >>> trainer = dl.Trainer(dl.nn.Dense(3), device="cpu")
        >>> logits = trainer.predict(np.zeros((5, 4), np.float32))
        >>> logits.shape, logits.argmax(axis=1).shape
        ((5, 3), (5,))
        """
        whole("Trainer", "batch_size", batch_size, 1)
        x = examples(x, self.model)
        with self._reading("predict", x):
            return predictions(self, x, batch_size)

    def set_lr(self, lr: float) -> None:
        """Change the base learning rate, on which the schedule works, from the next step on.

        lr : learning rate, per step, at least 0; ConfigError otherwise

        By hand, as the notes allow for large models, or in a callback:

        >>> import dlcore as dl
        >>> data = dl.data.Dataset(np.eye(2, dtype=np.float32), np.arange(2))
        >>> trainer = dl.Trainer(dl.nn.Dense(2), optimizer=dl.optim.SGD(0.1), device="cpu")
        >>> _ = trainer.fit(data)
        >>> trainer.set_lr(0.01)
        >>> trainer.fit(data)["lr"]
        [0.1, 0.01]

        Source: notes, 3.7.
        """
        if not lr >= 0:
            raise ConfigError(f"set_lr: {lr!r} came but a number >= 0 is expected")
        self.lr = float(lr)

    @property
    def step_lr(self) -> float:
        """The learning rate of the last step, after the schedule; ``lr`` is the base rate, on which it works.

        >>> import dlcore as dl
        >>> class Watching(dl.train.Callback):
        ...     def on_step(self, trainer):
        ...         print(f"step {trainer.step}: rate {trainer.step_lr:g} of {trainer.lr:g}")
        >>> data = dl.data.Dataset(np.eye(2, dtype=np.float32), np.arange(2))
        >>> trainer = dl.Trainer(
        ...     dl.nn.Dense(2), optimizer=dl.optim.SGD(0.1), schedule=dl.optim.InverseTime(1.0), device="cpu",
        ...     callbacks=[Watching()],
        ... )
        >>> _ = trainer.fit(data, epochs=2)
        step 1: rate 0.1 of 0.1
        step 2: rate 0.05 of 0.1
        """
        return self.optimizer.lr

    def step_loss(self) -> float:
        """The loss of the last step, with the penalty, for ``on_step``; the call waits for the device.

        Raises ConfigError before the first step of an epoch. ``fit`` itself reads the losses every 50 steps.

        >>> import dlcore as dl
        >>> class Watching(dl.train.Callback):
        ...     def on_step(self, trainer):
        ...         if trainer.step % 10 == 0:
        ...             print(f"step {trainer.step}: {trainer.step_loss() < 0.2}")
        >>> data = dl.data.Dataset(np.eye(2, dtype=np.float32), np.arange(2))
        >>> rate = dl.optim.SGD(1.0)
        >>> trainer = dl.Trainer(dl.nn.Dense(2), optimizer=rate, device="cpu", callbacks=[Watching()])
        >>> _ = trainer.fit(data, epochs=20)
        step 10: True
        step 20: True
        """
        if self.progress.last is None:
            raise ConfigError("step_loss: no step of this epoch is done; call it in on_step, after a step")
        return float(copies.to_host(self.progress.last))

    def stop(self) -> None:
        """End training after this epoch.

        >>> import dlcore as dl
        >>> class Enough(dl.train.Callback):
        ...     def on_epoch(self, trainer, record):
        ...         if record["loss"] < 0.1:
        ...             trainer.stop()
        >>> data = dl.data.Dataset(np.eye(2, dtype=np.float32), np.arange(2))
        >>> trainer = dl.Trainer(dl.nn.Dense(2), optimizer=dl.optim.SGD(1.0), device="cpu", callbacks=[Enough()])
        >>> history = trainer.fit(data, epochs=1000)
        >>> len(history["loss"]) < 100
        True
        """
        self.stopping = True

    def interrupt(self, cause: str) -> None:
        """End training as soon as it can be resumed from there: after this step, or this batch of an evaluation.

        cause : what asked for it, such as "SIGTERM"

        ``fit`` then raises :class:`~dlcore.train.Interrupted`; with a Checkpoint the run has been saved before.

        >>> import dlcore as dl
        >>> class Quota(dl.train.Callback):
        ...     def on_step(self, trainer):
        ...         trainer.interrupt("the quota")
        >>> trainer = dl.Trainer(dl.nn.Dense(2), device="cpu", callbacks=[Quota()])
        >>> try:
        ...     trainer.fit(dl.data.Dataset(np.eye(2, dtype=np.float32), np.arange(2)))
        ... except dl.train.Interrupted as interruption:
        ...     print(interruption.cause)
        the quota
        """
        self.interrupted = cause

    def larger_is_better(self, name: str) -> bool:
        """Whether a larger value of a recorded figure is an improvement.

        name : such as "dev_accuracy"

        >>> import dlcore as dl
        >>> trainer = dl.Trainer(dl.nn.Dense(2), metrics=["accuracy"], device="cpu")
        >>> trainer.larger_is_better("dev_accuracy"), trainer.larger_is_better("dev_loss")
        (True, False)
        """
        metric = self.objectives.metric(name.removeprefix("train_").removeprefix("dev_"))
        return metric is not None and metric.larger_is_better

    # --- the epochs

    def _epochs(
        self, train: Source | Stream, held_out: Mapping[str, Source | Stream], lines: ProgressLines | None
    ) -> None:
        while self.epoch < self.epochs and (self.progress.batches or not self.stopping):
            self._pause()
            if not self.progress.batches:
                notify(self, "on_epoch_start")
            record = self._epoch(train, held_out)
            self.history.append(record)
            if lines is not None:
                lines.on_epoch(self, record)
            notify(self, "on_epoch", record)
            self.epoch += 1
            self.progress = Progress(self.objectives)
        self._pause()

    def _epoch(self, train: Source | Stream, held_out: Mapping[str, Source | Stream]) -> dict[str, Any]:
        """What is left of an epoch; its record."""
        progress = self.progress
        start = time.perf_counter() - progress.seconds
        self.model.train()
        progress.carried.on = Carried.over(train).on
        labels_unknown = getattr(train, "y", None) is None
        rest = batches(
            train, self.batch_size, drop_last=self.drop_last, seed=self.seed, epoch=self.epoch, start=progress.batches
        )
        before = progress.batches
        with self._fed(rest) as fed:
            for batch in fed:
                if batch.rows < self.least_rows:  # the last one
                    if isinstance(train, Stream) and self.epoch == self.first_epoch:
                        warnings.warn(f"train: its last example is left out: {NORMALISES_ONE}", stacklevel=4)
                    continue
                try:
                    one_step(self, batch, labels_unknown)
                except BadExampleError as error:
                    raise error.at(numbers_of(rest, progress.batches - before)) from None
                if progress.waiting >= READ_EVERY:
                    self.read_losses()
                progress.seconds = time.perf_counter() - start
                notify(self, "on_step")
                self._pause()
        self.read_losses()
        if not progress.batches:
            raise DataError(f"train: there was no batch of {self.batch_size} in epoch {self.epoch + 1}")
        seconds = time.perf_counter() - start
        _, penalty, rows = progress.sums
        known = rows or float("nan")  # in mixed precision every loss of a short epoch may be left out
        record: dict[str, Any] = {"epoch": self.epoch, "loss": progress.loss()}
        if self.penalty is not None:
            record["penalty"] = penalty / known
        record |= progress.measured.metrics() | progress.norms()
        if self.mixed is not None:
            record |= self.mixed.record()
        for part, data in held_out.items():
            record |= {f"{part}_{name}": value for name, value in measure(self, data, pause=True)[0].items()}
        return record | {"lr": self.optimizer.lr, "seconds": seconds, "examples_per_second": rows / seconds}

    def _pause(self) -> None:
        """A place from which a run can be resumed: end it here where that was asked for."""
        if self.interrupted:
            raise Interrupted(self.interrupted)

    def healthy(self) -> bool:
        """Whether every loss of this fit, weight and running statistic is finite, and so worth saving; waits for the
        device.

        Where it is not, a Checkpoint keeps what it has saved before, and writes nothing.

        >>> import dlcore as dl
        >>> trainer = dl.Trainer(dl.nn.Dense(2), device="cpu")
        >>> _ = trainer.fit(dl.data.Dataset(np.eye(2, dtype=np.float32), np.arange(2)))
        >>> trainer.healthy()
        True
        >>> trainer.model.b.data = [np.nan, 0.0]
        >>> trainer.healthy()
        False
        """
        with suppress(TrainingError):
            self.read_losses()
        return not self._diverged and resuming.first_not_finite(self.model.state_dict()) is None

    def read_losses(self) -> None:
        """Bring the losses since the last read to the host; raise TrainingError where one is not finite.

        In mixed precision that is no reason, for such a step is left out, unless it was so at the least loss scale.

        A callback that must know of a loss that is not finite calls it; ``fit`` does so every 50 steps and at the end
        of an epoch, for each read waits for the device.

        >>> import dlcore as dl
        >>> class Watchful(dl.train.Callback):
        ...     def on_step(self, trainer):
        ...         trainer.read_losses()
        >>> trainer = dl.Trainer(dl.nn.Dense(2), device="cpu", callbacks=[Watchful()])
        >>> len(trainer.fit(dl.data.Dataset(np.eye(2, dtype=np.float32), np.arange(2)))["loss"])
        1
        """
        bad = self.progress.read(leave_out=self.mixed is not None)
        if self.mixed is not None and self.mixed.half is not None:
            what = "the gradients are not finite" if bad is None else f"the loss is {bad[1]}"
            ago = self.mixed.read(self.optimizer)
            if ago is not None:
                raise self.divergence(
                    f"{what}, and was at every loss scale down to {self.mixed.least:g}", self.step - ago
                )
        elif bad is not None:
            ago, loss = bad
            raise self.divergence(f"the loss is {loss}", self.step - ago)

    def divergence(self, what: str, step: int) -> TrainingError:
        """The error that says what is not finite, where, and from what one can go on; nothing more is saved.

        >>> import dlcore as dl
        >>> str(dl.Trainer(dl.nn.Dense(2), device="cpu").divergence("the loss is nan", step=7))[:38]
        'the loss is nan in epoch 1, step 7; no'
        """
        self._diverged = True
        kept = f"the last good checkpoint is {self.saved}" if self.saved else "no checkpoint was written"
        return TrainingError(
            f"{what} in epoch {self.epoch + 1}, step {step}; {kept}; "
            "lower the learning rate, clip the gradients, or check the data"
        )

    def forward(self, x: Any, lengths: Any = None, carried: Carried | None = None) -> Any:
        """Outputs in evaluation mode; what ``model.train()`` and ``model.eval()`` have set stays as it is.

        x : (N, ...) Tensor or array on the model's device, which is built
        lengths : (N,) valid steps of sequences, None where all are valid
        carried : the state that goes on from batch to batch, of a text

        >>> import dlcore as dl
        >>> trainer = dl.Trainer(dl.nn.Sequential(dl.nn.Dropout(0.5), dl.nn.Flatten()).build((2,)), device="cpu")
        >>> trainer.forward(np.ones((1, 2), np.float32)).numpy()  # nothing is dropped
        array([[1., 1.]], dtype=float32)
        """
        with reading(self.model, "forward"), evaluation(), no_grad():
            return called(self.model, x, lengths, carried)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Where and how wide everything runs: the model's device is current and within its limit, and the BLAS has its
        threads. Raises DeviceError where the device is out of memory.

        A loop of one's own with a trainer's settings stands in it:

        >>> import dlcore as dl
        >>> trainer = dl.Trainer(dl.nn.Dense(2).build((3,)), device="cpu", threads=1)
        >>> with trainer.place():
        ...     y = trainer.model(np.ones((4, 3), np.float32))
        >>> y.shape
        (4, 2)
        """
        with self.memory.bounded(), blas_threads(self.threads), _tf32.products_in_tf32(self.tf32, self.device):
            yield

    # --- data

    @contextmanager
    def _reading(self, verb: str, data: Source | Stream) -> Iterator[None]:
        """Inside, the model is built and on the device, and no fit in another thread changes it."""

        def is_ready() -> bool:
            return self.model.vector is not None and self.model.device == self.device

        with reading(self.model, verb, is_ready, lambda: self._prepare(data)):
            self._check_precision()
            yield

    def _own(self) -> list[Any]:
        """What a fit changes besides the model: the optimiser, the norm of a clip, and callbacks that remember."""
        clip = [self.clip] if hasattr(self.clip, "norm") else []
        return [self.optimizer, *clip, *(one for one in self.callbacks if one.remembers)]

    def _prepare(self, data: Source | Stream) -> None:
        """Build the model where needed, and bring it to the device."""
        model = self.model
        if model.vector is None:
            ids = mapped(lambda kind: "int64" if kind.kind in "iub" else None, data.dtype)
            dtype = "float64" if self.precision == "float64" else "float32"
            with self.place():
                model.build(data.shape, self.seed, dtype=dtype, device=self.device, input_dtype=ids)
        self._check_precision()
        if model.device != self.device:
            with self.place():
                model.to(self.device)

    def _check_precision(self) -> None:
        own = str(self.model.built().dtype).rpartition(".")[2]
        if self.precision is not None and own != {"mixed": "float32"}.get(self.precision, self.precision):
            raise ConfigError(
                f"Trainer: precision is {self.precision!r} but the model was built in {own}; build it anew, or leave "
                "precision out"
            )

    def _attach(self) -> None:
        """Make the optimiser the model's, on its device, and start from no gradient."""
        vector = self.model.built()
        if self.optimizer.vector is not vector:
            self.optimizer.attach(self.model)
        self.optimizer.to(self.device)
        if self.mixed is None:
            self.optimizer.counts = None
        else:
            self.mixed.attach(self.model, self.optimizer)
        self.model.clock.seed = self.seed
        vector.zero_grad()

    def _recorded(self, sets: Mapping[str, Any]) -> list[str]:
        """The names of the figures in a record that can be monitored."""
        measured = ["loss", *self.objectives.names()]
        penalty = ["penalty"] if self.penalty is not None else []
        held_out = [part for part in sets if part != "train"]
        return [*measured, *penalty, *(f"{part}_{name}" for part in held_out for name in measured)]

    def _precision(self) -> str:
        return str(self.model.built().dtype).split(".")[-1]

    def upload(self, host: np.ndarray | tuple[Any, ...] | Mapping[str, Any]) -> Any:
        """One host array to the device, floats in the model's precision; of several inputs each.

        The model must be built.

        >>> import dlcore as dl
        >>> trainer = dl.Trainer(dl.nn.Dense(2).build((3,)), device="cpu")
        >>> trainer.upload(np.ones((1, 3), np.float64)).dtype
        dtype('float32')
        """
        if not isinstance(host, np.ndarray):
            return mapped(self.upload, host)
        if host.dtype.kind == "f":
            host = host.astype(self._precision(), copy=False)
        return copies.to_device(host, self.device)

    def _fed(self, host: Iterable[tuple[Any, ...]], targets: bool = True) -> closing[Any]:
        """The batches on the device, floats in the model's precision: one upload each, the next one ahead."""
        return closing(self._feed(host, self._precision(), targets))  # type: ignore[type-var]  a generator

    @contextmanager
    def _once(self) -> Iterator[None]:
        if self._fitting:
            raise ConfigError(
                "fit: it was called inside a fit of the same trainer; call trainer.stop() and fit again after"
            )
        self._fitting = True
        try:
            yield
        finally:
            self._fitting = False
