"""What happens around training, in the order of the list of callbacks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlcore.train.callbacks.checkpoint import Checkpoint
    from dlcore.train.callbacks.early_stopping import EarlyStopping
    from dlcore.train.callbacks.gradient_health import GradientHealth
    from dlcore.train.callbacks.progress_lines import ProgressLines
    from dlcore.train.callbacks.unfreeze import Unfreeze
    from dlcore.train.engine.callback import Callback

__all__ = ["Callback", "Checkpoint", "EarlyStopping", "GradientHealth", "ProgressLines", "Unfreeze"]

_HOME = {
    "Callback": "engine.callback",
    "Checkpoint": "callbacks.checkpoint",
    "EarlyStopping": "callbacks.early_stopping",
    "GradientHealth": "callbacks.gradient_health",
    "ProgressLines": "callbacks.progress_lines",
    "Unfreeze": "callbacks.unfreeze",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"dlcore.train.{_HOME[name]}"), name)
    raise AttributeError(f"module 'dlcore.train.callbacks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
