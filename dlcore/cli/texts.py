"""What a run says of itself: the lines that ``dlcore train`` prints, and the report made of them."""

from __future__ import annotations

import os
import platform
import textwrap
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcore._core.formatting import figure
from dlcore.errors import DataError
from dlcore.train.config.config import Config, dump
from dlcore.version import __version__

if TYPE_CHECKING:
    from backends.runtime.device import Device
    from dlcore.data import Splits
    from dlcore.report import Report
    from dlcore.train import Trainer
    from dlcore.train.engine.objective import Objective

__all__ = [
    "about_data",
    "about_device",
    "about_loss",
    "about_model",
    "about_positive",
    "about_test",
    "about_training",
    "about_transfer",
    "behind",
    "environment",
    "last_value",
    "model_name",
    "report",
    "results",
    "table",
    "table_of",
    "unit",
]


FEW_CLASSES, MANY_CLASSES = 8, 20
"""Up to so many classes, the count and the share of each is printed; and up to so many, the count of each."""

WIDTH = 74
"""Characters of a line of many classes, before its indentation."""


def unit(data: Splits) -> str:
    """What an example is called."""
    if data.task == "text":
        return "windows"
    return "images" if len(data.train.shape) == 3 else "examples"


def model_name(settings: Config) -> str:
    """The model's name, that of its file for one's own."""
    return Path((settings.model.model or "").rpartition(":")[0] or settings.model.model or "").stem


def about_device(settings: Config, device: Device) -> str:
    """Where it runs and why, and what is asked of the device; DeviceError where that is TF32 and it has none."""
    from backends.runtime import tf32
    from backends.runtime.device import describe
    from backends.runtime.memory import is_cuda

    parts, limit = [describe(device)], settings.train.memory_limit
    if settings.train.tf32:
        tf32.check(device)
        parts.append("products of float32 in TF32")
    if limit is not None:
        parts.append(f"memory limit {limit}" if is_cuda(device) else f"memory limit {limit} has no effect here")
    return ", ".join(parts)


def about_data(data: Splits) -> str:
    """Where the data are from, and how large."""
    if data.task == "text":
        train, dev, test = (len(part.ids) for part in (data.train, data.dev, data.test))  # type: ignore[attr-defined]
        said = f"{train:,} training + {dev:,} dev + {test:,} test characters in windows of {data.train.shape[0]}"
        return f"data: {data.source}\n      {said}, {len(data.classes or ())} different ones"
    held_out = "" if data.train_dev is None else f"{len(data.train_dev):,} train-dev + "
    sizes = f"{len(data.train):,} training + {held_out}{len(data.dev):,} dev + {len(data.test):,} test {unit(data)}"
    shape = " × ".join(map(str, data.train.shape))
    what = f"{len(data.classes)} classes" if data.classes else "one number to predict"
    if data.last_value is not None and data.train.y.shape[1] > 1:
        what = f"{data.train.y.shape[1]:,} numbers to predict"
    if data.task == "multitask":
        what = f"{len(data.train.y)} targets: {', '.join(_targets(data))}"
    return "\n      ".join([f"data: {data.source}", f"{sizes} of {shape}, {what}", *_by_class(data), *data.notes])


