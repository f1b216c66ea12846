"""The parts of level 7, in their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backends.runtime.device import Device
from gpu import kernels, outside, runs, stream, warm
from gpu.result import Result

__all__ = ["PARTS", "Part"]


@dataclass(frozen=True)
class Part:
    """One part.

    title : what it shows
    run : (device) -> its result
    limit : seconds after which it is ended, and has failed; they add up to more than the suite takes
    """

    name: str
    title: str
    run: Callable[[Device], Result]
    limit: float


PARTS = (
    Part("warm", "every CUDA source compiled, once for all parts", warm.check, 240),
    Part("kernels", "every kernel in every dtype against float64", kernels.check, 240),
    Part("runs", "training runs on the CPU and on the GPU from equal weights", runs.check, 180),
    Part("stream", "a training step that never waits for the device", stream.check, 60),
    Part("memcheck", "no kernel reaches beyond its arrays", outside.memcheck, 150),
    Part("racecheck", "no two threads of a block meet in shared memory", outside.racecheck, 150),
    Part("bench", "how fast the CPU and the GPU are", outside.bench, 240),
    Part("tests", "the tests of level 7", outside.tests, 240),
)
