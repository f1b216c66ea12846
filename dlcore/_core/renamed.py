"""dlcore's modules under their names of version 0.1, which go on working in 0.2."""

from __future__ import annotations

from backends._renamed import renamed as _renamed

__all__ = ["NAMES", "renamed"]

NAMES: dict[str, tuple[str, ...]] = {
    "dlcore.diagnosis": ("dlcore.analysis.diagnosis",),
    "dlcore.train.health": ("dlcore.train.callbacks.gradient_health", "dlcore.train.runs.files"),
    "dlcore.train.history": ("dlcore.train.engine.history",),
    "dlcore.train.models": ("dlcore.train.assembly.zoo", "dlcore.train.checkpoint.user_model"),
    "dlcore.train.rebuild": ("dlcore.train.checkpoint.model_json", "dlcore.train.runs.load"),
    "dlcore.train.run": (
        "dlcore.train.runs.run",
        "dlcore.train.runs.before",
        "dlcore.train.runs.creation",
        "dlcore.train.runs.files",
        "dlcore.train.runs.model_about",
        "dlcore._core.plain",
    ),
    "dlcore.train.snapshot": ("dlcore.train.checkpoint.snapshot", "dlcore.train.engine.resuming"),
    "dlcore.train.trainer": ("dlcore.train.engine.trainer",),
    "dlcore.train.transfer": ("dlcore.train.assembly.finetune", "dlcore.train.callbacks.unfreeze"),
}


def renamed(old: str) -> None:
    """As :func:`backends._renamed.renamed` does it."""
    _renamed(old, NAMES)