def _by_class(data: Splits) -> Iterator[str]:
    """By target with classes, how many training examples each has and what share that is; of many classes the counts,
    or the smallest and the largest class alone."""
    from dlcore.data.readers.csv.rows import name_of
    from dlcore.train.config.classes import counts

    for head, numbers in counts(data).items():
        total = max(sum(numbers.values()), 1)
        shares = {name: f"{name_of(name)}: {number:,} ({_percent(number / total)})" for name, number in numbers.items()}
        least, most = (choice(numbers, key=numbers.__getitem__) for choice in (min, max))
        shown = ", ".join(shares.values())
        if len(numbers) > FEW_CLASSES:
            shown = f"from {shares[least]} to {shares[most]}"
            if numbers[least] == numbers[most]:
                shown = f"{numbers[most]:,} each ({_percent(numbers[most] / total)})"
                if len(numbers) <= MANY_CLASSES:
                    shown = f"{', '.join(map(name_of, numbers))}: {shown}"
            elif len(numbers) <= MANY_CLASSES:
                some = ", ".join(f"{name_of(name)}: {number:,}" for name, number in numbers.items())
                shown = f"{some}; {_percent(numbers[least] / total)} to {_percent(numbers[most] / total)}"
        said = f"classes in the training set{f', {head}' if head else ''}: {shown}"
        whole = said.replace(" ", "\0").replace(",\0", ", ")  # lines end behind a comma
        for line in textwrap.wrap(whole, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False):
            yield line.replace("\0", " ")


def _percent(share: float) -> str:
    """Three digits: 9.65 %, 0.21 %; below 100 % where it is not all."""
    return f"{100 * share:.3g} %" if share < 0.9995 or share == 1 else "over 99.9 %"


def _targets(data: Splits) -> Iterator[str]:
    """Each of several targets, and how many of its training labels are missing."""
    from dlcore.losses import known

    classes = data.classes if isinstance(data.classes, dict) else {}
    for name, y in data.train.y.items():
        missing = len(y) - int(known(y)[1].sum())
        kind = f"{len(classes[name])} classes" if name in classes else "a number"
        yield f"{name} ({kind}{f', {missing:,} missing' if missing else ''})"


def about_model(settings: Config, trainer: Trainer, label: str = "model") -> str:
    """The model, its settings, and its size."""
    model = settings.model
    name = Path(model.model or "").name  # of one's own: the file's, without its folder
    parts = [name, *_named(channels=model.channels, hidden=model.hidden, activation=model.activation)]
    parts += ["in both directions"] if model.bidirectional else []
    parts += ["global average pooling"] if model.global_pool else []
    return f"{label}: {', '.join([*parts, *_named(dropout=model.dropout)])}; {trainer.model.count():,} parameters"


def about_training(settings: Config, data: Splits) -> str:
    """What was asked for, and what was filled in."""
    train, optimizer, schedule = settings.train, settings.optimizer, settings.schedule
    parts = [f"loss {about_loss(settings, data)}", f"{optimizer.optimizer} with lr {optimizer.lr:g}"]
    if schedule.schedule != "constant":
        parts.append(f"schedule {schedule.schedule}")
    if schedule.warmup:
        parts.append(f"warmup over {schedule.warmup:,} steps")
    if settings.penalty.penalty != "none":
        parts.append(f"penalty {settings.penalty.penalty} with lam {settings.penalty.lam:g}")
    parts += _named(weight_decay=optimizer.weight_decay, clip_norm=optimizer.clip_norm, clip_value=optimizer.clip_value)
    parts += _named(class_weight=train.class_weight)
    epochs = f"{train.epochs:,} epoch{'s' * (train.epochs != 1)}"
    parts += _named(augmentation=train.augment)
    parts += [f"batches of {train.batch_size:,}", epochs, f"seed {train.seed}"]
    if train.patience:
        parts.append(f"early stopping on {train.monitor} with patience {train.patience}")
    if train.precision != "float32":
        parts.append(f"{train.precision} precision" if train.precision == "mixed" else train.precision)
    return "\n".join([f"training: {', '.join(parts)}", *about_positive(settings, data)])


def about_positive(settings: Config, data: Splits) -> list[str]:
    """A line that says of which class precision, recall and f1 are, where they are measured and there are two."""
    from dlcore.train.config.classes import OF_A_CLASS, classes_of, positives

    measured = [name for name in settings.train.metrics or () if name in OF_A_CLASS]
    if not measured:
        return []
    if settings.data.rules == 1:
        return [f"metrics: {', '.join(measured)} (macro average, as in version 0.1)"]
    names = classes_of(data)
    of = [
        f"{names[head][label]}{f' for {head}' if head else ''}"
        for head, label in positives(data, settings.train.positive).items()
    ]
    if not of:
        return [f"metrics: {', '.join(measured)} (macro average, the mean of the classes)"]
    return [f"metrics: {', '.join(measured)} of {', '.join(of)}, the positive class (--positive chooses the other one)"]


