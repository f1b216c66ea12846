"""What a run says of itself: the lines that ``dlcore train`` prints, and the report made of them."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcore.train.config import Config, dump
from dlcore.version import __version__

if TYPE_CHECKING:
    from dlcore.data import Splits
    from dlcore.train import Trainer

__all__ = ["about_data", "about_model", "about_test", "about_training", "model_name", "report", "unit"]


def unit(data: Splits) -> str:
    """What an example is called."""
    return "images" if len(data.train.shape) == 3 else "examples"


def model_name(settings: Config) -> str:
    """The model's name, that of its file for one's own."""
    return Path((settings.model.model or "").rpartition(":")[0] or settings.model.model or "").stem


def about_data(data: Splits) -> str:
    """Where the data are from, and how large."""
    sizes = f"{len(data.train):,} training + {len(data.dev):,} dev + {len(data.test):,} test {unit(data)}"
    shape = " × ".join(map(str, data.train.shape))
    what = f"{len(data.classes)} classes" if data.classes else "one number to predict"
    return f"data: {data.source}\n      {sizes} of {shape}, {what}"


def about_model(settings: Config, trainer: Trainer) -> str:
    """The model, its settings, and its size."""
    model = settings.model
    parts = [model.model or "", *_named(channels=model.channels, hidden=model.hidden, activation=model.activation)]
    return f"model: {', '.join([*parts, *_named(dropout=model.dropout)])}; {trainer.model.count():,} parameters"


def about_training(settings: Config, data: Splits) -> str:
    """What was asked for, and what was filled in."""
    train, optimizer, schedule = settings.train, settings.optimizer, settings.schedule
    parts = [f"loss {settings.loss(data)}", f"{optimizer.optimizer} with lr {optimizer.lr:g}"]
    if schedule.schedule != "constant":
        parts.append(f"schedule {schedule.schedule}")
    if schedule.warmup:
        parts.append(f"warmup over {schedule.warmup:,} steps")
    if settings.penalty.penalty != "none":
        parts.append(f"penalty {settings.penalty.penalty} with lam {settings.penalty.lam:g}")
    parts += _named(clip_norm=optimizer.clip_norm, clip_value=optimizer.clip_value)
    epochs = f"{train.epochs:,} epoch{'s' * (train.epochs != 1)}"
    parts += [f"batches of {train.batch_size:,}", epochs, f"seed {train.seed}"]
    if train.patience:
        parts.append(f"early stopping on {train.monitor} with patience {train.patience}")
    if train.dtype != "float32":
        parts.append(train.dtype)
    return f"training: {', '.join(parts)}"


def _named(**values: Any) -> list[str]:
    """``name value`` of each that is set."""
    shown = {name: " ".join(map(str, v)) if isinstance(v, tuple) else v for name, v in values.items()}
    return [f"{name.replace('_', ' ')} {value}" for name, value in shown.items() if value is not None]


def results(settings: Config, data: Splits, trainer: Trainer, rival: Trainer | None) -> dict[str, dict[str, float]]:
    """The figures on the test set: of the model, and of the simpler one."""
    found = {model_name(settings): trainer.evaluate(data.test)}
    if rival is not None:
        found[f"{settings.run.baseline} baseline"] = rival.evaluate(data.test)
    return found


def about_test(trainer: Trainer, results: dict[str, dict[str, float]]) -> str:
    """A line on early stopping, where it acted, and a table of the test results."""
    history = trainer.history
    lines = []
    if history.best_epoch is not None:
        ended = "stopped early, " if history.stopped_epoch is not None else ""
        lines.append(f"early stopping: {ended}the weights of epoch {history.best_epoch + 1} are kept")
    return "\n".join([*lines, *table_of(results, "test")])


def table_of(results: dict[str, dict[str, float]], title: str) -> list[str]:
    """A row of figures for each name."""
    measures = list(next(iter(results.values())))
    measures = [*measures[1:], measures[0]]  # the loss last: the metric is what people ask for
    rows = [[title, *measures]]
    rows += [[name, *(f"{values[measure]:,.4f}" for measure in measures)] for name, values in results.items()]
    return table(rows, left=1)


def table(rows: list[list[str]], left: int = 0) -> list[str]:
    """Lines with aligned columns, the first ``left`` of them flush left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    sides = ["<" if i < left else ">" for i in range(len(widths))]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)) for row in rows
    ]


def report(lines: list[str], settings: Config, trainer: Trainer) -> str:
    """All that was printed, where it ran, the layers, the epochs as a table, and the settings."""
    blocks = {
        "Result": [line for line in lines if not line.startswith("epoch ")],  # those are in the table
        "Environment": [f"{name}: {value}" for name, value in _environment().items()],
        "Layers": [trainer.model.summary()],
        "Epochs": _epochs(trainer),
        "Settings": [dump(settings).rstrip()],
    }
    head = f"dlcore {__version__}, run of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    parts = [head, *("\n".join([title, "-" * len(title), *body]) for title, body in blocks.items())]
    return "\n\n".join(parts) + "\n"


def _environment() -> dict[str, str]:
    import numpy

    return {
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "system": platform.platform(),
        "processors": str(os.cpu_count()),
    }


def _epochs(trainer: Trainer) -> list[str]:
    records = list(trainer.history)
    names = [name for name in records[0] if name != "epoch"]
    rows = [[str(record["epoch"] + 1), *(f"{record[name]:.6g}" for name in names)] for record in records]
    return table([["epoch", *names], *rows])
