"""The training set of a run of knn, memorised: it stands in the place of a network (notes 4.1)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.runtime.device import Device
from backends.runtime.threads import blas_threads
from dlcore import metrics
from dlcore.data import batches
from dlcore.data.source import as_source
from dlcore.errors import ConfigError
from dlcore.experiment.examined import check
from dlcore.neighbors import MIB, KNNClassifier, least_memory
from dlcore.train.checkpoint import model_json
from dlcore.train.config.config import Config
from dlcore.train.runs import model_about

if TYPE_CHECKING:
    from dlcore.data import Splits
    from dlcore.data.dataset import Part
    from dlcore.train.runs.run import Run

__all__ = ["BATCH", "Memory", "about_of", "asked_of", "labels_of", "remembered"]

BATCH = 256
"""Queries at a time."""

Asked = Callable[[int], Any]
"""Is told how many more queries have been answered."""


class Memory:
    """A training set, memorised, and what it answers.

    settings : resolved, of a run of knn
    data : whose training set is memorised, on ``device``
    seconds : that it took, without the reading of files

    Raises ConfigError for more neighbours than there are examples.
    """

    def __init__(self, settings: Config, data: Splits, device: Device) -> None:
        model, examples = settings.model, len(data.train)
        k = model.neighbors or 1
        if k > examples:
            raise ConfigError(f"neighbors is {k:,} but there are {examples:,} training examples; lower neighbors")
        self.threads = settings.train.threads
        self.metrics = [metrics.named(metric) for metric in settings.metrics(data)]
        self.outputs = len(data.classes or "01")  # a binary task has two, with names or without
        self.classifier = KNNClassifier(
            k,
            metric=model.distance or "l2",
            weights=model.votes or "uniform",
            memory=max(256 * MIB, 4 * least_memory(k, math.prod(data.train.shape))),
            device=device,
        )
        x, y, *_ = data.train.rows(slice(None))
        begin = time.perf_counter()
        with blas_threads(self.threads):
            self.classifier.fit(x, labels_of(y))
        self.seconds = time.perf_counter() - begin

    def answer(self, x: Any) -> np.ndarray:
        """The share of the votes for each class: (Q, ...) -> (Q, K) float64."""
        with blas_threads(self.threads):
            found = self.classifier.predict_proba(x)
        shares = np.zeros((len(found), self.outputs))
        shares[:, self.classifier.classes] = found  # a class without a training example has no vote
        return shares

    def measure(self, part: Part, asked: Asked | None = None) -> tuple[dict[str, float], np.ndarray, float]:
        """The metrics on a part of the data, the labels that were predicted, and the seconds that the answers took."""
        shares, seconds = asked_of(self.answer, part, asked)
        y, labels = labels_of(part.y), shares.argmax(axis=1)  # of equals the smallest label
        found = {
            m.name: m.measure(y, shares if m.needs == "scores" else labels, self.outputs == 2) for m in self.metrics
        }
        return found, labels, seconds

    def faults(self, part: Part, labels: np.ndarray) -> dict[str, Any]:
        """How many examples there are of the classes that are never predicted, as :meth:`Measured.faults` has it."""
        classes, numbers = np.unique(labels_of(part.y), return_counts=True)
        never = {int(c): int(n) for c, n in zip(classes, numbers, strict=True) if c not in labels}
        return {"never_predicted": {"": never}} if never else {}


def asked_of(answer: Callable[[Any], Any], part: Part, asked: Asked | None = None) -> tuple[np.ndarray, float]:
    """All answers, (N, ...), and the seconds they took; fetching the queries does not count."""
    parts, seconds = [], 0.0
    for x, *_ in batches(as_source(part), BATCH, shuffle=False):
        begin = time.perf_counter()
        parts.append(answer(x))
        seconds += time.perf_counter() - begin
        if asked is not None:
            asked(len(x))
    return np.concatenate(parts), seconds


def labels_of(y: Any) -> np.ndarray:
    """Targets (N,), or of a binary task (N, 1), as whole numbers (N,)."""
    return np.asarray(y).reshape(-1).astype(np.int64)


def remembered(run: Run, device: Device, part: str = "train") -> tuple[Memory, Splits, dict[str, Any]]:
    """The training set of a run, memorised again, with all its data and what model.json would say of them now.

    part : of the data, checked as the training set is; raises and warns as :func:`dlcore.experiment.examined.check`
    """
    about, shape = model_json.load_about(run.folder)
    data = run.settings.data.load()
    check(data, shape, about, part)
    settings = run.settings.resolve(data)
    return Memory(settings, data, device), data, about_of(settings, data)


def about_of(settings: Config, data: Splits) -> dict[str, Any]:
    """What model.json says of the data that are memorised."""
    return model_about.about(settings, data) | {"model": "knn", "loss": None}
