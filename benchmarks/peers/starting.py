"""The suite ``compile``: what starting costs, and what the compilation of kernels adds to a first run."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.peers.rounds import ROOT

__all__ = ["TARGETS", "measure", "rows"]

FIRST, SECOND = "dlcore train --epochs 1, nothing compiled yet", "the same again"
COMPILATION = "what compilation adds"

SHORT = {
    "import dlcore": ["-c", "import dlcore"],
    "import dlcore, with its Trainer and kernels": ["-c", "import dlcore, backends.cpu; dlcore.Trainer"],
    "dlcore --help": ["-m", "dlcore", "--help"],
}

TARGETS = {COMPILATION: 8.0, "import dlcore": 0.6, "dlcore --help": 0.4}
"""Seconds at most, in the median."""


def measure(rounds: int, say: Callable[[str], None]) -> dict[str, list[float]]:
    """Seconds that whole processes take, one figure a round; raises CalledProcessError where one fails."""
    seconds: dict[str, list[float]] = {}
    for arguments in SHORT.values():
        _seconds(arguments, ROOT)  # bytecode, files in memory
    for number in range(1, rounds + 1):
        say(f"compile, round {number} of {rounds}")
        with tempfile.TemporaryDirectory() as folder:
            for name in (FIRST, SECOND):
                train = ["-m", "dlcore", "train", "--epochs", "1", "--device", "cpu"]
                seconds.setdefault(name, []).append(_seconds(train, Path(folder), str(Path(folder, "numba"))))
        seconds.setdefault(COMPILATION, []).append(seconds[FIRST][-1] - seconds[SECOND][-1])
        for name, arguments in SHORT.items():
            seconds.setdefault(name, []).append(_seconds(arguments, ROOT))
    return seconds


def _seconds(arguments: Sequence[str], folder: Path, cache: str = "") -> float:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)} | ({"NUMBA_CACHE_DIR": cache} if cache else {})
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, check=True)
    return time.perf_counter() - start


def rows(seconds: dict[str, list[float]]) -> list[tuple[str, str, str, str]]:
    """For each figure: its name, the best, the median, and whether the median reaches its target."""
    found = []
    for name, each in seconds.items():
        median, target = statistics.median(each), TARGETS.get(name)
        verdict = "" if target is None else f"at most {target:g}: {'yes' if median <= target else 'no'}"
        found.append((name, f"{min(each):.2f}", f"{median:.2f}", verdict))
    return found
