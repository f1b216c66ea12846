"""dlcore's modules under their names of version 0.1, which go on working in 0.2."""

from __future__ import annotations

from backends._renamed import renamed as _renamed

__all__ = ["NAMES", "renamed"]

NAMES = {
    "dlcore.diagnosis": "dlcore.analysis.diagnosis",
    "dlcore.train.models": "dlcore.train.assembly.zoo",
    "dlcore.train.rebuild": "dlcore.train.checkpoint.model_json",
    "dlcore.train.run": "dlcore.train.runs.run",
    "dlcore.train.trainer": "dlcore.train.engine.trainer",
}


def renamed(old: str) -> None:
    """As :func:`backends._renamed.renamed` does it."""
    _renamed(old, NAMES)
