"""Hyper-parameter search: at random or on a grid, from coarse to fine, with pruning, by several processes.

    from dlcore import tune
    study = tune.search(config, {"lr": tune.log(1e-4, 1e-1), "hidden": tune.choice(32, 64, 128)}, trials=20)
    study.best.settings, study.correlations()

``dl.tune`` is this package; :func:`search` does the work. Names are imported when they are first used. The trials are
kept by Optuna, the extra ``tune``; what they try is drawn here, so that it depends on nothing but the seed and the
trial's number.

Source: notes, 3.8.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlcore.tune._search import search
    from dlcore.tune.correlation import Correlation, spearman
    from dlcore.tune.pictures import draw_parallel, draw_scatter
    from dlcore.tune.space import Choice, Parameter, Range, choice, integers, log, uniform
    from dlcore.tune.study import Study, Trial

__all__ = [
    "Choice",
    "Correlation",
    "Parameter",
    "Range",
    "Study",
    "Trial",
    "choice",
    "draw_parallel",
    "draw_scatter",
    "integers",
    "log",
    "search",
    "spearman",
    "uniform",
]

_HOME = {
    "Correlation": "correlation",
    "spearman": "correlation",
    "draw_parallel": "pictures",
    "draw_scatter": "pictures",
    "Study": "study",
    "Trial": "study",
    "search": "_search",
} | dict.fromkeys(("Choice", "Parameter", "Range", "choice", "integers", "log", "uniform"), "space")


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"dlcore.tune.{_HOME[name]}"), name)
    raise AttributeError(f"module 'dlcore.tune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
