"""What a child process measures: the median time of a repeated call, and the memory that the process came to use."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Part", "peak_memory", "resident_memory", "time_part"]

WARM_UP = 0.3  # seconds, and two calls: compilation, caches, threads
LONG_ENOUGH = 1.0  # seconds of repetitions
LEAST, MOST = 5, 500  # repetitions


@dataclass(frozen=True)
class Part:
    """One thing to time.

    run : takes what ``prepare`` gives, and is back when the work is done
    prepare : what comes before each call and is not timed, such as the forward pass before a backward pass
    check : a number that is the same in every framework, of the result of ``run``
    """

    run: Callable[[Any], Any]
    prepare: Callable[[], Any] = lambda: None
    check: Callable[[Any], float] | None = None


def time_part(part: Part) -> dict[str, Any]:
    """{"ms": the median over the repetitions, "repetitions": how many, "check": the part's number, or None}."""

    def once() -> float:
        given = part.prepare()
        start = time.perf_counter()
        part.run(given)
        return time.perf_counter() - start

    check = None if part.check is None else part.check(part.run(part.prepare()))
    start, calls = time.perf_counter(), 0
    while calls < 2 or time.perf_counter() - start < WARM_UP:
        once()
        calls += 1
    start, times = time.perf_counter(), []
    while len(times) < LEAST or (len(times) < MOST and time.perf_counter() - start < LONG_ENOUGH):
        times.append(once())
    return {"ms": 1e3 * statistics.median(times), "repetitions": len(times), "check": check}


def resident_memory() -> int | None:
    """Bytes of memory that the process has now; on macOS the most that it has had, which is what can be known there."""
    return _status("VmRSS") or _most()


def peak_memory() -> int | None:
    """Bytes of memory that the process has had at most; None on Windows.

    Linux keeps two such figures. ``ru_maxrss`` of a process begins with that of the process that started it, so the one
    of its own memory is read.
    """
    return _status("VmHWM") or _most()


def _status(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)


def _most() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
