"""Training runs on the CPU and on the device: equal weights at the start, the loss of every step compared.

In float64 sums in another order differ by some 1e-15 of their size, which training makes larger, and any number beyond
:data:`ALLOWED` is an error of a kernel. In float32 the same errors are 5e8 times as large, and now and then one of them
moves a number across the kink of a ReLU or of a pool: what is allowed there only shows that both runs learn the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import dlcore as dl
from backends.runtime import copies
from backends.runtime.device import CPU, Device
from dlcore import losses as losses_of
from gpu.result import Result, judged

__all__ = ["ALLOWED", "RUNS", "Run", "check", "compared", "neighbours"]

STEPS = 50
ALLOWED = {"float32": 1e-3, "float64": 1e-9}
"""The largest difference of two losses, relative to the loss."""

nn, optim = dl.nn, dl.optim


@dataclass(frozen=True)
class Run:
    """A training run.

    data : makes the examples (x, y), float32 and what the loss takes
    model, optimizer : make what their names say
    """

    name: str
    data: Callable[[], tuple[np.ndarray, np.ndarray]]
    model: Callable[[], dl.nn.Module]
    optimizer: Callable[[], Any]
    loss: str = "cross_entropy"
    batch: int = 32
    augment: Any = None
    penalty: Any = None
    clip: Any = None

    def losses(self, device: Device, dtype: str, steps: int) -> tuple[bytes, list[float]]:
        """The weights at the start, and the loss of each step; the step itself copies nothing and waits for nothing."""
        x, y = self.data()
        model = self.model().build(x.shape[1:], seed=3, dtype=dtype, device=device)
        vector = model.built()
        initial, found = copies.to_host(vector.theta).tobytes(), []
        rule, epoch = self.optimizer().attach(model), 0
        with device.active():
            while len(found) < steps:
                for some, labels in dl.data.batches(dl.data.Dataset(x, y), self.batch, seed=3, epoch=epoch):
                    if len(found) == steps:
                        break
                    inputs = copies.to_device(some.astype(dtype), device)
                    targets = copies.to_device(labels.astype(dtype) if labels.dtype.kind == "f" else labels, device)
                    if self.augment is not None:  # which draws on the host
                        inputs = self.augment(inputs, 3, len(found))
                    with copies.guard("forbid"):
                        found.append(self._step(model, rule, inputs, targets))
                epoch += 1
        return initial, [float(copies.to_host(loss)) for loss in found]

    def _step(self, model: dl.nn.Module, rule: Any, x: Any, y: Any) -> Any:
        loss = losses_of.named(self.loss)(model(x), y)
        if self.penalty is not None:
            loss = loss + self.penalty(model, len(x))
        loss.backward()
        if self.clip is not None:
            self.clip(model)
        rule.step()
        rule.zero_grad()
        return loss.data


def _digits() -> tuple[np.ndarray, np.ndarray]:
    train = dl.data.load("digits", normalize=True).train[:512]
    return np.asarray(train.x), np.asarray(train.y)


def _fashion() -> tuple[np.ndarray, np.ndarray]:
    train = dl.data.load("fashion-subset", normalize=True).train[:256]
    return np.asarray(train.x), np.asarray(train.y)


def _cars() -> tuple[np.ndarray, np.ndarray]:
    train = dl.data.load("cars", normalize=True).train
    return np.asarray(train.x), np.asarray(train.y)


def _sex() -> tuple[np.ndarray, np.ndarray]:
    """The penguins whose sex is known, 0 or 1."""
    train = dl.data.load("penguins", normalize=True).train
    y = np.asarray(train.y["sex"], np.float32)
    known = np.isfinite(y[:, 0]) & (y[:, 0] >= 0)
    return np.asarray(train.x)[known], y[known]


def _mlp() -> dl.nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Dense(96), nn.ReLU(), nn.Dense(40), nn.ReLU(), nn.Dense(10))


def _cnn() -> dl.nn.Module:
    return nn.Sequential(
        nn.Conv2D(12, 3, padding="same", bias=False), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2D(2),
        nn.Conv2D(20, 3, padding="same"), nn.ReLU(), nn.MaxPool2D(2),
        nn.Flatten(), nn.Dense(10),
    )  # fmt: skip


def _with_dropout() -> dl.nn.Module:
    return nn.Sequential(
        nn.Conv2D(8, 5, stride=2), nn.LeakyReLU(), nn.Dropout(0.2), nn.AvgPool2D(2), nn.Conv2D(12, 1), nn.Tanh(),
        nn.Flatten(), nn.Dropout(0.4), nn.Dense(10),
    )  # fmt: skip


RUNS = (
    Run("mlp, momentum", _digits, _mlp, lambda: optim.Momentum(0.1, nesterov=True)),
    Run("cnn, batch norm, adam", _fashion, _cnn, lambda: optim.Adam(3e-3)),
    Run(
        "cnn, dropout, augmentation, adamw", _fashion, _with_dropout, lambda: optim.AdamW(2e-3),
        augment=dl.data.augment.Compose(
            [dl.data.augment.Flip(), dl.data.augment.Rotate(10), dl.data.augment.Shift(2), dl.data.augment.Cutout(5)]
        ),
    ),
    Run(
        "regression, rmsprop, penalty, clipped", _cars,
        lambda: nn.Sequential(nn.Dense(64), nn.Tanh(), nn.Dense(32), nn.Sigmoid(), nn.Dense(1)),
        lambda: optim.RMSprop(1e-3), loss="mse", penalty=optim.L2(0.1), clip=optim.clip_by_norm(1.0),
    ),
    Run(
        "two classes, adagrad, clipped by value", _sex, lambda: nn.Sequential(nn.Dense(16), nn.ReLU(), nn.Dense(1)),
        lambda: optim.Adagrad(0.05), loss="binary_cross_entropy", penalty=optim.L1(0.01), clip=optim.clip_by_value(0.1),
    ),
)  # fmt: skip


def compared(run: Run, device: Device, dtype: str, steps: int = STEPS) -> dict[str, Any]:
    """Both runs: the largest difference of a loss, relative to the CPU's, where it is, and whether it passes."""
    (weights, ours), (others, theirs) = (run.losses(place, dtype, steps) for place in (CPU, device))
    apart = np.abs(np.array(theirs) - ours) / np.abs(ours)
    worst = int(np.argmax(np.where(np.isfinite(apart), apart, np.inf)))
    same = weights == others
    learnt = np.mean(ours[-5:]) < np.mean(ours[:5])
    return {
        "run": run.name, "dtype": dtype, "steps": steps, "equal_weights": same, "learnt": bool(learnt),
        "difference": float(apart[worst]), "step": worst + 1, "allowed": ALLOWED[dtype],
        "cpu": ours, "device": theirs, "ok": bool(same and apart[worst] <= ALLOWED[dtype]),
    }  # fmt: skip


