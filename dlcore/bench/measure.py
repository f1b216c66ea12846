"""Everything that is measured of one place, or of two whose rounds take turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import numpy as np

from backends.runtime import copies
from backends.runtime.device import CPU
from dlcore.bench import starting
from dlcore.bench.places import REFERENCE, Place
from dlcore.bench.timing import FULL, QUICK, SWEEP, Pace, Subject, rounds, summary
from dlcore.bench.workloads import Started, Workload, chosen

__all__ = ["Asked", "Figure", "Outcome", "break_even", "error_of", "measure", "transfer_rates"]


@dataclass(frozen=True)
class Asked:
    """What shall be measured.

    suites : of :data:`dlcore.bench.workloads.SUITES`; none is all of them
    only : part of the names of the workloads
    quick : small workloads and few rounds
    rounds : instead of the pace's own number
    """

    suites: tuple[str, ...] = ()
    only: str | None = None
    quick: bool = False
    rounds: int | None = None

    @property
    def pace(self) -> Pace:
        pace = QUICK if self.quick else FULL
        return pace if self.rounds is None else replace(pace, rounds=self.rounds)

    def works(self) -> list[Workload]:
        return chosen(self.suites, self.only, self.quick)


@dataclass(frozen=True)
class Figure:
    """What one workload took on one place.

    stats : as :func:`dlcore.bench.timing.summary` makes them, in seconds
    throughput : by the median, in ``unit``
    error : the largest difference from float64 relative to the largest element, of the result where it is largest
    implementation : the kernel's that ran; empty where there are several
    """

    suite: str
    workload: str
    place: str
    stats: dict[str, Any]
    throughput: float
    unit: str
    error: float
    implementation: str


@dataclass
class Outcome:
    """All figures, in the order of the workloads, those of the first place before those of the second.

    starting : by place, "cold" and "cached": what :func:`dlcore.bench.starting.measure` gives
    transfer : by place, bytes a second "to device" and "to host"; None where nothing is copied
    break_even : by workload, the batch size; None for never; workloads without a batch are not in it
    """

    figures: list[Figure] = field(default_factory=list)
    starting: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    transfer: dict[str, dict[str, float] | None] = field(default_factory=dict)
    break_even: dict[str, int | None] = field(default_factory=dict)


def measure(
    places: Sequence[Place],
    asked: Asked,
    done: Callable[[str], Any] = lambda name: None,
    works: Sequence[Workload] = (),
) -> Outcome:
    """Measure one place, or two in turns, and then the batch size from which on the second is faster.

    done : is told each workload that is finished
    works : instead of those that are asked for, for which nothing is started in processes of their own
    """
    outcome = Outcome()
    for where in places:
        outcome.transfer[where.name] = transfer_rates(where, 8 if asked.quick else 64, asked.pace.rounds)
        if not works:
            outcome.starting[where.name] = _starting(where, asked)
    for work in works or asked.works():
        inputs = work.inputs()
        errors = errors_of(work, inputs, places)
        subjects = [_ready(work, inputs, where) for where in places]
        times = rounds([subject for _, subject in subjects], asked.pace)
        for where, (started, subject), error, of_it in zip(places, subjects, errors, times, strict=True):
            stats = summary(of_it, subject.calls)
            outcome.figures.append(
                Figure(
                    work.suite, work.name, where.name, stats, work.throughput(stats["median"]), work.unit, error,
                    started.taken,
                )
            )  # fmt: skip
        del subjects  # their arrays
        if len(places) == 2 and work.at is not None:
            outcome.break_even[work.name] = break_even(work, places)
        done(work.name)
    return outcome


def _starting(where: Place, asked: Asked) -> dict[str, dict[str, Any]]:
    """Quickly: with what is kept on disk alone. The reference compiles nothing."""
    settings = (where.name, where.threads, asked.suites, asked.only, asked.quick)
    states = {"cached": False} if asked.quick or where.reference else {"cold": True, "cached": False}
    return {state: starting.measure(*settings, cold=cold) for state, cold in states.items()}


def _ready(work: Workload, inputs: Sequence[Any], where: Place) -> tuple[Started, Subject]:
    """The workload on a place."""
    with where.active():
        started = work.start([where.put(x) for x in inputs])
    return started, Subject(started.run, where.wait, where.active)


# --- error


def errors_of(work: Workload, inputs: Sequence[Any], places: Sequence[Place]) -> list[float]:
    """The error of each place against the reference kernels in float64 on the same inputs."""
    arrays = work.decided(list(inputs))
    wide = [x.astype(np.float64) if x.dtype == np.float32 else x for x in arrays]
    exact = _results(work, wide, Place(REFERENCE, CPU))
    return [max(map(error_of, _results(work, arrays, where), exact)) for where in places]


def _results(work: Workload, arrays: Sequence[np.ndarray], where: Place) -> list[np.ndarray]:
    with where.active():
        return [copies.to_host(x) for x in work.start([where.put(x) for x in arrays]).compare()]


def error_of(y: np.ndarray, exact: np.ndarray) -> float:
    """max |y - exact| / max |exact|; where all of ``exact`` is 0, max |y|.

    >>> error_of(np.array([1.0, 2.5]), np.array([1.0, 2.0]))
    0.25
    """
    largest = float(np.max(np.abs(exact)))
    return float(np.max(np.abs(y.astype(np.float64) - exact))) / (largest or 1.0)


# --- transfer


def transfer_rates(where: Place, mebibytes: int, count: int) -> dict[str, float] | None:
    """Bytes a second to the device and back, by the medians of ``count`` copies; None where nothing is copied."""
    if where.on_host:
        return None
    host = np.zeros(mebibytes << 20, np.uint8)
    there = Subject(lambda: where.put(host), where.wait)
    array = where.put(host)
    back = Subject(lambda: copies.to_host(array), where.wait)
    rates = {}
    for name, subject in (("to device", there), ("to host", back)):
        subject.seconds(1)
        rates[name] = host.nbytes / summary([subject.seconds(1) for _ in range(count)])["median"]
    return rates


# --- break-even


def break_even(work: Workload, places: Sequence[Place]) -> int | None:
    """The smallest batch from which on the second place is faster, up to the workload's own; None where it never is.

    Batches are 1, 4, 16, ... and the workload's own. "From which on": at every larger one that was tried, too.
    "Faster": in the median and at best, since one of the two alone is often chance.
    """
    found = None
    for batch in reversed(_batches(work.batch or 1)):
        smaller = work.at(batch) if work.at else work
        inputs = smaller.inputs()
        first, second = rounds([_ready(smaller, inputs, where)[1] for where in places], SWEEP)
        if median(second) >= median(first) or min(second) >= min(first):
            return found
        found = batch
    return found


def _batches(largest: int) -> list[int]:
    """
    >>> _batches(64), _batches(100)
    ([1, 4, 16, 64], [1, 4, 16, 64, 100])
    """
    powers = [4**i for i in range(largest.bit_length()) if 4**i < largest]
    return [*powers, largest]
