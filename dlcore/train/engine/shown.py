"""A trainer and its history as people see them, in text and in HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dlcore._core import markup
from dlcore._core.configurable import one_line
from dlcore._core.formatting import figure

if TYPE_CHECKING:
    from dlcore.train.engine.history import History
    from dlcore.train.engine.trainer import Trainer

__all__ = ["history_html", "history_text", "trainer_html", "trainer_text"]

_NOT_MEASURED = ("epoch", "lr", "seconds", "examples_per_second")
_NO_METRICS = ("epoch", "loss", "penalty", "lr", "seconds", "examples_per_second", "grad_norm", "grad_norm_max")
_NO_METRICS += ("loss_scale", "skipped_steps")
_PARTS = {"training": "", "development": "dev_", "train-dev": "train_dev_"}


def history_text(history: History) -> str:
    """``repr`` of a history: how many epochs there are, and the figures of the last one."""
    count = len(history)
    if not count:
        return "History(no epochs)"
    said = ", ".join(f"{name} {value}" for name, value in _measured(history.records[-1]).items())
    best = "" if history.best_epoch is None else f"; weights of epoch {history.best_epoch + 1}"
    return f"History({_epochs(count)}; the last: {said}{best})"


def history_html(history: History) -> str:
    """Curves of the loss and the first metric, and a table of the last and the best epoch."""
    if not len(history):
        return markup.together(markup.title("History", "no epochs"))
    records, mark = history.records, history.best_epoch
    names = list(dict.fromkeys(name for record in records for name in record))
    metric = next((n for n in names if n not in _NO_METRICS and not n.startswith(("dev_", "train_dev_"))), None)
    drawn = []
    for name in filter(None, ["loss", metric]):
        lines = {part: history[f"{before}{name}"] for part, before in _PARTS.items() if f"{before}{name}" in names}
        drawn.append(markup.curves(name.replace("_", " "), lines, mark))
    chosen = {"last epoch": records[-1]}
    if mark is not None and mark < len(records):
        chosen[f"epoch {mark + 1}, whose weights are kept"] = records[mark]
    columns = [_measured(record) for record in chosen.values()]
    rows = [(name.replace("_", " "), *(column.get(name, "") for column in columns)) for name in columns[0]]
    return markup.together(
        markup.title("History", _epochs(len(history))),
        *drawn,
        markup.table(("", *chosen), rows, numbers=range(1, len(chosen) + 1)),
    )


def _measured(record: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: figure(value)
        for name, value in record.items()
        if name not in _NOT_MEASURED and isinstance(value, int | float)
    }


def _epochs(count: int) -> str:
    return f"{count:,} epoch{'s' * (count != 1)}"


def _settings(trainer: Trainer) -> dict[str, str]:
    """What a trainer trains with; what is left at its default, and has no effect, is left out."""
    from dlcore.optim import Constant

    objectives = trainer.objectives
    losses = {name: _named(one.loss) for name, one in objectives.items()}
    metrics = [name for name in objectives.names() if name]
    weights = {name: one.class_weight for name, one in objectives.items() if one.class_weight is not None}
    settings: dict[str, Any] = {
        "loss": losses[""] if "" in losses else ", ".join(f"{head}: {loss}" for head, loss in losses.items()),
        "metrics": ", ".join(metrics),
        "class_weight": str(weights.get("", weights)) if weights else "",
        "optimizer": one_line(trainer.optimizer),
        "schedule": "" if isinstance(trainer.schedule, Constant) else one_line(trainer.schedule),
        "penalty": one_line(trainer.penalty) if trainer.penalty is not None else "",
        "clip": one_line(trainer.clip) if trainer.clip is not None else "",
        "augment": one_line(trainer.augment) if trainer.augment is not None else "",
        "precision": trainer.precision or "",
        "callbacks": ", ".join(map(one_line, trainer.callbacks)),
        "device": str(trainer.device),
        "seed": str(trainer.seed),
        "done": f"{_epochs(trainer.epoch)}, {trainer.step:,} step{'s' * (trainer.step != 1)}" if trainer.step else "",
    }
    return {name: " ".join(value.split()) for name, value in settings.items() if value}


def _named(loss: Any) -> str:
    return getattr(loss, "__name__", None) or one_line(loss)


def trainer_text(trainer: Trainer) -> str:
    """``repr`` of a trainer: a line for each setting, and the tree of the model."""
    model = repr(trainer.model).replace("\n", "\n  ")
    lines = [f"  {name}: {value}" for name, value in _settings(trainer).items()]
    if len(trainer.history):
        lines.append(f"  history: {history_text(trainer.history)[len('History(') : -1]}")
    return "\n".join(["Trainer(", f"  model: {model}", *lines, ")"])


def trainer_html(trainer: Trainer) -> str:
    """The settings as a table, the model, and the curves so far."""
    history = [history_html(trainer.history)] if len(trainer.history) else []
    return markup.together(
        markup.title("Trainer"),
        markup.table((), list(_settings(trainer).items())),
        trainer.model._repr_html_(),
        *history,
    )
