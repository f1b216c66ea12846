"""Processes that take turns: every workload in every framework and setting, round after round."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.frameworks import FRAMEWORKS, OURS, settings_of
from benchmarks.peers.workloads import Workload

__all__ = ["ROOT", "Failure", "Measured", "Series", "find", "measure"]

ROOT = Path(__file__).resolve().parents[2]

LIMIT = 120  # seconds that a process may take
COMPILING_LIMIT = 300  # with PyTorch's compiler

TOLERANCE = 1e-3
"""Relative: how far the checks of two frameworks, which are sums in float32, may be apart."""


@dataclass
class Series:
    """What one framework with one setting took for one part of a workload: a figure a round."""

    suite: str
    workload: str
    part: str
    framework: str
    setting: str
    ms: list[float] = field(default_factory=list)
    peak_bytes: list[int | None] = field(default_factory=list)
    imported_bytes: list[int | None] = field(default_factory=list)
    check: float | None = None

    @property
    def best(self) -> float:
        return min(self.ms)

    @property
    def median(self) -> float:
        return statistics.median(self.ms)

    @property
    def ours(self) -> bool:
        return self.framework == OURS

    @property
    def label(self) -> str:
        return f"{FRAMEWORKS[self.framework].title}, {self.setting}"


@dataclass(frozen=True)
class Failure:
    suite: str
    workload: str
    framework: str
    setting: str
    round: int
    error: str

    def __str__(self) -> str:
        name = f"{FRAMEWORKS[self.framework].title}, {self.setting}"
        return f"{self.workload}: {name}: round {self.round}: {self.error}"


@dataclass
class Measured:
    """What the rounds gave."""

    series: dict[tuple[str, ...], Series] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    threads: dict[str, str] = field(default_factory=dict)

    def add(self, suite: str, work: Workload, framework: str, setting: str, round: int, answer: dict[str, Any]) -> None:
        if "error" in answer:
            self.failures.append(Failure(suite, work.name, framework, setting, round, answer["error"]))
            return
        title = FRAMEWORKS[framework].title
        self.threads[f"{title}, {setting}" if framework == OURS else title] = answer["threads"]
        for part, figures in answer["parts"].items():
            key = (suite, work.name, part, framework, setting)
            one = self.series.setdefault(key, Series(*key))
            one.ms.append(figures["ms"])
            one.check = figures["check"]
            one.peak_bytes.append(answer["peak_bytes"])
            one.imported_bytes.append(answer["imported_bytes"])

    def of(self, suite: str) -> list[Series]:
        return [one for one in self.series.values() if one.suite == suite]

    def disagreements(self) -> list[str]:
        """The parts whose results are not the same everywhere: there, times do not compare."""
        lines = []
        known: dict[tuple[str, ...], Series] = {}
        for one in self.series.values():
            if one.check is None:
                continue
            first = known.setdefault((one.workload, one.part), one)
            assert first.check is not None
            if not abs(one.check - first.check) <= TOLERANCE * abs(first.check):
                lines.append(f"{one.workload}: {one.label} has {one.check:g} where {first.label} has {first.check:g}")
        return lines


def find(frameworks: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The versions of the frameworks that can be imported, and why the others cannot."""
    versions, missing = {}, {}
    for name in frameworks:
        framework, answer = FRAMEWORKS[name], _child(LIMIT, name)
        if "version" in answer:
            versions[name] = answer["version"]
        elif "missing" in answer:
            missing[name] = f"{framework.title} is not installed: {framework.install}"
        else:
            missing[name] = f"{framework.title} cannot be imported: {answer['error']}"
    return versions, missing


def measure(
    suite: str,
    works: Sequence[Workload],
    frameworks: Sequence[str],
    rounds: int,
    *,
    compiled: bool = False,
    into: Measured,
    say: Callable[[str], None],
) -> None:
    """Add the figures of ``works`` to ``into``; ``say`` is told where the rounds are."""
    for number in range(1, rounds + 1):
        for work in works:
            say(f"{suite}, round {number} of {rounds}: {work.name}")
            entries = [(name, setting) for name in frameworks for setting in settings_of(name, work, compiled)]
            # Every other round goes backwards: nobody always follows the same one.
            for name, setting in entries if number % 2 else reversed(entries):
                limit = COMPILING_LIMIT if "compile" in setting else LIMIT
                into.add(suite, work, name, setting, number, _child(limit, name, work.name, setting))


def _child(limit: int, *arguments: str) -> dict[str, Any]:
    """What the process says in its last line; {"error": ...} where it does not come to that."""
    command = [sys.executable, "-m", "benchmarks.peers.child", *arguments]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}  # the others use a GPU only when they are told to
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"error": f"stopped after {limit} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines()
        return {"error": f"exit code {done.returncode}{f': {said[-1]}' if said else ''}"}
    return json.loads(lines[-1])
