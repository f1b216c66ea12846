"""dlcore on a GPU: its stream, and the steps of :mod:`benchmarks.peers.ours` on it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

import dlcore as dl
from backends.runtime.tf32 import products_in_tf32
from benchmarks.peers import ours
from benchmarks.peers.workloads import Training

__all__ = ["VERSION", "Stream", "applied", "step_of"]

VERSION = dl.__version__

HOLD = r"""extern "C" __global__ void hold(unsigned long long ns) {
    unsigned long long begun, now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begun));
    do { asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now)); } while (now - begun < ns);
}"""


def applied(setting: str, place: str) -> AbstractContextManager[None]:
    return products_in_tf32(setting == "tf32" and place == "cuda")


def step_of(work: Training, setting: str, place: str) -> Callable[[], Any]:
    step = ours.step_of(work, place)
    return lambda: _Number(step())


class _Number:
    """A loss that is brought to the host where somebody asks for its value."""

    def __init__(self, loss: dl.Tensor) -> None:
        self.loss = loss

    def __float__(self) -> float:
        return float(self.loss.numpy())


class Stream:
    def __init__(self) -> None:
        import cupy

        self.cupy, self.hold = cupy, cupy.RawKernel(HOLD, "hold")

    def wait(self) -> None:
        self.cupy.cuda.get_current_stream().synchronize()

    def behind(self, step: Callable[[], Any], count: int, hold: float) -> float | None:
        first, last = self.cupy.cuda.Event(), self.cupy.cuda.Event()
        self.hold((1,), (1,), (np.uint64(hold * 1e6),))
        first.record()
        for _ in range(count):
            step()
        late = first.done  # the hold is over: the host was too slow
        last.record()
        last.synchronize()
        return None if late else self.cupy.cuda.get_elapsed_time(first, last) / count
