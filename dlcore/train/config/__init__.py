"""The configuration of a run: sections of settings, TOML, and what follows from the data."""

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
