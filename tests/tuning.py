"""Objectives that a worker process can import."""

from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["KillOnce", "bowl", "kill", "noisy"]


def bowl(settings: dict[str, Any], report: Any) -> float:
    """Smallest at lr = 0.01."""
    time.sleep(0.02)
    return (math.log10(settings["lr"]) + 2) ** 2


class KillOnce:
    """Kill the process, as kill -9 does, the first time that a trial in some range comes by."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __call__(self, settings: dict[str, Any], report: Any) -> float:
        if settings["lr"] > 1e-3:
            try:
                self.mark.touch(exist_ok=False)
            except FileExistsError:
                return bowl(settings, report)
            os.kill(os.getpid(), signal.SIGKILL)
        return bowl(settings, report)


def kill(settings: dict[str, Any], report: Any) -> float:
    """A trial that no process survives, such as one that takes too much memory, where lr is large."""
    if settings["lr"] > 1e-2:
        os.kill(os.getpid(), signal.SIGKILL)
    return bowl(settings, report)


def noisy(settings: dict[str, Any], seed: int) -> float:
    """A quadratic bowl in log lr and log lam, with noise of standard deviation 0.02 that depends on the settings."""
    a, b = math.log10(settings["lr"]) + 2.3, math.log10(settings["lam"]) + 3.4
    rng = np.random.default_rng([seed, *np.asarray([a, b]).view(np.uint64).tolist()])
    return a**2 + 0.5 * b**2 + 0.3 * a * b + 0.02 * float(rng.standard_normal())
