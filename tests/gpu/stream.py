"""A training step that gives the device its work and never waits for it, shown in three ways.

``guard("forbid")`` refuses the project's own copies and waits. What it cannot see, a conversion such as ``float(x)`` in
CuPy's code or in ours, shows on a stream that is held up: behind a kernel that turns in circles for a second, the step
must return while the kernel still turns. Stream capture tells where a wait is, by raising at it.

CuPy refuses to call cuBLAS while a stream is captured (its setStream raises NotImplementedError, as of CuPy 14.2), so
products are replaced there by arrays of their shape; the held-up stream sees the real ones. Each check is tried on a
step with a wait in it too, which it must find: else it shows nothing.
"""

from __future__ import annotations

import importlib
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import dlcore as dl
from backends.runtime import copies
from backends.runtime.device import Device
from gpu.result import Result, judged

__all__ = ["captured", "check", "guarded", "held_up", "steps_of", "without_products"]

WARM = 4
LEAST, MOST = 0.5, 1.5
"""Seconds for which the stream is held up: many times as long as the step takes the host."""

HOLD = r"""
extern "C" __global__ void hold(unsigned long long nanoseconds) {
    unsigned long long begun, now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begun));
    do {
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    } while (now - begun < nanoseconds);
}
"""

Step = Callable[[], Any]


def check(device: Device) -> Result:
    """Two models in all three ways, each way with its counter-check."""
    cupy = importlib.import_module("cupy")
    found = []
    for name, step in steps_of(device).items():
        waiting = _waits(step)
        for way in (guarded, held_up, captured):
            free, how = way(step, device, cupy)
            seen = not (way(waiting, device, cupy) if way is not guarded else way(_copies(step), device, cupy))[0]
            found.append({"model": name, "way": way.__name__, "free": free, "control_found": seen, "how": how})
    bad = [f"{one['model']}, {one['way']}: {one['how'] if not one['free'] else 'a planted wait is not found'}"
           for one in found if not (one["free"] and one["control_found"])]  # fmt: skip
    return judged(not bad, f"{len(found) - len(bad)} of {len(found)} checks find no wait", worst=bad, checks=found)


def steps_of(device: Device) -> dict[str, Step]:
    """Training steps, warmed up: every kernel is compiled, and the pool holds what a step needs."""
    nn, optim = dl.nn, dl.optim
    dense = nn.Sequential(nn.Dense(64), nn.ReLU(), nn.Dropout(0.3), nn.Dense(10))
    images = nn.Sequential(
        nn.Conv2D(8, 3, padding="same", bias=False), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2D(2), nn.Conv2D(12, 3),
        nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Dense(10),
    )  # fmt: skip
    return {
        "mlp": _step(dense, (32, 30), optim.Momentum(0.1), None, device),
        "cnn": _step(images, (32, 12, 12, 3), optim.Adam(1e-3), optim.clip_by_norm(1.0), device),
    }


def _step(model: dl.nn.Module, shape: tuple[int, ...], optimizer: Any, clip: Any, device: Device) -> Step:
    rng = np.random.default_rng(0)
    model.build(shape[1:], seed=0, device=device)
    rule = optimizer.attach(model)
    x = copies.to_device(rng.standard_normal(shape).astype(np.float32), device)
    y = copies.to_device(rng.integers(0, 10, shape[0]), device)

    def step() -> Any:
        loss = dl.losses.cross_entropy(model(x), y)
        loss.backward()
        if clip is not None:
            clip(model)
        rule.step()
        rule.zero_grad()
        return loss

    return step


def _waits(step: Step) -> Step:
    return lambda: float(step().data)


def _copies(step: Step) -> Step:
    return lambda: copies.to_host(step().data)


# --- the three ways: whether the step is free of waits, and how that shows


def guarded(step: Step, device: Device, cupy: Any) -> tuple[bool, str]:
    """Inside ``guard("forbid")``."""
    with device.active():
        try:
            with copies.guard("forbid"):
                step()
        except copies.TransferError as error:
            return False, str(error)
    return True, "no copy and no wait of the project's own"


def held_up(step: Step, device: Device, cupy: Any) -> tuple[bool, str]:
    """Behind a kernel that runs for longer than the step takes the host."""
    with device.active():
        stream = cupy.cuda.Stream(non_blocking=True)
        hold = cupy.RawKernel(HOLD, "hold")
        with stream:
            hold((1,), (1,), (np.uint64(1),))
            for _ in range(WARM):
                step()
            stream.synchronize()
            begun = time.perf_counter()
            step()
            alone = time.perf_counter() - begun
            stream.synchronize()
            seconds = min(MOST, max(LEAST, 20 * alone))
            hold((1,), (1,), (np.uint64(seconds * 1e9),))
            begun = time.perf_counter()
            step()
            took, over = time.perf_counter() - begun, stream.done
            stream.synchronize()
    how = f"the step took the host {took * 1e3:.1f} ms, and the device was held up for {seconds * 1e3:.0f} ms"
    return not over and took < seconds, how


def captured(step: Step, device: Device, cupy: Any) -> tuple[bool, str]:
    """While the stream is captured, with products left out."""
    with device.active(), without_products(device.xp):
        stream = cupy.cuda.Stream(non_blocking=True)
        with stream:
            for _ in range(WARM):
                step()
            stream.synchronize()
            stream.begin_capture()
            try:
                step()
            except Exception as error:
                return False, f"{_place(error)}: {type(error).__name__}: {error}"
            finally:
                ended = _end(stream)
    return not ended, ended or "captured to its end"


def _end(stream: Any) -> str:
    """End a capture; why it is not valid, empty where it is."""
    try:
        stream.end_capture()
    except Exception as error:
        return f"the capture is not valid: {type(error).__name__}: {error}"
    return ""


def _place(error: BaseException) -> str:
    """The innermost line of the project's that an error came through."""
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if "/dlcore/" in f.filename or "/backends/" in f.filename
    ]
    frames = frames or list(traceback.extract_tb(error.__traceback__))
    return f"{frames[-1].filename}:{frames[-1].lineno}"


@contextmanager
def without_products(xp: Any) -> Iterator[None]:
    """Make ``xp.matmul`` give an array of the product's shape that nobody has filled: under capture nothing runs."""
    real = xp.matmul

    def shape_only(a: Any, b: Any, *, out: Any = None) -> Any:
        if out is not None:
            return out
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        return xp.empty((*batch, a.shape[-2], b.shape[-1]), dtype=a.dtype, device=a.device)

    xp.matmul = shape_only
    try:
        yield
    finally:
        xp.matmul = real
