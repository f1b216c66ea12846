"""``dlcore train --model knn``: nearest neighbours beside a network (notes 4.1).

The classifier learns at once and then compares each query with all that it has seen; the network learns slowly and
answers at once. Both are asked the same queries in the same batches, on the same device and number of threads.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.runtime.device import Device
from dlcore import metrics, report
from dlcore.analysis.diagnosis import faults_of
from dlcore.cli import texts
from dlcore.cli.progress import counting
from dlcore.cli.strict_json import json_text
from dlcore.experiment.neighbours import BATCH, Memory, about_of, asked_of, labels_of
from dlcore.train import Interrupted
from dlcore.train.callbacks.progress_lines import ProgressLines
from dlcore.train.checkpoint import model_json
from dlcore.train.checkpoint.arrays import write_atomically
from dlcore.train.config.classes import with_names
from dlcore.train.config.config import Config, dump
from dlcore.train.runs import creation
from dlcore.train.runs import run as folders
from dlcore.train.runs.learned_rows import write_rows

if TYPE_CHECKING:
    from dlcore._core.lock import Lock
    from dlcore.cli.commands.train import Log
    from dlcore.data import Splits
    from dlcore.train import Trainer
    from dlcore.train.runs.run import Run

__all__ = ["Knn"]


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
            f"{examples:,} {texts.unit(data)}, {_size(self.memory.classifier.nbytes)}"
        )
        if settings.run.baseline != "none":
            beside = settings.beside().resolve(data)
            self.rival = beside.trainer(data, device)
            log(texts.about_model(beside, self.rival, "baseline"))
            log(texts.about_training(beside, data))

    def train(self, run: Run, lock: Lock, checkpoint: Path | None) -> None:
        """Measure both and write what came out into the folder of ``run``; if it does not come to that, nothing."""
        try:
            creation.write_settings(run.folder, self.settings)
            write_rows(run.folder, self.data.digests)
            model_json.save_about(
                run.folder / "model.json", self.data.train.shape, about_of(self.settings, self.data),
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
            f"{texts.unit(data)}"
        )
        lock.check()
        self._write(run, found, labels)

    def _network(self, trainer: Trainer) -> _Figures:
        data, train = self.data, self.settings.train
        trainer.callbacks = [*self.log.bar(), ProgressLines(self.log, texts.unit(data)), *trainer.callbacks]
        begin = time.perf_counter()
        trainer.fit(data.train, data.dev, train.epochs or 1, train.batch_size or 1, verbose=False)
        trained = time.perf_counter() - begin
        dev, test = trainer.evaluate(data.dev), trainer.evaluate(data.test)
        seconds = asked_of(lambda x: trainer.predict(x, BATCH), data.test)[1]
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
        confusion = metrics.confusion_matrix(labels_of(data.dev.y), labels, labels=np.arange(self.memory.outputs))
        faults = faults_of({"dev": {"examples": len(labels), **with_names(data, self.memory.faults(data.dev, labels))}})
        shown = ("device: ", "data: ", "model: ", "baseline: ", "training: ", "query: ")
        page = report.write(
            folder,
            report.Report(
                title=run.name,
                lines=[line for line in log.lines if line.startswith(shown)],
                settings=dump(self.settings),
                environment=texts.environment(),
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
    return texts.table(rows, left={0})


def _size(count: int) -> str:
    """Bytes in words: 14,112,000 -> 14.1 MB."""
    for unit, one in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return f"{count} bytes"


def _write_json(path: Path, content: dict[str, Any], indent: int | None = None) -> None:
    text = json_text(content, indent=indent) + "\n"
    write_atomically(path, lambda: text)
