"""What comes before the steady state, in a process of its own: imports, the device, first calls of the workloads.

A first call compiles what it needs, or loads what an earlier process has compiled and kept on disk. Both are measured:
with empty folders for the compiled code, and with those that are there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from dlcore.bench.provenance import ROOT

__all__ = ["child", "measure"]

LIMIT = 300  # seconds that a process may take

_CACHES = ("NUMBA_CACHE_DIR", "CUPY_CACHE_DIR")

_SCRIPT = """
import sys, time
start = time.perf_counter()
sys.argv[1] in sys.path or sys.path.insert(0, sys.argv[1])
from dlcore.bench.starting import child
child(start, *sys.argv[2:])
"""


def measure(
    place: str, threads: int, suites: Sequence[str], only: str | None, quick: bool, *, cold: bool
) -> dict[str, Any]:
    """Seconds in a fresh process: "import", "device" and "first": of each workload by name; or the "error".

    cold : with nothing compiled yet; else with what is kept on disk
    """
    asked = json.dumps({"place": place, "threads": threads, "suites": list(suites), "only": only, "quick": quick})
    command = [sys.executable, "-P", "-c", _SCRIPT, str(ROOT), asked]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, **(dict.fromkeys(_CACHES, folder) if cold else {})}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            return {"error": f"stopped after {LIMIT} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines()
        return {"error": said[-1] if said else f"exit code {done.returncode}"}
    return json.loads(lines[-1])


def child(start: float, asked: str) -> None:
    """What the process does; the answer is a line of JSON."""
    from dlcore.bench.places import place
    from dlcore.bench.workloads import chosen

    what = json.loads(asked)
    imported = time.perf_counter()
    where = place(what.pop("place"), what.pop("threads"))
    if not where.reference and where.on_host:
        from backends import cpu  # noqa: F401  the compiled kernels are a part of what is imported

        imported = time.perf_counter()
    where.wait()
    ready = time.perf_counter()
    first = {}
    for work in chosen(**what):
        with where.active():
            arrays = [where.put(x) for x in work.inputs()]
            before = time.perf_counter()
            work.start(arrays).run()
            where.wait()
        first[work.name] = time.perf_counter() - before
    print(json.dumps({"import": imported - start, "device": ready - imported, "first": first}))