def about_loss(settings: Config, data: Splits) -> str:
    """The loss; of several targets all, with their weights where these are not 1."""
    from dlcore.train.config.config import standardized

    loss, weights, scaled = settings.loss(data), settings.train.weights(), standardized(settings.seen(data))
    if isinstance(loss, str):
        what = "targets" if settings.seen(data).change is None else "changes from the last value"
        return f"{loss} of standardised {what}" if scaled else loss
    shares = {name: f"{weights[name]:g} " if weights.get(name, 1.0) != 1.0 else "" for name in loss}
    targets = {name: f"standardised {name}" if name in scaled else name for name in loss}
    return " + ".join(f"{shares[name]}{one} of {targets[name]}" for name, one in loss.items())


def about_transfer(settings: Config, trainer: Trainer, data: Splits) -> str:
    """Which weights the model began with, and what learns otherwise than the rest; empty where nothing was asked."""
    chosen, parts = settings.transfer, []
    if chosen.start_from is not None:
        from dlcore.train.assembly.finetune import classes_of, plan, read_source

        arrays, name = read_source(chosen.start_from, settings.run.runs)
        anew = plan(trainer.model, arrays, chosen.anew, name).anew
        parts.append(f"from {name}, " + (f"but {', '.join(anew)} anew" if anew else "all of it"))
        former = classes_of(chosen.start_from, settings.run.runs)
        if not anew and isinstance(former, list) and former != list(data.classes or ()):
            few = ", ".join(former[:3]) + (", ..." if len(former) > 3 else "")
            parts.append(f"the outputs too, which were of {few} (--anew PATTERN begins them anew)")
    segments = trainer.model.built().segments
    frozen = [s.path for s in segments if not s.active]
    if frozen:
        parts.append(f"frozen {', '.join(frozen)}")
    parts += [f"{factor:g} of the learning rate for {pattern}" for pattern, factor in chosen.scales().items()]
    return f"transfer: {'; '.join(parts)}" if parts else ""


def _named(**values: Any) -> list[str]:
    """``name value`` of each that is set."""
    shown = {name: " ".join(map(str, v)) if isinstance(v, tuple) else v for name, v in values.items()}
    return [f"{name.replace('_', ' ')} {value}" for name, value in shown.items() if value is not None]


def results(settings: Config, data: Splits, trainer: Trainer, rival: Trainer | None) -> dict[str, dict[str, float]]:
    """The figures on the test set: of the model, and of the simpler one."""
    found = {model_name(settings): trainer.evaluate(data.test)}
    if rival is not None:
        found[f"{settings.run.baseline} baseline"] = _beside(data, trainer, rival, "test")
    if data.last_value is not None:
        found["last value"] = last_value(data, trainer.objectives[""])
    return found


def _beside(data: Splits, trainer: Trainer, rival: Trainer, part: str) -> dict[str, float]:
    """The figures of the simpler model; of a series, its loss in the unit of the model's: one may learn changes, and
    the other the target as it is."""
    from dlcore.losses import StandardizedMSE

    found = rival.evaluate(getattr(data, part))
    if data.last_value is not None:
        losses = [one.objectives[""].loss for one in (rival, trainer)]
        theirs, mine = (loss.std if isinstance(loss, StandardizedMSE) else 1.0 for loss in losses)
        found["loss"] *= float(theirs / mine) ** 2
    return found