def neighbours(device: Device, metric: str) -> dict[str, Any]:
    """A classifier on both: its labels must be equal, and its distances up to rounding."""
    x, y = _digits()
    labels, distances = [], []
    for place in (CPU, device):
        classifier = dl.neighbors.KNNClassifier(3, metric, device=str(place)).fit(x[:400], y[:400])
        labels.append(classifier.predict(x[400:]))
        distances.append(classifier.neighbors(x[400:])[0])
    apart = float(np.max(np.abs(distances[1] - distances[0])) / np.max(distances[0]))
    same = np.array_equal(*labels)
    return {
        "run": f"nearest neighbours, {metric}", "dtype": "float32", "equal_labels": same, "difference": apart,
        "allowed": 1e-5, "ok": bool(same and apart <= 1e-5),
    }  # fmt: skip


def check(device: Device, steps: int = STEPS) -> Result:
    """All runs in both dtypes, and the neighbours by both metrics."""
    found = [compared(run, device, dtype, steps) for run in RUNS for dtype in ("float32", "float64")]
    found += [neighbours(device, metric) for metric in ("l1", "l2")]
    bad = [f"{one['run']} in {one['dtype']}: {one['difference']:.1e}, {one['allowed']:.0e} allowed" for one in found
           if not one["ok"]]  # fmt: skip
    largest = {dtype: max(one["difference"] for one in found if one["dtype"] == dtype) for dtype in ALLOWED}
    words = ", ".join(f"{value:.1e} in {dtype}" for dtype, value in largest.items())
    return judged(not bad, f"losses differ by up to {words}", worst=bad, largest=largest, runs=found)
