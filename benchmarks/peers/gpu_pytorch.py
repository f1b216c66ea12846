"""PyTorch on a GPU: its stream, and the steps of :mod:`benchmarks.peers.with_pytorch` on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.peers import with_pytorch
from benchmarks.peers.workloads import Training

__all__ = ["VERSION", "Stream", "applied", "step_of"]

VERSION = torch.__version__
_SETTINGS = {
    "eager": "default", "tuned": "channels last, fused Adam", "compiled": "compile, channels last, fused Adam",
}  # fmt: skip
_CYCLES = 2.0e6  # a millisecond, of at most 2 GHz


@contextmanager
def applied(setting: str, place: str) -> Iterator[None]:
    """Inside, products are in TF32 and cuDNN looks for the fastest convolution, unless it is PyTorch as it comes."""
    torch.manual_seed(0)
    if setting != "eager":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    yield


def step_of(work: Training, setting: str, place: str) -> Callable[[], Any]:
    return with_pytorch.step_of(work, _SETTINGS[setting], place)


class Stream:
    def wait(self) -> None:
        torch.cuda.synchronize()

    def behind(self, step: Callable[[], Any], count: int, hold: float) -> float | None:
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(int(hold * _CYCLES))
        first.record()
        for _ in range(count):
            step()
        late = first.query()  # the hold is over: the host was too slow
        last.record()
        last.synchronize()
        return None if late else first.elapsed_time(last) / count
