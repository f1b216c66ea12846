"""The machine that the stand-in pretends to run on: its devices, its driver, and how it fails.

Every operation asks here before it takes place, so that a machine without a driver, or with one that fails, raises
the errors that CUDA raises, where CUDA raises them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Literal

from standin import queues
from standin.counters import record

Stage = Literal["allocation", "launch", "synchronize"]

CUDA_VERSION = 13020

ERROR_INSUFFICIENT_DRIVER = 35
ERROR_NO_DEVICE = 100
ERROR_INVALID_DEVICE = 101
ERROR_UNKNOWN = 999

ERRORS = {
    2: "cudaErrorMemoryAllocation: out of memory",
    ERROR_INSUFFICIENT_DRIVER: "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime "
    "version",
    46: "cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable",
    ERROR_NO_DEVICE: "cudaErrorNoDevice: no CUDA-capable device is detected",
    ERROR_INVALID_DEVICE: "cudaErrorInvalidDevice: invalid device ordinal",
    209: "cudaErrorNoKernelImageForDevice: no kernel image is available for execution on the device",
    700: "cudaErrorIllegalAddress: an illegal memory access was encountered",
    ERROR_UNKNOWN: "cudaErrorUnknown: unknown error",
}


class CUDARuntimeError(RuntimeError):
    """An error of the CUDA runtime; ``status`` is CUDA's number for it."""

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message or ERRORS.get(status, f"cudaError{status}: unknown error"))
        self.status = status


@dataclass(frozen=True)
class Machine:
    """What there is: ``devices`` GPUs, a driver for CUDA ``driver`` (0: none), and perhaps a fault.

    ``broken`` is the message of the CUDARuntimeError that each operation of the stage ``broken_at`` raises. ``memory``
    is what each GPU has, in bytes. ``behind``: the GPUs are busy, no event is done before the host waits for it.
    """

    devices: int = 1
    driver: int = CUDA_VERSION
    broken: str | None = None
    broken_at: Stage = "allocation"
    memory: int = 8 * 2**30
    behind: bool = False

    def __post_init__(self) -> None:
        if self.devices < 0:
            raise ValueError(f"a machine has no negative number of devices: {self.devices}")
        if self.devices and not self.driver:
            raise ValueError(f"a machine without a driver has no devices: devices={self.devices}, driver=0")


class _Current(threading.local):
    """The current device is a thread's own, as in CUDA."""

    device = 0


_current = _Current()
machine = Machine(devices=0, driver=0)


def configure(new: Machine) -> None:
    """Replaces the machine, and makes device 0 and its null stream the calling thread's current ones."""
    global machine
    machine = new
    _current.device = 0
    queues.reset()


def count() -> int:
    """The number of devices; without any, the error of ``cudaGetDeviceCount``."""
    if not machine.driver:
        raise CUDARuntimeError(ERROR_INSUFFICIENT_DRIVER)
    if not machine.devices:
        raise CUDARuntimeError(ERROR_NO_DEVICE)
    return machine.devices


def current() -> int:
    """The calling thread's current device."""
    count()
    return _current.device


def use(device: int) -> None:
    """Makes ``device`` the calling thread's current device."""
    if not 0 <= device < count():
        raise CUDARuntimeError(ERROR_INVALID_DEVICE)
    _current.device = device


def allocate() -> int:
    """Allocates memory on the current device, which is returned."""
    device = current()
    _fail_at("allocation")
    return device


def launch(call: str) -> None:
    """Runs a kernel on the current device, in its current stream."""
    queue = queues.current(current())
    _fail_at("launch")
    record("kernel", call)
    queue.work()


def synchronize(call: str, moment: queues.Moment | None = None) -> None:
    """Waits until all up to a moment is over, by default all work of the current stream."""
    queue = queues.current(current())
    _fail_at("synchronize")
    record("sync", call)
    queues.host_knows(queue.moment() if moment is None else moment)


def check_use(array: Any) -> None:
    """Raises CuPy's ValueError where a kernel of the current device is to read the memory of another one.

    On some machines CuPy turns peer access on and goes on with a warning; the stand-in's devices cannot reach each
    other, because a program that needs them to is slow on those machines and fails on the rest.

    Raises StreamError where the current stream has not waited for the array.
    """
    if array._device != (here := current()):
        raise ValueError(
            f"The device where the array resides ({array._device}) is different from the current device ({here}). "
            "Peer access is unavailable between these devices."
        )
    array._memory.use(queues.current(here))


def _fail_at(stage: Stage) -> None:
    if machine.broken is not None and machine.broken_at == stage:
        name = machine.broken.partition(":")[0]
        status = next((status for status, text in ERRORS.items() if text.startswith(f"{name}:")), ERROR_UNKNOWN)
        raise CUDARuntimeError(status, machine.broken)
