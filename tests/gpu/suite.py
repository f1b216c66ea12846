"""The suite: each part in a process of its own, one report, a page of summary.

A process each, because an error of one kernel can leave a CUDA context that refuses everything after it, and a part
that hangs can be ended. The report is written at the end, whole or not at all.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backends.device import Device
from dlcore.bench.provenance import commit_info, machine
from dlcore.train.checkpoint import write_atomically
from gpu import facts
from gpu.parts import PARTS, Part

__all__ = ["FORMAT", "report", "run_all", "run_one", "run_part", "summary"]

FORMAT = 1
"""Of the report: a number that grows when a name in it changes its meaning."""


def run_one(name: str, device: Device, result: Path) -> None:
    """Run a part here and write what it found."""
    part = next(part for part in PARTS if part.name == name)
    with device.active():
        found = part.run(device)
    write_atomically(result, lambda: json.dumps(found.packed()) + "\n")


def run_all(device: Device, path: Path) -> int:
    """Run every part, whatever failed before, write the report and print the page; 1 where a part failed."""
    about = {"device": facts.device(device), "libraries": facts.libraries(), "commit": commit_info()}
    print("\n".join(_heading(about)), flush=True)
    begun, results = datetime.now(UTC), {}
    for part in PARTS:
        results[part.name] = run_part(part, [sys.executable, "-m", "gpu", "--part", part.name])
        print(_line(part, results[part.name]), flush=True)
    found = report(about, begun, results)
    write_atomically(path, lambda: json.dumps(found, indent=1) + "\n")
    print("\n".join(summary(found)))
    print(f"report: {path}")
    return 0 if found["passed"] else 1


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


def report(about: dict[str, Any], begun: datetime, results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The whole report; "passed" where no part failed."""
    return {
        "format": FORMAT,
        "level": 7,
        "begun": begun.isoformat(timespec="seconds"),
        "seconds": round(sum(result["seconds"] for result in results.values()), 1),
        **about,
        "machine": machine(),
        "parts": results,
        "passed": all(result["state"] != "failed" for result in results.values()),
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
        result = found["parts"][part.name]
        if result["state"] != "passed":
            lines.append(f"{result['state'].upper()}: {part.name}, {part.title}: {result['summary']}")
            lines += [f"    {line}" for line in result["found"].get("worst", [])[:5]]
    states = [result["state"] for result in found["parts"].values()]
    counts = [f"{states.count(state)} {state}" for state in ("passed", "failed", "not installed") if state in states]
    return [*lines, f"level 7: {', '.join(counts)} in {found['seconds']:.0f} s"]
