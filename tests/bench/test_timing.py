"""Rounds and what is made of their times; the other implementation is pytest-benchmark's own."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.stats import Stats

from dlcore.bench.timing import Pace, Subject, rounds, summary

SAME = ("min", "max", "mean", "stddev", "rounds", "median", "stddev_outliers", "ops", "total")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 40])
def test_the_summary_is_pytest_benchmarks_with_numpys_quartiles(count: int) -> None:
    times = np.random.default_rng(count).lognormal(-7, 1, count).tolist()
    other = Stats()
    other.data = times
    found = summary(times, 3)
    assert found.keys() == {*Stats.fields, "data", "iterations"}
    assert {name: found[name] for name in SAME} == pytest.approx({name: getattr(other, name) for name in SAME})
    q1, q3 = np.percentile(times, [25, 75])
    assert (found["q1"], found["q3"], found["iqr"]) == pytest.approx((q1, q3, q3 - q1))
    inside = [t for t in times if q1 - 1.5 * (q3 - q1) <= t <= q3 + 1.5 * (q3 - q1)]
    assert (found["ld15iqr"], found["hd15iqr"]) == (min(inside), max(inside))
    assert found["iqr_outliers"] == len(times) - len(inside)
    assert (found["data"], found["iterations"]) == (times, 3)


def test_a_round_waits_once_for_its_device_inside_its_context_and_gives_the_time_of_one_call() -> None:
    seen: list[str] = []

    class Context(nullcontext[None]):
        def __enter__(self) -> None:
            seen.append("enter")

        def __exit__(self, *_: Any) -> None:
            seen.append("exit")

    def wait() -> None:
        seen.append("wait")
        time.sleep(0.03)

    seconds = Subject(lambda: seen.append("run"), wait, Context).seconds(3)
    assert seen == ["enter", "run", "run", "run", "wait", "exit"]
    assert seconds >= 0.01  # a third of the wait, which belongs to the work


def test_those_that_are_compared_take_turns_and_every_other_round_goes_backwards() -> None:
    seen: list[str] = []
    subjects = [Subject(lambda name=name: seen.append(name), lambda: None) for name in "ab"]
    found = rounds(subjects, Pace(warm_up=0.0, round=0.0, rounds=3))
    assert "".join(seen) == "aabb" + "ab" + "ba" + "ab"
    assert [len(times) for times in found] == [3, 3]


def test_short_calls_are_put_together_to_a_round() -> None:
    fast, slow = Subject(lambda: None, lambda: None), Subject(lambda: time.sleep(0.01), lambda: None)
    pace = Pace(warm_up=0.0, round=0.005, rounds=1)
    for subject in (fast, slow):
        subject.warm_up(pace)
    assert fast.calls > 100
    assert slow.calls == 1
