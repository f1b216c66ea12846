"""Steady state: warm-up, then rounds in which those that are compared take turns; each waits for its device."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

__all__ = ["FULL", "QUICK", "SWEEP", "Pace", "Subject", "rounds", "summary"]

MOST = 10_000  # calls in a round


@dataclass(frozen=True)
class Pace:
    """How long measuring takes.

    warm_up : seconds of calls before the first round, and two calls at least
    round : seconds that the calls of a round shall take together; a longer call is a round of its own
    rounds : how many
    """

    warm_up: float
    round: float
    rounds: int


FULL = Pace(warm_up=0.2, round=0.01, rounds=15)
QUICK = Pace(warm_up=0.02, round=0.002, rounds=7)
SWEEP = Pace(warm_up=0.02, round=0.005, rounds=5)


@dataclass
class Subject:
    """Something to time: ``run`` starts work, ``wait`` returns when it is done, ``calls`` of them make a round.

    active : a context in which it runs, entered before the clock starts
    """

    run: Callable[[], Any]
    wait: Callable[[], None]
    active: Callable[[], AbstractContextManager[Any]] = nullcontext
    calls: int = 1

    def seconds(self, calls: int) -> float:
        """The time of one call, on average over ``calls``; the device is waited for once, after the last."""
        with self.active():
            start = time.perf_counter()
            for _ in range(calls):
                self.run()
            self.wait()
            return (time.perf_counter() - start) / calls

    def warm_up(self, pace: Pace) -> None:
        """Call it until caches, threads and clocks have settled, and choose how many calls make a round."""
        start, done = time.perf_counter(), []
        while len(done) < 2 or time.perf_counter() - start < pace.warm_up:
            done.append(self.seconds(1))
        self.calls = max(1, min(MOST, math.ceil(pace.round / max(min(done), 1e-9))))


def rounds(subjects: Sequence[Subject], pace: Pace) -> list[list[float]]:
    """Seconds of a call of each subject, one figure a round, the subjects in turns.

    Every other round goes backwards: nobody always follows the same one.
    """
    for subject in subjects:
        subject.warm_up(pace)
    times: list[list[float]] = [[] for _ in subjects]
    for number in range(pace.rounds):
        order = list(zip(subjects, times, strict=True))
        for subject, of_it in order if number % 2 == 0 else reversed(order):
            of_it.append(subject.seconds(subject.calls))
    return times


def summary(times: Sequence[float], calls: int = 1) -> dict[str, Any]:
    """What pytest-benchmark calls ``stats``: seconds of one call, their spread, and the times themselves.

    iqr is the distance of the quartiles, ops the calls in a second; outliers are counted beyond one standard deviation
    of the mean, and beyond 1.5 iqr of the quartiles.

    >>> found = summary([3.0, 1.0, 2.0])
    >>> found["median"], found["iqr"], found["outliers"]
    (2.0, 1.0, '0;0')
    """
    data = sorted(times)
    q1, median, q3 = statistics.quantiles(data, n=4, method="inclusive") if len(data) > 1 else data * 3
    mean = statistics.fmean(data)
    deviation = statistics.stdev(data) if len(data) > 1 else 0.0
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    far = sum(not mean - deviation <= t <= mean + deviation for t in data)
    beyond = sum(not low <= t <= high for t in data)
    return {
        "min": data[0],
        "max": data[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": len(data),
        "median": median,
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": beyond,
        "stddev_outliers": far,
        "outliers": f"{far};{beyond}",
        "ld15iqr": next(t for t in data if t >= low),
        "hd15iqr": next(t for t in reversed(data) if t <= high),
        "ops": len(data) / sum(data) if sum(data) else 0.0,
        "total": sum(data),
        "data": list(times),
        "iterations": calls,
    }
