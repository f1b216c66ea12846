"""One process, one framework on a GPU: ``python -m benchmarks.peers.gpu_child FRAMEWORK WORKLOAD SETTING PLACE``.

It prints a line of JSON, in milliseconds a step: {"wall": many steps and one wait, "host": one step that nothing waits
for, "device": steps queued behind a kernel that holds the stream, so that the host does not count; null where the host
was too slow for that, or PLACE is "cpu", "loss": after the first steps}. What fails is {"error": its first line}.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from benchmarks.peers.workloads import Training, workload

__all__ = ["Queue", "main", "measure"]

DRY_BATCH = 2
FIRST_STEPS = 40
"""Steps before anything is timed: compilation, caches, plans."""
LONG_ENOUGH = 200.0  # ms of steps behind one wait
QUEUED = 600  # launches: CUDA's queue holds some thousand, behind which the host waits


class Queue(Protocol):
    """The current stream of a framework."""

    def wait(self) -> None:
        """Until all that was queued is done."""
        ...

    def behind(self, step: Callable[[], Any], count: int, hold: float) -> float | None:
        """Milliseconds a step of ``count``, queued while the stream is held for ``hold`` ms; None where it was late."""
        ...


class Host:
    """In place of a stream on a CPU, where nothing is queued."""

    def wait(self) -> None:
        pass

    def behind(self, step: Callable[[], Any], count: int, hold: float) -> float | None:
        step()
        return None


def measure(step: Callable[[], Any], queue: Queue, *, dry: bool, launches: int = 100) -> dict[str, Any]:
    """The figures of a step.

    launches : about how many a step makes
    """

    def block(count: int) -> float:
        begun = time.perf_counter()
        for _ in range(count):
            step()
        queue.wait()
        return 1e3 * (time.perf_counter() - begun) / count

    loss = step()
    for _ in range(0 if dry else FIRST_STEPS):
        loss = step()
    queue.wait()
    count = 1 if dry else max(1, int(LONG_ENOUGH / max(block(2), 0.05)))
    wall = [block(count) for _ in range(1 if dry else 7)]
    host = []
    for _ in range(1 if dry else 30):
        queue.wait()
        begun = time.perf_counter()
        step()
        host.append(1e3 * (time.perf_counter() - begun))
    queue.wait()
    queued = max(1, QUEUED // launches)
    hold = 4 * queued * statistics.median(host) + 20
    device = [queue.behind(step, queued, hold) for _ in range(1 if dry else 5)]
    on_time = [ms for ms in device if ms is not None]
    return {
        "wall": statistics.median(wall),
        "walls": wall,
        "host": statistics.median(host),
        "device": statistics.median(on_time) if on_time else None,
        "loss": float(loss),
    }


def main(arguments: Sequence[str]) -> None:
    framework, name, setting, place = arguments
    try:
        work = workload(name)
        assert isinstance(work, Training)
        dry = place == "cpu"
        module = importlib.import_module(f"benchmarks.peers.gpu_{framework}")
        with module.applied(setting, place):
            step = module.step_of(replace(work, batch=DRY_BATCH) if dry else work, setting, place)
            answer = measure(step, Host() if dry else module.Stream(), dry=dry)
        answer["version"] = module.VERSION
    except ModuleNotFoundError as error:
        answer = {"missing": error.name}
    except Exception as error:  # a peer may fail in any way; the others go on
        answer = {"error": f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"}
    print(f"\n{json.dumps(answer)}")


if __name__ == "__main__":
    main(sys.argv[1:])
