"""Objectives that a worker process can import."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["FullOnce", "KillOnce", "bowl", "full_disk", "hears_ctrl_c", "kill", "noisy"]


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


@contextmanager
def full_disk(journal: Path) -> Iterator[None]:
    """The journal takes some bytes more, and then nothing, in this process."""
    import resource

    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size + 30, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


class FullOnce:
    """In the first trial of all, the process cannot write its journal any more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, settings: dict[str, Any], report: Any) -> float:
        try:
            (self.folder / "mark").touch(exist_ok=False)
        except FileExistsError:
            return bowl(settings, report)
        with full_disk(self.folder / "tune.log"):
            report(1.0)
        raise AssertionError("the journal was written")


def hears_ctrl_c(settings: dict[str, Any], report: Any) -> float:
    """1 where SIGINT reaches the process."""
    return float(signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, []))


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
