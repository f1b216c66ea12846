"""One training step (forward, loss, backward, Adam) through the framework, on the CPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.peers.ours import step_of
from benchmarks.peers.workloads import SUITES, Training

STEPS = {work.name: work for work in SUITES["training"] if isinstance(work, Training)}


@pytest.mark.parametrize("name", STEPS)
def test_step(name: str, benchmark: Callable[..., None]) -> None:
    benchmark(step_of(STEPS[name]))
