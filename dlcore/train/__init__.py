"""Training: the trainer, its callbacks, the configuration of a run, and weights in files.

Names are imported when they are first used, so that a command's ``--help`` can read the configuration without NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlcore.train import config
    from dlcore.train.assembly.finetune import transfer_weights
    from dlcore.train.callbacks.checkpoint import Checkpoint
    from dlcore.train.callbacks.early_stopping import EarlyStopping
    from dlcore.train.callbacks.gradient_health import GradientHealth
    from dlcore.train.callbacks.progress_lines import ProgressLines
    from dlcore.train.callbacks.unfreeze import Unfreeze
    from dlcore.train.checkpoint.arrays import load_weights, save_weights
    from dlcore.train.checkpoint.model_json import save_model
    from dlcore.train.engine.callback import Callback
    from dlcore.train.engine.history import History
    from dlcore.train.engine.signals import Interrupted
    from dlcore.train.engine.trainer import Trainer
    from dlcore.train.runs.load import load_model

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
    "save_model",
    "save_weights",
    "transfer_weights",
]

_HOME = {
    "Callback": "engine.callback",
    "Checkpoint": "callbacks.checkpoint",
    "EarlyStopping": "callbacks.early_stopping",
    "GradientHealth": "callbacks.gradient_health",
    "History": "engine.history",
    "Interrupted": "engine.signals",
    "ProgressLines": "callbacks.progress_lines",
    "Trainer": "engine.trainer",
    "Unfreeze": "callbacks.unfreeze",
    "load_model": "runs.load",
    "load_weights": "checkpoint.arrays",
    "save_model": "checkpoint.model_json",
    "save_weights": "checkpoint.arrays",
    "transfer_weights": "assembly.finetune",
}
_PACKAGES = ("assembly", "callbacks", "checkpoint", "config", "engine", "runs")
_RENAMED = ("health", "history", "models", "rebuild", "run", "snapshot", "trainer", "transfer")


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"dlcore.train.{_HOME[name]}"), name)
    if name in (*_PACKAGES, *_RENAMED):
        return importlib.import_module(f"dlcore.train.{name}")
    raise AttributeError(f"module 'dlcore.train' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
