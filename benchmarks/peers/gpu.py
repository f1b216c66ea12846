"""``python -m benchmarks.peers --device cuda``: steps of training on a GPU, dlcore beside PyTorch.

PyTorch is measured as it comes ("eager"), "tuned" (products in TF32, channels last, fused Adam, cuDNN's own search) and
"compiled" (that, through torch.compile with CUDA graphs). Each figure is a process of its own, and the rounds take
turns. With ``--dry`` everything runs once, with batches of two, on the CPU: a test of the program and no figure.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.peers.rounds import ROOT
from benchmarks.peers.workloads import Training
from dlcore.bench.provenance import commit_of, machine

__all__ = ["SETTINGS", "run", "table", "why_not"]

SETTINGS = {"dlcore": ("float32", "tf32"), "pytorch": ("eager", "tuned", "compiled")}
TITLES = {"dlcore": "dlcore", "pytorch": "PyTorch"}
LIMIT = 300
"""Seconds of a process, in which a model is compiled too."""


def why_not() -> str | None:
    """Why nothing can be measured here; None where a CUDA GPU is."""
    from backends.errors import DeviceError
    from backends.runtime.device import resolve

    try:
        resolve("cuda")
    except DeviceError as error:
        return str(error).replace(", or --device cpu", ", or try the program by --dry")
    return None


def run(
    works: Sequence[Training],
    rounds: int,
    *,
    dry: bool,
    file: Path | None,
    console: Console,
    say: Callable[[str], None],
) -> int:
    """Measure, print the table and write the figures; 1 where dlcore failed."""
    place = "cpu" if dry else "cuda"
    found: dict[str, dict[str, list[dict[str, Any]]]] = {work.name: {} for work in works}
    for number in range(1, (1 if dry else rounds) + 1):
        for work in works:
            say(f"round {number}: {work.name}")
            entries = [(name, setting) for name, settings in SETTINGS.items() for setting in settings]
            for name, setting in entries if number % 2 else reversed(entries):
                answer = _child(name, work.name, setting, place)
                found[work.name].setdefault(f"{TITLES[name]}, {setting}", []).append(answer)
    console.print(
        "dry run on the CPU: no figure means anything" if dry else "ms a step: wall, host alone, device alone"
    )
    console.print(table(found, ratios=not dry))
    for name, settings in found.items():
        for label, answers in settings.items():
            for error in {answer["error"] for answer in answers if "error" in answer}:
                console.print(f"{name}: {label}: {error}")
    if file is not None:
        about = {"device": place, "dry": dry, "commit": commit_of(ROOT), "machine": machine()}
        file.write_text(json.dumps({**about, "workloads": found}, indent=1) + "\n", encoding="utf-8")
        console.print(f"figures: {file}")
    ours = [
        answer
        for settings in found.values()
        for label, answers in settings.items()
        if label.startswith(TITLES["dlcore"])
        for answer in answers
    ]
    return int(any("error" in answer or "missing" in answer for answer in ours))


def table(found: dict[str, dict[str, list[dict[str, Any]]]], ratios: bool = True) -> Table:
    """A row for each workload and setting; ``ratio`` is the fastest PyTorch's wall time over dlcore's."""
    shown = Table("workload", "framework, setting", "wall", "host", "device", "ratio", "loss")
    for name, settings in found.items():
        walls = {label: _median(answers, "wall") for label, answers in settings.items()}
        peers = [ms for label, ms in walls.items() if label.startswith("PyTorch") and ms is not None and ratios]
        for label, answers in settings.items():
            figures = [_median(answers, what) for what in ("wall", "host", "device")]
            ratio = min(peers) / figures[0] if peers and figures[0] and label.startswith("dlcore") else None
            loss = _median(answers, "loss")
            state = f"{loss:.4f}" if loss is not None else "failed" if "error" in answers[0] else "not installed"
            cells = ["-" if ms is None else f"{ms:.3f}" for ms in figures]
            shown.add_row(name, label, *cells, f"{ratio:.2f}" if ratio else "", state)
    return shown


def _median(answers: Sequence[dict[str, Any]], what: str) -> float | None:
    values = [answer[what] for answer in answers if answer.get(what) is not None]
    return statistics.median(values) if values else None


def _child(framework: str, name: str, setting: str, place: str) -> dict[str, Any]:
    """What the process says in its last line; {"error": ...} where it does not come to that."""
    command = [sys.executable, "-m", "benchmarks.peers.gpu_child", framework, name, setting, place]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done within {LIMIT} s"}
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {"error": next(iter(reversed(done.stderr.strip().splitlines())), f"exit status {done.returncode}")}
