"""One process, one framework: ``python -m benchmarks.peers.child FRAMEWORK [WORKLOAD SETTING]`` prints a line of JSON.

Without a workload it is the framework's version: {"version": ...} or {"missing": true}. With one it is {"parts": what
was timed, "threads": in words, "imported_bytes": ..., "peak_bytes": ...}. What fails is {"error": its first line}.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.peers.frameworks import FRAMEWORKS
from benchmarks.peers.timing import peak_memory, resident_memory, time_part
from benchmarks.peers.workloads import workload

__all__ = ["main"]


def main(arguments: Sequence[str]) -> None:
    framework, *rest = arguments
    try:
        answer = _answer(framework, *rest)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != FRAMEWORKS[framework].package:
            answer = {"error": _first_line(error)}
        else:
            answer = {"missing": True}
    except Exception as error:  # a peer may fail in any way; the others go on
        answer = {"error": _first_line(error)}
    print(f"\n{json.dumps(answer)}")


def _answer(framework: str, name: str = "", setting: str = "") -> dict[str, Any]:
    module = importlib.import_module(f"benchmarks.peers.{FRAMEWORKS[framework].module}")
    if not name:
        return {"version": module.VERSION}
    imported = resident_memory()
    with module.applied(setting):
        parts = {part: time_part(what) for part, what in module.parts_of(workload(name), setting).items()}
        threads = module.threads()
    return {"parts": parts, "threads": threads, "imported_bytes": imported, "peak_bytes": peak_memory()}


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"


if __name__ == "__main__":
    main(sys.argv[1:])
