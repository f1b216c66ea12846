"""The trainer: fetch, forward, backward, update, notify."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from backends import transfer
from backends.device import Device, resolve
from backends.namespace import namespace_of
from backends.threads import blas_threads
from dlcore.data import Dataset, batches
from dlcore.errors import ConfigError, DataError, TrainingError
from dlcore.nn.layers import BatchNorm
from dlcore.nn.module import Module, default_seed
from dlcore.optim import Adam, Constant, Optimizer, Schedule
from dlcore.optim.clipping import Clip
from dlcore.optim.penalties import Penalty
from dlcore.tensor import Tensor, no_grad
from dlcore.train.callbacks import Callback
from dlcore.train.history import History
from dlcore.train.objectives import Measured, Objectives, each

__all__ = ["Trainer"]

READ_EVERY = 50
"""Steps between two reads of the losses: a read waits for the device."""


class Trainer:
    """Trains, evaluates and predicts with one model on one device.

    model : Module; built on the first data where it is not built yet
    loss : "cross_entropy", "binary_cross_entropy", "mse", or a function (outputs, targets) -> scalar Tensor; a dict of
        them for a model with Heads
    optimizer : Optimizer; Adam() by default
    metrics : names or functions of ``dlcore.metrics``; a dict of lists for a model with Heads
    schedule : learning rate over epochs or steps; constant by default
    penalty : L1 or L2, part of the reported loss and also printed apart
    clip : clip_by_norm or clip_by_value
    device : "auto", "cpu", "cuda", "cuda:N" or a Device; None asks DLCORE_DEVICE
    seed : names the initial weights, the batch order and all masks; ``dl.seed`` sets the default
    callbacks : run in this order
    loss_weights : by head, for several outputs; 1 by default
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
    ) -> None:
        optimizer = Adam() if optimizer is None else optimizer
        _object("model", model, Module, "a layer or model of dl.nn")
        _object("optimizer", optimizer, Optimizer, "such as dl.optim.Adam(1e-3)")
        _object("schedule", schedule, Schedule | None, "such as dl.optim.InverseTime(0.1)")
        _object("penalty", penalty, Penalty | None, "such as dl.optim.L2(1e-4)")
        _object("clip", clip, Clip | None, "such as dl.optim.clip_by_norm(1.0)")
        self.model = model
        self.optimizer = optimizer
        self.objectives = Objectives(loss, metrics, loss_weights)
        self.schedule = schedule or Constant()
        self.penalty = penalty
        self.clip = clip
        self.device = resolve(device)
        self.seed = default_seed() if seed is None else int(seed)
        self.callbacks = list(callbacks)
        self.threads = None if threads is None else _whole("threads", threads, 1)
        self.history = History()
        self.epoch = 0
        self.epochs = 0
        self.step = 0
        self.steps_per_epoch = 0
        self.records: list[str] = []
        """The names of the figures in this fit's records that can be monitored."""
        self._drop_last = False
        self._diverged = False
        self._lr = self.optimizer.lr
        self._stopping = False
        self._ring: list[tuple[Any, Any, int]] = []

    # --- the public verbs

    def fit(
        self,
        train: Dataset,
        dev: Dataset | None = None,
        epochs: int = 1,
        batch_size: int = 64,
        drop_last: bool = False,
    ) -> History:
        """Train for ``epochs`` more passes over ``train``, and measure ``dev`` after each.

        drop_last : leave the last batch out where it is smaller than the others

        Returns the history of all epochs so far. Raises DataError, ConfigError and ShapeError before the first step
        where the data do not fit, and TrainingError where a loss is not finite.
        """
        _whole("epochs", epochs, 0)
        _whole("batch_size", batch_size, 1)
        sets = {"train": train} | ({} if dev is None else {"dev": dev})
        for name, data in sets.items():
            _dataset(name, data)
        self._prepare(train)
        for name, data in sets.items():
            self._check(data, name)
        self.epochs = self.epoch + epochs
        self.steps_per_epoch = len(train) // batch_size if drop_last else -(-len(train) // batch_size)
        self._check_last_batch(len(train), batch_size, drop_last)
        self.records = self._recorded(dev)
        self._drop_last = drop_last
        self._stopping = self._diverged = False
        self._ring.clear()
        with self._place():
            self._attach()
            self._notify("on_start")
            try:
                while self.epoch < self.epochs and not self._stopping:
                    self._notify("on_epoch_start")
                    record = self._epoch(train, dev, batch_size)
                    self.history.append(record)
                    self._notify("on_epoch", record)
                    self.epoch += 1
            finally:
                self._notify("on_end")
        return self.history

    def evaluate(self, data: Dataset, batch_size: int = 256) -> dict[str, float]:
        """The loss (without penalty) and the metrics on ``data``, in evaluation mode."""
        _whole("batch_size", batch_size, 1)
        _dataset("data", data)
        self._prepare(data)
        self._check(data, "data")
        return self._measure(data, batch_size)

    def _measure(self, data: Dataset, batch_size: int = 256) -> dict[str, float]:
        """The loss, each head's over its own known labels, and the metrics."""
        measured = Measured(self.objectives)
        sums = dict.fromkeys(self.objectives, 0.0)
        with self._place():
            for x, y, rows in self._batches(data, batch_size):
                outputs = self._forward(x)
                for name, value in self.objectives.losses(outputs, y).items():
                    sums[name] += transfer.to_host(value.data).item() * rows[name]
                measured.add(outputs)
            values = measured.metrics(data.y)
        counts = self.objectives.rows(data.y)
        loss = sum(self.objectives[name].weight * total / max(counts[name], 1) for name, total in sums.items())
        return {"loss": loss, **values}

    def predict(self, x: Any, batch_size: int = 256) -> Any:
        """The model's outputs for ``x``, (N, ...) on the host, in evaluation mode: logits for a classifier."""
        _whole("batch_size", batch_size, 1)
        x = np.asarray(x)
        if not x.ndim or not len(x):
            raise DataError("predict: no examples came; pass at least one")
        self._prepare(Dataset(x, np.zeros(len(x), dtype=np.int64)))
        with self._place():
            parts = [
                each(lambda y: transfer.to_host(y.data), self._forward(self._upload(x[start : start + batch_size])))
                for start in range(0, len(x), batch_size)
            ]
        if isinstance(parts[0], dict):
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return np.concatenate(parts)

    def set_lr(self, lr: float) -> None:
        """Change the base learning rate, on which the schedule works, from the next step on."""
        if not lr >= 0:
            raise ConfigError(f"set_lr: {lr!r} came but a number >= 0 is expected")
        self._lr = float(lr)

    def stop(self) -> None:
        """End training after this epoch."""
        self._stopping = True

    def larger_is_better(self, name: str) -> bool:
        """Whether a larger value of a recorded figure is an improvement."""
        metric = self.objectives.metric(name.removeprefix("dev_"))
        return metric is not None and metric.larger_is_better

    # --- one epoch

    def _epoch(self, train: Dataset, dev: Dataset | None, batch_size: int) -> dict[str, Any]:
        start = time.perf_counter()
        self.model.train()
        measured = Measured(self.objectives)
        self._sums = np.zeros(3)  # of loss · rows, penalty · rows, rows
        numbered = Dataset(train.x, np.arange(len(train)))
        order = batches(numbered, batch_size, drop_last=self._drop_last, seed=self.seed, epoch=self.epoch)
        seen = []
        for x, rows in order:
            y = each(lambda target, rows=rows: self._upload(target[rows]), train.y)
            self._one_step(self._upload(x), y, len(rows), measured)
            seen.append(rows)
            if len(self._ring) >= READ_EVERY:
                self._read_losses()
            self._notify("on_step")
        self._read_losses()
        sums = self._sums
        rows = np.concatenate(seen)
        seconds = time.perf_counter() - start
        record: dict[str, Any] = {"epoch": self.epoch, "loss": float(sums[0] / sums[2])}
        if self.penalty is not None:
            record["penalty"] = float(sums[1] / sums[2])
        record |= measured.metrics(each(lambda target: target[rows], train.y))
        if dev is not None:
            record |= {f"dev_{name}": value for name, value in self._measure(dev).items()}
        return record | {
            "lr": self.optimizer.lr,
            "seconds": seconds,
            "examples_per_second": len(rows) / seconds,
        }

    def _one_step(self, x: Any, y: Any, rows: int, measured: Measured) -> None:
        """Forward, backward, update: nothing here waits for the device."""
        self.optimizer.lr = self.schedule(self._lr, self.epoch, self.step + 1)
        outputs = self.model(x)
        loss = self.objectives.loss(outputs, y)
        penalty = None
        if self.penalty is not None:
            penalty = self.penalty(self.model, rows)
            loss = loss + penalty
        loss.backward()
        if self.clip is not None:
            self.clip(self.model)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self._ring.append((loss.data, None if penalty is None else penalty.data, rows))
        measured.add(outputs)

    def healthy(self) -> bool:
        """Whether every loss of this fit and every weight is finite, and so worth saving; waits for the device."""
        with suppress(TrainingError):
            self._read_losses()
        return not self._diverged and bool(np.isfinite(transfer.to_host(self.model.built().theta)).all())

    def _read_losses(self) -> None:
        """Bring the losses since the last read to the host, check them, and sum them up: one wait for the device."""
        if not self._ring:
            return
        xp = namespace_of(self._ring[0][0])
        columns = [[loss for loss, _, _ in self._ring]]
        if self.penalty is not None:
            columns.append([penalty for _, penalty, _ in self._ring])
        host = transfer.to_host(xp.stack([xp.stack([xp.asarray(v) for v in column]) for column in columns]))
        values = host.astype(np.float64)
        rows = np.array([r for _, _, r in self._ring])
        first = self.step - len(self._ring) + 1
        self._ring.clear()
        bad = np.flatnonzero(~np.isfinite(values[0]))
        if bad.size:
            self._diverged = True
            raise TrainingError(
                f"the loss is {values[0][bad[0]]} in epoch {self.epoch + 1}, step {first + bad[0]}; "
                "lower the learning rate, clip the gradients, or check the data"
            )
        penalties = values[1] if self.penalty is not None else np.zeros(len(rows))
        self._sums += (values[0] @ rows, penalties @ rows, rows.sum())

    def _forward(self, x: Any) -> Any:
        """Outputs in evaluation mode; the mode of each layer is put back."""
        modes = [(module, module.training) for _, module in self.model.named_modules()]
        self.model.eval()
        try:
            with no_grad():
                return self.model(x)
        finally:
            for module, training in modes:
                module.training = training

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Where and how wide everything runs: the model's device is current, and the BLAS has its threads."""
        with self.device.active(), blas_threads(self.threads):
            yield

    # --- data

    def _prepare(self, data: Dataset) -> None:
        """Build the model where needed, and bring it to the device."""
        model = self.model
        if model.vector is None:
            integer = np.issubdtype(data.x.dtype, np.integer)
            model.build(data.x.shape[1:], self.seed, device=self.device, input_dtype="int64" if integer else None)
        if model.device != self.device:
            model.to(self.device)

    def _attach(self) -> None:
        """Make the optimiser the model's, on its device, and start from no gradient."""
        vector = self.model.built()
        if self.optimizer.vector is not vector:
            self.optimizer.attach(self.model)
        self.optimizer.to(self.device)
        self.model.clock.seed = self.seed
        vector.zero_grad()

    def _check(self, data: Dataset, name: str) -> None:
        """What can be wrong with a set for this model, said before the first launch."""
        if not len(data):
            raise DataError(f"{name}: the set is empty; at least one example is expected")
        expected = self.model.input_shape
        if tuple(data.x.shape[1:]) != expected:
            raise DataError(
                f"{name}: examples have shape {tuple(data.x.shape[1:])} but the model was built for {expected}; "
                "rebuild the model, or reshape the data"
            )
        with self._place(), no_grad():  # two rows through all that follows, so that what does not fit shows now
            few = data[: min(2, len(data))]
            outputs = self._forward(self._upload(few.x))
            self.objectives.check(data, name, each(lambda y: y.data, outputs))
            self.objectives.loss(outputs, each(self._upload, few.y))
            measured = Measured(self.objectives)
            measured.add(outputs)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a figure of two examples may be undefined
                measured.metrics(few.y)

    def _check_last_batch(self, examples: int, batch_size: int, drop_last: bool) -> None:
        if not self.steps_per_epoch:
            raise DataError(
                f"train: {examples} examples make no batch of {batch_size} with drop_last; lower batch_size"
            )
        normalised = any(isinstance(module, BatchNorm) for _, module in self.model.named_modules())
        if normalised and not drop_last and (examples - 1) % batch_size == 0:
            raise DataError(
                f"train: the last batch would hold 1 of {examples} examples, which BatchNorm cannot normalise; "
                "use another batch_size, or drop_last=True"
            )

    def _recorded(self, dev: Dataset | None) -> list[str]:
        """The names of the figures in a record that can be monitored."""
        measured = ["loss", *self.objectives.names()]
        penalty = ["penalty"] if self.penalty is not None else []
        return [*measured, *penalty, *(f"dev_{name}" for name in measured if dev is not None)]

    def _batches(self, data: Dataset, batch_size: int) -> Any:
        for start in range(0, len(data), batch_size):
            part = slice(start, start + batch_size)
            y = each(lambda target, part=part: self._upload(target[part]), data.y)
            x = data.x[part]
            yield self._upload(x), y, self.objectives.rows(each(lambda target, part=part: target[part], data.y))

    def _upload(self, host: np.ndarray) -> Any:
        """One host array to the device, floats in the model's precision."""
        if host.dtype.kind == "f":
            host = host.astype(str(self.model.built().dtype).split(".")[-1], copy=False)
        return transfer.to_device(host, self.device)

    def _notify(self, event: str, *args: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *args)


def _dataset(name: str, data: Any) -> None:
    if not isinstance(data, Dataset):
        raise DataError(
            f"{name}: {type(data).__name__} came but a Dataset is expected; make one by dl.data.Dataset(x, y)"
        )


def _object(name: str, value: Any, kind: Any, example: str) -> None:
    if not isinstance(value, kind):
        raise ConfigError(f"Trainer: {name} is {value!r:.60} but an object is expected, {example}")


def _whole(name: str, value: int, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise ConfigError(f"Trainer: {name} is {value!r} but a whole number >= {low} is expected")
    return int(value)
