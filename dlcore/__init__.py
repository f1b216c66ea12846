"""Deep learning on the Array API standard: the same run on a laptop's CPU, in CI and on a CUDA GPU.

    import dlcore as dl

Names are imported when they are first used: ``import dlcore`` alone costs milliseconds.

PYTEST_DONT_REWRITE: pytest rewrites what a plugin's package holds, and would warn where dlcore is imported before it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dlcore import _backends_check  # noqa: F401  first: a foreign ``backends`` must be named, not half imported
from dlcore.version import __version__

if TYPE_CHECKING:
    from backends.runtime.device import Device
    from backends.runtime.device import resolve as device
    from dlcore import (
        data,
        filters,
        functional,
        interop,
        losses,
        metrics,
        neighbors,
        nn,
        optim,
        recipes,
        report,
        testing,
        train,
        tune,
    )
    from dlcore.analysis.diagnosis import diagnose
    from dlcore.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        DeviceError,
        DlcoreError,
        GraphError,
        ShapeError,
        TrainingError,
    )
    from dlcore.experiment.trained import open_run
    from dlcore.nn.module import seed
    from dlcore.tensor import Tensor, concat, no_grad, where
    from dlcore.train.checkpoint.arrays import load_weights, save_weights
    from dlcore.train.engine.trainer import Trainer

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "Device",
    "DeviceError",
    "DlcoreError",
    "GraphError",
    "ShapeError",
    "Tensor",
    "Trainer",
    "TrainingError",
    "__version__",
    "concat",
    "data",
    "device",
    "diagnose",
    "filters",
    "functional",
    "interop",
    "load_weights",
    "losses",
    "metrics",
    "neighbors",
    "nn",
    "no_grad",
    "open_run",
    "optim",
    "recipes",
    "report",
    "save_weights",
    "seed",
    "testing",
    "train",
    "tune",
    "where",
]

_MODULES = {
    "data", "filters", "functional", "interop", "losses", "metrics", "neighbors", "nn", "optim", "recipes", "report",
    "testing", "train", "tune",
}  # fmt: skip
_HOME = {
    "Device": "backends.runtime.device",
    "device": "backends.runtime.device",
    "diagnose": "dlcore.analysis.diagnosis",
    "Tensor": "dlcore.tensor",
    "Trainer": "dlcore.train.engine.trainer",
    "concat": "dlcore.tensor",
    "load_weights": "dlcore.train.checkpoint.arrays",
    "no_grad": "dlcore.tensor",
    "open_run": "dlcore.experiment.trained",
    "save_weights": "dlcore.train.checkpoint.arrays",
    "seed": "dlcore.nn.module",
    "where": "dlcore.tensor",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"dlcore.{name}")
    if name.endswith("Error") and name in __all__:
        value = getattr(importlib.import_module("dlcore.errors"), name)
    elif name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), "resolve" if name == "device" else name)
    else:
        raise AttributeError(f"module 'dlcore' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
