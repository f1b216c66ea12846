"""The suite: each part in a process of its own, one report, a page of summary.

A process each, because an error of one kernel can leave a CUDA context that refuses everything after it, and a part
that hangs can be ended. The report is written anew after each part: a run that is cut off leaves what it has found.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backends.runtime.device import Device
from dlcore.bench.provenance import commit_info, machine
from dlcore.train.checkpoint.arrays import write_atomically
from gpu import facts
from gpu.parts import PARTS, Part
from gpu.result import Result

__all__ = ["FORMAT", "ended_with_its_part", "report", "run_all", "run_one", "run_part", "summary"]

FORMAT = 2
"""Of the report: a number that grows when a name in it changes its meaning."""

_LEAST = 10.0
"""Seconds that a part needs to say anything: with less of the budget left it does not begin."""


def run_one(name: str, device: Device, result: Path) -> None:
    """Run a part here and write what it found."""
    part = next(part for part in PARTS if part.name == name)
    with device.active():
        found = part.run(device)
    write_atomically(result, lambda: json.dumps(found.packed()) + "\n")


def run_all(
    device: Device,
    path: Path,
    names: Sequence[str] | None = None,
    budget: float | None = None,
    commit: Path | None = None,
) -> int:
    """Run every part, whatever failed before, write the report and print the page; 1 where a part failed.

    path : of the report, which is written anew after each part
    names : of the parts to run; None for all
    budget : seconds that they may take together; what does not fit is left out, which is no pass
    commit : a file with the commit's id, which goes before what git says, as in a tree without git
    """
    begun, started = datetime.now(UTC), time.monotonic()
    about = {"device": facts.device(device), "libraries": facts.libraries(), "commit": _commit(commit)}
    print("\n".join(_heading(about)), flush=True)
    chosen = [part for part in PARTS if names is None or part.name in names]
    results: dict[str, dict[str, Any]] = {}
    found: dict[str, Any] = {}
    for i, part in enumerate(chosen):
        left = float("inf") if budget is None else budget - (time.monotonic() - started)
        with ended_with_its_part():
            results[part.name] = _within(left, part)
        print(_line(part, results[part.name]), flush=True)
        found = report(about, begun, results, [part.name for part in chosen[i + 1 :]])
        write_atomically(path, lambda found=found: json.dumps(found, indent=1) + "\n")
    print("\n".join(summary(found)))
    print(f"report: {path}")
    return 0 if found["passed"] else 1


def _within(left: float, part: Part) -> dict[str, Any]:
    """A part in what is ``left`` of the budget, in seconds."""
    if left < min(_LEAST, part.limit):
        summary = f"{max(left, 0.0):.0f} s of the budget are left"
        return {**Result("left out", summary).packed(), "seconds": 0.0, "said": []}
    found = run_part(replace(part, limit=min(left, part.limit)), [sys.executable, "-m", "gpu", "--part", part.name])
    if left < part.limit and found["state"] == "failed" and found["summary"].startswith("not done within"):
        found["state"] = "left out"
    return found


def _commit(file: Path | None) -> dict[str, Any]:
    info = commit_info()
    words = [] if file is None else file.read_text("utf-8").split()
    return {**info, "id": words[0], "dirty": False} if words else info


@contextmanager
def ended_with_its_part() -> Iterator[None]:
    """Inside, SIGTERM ends this process after the part that it waits for: a part left behind would hold the GPU."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_part(part: Part, command: Sequence[str]) -> dict[str, Any]:
    """What a part's process left: state, seconds, summary, found. ``command`` gets the path of its result."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        with open(Path(folder) / "said", "w+b") as said:
            status = _status([*command, str(result)], part.limit, said)
            said.seek(0)
            words = said.read().decode(errors="replace").strip().splitlines()
        if status == 0 and result.exists():
            found = json.loads(result.read_text("utf-8"))
        else:
            why = f"not done within {part.limit:g} s" if status is None else f"exit status {status}"
            why = f"ended by signal {-status}" if status is not None and status < 0 else why
            found = {"state": "failed", "summary": f"{why}: {words[-1] if words else 'it said nothing'}", "found": {}}
        found["seconds"] = round(time.monotonic() - begun, 1)
        found["said"] = words[-60:] if found["state"] == "failed" else []
        return found


def _status(command: Sequence[str], limit: float, said: Any) -> int | None:
    """The exit status of a process; None where it was ended, with all that it had started, after ``limit`` seconds."""
    process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def report(
    about: dict[str, Any], begun: datetime, results: dict[str, dict[str, Any]], to_come: Sequence[str] = ()
) -> dict[str, Any]:
    """The whole report; "passed" where no part failed, was left out for the budget or is still ``to_come``."""
    return {
        "format": FORMAT,
        "level": 7,
        "begun": begun.isoformat(timespec="seconds"),
        "seconds": round(sum(result["seconds"] for result in results.values()), 1),
        **about,
        "machine": machine(),
        "parts": results,
        "to come": list(to_come),
        "passed": not to_come and all(result["state"] not in ("failed", "left out") for result in results.values()),
    }


# --- what people read


def _heading(about: dict[str, Any]) -> list[str]:
    commit = about["commit"]
    lines = [
        f"level 7 on {about['device']['name']}, compute capability {about['device']['compute_capability']}",
        f"  {'commit':10}{commit['id']}{', with changes' if commit['dirty'] else ''}",
    ]
    lines += [f"  {name:10}{about['device'][name]}" for name in ("driver", "runtime") if about["device"].get(name)]
    return lines + [f"  {name:10}{text}" for name, text in about["libraries"].items()]


def _line(part: Part, result: dict[str, Any]) -> str:
    return f"{part.name:11}{result['state']:15}{result['seconds']:6.1f} s  {result['summary']}"


def summary(found: dict[str, Any]) -> list[str]:
    """The page's end: what each part that failed or did not run leaves open."""
    lines = [""]
    for part in PARTS:
        result = found["parts"].get(part.name, {"state": "passed"})
        if result["state"] != "passed":
            lines.append(f"{result['state'].upper()}: {part.name}, {part.title}: {result['summary']}")
            lines += [f"    {line}" for line in result["found"].get("worst", [])[:5]]
    states = [result["state"] for result in found["parts"].values()]
    known = ("passed", "failed", "left out", "not installed")
    counts = [f"{states.count(state)} {state}" for state in known if state in states]
    return [*lines, f"level 7: {', '.join(counts)} in {found['seconds']:.0f} s"]
