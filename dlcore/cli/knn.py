"""``dlcore train --model knn``: nearest neighbours beside a network (notes 4.1).

The classifier learns at once and then compares each query with all that it has seen; the network learns slowly and
answers at once. Both are asked the same queries in the same batches, on the same device and number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.device import Device
from backends.threads import blas_threads
from dlcore import metrics, report
from dlcore.cli import summary
from dlcore.cli.examined import check
from dlcore.cli.progress import counting
from dlcore.cli.strict_json import json_text
from dlcore.data import batches
from dlcore.data.source import as_source
from dlcore.diagnosis import faults_of
from dlcore.errors import ConfigError
from dlcore.neighbors import MIB, KNNClassifier, least_memory
from dlcore.train import Interrupted, rebuild
from dlcore.train import run as folders
from dlcore.train._classes import with_names
from dlcore.train.checkpoint import write_atomically
from dlcore.train.config import Config, dump
from dlcore.train.learned_rows import write_rows
from dlcore.train.lines import ProgressLines

if TYPE_CHECKING:
    from dlcore.cli.train import Log
    from dlcore.data import Splits
    from dlcore.data.dataset import Part
    from dlcore.train import Trainer
    from dlcore.train.lock import Lock
    from dlcore.train.run import Run

__all__ = ["Knn", "Memory", "remembered"]

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
            self.classifier.fit(x, _labels(y))
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
        shares, seconds = _asked(self.answer, part, asked)
        y, labels = _labels(part.y), shares.argmax(axis=1)  # of equals the smallest label
        found = {
            m.name: m.measure(y, shares if m.needs == "scores" else labels, self.outputs == 2) for m in self.metrics
        }
        return found, labels, seconds

    def faults(self, part: Part, labels: np.ndarray) -> dict[str, Any]:
        """How many examples there are of the classes that are never predicted, as :meth:`Measured.faults` has it."""
        classes, numbers = np.unique(_labels(part.y), return_counts=True)
        never = {int(c): int(n) for c, n in zip(classes, numbers, strict=True) if c not in labels}
        return {"never_predicted": {"": never}} if never else {}


def _asked(answer: Callable[[Any], Any], part: Part, asked: Asked | None = None) -> tuple[np.ndarray, float]:
    """All answers, (N, ...), and the seconds they took; fetching the queries does not count."""
    parts, seconds = [], 0.0
    for x, *_ in batches(as_source(part), BATCH, shuffle=False):
        begin = time.perf_counter()
        parts.append(answer(x))
        seconds += time.perf_counter() - begin
        if asked is not None:
            asked(len(x))
    return np.concatenate(parts), seconds


def _labels(y: Any) -> np.ndarray:
    """Targets (N,), or of a binary task (N, 1), as whole numbers (N,)."""
    return np.asarray(y).reshape(-1).astype(np.int64)


def remembered(run: Run, device: Device, part: str = "train") -> tuple[Memory, Splits, dict[str, Any]]:
    """The training set of a run, memorised again, with all its data and what model.json would say of them now.

    part : of the data, checked as the training set is; raises and warns as :func:`dlcore.cli.examined.check`
    """
    about, shape = rebuild.load_about(run.folder)
    data = run.settings.data.load()
    check(data, shape, about, part)
    settings = run.settings.resolve(data)
    return Memory(settings, data, device), data, _about(settings, data)


def _about(settings: Config, data: Splits) -> dict[str, Any]:
    return folders.about(settings, data) | {"model": "knn", "loss": None}


class Knn:
    """What ``dlcore train`` does for knn: everything is made, and so checked, before anything is written.

    folder : of a run that was killed, which is done again from the beginning; None for a new run
    """

    def __init__(self, settings: Config, data: Splits, device: Device, log: Log, folder: Path | None) -> None:
        self.settings, self.data, self.log, self.device = settings, data, log, device
        self.memory = Memory(settings, data, device)
        self.rival: Trainer | None = None
        model, examples = settings.model, len(data.train)
        log(
            f"model: knn, neighbors {model.neighbors}, distance {model.distance}, votes {model.votes}; "
            f"{examples:,} {summary.unit(data)}, {_size(self.memory.classifier.nbytes)}"
        )
        if settings.run.baseline != "none":
            beside = settings.beside().resolve(data)
            self.rival = beside.trainer(data, device)
            log(summary.about_model(beside, self.rival, "baseline"))
            log(summary.about_training(beside, data))

    def train(self, run: Run, lock: Lock, checkpoint: Path | None) -> None:
        """Measure both and write what came out into the folder of ``run``; if it does not come to that, nothing."""
        try:
            folders.write_settings(run.folder, self.settings)
            write_rows(run.folder, self.data.digests)
            rebuild.save_about(
                run.folder / "model.json", self.data.train.shape, _about(self.settings, self.data),
                "knn has no layers; evaluate and predict memorise its training set again",
            )  # fmt: skip
            self._train(run, lock)
        except KeyboardInterrupt as error:
            cause = error.cause if isinstance(error, Interrupted) else "SIGINT"
            raise Interrupted(cause, f"by {cause}; knn keeps nothing halfway, start it again") from None
        finally:
            if not (run.folder / "result.json").exists():
                folders.empty(run.folder)
            folders.settle(run.folder)

    def _train(self, run: Run, lock: Lock) -> None:
        data, log, memory = self.data, self.log, self.memory
        rows = {part: getattr(data, part) for part in ("dev", "test")}
        with counting(log.console, "knn", sum(map(len, rows.values())), "queries") as asked:
            dev, labels, _ = memory.measure(rows["dev"], asked)
            test, _, seconds = memory.measure(rows["test"], asked)
        found = {"knn": _Figures(dev, test, memory.seconds, seconds / len(rows["test"]))}
        log(f"knn: memorised in {memory.seconds:.2f} s, {found['knn'].said()}")
        if self.rival is not None:
            found[f"{self.settings.run.baseline} baseline"] = self._network(self.rival)
        log("\n".join(_table(found)))
        log(
            f"query: in batches of {BATCH}, threads {memory.threads}; knn compares each with all {len(data.train):,} "
            f"{summary.unit(data)}"
        )
        lock.check()
        self._write(run, found, labels)

    def _network(self, trainer: Trainer) -> _Figures:
        data, train = self.data, self.settings.train
        trainer.callbacks = [*self.log.bar(), ProgressLines(self.log, summary.unit(data)), *trainer.callbacks]
        begin = time.perf_counter()
        trainer.fit(data.train, data.dev, train.epochs or 1, train.batch_size or 1, verbose=False)
        trained = time.perf_counter() - begin
        dev, test = trainer.evaluate(data.dev), trainer.evaluate(data.test)
        seconds = _asked(lambda x: trainer.predict(x, BATCH), data.test)[1]
        return _Figures(dev, test, trained, seconds / len(data.test))

    def _write(self, run: Run, found: dict[str, _Figures], labels: np.ndarray) -> None:
        """The files of the run, result.json last.

        labels : predicted for the development set
        """
        data, log, folder = self.data, self.log, run.folder
        knn, results = found["knn"], {name: figures.test for name, figures in found.items()}
        query = {name: 1000 * figures.query for name, figures in found.items()}
        trained = {"training" if name == "knn" else "baseline": figures.training for name, figures in found.items()}
        _write_json(folder / "metrics.jsonl", {f"dev_{name}": value for name, value in knn.dev.items()})
        _write_json(folder / "timing.jsonl", {"seconds": knn.training, "ms_per_query": query["knn"]})
        confusion = metrics.confusion_matrix(_labels(data.dev.y), labels, labels=np.arange(self.memory.outputs))
        faults = faults_of({"dev": {"examples": len(labels), **with_names(data, self.memory.faults(data.dev, labels))}})
        shown = ("device: ", "data: ", "model: ", "baseline: ", "training: ", "query: ")
        page = report.write(
            folder,
            report.Report(
                title=run.name,
                lines=[line for line in log.lines if line.startswith(shown)],
                settings=dump(self.settings),
                environment=summary.environment(),
                results=results,
                examination=report.Examination(len(labels), confusion),
                faults=faults,
                classes=None if data.classes is None else list(data.classes),
                timing=trained | {f"{name}: queries/s": 1 / max(one.query, 1e-9) for name, one in found.items()},
            ),
        )
        log(f"report: {page}")
        for line in faults:
            log(line)
        result = {
            "test": results,
            "epochs": 0,
            "examples": len(data.train),
            "bytes": self.memory.classifier.nbytes,
            "timing": trained,
            "ms_per_query": query,
        }
        _write_json(folder / "result.json", result, indent=2)


class _Figures:
    """What was measured of one model: metrics on dev and test, seconds of training, and seconds a query."""

    def __init__(self, dev: dict[str, float], test: dict[str, float], training: float, query: float) -> None:
        self.dev, self.test, self.training, self.query = dev, test, training, query

    def said(self) -> str:
        """In words, of the first metric."""
        name = next(iter(self.test))
        what = name.replace("_", " ")
        return f"{what} {self.test[name]:.4f}, dev {what} {self.dev[name]:.4f}, {1000 * self.query:.3f} ms a query"


def _table(found: dict[str, _Figures]) -> list[str]:
    """A row of figures for each model."""
    names = list(found["knn"].test)
    first = names[0]
    rows = [["test", *names, f"dev {first}", "training", "a query"]]
    for name, one in found.items():
        figures = [f"{one.test[measure]:.4f}" for measure in names]
        times = [f"{one.training:,.2f} s", f"{1000 * one.query:.3f} ms"]
        rows.append([name, *figures, f"{one.dev[first]:.4f}", *times])
    return summary.table(rows, left={0})


def _size(count: int) -> str:
    """Bytes in words: 14,112,000 -> 14.1 MB."""
    for unit, one in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return f"{count} bytes"


def _write_json(path: Path, content: dict[str, Any], indent: int | None = None) -> None:
    text = json_text(content, indent=indent) + "\n"
    write_atomically(path, lambda: text)
