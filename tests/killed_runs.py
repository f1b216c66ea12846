"""Real processes that are killed while they train, and go on: a script, ``python killed_runs.py FOLDER HOW [...]``.

It forks one process after another for the same folder, each of which resumes the run and is killed -9, until one comes
to the end. It prints JSON: how many were killed, and how many of those while they were writing a file.

HOW is ``steps before`` or ``steps after`` (each process dies after one step more, before or after that is saved),
``stages`` (each dies in another call that writes), or ``random COUNT SEED`` (at any time, until COUNT were killed; each
run that comes to its end leaves its folder, FOLDER/1, FOLDER/2, ..., and another begins; FOLDER/0 is never killed).
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import job

import backends.cpu  # noqa: F401  once, before the first fork: each process is then killed while it trains

STAGES = ("open", "write", "fsync", "replace", "unlink")
"""The calls of ``os`` in which a save can be cut."""


def start(work: Callable[[], object]) -> int:
    """A forked process that does ``work``, and exits with 0 where it comes to its end."""
    process = os.fork()
    if process:
        return process
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def end(process: int) -> bool:
    """Wait for a process: True where it came to its end, False where it was killed; anything else is a failure."""
    status = os.waitpid(process, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"a run failed with status {status}")
    return True


def by_steps(folder: Path, saved: bool) -> dict[str, int]:
    for step in range(1, job.STEPS + 1):
        kill = [job.KillSelf(step)]
        run = lambda kill=kill: job.fit(job.trainer(folder, **{"after" if saved else "before": kill}))  # noqa: E731
        if end(start(run)):
            return {"killed": step - 1}
    assert end(start(lambda: job.fit(job.trainer(folder))))
    return {"killed": job.STEPS}


def dying_in(stage: str, folder: Path, nth: int) -> None:
    """Train, and die in the nth call of ``stage``; half of the bytes are written where that is a write."""
    real, calls = getattr(os, stage), 0

    def die(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            if stage == "write":
                real(args[0], args[1][: len(args[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    setattr(os, stage, die)
    job.fit(job.trainer(folder))


def by_stages(folder: Path) -> dict[str, int]:
    killed = cut = 0
    for nth in (1, 2, 3, 5, 8, 13):
        for stage in STAGES:
            ended = end(start(lambda stage=stage, nth=nth: dying_in(stage, folder, nth)))
            killed += not ended
            cut += _leftovers(folder)
    assert end(start(lambda: job.fit(job.trainer(folder))))
    return {"killed": killed, "killed while writing": cut}


def at_random(folder: Path, count: int, seed: int) -> dict[str, int]:
    def work(own: Path) -> Callable[[], object]:
        return lambda: job.fit(job.trainer(own, width=768))

    draw, begin = random.Random(seed), time.perf_counter()
    assert end(start(work(folder / "0")))
    whole = time.perf_counter() - begin  # of which much may be what comes before the first step
    killed, cut, runs = 0, 0, 1
    while killed < count:
        own = folder / str(runs)
        run = work(own)
        while True:
            process = start(run)
            if killed < count:
                time.sleep(draw.uniform(0.0, whole))
                os.kill(process, signal.SIGKILL)
            if end(process):
                break
            killed += 1
            cut += _leftovers(own)
        runs += 1
    return {"killed": killed, "killed while writing": cut, "runs": runs}


def _leftovers(folder: Path) -> bool:
    return any(folder.rglob(".*.tmp"))


if __name__ == "__main__":
    place, how, *rest = Path(sys.argv[1]), *sys.argv[2:]
    if how == "steps":
        counted = by_steps(place, rest[0] == "after")
    elif how == "stages":
        counted = by_stages(place)
    else:
        counted = at_random(place, int(rest[0]), int(rest[1]))
    print(json.dumps(counted))
