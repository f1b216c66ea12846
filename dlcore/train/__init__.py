"""Training: the trainer, its callbacks, the configuration of a run, and weights in files.

Names are imported when they are first used, so that a command's ``--help`` can read the configuration without NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlcore.train import config, models, rebuild, run
    from dlcore.train.callbacks import Callback, Checkpoint, EarlyStopping
    from dlcore.train.checkpoint import load_weights, save_weights
    from dlcore.train.health import GradientHealth
    from dlcore.train.history import History
    from dlcore.train.interrupt import Interrupted
    from dlcore.train.lines import ProgressLines
    from dlcore.train.rebuild import load_model, save_model
    from dlcore.train.trainer import Trainer
    from dlcore.train.transfer import Unfreeze, transfer_weights

__all__ = [
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "GradientHealth",
    "History",
    "Interrupted",
    "ProgressLines",
    "Trainer",
    "Unfreeze",
    "config",
    "load_model",
    "load_weights",
    "models",
    "rebuild",
    "run",
    "save_model",
    "save_weights",
    "transfer_weights",
]

_HOME = {
    "Callback": "callbacks",
    "Checkpoint": "callbacks",
    "EarlyStopping": "callbacks",
    "GradientHealth": "health",
    "History": "history",
    "Interrupted": "interrupt",
    "ProgressLines": "lines",
    "Trainer": "trainer",
    "Unfreeze": "transfer",
    "load_model": "rebuild",
    "load_weights": "checkpoint",
    "save_model": "rebuild",
    "save_weights": "checkpoint",
    "transfer_weights": "transfer",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"dlcore.train.{_HOME[name]}"), name)
    if name in ("config", "models", "rebuild", "run"):
        return importlib.import_module(f"dlcore.train.{name}")
    raise AttributeError(f"module 'dlcore.train' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
