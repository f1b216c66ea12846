"""The configuration of a run: sections of settings, TOML, and what follows from the data."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlcore.train.config.config import (
        Config,
        DataConfig,
        ModelConfig,
        OptimizerConfig,
        PenaltyConfig,
        RunConfig,
        ScheduleConfig,
        Setting,
        TrainConfig,
        TransferConfig,
        dump,
        explain,
        load,
        outputs_of,
        settings,
        standardized,
    )

__all__ = [
    "Config",
    "DataConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PenaltyConfig",
    "RunConfig",
    "ScheduleConfig",
    "Setting",
    "TrainConfig",
    "TransferConfig",
    "dump",
    "explain",
    "load",
    "outputs_of",
    "settings",
    "standardized",
]

_HOME = {
    "Config": "config",
    "DataConfig": "config",
    "ModelConfig": "config",
    "OptimizerConfig": "config",
    "PenaltyConfig": "config",
    "RunConfig": "config",
    "ScheduleConfig": "config",
    "Setting": "config",
    "TrainConfig": "config",
    "TransferConfig": "config",
    "dump": "config",
    "explain": "config",
    "load": "config",
    "outputs_of": "config",
    "settings": "config",
    "standardized": "config",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"dlcore.train.config.{_HOME[name]}"), name)
    raise AttributeError(f"module 'dlcore.train.config' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
