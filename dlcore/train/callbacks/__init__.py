"""What happens around training, in the order of the list of callbacks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlcore.train.callbacks.checkpoint import Callback, Checkpoint, EarlyStopping
    from dlcore.train.callbacks.gradient_health import GradientHealth
    from dlcore.train.callbacks.progress_lines import ProgressLines

__all__ = ["Callback", "Checkpoint", "EarlyStopping", "GradientHealth", "ProgressLines"]

_HOME = {
    "Callback": "checkpoint",
    "Checkpoint": "checkpoint",
    "EarlyStopping": "checkpoint",
    "GradientHealth": "gradient_health",
    "ProgressLines": "progress_lines",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"dlcore.train.callbacks.{_HOME[name]}"), name)
    raise AttributeError(f"module 'dlcore.train.callbacks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