def last_value(data: Splits, objective: Objective, part: str = "test") -> dict[str, float]:
    """The figures on a part of the forecast that nothing changes: the target's last value in each window."""
    import numpy as np

    from dlcore.losses import StandardizedMSE

    x, y, *_ = getattr(data, part).rows(slice(None))
    last = x[:, -1] if data.normalizer is None else data.normalizer.inverse(x[:, -1])
    guess, loss = np.repeat(last[:, data.last_value, None], y.shape[1], axis=1), objective.loss  # (N,) -> (N, H)
    outputs = (guess - loss.mean) / loss.std if isinstance(loss, StandardizedMSE) else guess
    return {metric.name: float(metric(y, guess)) for metric in objective.metrics} | {"loss": float(loss(outputs, y))}


def behind(settings: Config, data: Splits, trainer: Trainer, rival: Trainer | None) -> str:
    """That a forecaster is worse on the development set than the last value or the simpler model; else empty."""
    if data.last_value is None:
        return ""
    found = {"the last value (nothing changes)": last_value(data, trainer.objectives[""], "dev")}
    if rival is not None:
        found[f"the {settings.run.baseline} baseline"] = _beside(data, trainer, rival, "dev")
    mine = trainer.evaluate(data.dev)
    better = {name: figures for name, figures in found.items() if figures["loss"] < mine["loss"]}
    if not better:
        return ""
    label = "r2" if "r2" in mine else "loss"
    others = " and ".join(f"{name} ({label} {figure(figures[label])})" for name, figures in better.items())
    return (
        f"note: {model_name(settings)} is worse than {others} on the development set ({label} {figure(mine[label])}); "
        "predict by what is better, or try a longer --window, --calendar or more data"
    )


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
    measures = sorted(next(iter(results.values())), key="loss".__eq__)  # last: the metric is what people ask for
    rows = [[title, *measures]]
    rows += [[name, *(figure(values[measure]) for measure in measures)] for name, values in results.items()]
    return table(rows, left={0})


def table(rows: Sequence[Sequence[str]], left: Collection[int]) -> list[str]:
    """Lines with aligned columns, those whose numbers are ``left`` flush left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    sides = ["<" if i in left else ">" for i in range(len(widths))]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    ]


def report(
    name: str,
    lines: list[str],
    settings: Config,
    trainer: Trainer,
    data: Splits,
    results: dict[str, dict[str, float]],
    timing: dict[str, float],
    parts: dict[str, dict[str, Any]],
    health: Sequence[dict[str, Any]] = (),
) -> Report:
    """All that the report of a run says: what was printed, what was measured, where it errs, and where it ran.

    Where it errs is looked up in the development set: the test set is for the final figure alone (notes 2.1).
    """
    from dlcore.analysis.diagnosis import diagnose_parts, faults_of
    from dlcore.report import Report, examine

    try:
        diagnosis = diagnose_parts(parts)
    except DataError:  # no figure is finite: the faults say so
        diagnosis = None

    history = trainer.history
    measured = settings.measured() if settings.data.heads else []
    classes = data.classes if isinstance(data.classes, dict) else None if data.classes is None else list(data.classes)
    return Report(
        title=name,
        lines=[
            line for line in lines if line.startswith(("device: ", "data: ", "model: ", "transfer: ", "training: "))
        ],
        settings=dump(settings),
        environment=environment(),
        summary=trainer.model.summary(),
        history=history,
        metrics=[name for name in measured if any(name in record for record in history)],
        best_epoch=history.best_epoch,
        stopped_epoch=history.stopped_epoch,
        results=results,
        examination=examine(
            trainer, data.dev, classes, normalizer=data.normalizer, origins=(data.origins or {}).get("dev")
        ),
        classes=classes,
        timing=timing,
        diagnosis=diagnosis,
        health=health,
        faults=faults_of(parts),
    )


def environment() -> dict[str, str]:
    """Versions and the machine."""
    import numpy

    return {
        "dlcore": __version__,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "system": platform.platform(),
        "processors": str(os.cpu_count()),
    }
