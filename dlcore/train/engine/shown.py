"""A trainer as people see it, in text and in HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlcore._core import markup
from dlcore._core.configurable import one_line
from dlcore.train.engine.history import _epochs, history_html, history_text

if TYPE_CHECKING:
    from dlcore.train.engine.trainer import Trainer

__all__ = ["trainer_html", "trainer_text"]


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
