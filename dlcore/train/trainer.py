"""The trainer: fetch, forward, backward, update, notify."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from backends import transfer
from backends.device import Device, resolve
from backends.namespace import namespace_of
from backends.threads import blas_threads
from dlcore import losses
from dlcore import metrics as _metrics
from dlcore.data import Dataset, batches
from dlcore.errors import ConfigError, DataError, TrainingError
from dlcore.nn.module import Module, default_seed
from dlcore.optim import Adam, Constant, Optimizer, Schedule
from dlcore.optim.clipping import Clip
from dlcore.optim.penalties import Penalty
from dlcore.tensor import Tensor, no_grad
from dlcore.train.callbacks import Callback
from dlcore.train.history import History

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
        self.model = model
        self.optimizer = optimizer if optimizer is not None else Adam()
        self.objectives = _objectives(loss, metrics, loss_weights)
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
        self._diverged = False
        self._lr = self.optimizer.lr
        self._stopping = False
        self._ring: list[tuple[Any, Any, int]] = []

    # --- the public verbs

    def fit(self, train: Dataset, dev: Dataset | None = None, epochs: int = 1, batch_size: int = 64) -> History:
        """Train for ``epochs`` more passes over ``train``, and measure ``dev`` after each.

        Returns the history of all epochs so far. Raises DataError, ConfigError and ShapeError before the first step
        where the data do not fit, and TrainingError where a loss is not finite.
        """
        _whole("epochs", epochs, 0)
        _whole("batch_size", batch_size, 1)
        self._prepare(train)
        for data, name in ((train, "train"), (dev, "dev")):
            if data is not None:
                self._check(data, name)
        self.epochs = self.epoch + epochs
        self.steps_per_epoch = -(-len(train) // batch_size)
        self._stopping = False
        with self._place():
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
        self._prepare(data)
        self._check(data, "data")
        measured = _Measured(self.objectives)
        total = 0.0
        with self._place():
            for x, y, rows in self._batches(data, batch_size):
                outputs = self._forward(x)
                total += transfer.to_host(self._loss(outputs, y).data).item() * rows
                measured.add(outputs)
        return {"loss": total / len(data), **measured.metrics(data.y)}

    def predict(self, x: Any, batch_size: int = 256) -> Any:
        """The model's outputs for ``x``, (N, ...) on the host, in evaluation mode: logits for a classifier."""
        x = np.asarray(x)
        if not len(x):
            raise DataError("predict: no examples came; pass at least one")
        self._prepare(Dataset(x, np.zeros(len(x), dtype=np.int64)))
        with self._place():
            parts = [
                _each(lambda y: transfer.to_host(y.data), self._forward(self._upload(x[start : start + batch_size])))
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
        metric = name.removeprefix("dev_")
        for objective in self.objectives.values():
            metric = metric.removeprefix(f"{objective.name}_") if objective.name else metric
        if metric in ("loss", "penalty", "seconds"):
            return False
        return _metrics.named(metric).larger_is_better

    # --- one epoch

    def _epoch(self, train: Dataset, dev: Dataset | None, batch_size: int) -> dict[str, Any]:
        start = time.perf_counter()
        self.model.train()
        measured = _Measured(self.objectives)
        self._sums = np.zeros(3)  # of loss · rows, penalty · rows, rows
        order = batches(Dataset(train.x, np.arange(len(train))), batch_size, seed=self.seed, epoch=self.epoch)
        seen = []
        for x, rows in order:
            y = _each(lambda target, rows=rows: self._upload(target[rows]), train.y)
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
        record |= measured.metrics(_each(lambda target: target[rows], train.y))
        if dev is not None:
            record |= {f"dev_{name}": value for name, value in self.evaluate(dev).items()}
        return record | {
            "lr": self.optimizer.lr,
            "seconds": seconds,
            "examples_per_second": len(train) / seconds,
        }

    def _one_step(self, x: Any, y: Any, rows: int, measured: _Measured) -> None:
        """Forward, backward, update: nothing here waits for the device."""
        self.optimizer.lr = self.schedule(self._lr, self.epoch, self.step + 1)
        outputs = self.model(x)
        loss = self._loss(outputs, y)
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
        """Whether every loss so far was finite, and so the weights are worth saving; waits for the device."""
        with suppress(TrainingError):
            self._read_losses()
        return not self._diverged

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

    def _loss(self, outputs: Any, y: Any) -> Tensor:
        if not isinstance(outputs, dict):
            return self.objectives[""].loss(outputs, y)
        total = None
        for name, objective in self.objectives.items():
            target, weight = losses.known(y[name])
            term = objective.loss(outputs[name], target, sample_weight=weight) * objective.weight
            total = term if total is None else total + term
        if total is None:
            raise ConfigError("loss: the model gives a dict of outputs but there is no loss; pass a dict of losses")
        return total

    def _forward(self, x: Any) -> Any:
        """Outputs in evaluation mode; the model's own mode is put back."""
        was_training = self.model.training
        self.model.eval()
        try:
            with no_grad():
                return self.model(x)
        finally:
            self.model.train(was_training)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Where and how wide everything runs: the model's device is current, and the BLAS has its threads."""
        with self.device.active(), blas_threads(self.threads):
            yield

    # --- data

    def _prepare(self, data: Dataset) -> None:
        """Build the model where needed, and bring it and the optimiser to the device."""
        model = self.model
        with self._place():
            self._bring(model, data)

    def _bring(self, model: Module, data: Dataset) -> None:
        if model.vector is None:
            integer = np.issubdtype(data.x.dtype, np.integer)
            model.build(data.x.shape[1:], self.seed, device=self.device, input_dtype="int64" if integer else None)
        if model.device != self.device:
            model.to(self.device)
        if self.optimizer.model is not model:
            model.clock.seed = self.seed
            self.optimizer.attach(model)

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
        for objective in self.objectives.values():
            objective.check(data.y, name, self.model)

    def _batches(self, data: Dataset, batch_size: int) -> Any:
        for start in range(0, len(data), batch_size):
            part = slice(start, start + batch_size)
            y = _each(lambda target, part=part: self._upload(target[part]), data.y)
            x = data.x[part]
            yield self._upload(x), y, len(x)

    def _upload(self, host: np.ndarray) -> Any:
        """One host array to the device, floats in the model's precision."""
        if host.dtype.kind == "f":
            host = host.astype(str(self.model.built().dtype).split(".")[-1], copy=False)
        return transfer.to_device(host, self.device)

    def _notify(self, event: str, *args: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *args)


class _Objective:
    """One output's loss, its weight in the total and its metrics."""

    def __init__(self, name: str, loss: Any, metrics: Sequence[Any], weight: float) -> None:
        self.name = name
        self.loss = losses.named(loss)
        self.weight = float(weight)
        self.metrics = [_metrics.named(metric) for metric in metrics]

    @property
    def prefix(self) -> str:
        return f"{self.name}_" if self.name else ""

    def target(self, y: Any) -> Any:
        return y[self.name] if self.name else y

    def check(self, y: Any, set_name: str, model: Module) -> None:
        if bool(self.name) != isinstance(y, dict) or (self.name and self.name not in y):
            raise DataError(
                f"{set_name}: targets {'by name: ' + ', '.join(y) if isinstance(y, dict) else 'without names'} came "
                f"but the loss is {'for ' + self.name if self.name else 'one for all'}; use Heads with a dict of losses"
            )
        if self.loss is not losses.cross_entropy or self.name:
            return
        shape = model.output_shape
        labels = self.target(y)
        if shape is not None and labels.dtype.kind in "iu" and (labels.min() < 0 or labels.max() >= shape[-1]):
            where = int(np.flatnonzero((labels < 0) | (labels >= shape[-1]))[0])
            raise DataError(
                f"{set_name}: label {labels.ravel()[where]} of example {where} is out of range, 0 to {shape[-1] - 1} "
                f"expected for the model's {shape[-1]} outputs; check the labels or the last layer's units"
            )


def _objectives(loss: Any, metrics: Any, weights: Mapping[str, float] | None) -> dict[str, _Objective]:
    if not isinstance(loss, Mapping):
        return {"": _Objective("", loss, list(metrics), 1.0)}
    weights = weights or {}
    by_head = metrics if isinstance(metrics, Mapping) else {}
    foreign = (set(weights) | set(by_head)) - set(loss)
    if foreign:
        raise ConfigError(f"loss: {', '.join(sorted(foreign))} has no loss; heads with a loss are {', '.join(loss)}")
    return {
        name: _Objective(name, one, list(by_head.get(name, ())), weights.get(name, 1.0)) for name, one in loss.items()
    }


class _Measured:
    """Predictions of many batches, kept on the device and read once, for the metrics."""

    def __init__(self, objectives: dict[str, _Objective]) -> None:
        self.objectives = {name: o for name, o in objectives.items() if o.metrics}
        self.kept: dict[tuple[str, str], list[Any]] = {}

    def add(self, outputs: Any) -> None:
        for name, objective in self.objectives.items():
            scores = (outputs[name] if name else outputs).data
            for needs in {metric.needs for metric in objective.metrics}:
                kept = scores if needs == "scores" else losses.decode(objective.loss, scores)
                self.kept.setdefault((name, needs), []).append(kept)

    def metrics(self, y: Any) -> dict[str, float]:
        host = {key: transfer.to_host(namespace_of(parts[0]).concat(parts, axis=0)) for key, parts in self.kept.items()}
        values = {}
        for name, objective in self.objectives.items():
            target = objective.target(y)
            present = np.ones(len(target), dtype=bool)
            if name:
                present = losses.known(target)[1] > 0
            for metric in objective.metrics:
                predicted = host[name, metric.needs]
                values[f"{objective.prefix}{metric.name}"] = float(metric(target[present], predicted[present]))
        return values


def _each(function: Callable[[Any], Any], value: Any) -> Any:
    """``function`` of an array, or of every array in a dict."""
    return {name: function(v) for name, v in value.items()} if isinstance(value, dict) else function(value)


def _whole(name: str, value: int, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise ConfigError(f"Trainer: {name} is {value!r} but a whole number >= {low} is expected")
    return int(value)
