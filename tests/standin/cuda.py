"""``cupy.cuda``: devices, streams, events and the runtime's queries, for the pretended machine.

An operation is over when its call returns, but a program that relies on an order which it has not asked streams and
events for is caught: see :mod:`standin.queues`. Their waits are counted.
"""

from __future__ import annotations

import time
from functools import total_ordering
from typing import Any, ClassVar, NoReturn

from standin import device, pool, queues, spec
from standin.device import CUDA_VERSION, CUDARuntimeError

__all__ = ["CUDARuntimeError", "Device", "Event", "MemoryPool", "Stream"]

MemoryPool = pool.MemoryPool


class _Partial:
    """A class that has not all of its CuPy counterpart's attributes, and says so instead of hiding it."""

    def __getattr__(self, name: str) -> NoReturn:
        own = f"cupy.cuda.{type(self).__name__}"
        if name in spec.class_names(own):
            raise NotImplementedError(f"{own}.{name} exists in CuPy, but the stand-in has no double of it yet")
        raise AttributeError(f"'{own}' object has no attribute '{name}'")


@total_ordering
class Device(_Partial):
    """``cupy.cuda.Device``: by itself only a number; current inside ``with``, or after ``use()``."""

    def __init__(self, device_id: int | Device | None = None) -> None:
        self.id = device.current() if device_id is None else int(device_id)
        self._outer: list[int] = []

    def __enter__(self) -> Device:
        self._outer.append(device.current())
        device.use(self.id)
        return self

    def __exit__(self, *exception: object) -> None:
        device.use(self._outer.pop())

    def use(self) -> None:
        """Makes the device current in the calling thread."""
        device.use(self.id)

    def synchronize(self) -> None:
        """Waits for the device."""
        with self:
            device.synchronize("Device.synchronize", queues.everything(self.id))

    @property
    def compute_capability(self) -> str:
        """``"80"`` for 8.0."""
        properties = getDeviceProperties(self.id)
        return f"{properties['major']}{properties['minor']}"

    @property
    def mem_info(self) -> tuple[int, int]:
        """Free and total bytes."""
        with self:
            return memGetInfo()

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __lt__(self, other: object) -> bool:
        return self.id < other.id if isinstance(other, Device) else NotImplemented

    __hash__ = None  # type: ignore[assignment] (CuPy's devices are no keys of a dictionary)

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"


class Event(_Partial):
    """``cupy.cuda.Event``: a moment in a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        device.current()
        self._recorded = 0.0
        self._moment: queues.Moment = {}

    @property
    def done(self) -> bool:
        """Whether the device has come to the moment, asked without waiting: yes, unless the machine is busy."""
        if not device.machine.behind:
            queues.host_knows(self._moment)
        return queues.is_known(self._moment)

    def record(self, stream: Stream | None = None) -> None:
        """Notes the moment."""
        self._recorded = time.perf_counter()
        self._moment = (stream or get_current_stream())._queue.moment()

    def synchronize(self) -> None:
        """Waits until the device has come to the moment."""
        device.synchronize("Event.synchronize", self._moment)


class Stream(_Partial):
    """``cupy.cuda.Stream``: a queue of work."""

    null: ClassVar[Stream]

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int | None = None
    ) -> None:
        if null or ptds:
            raise NotImplementedError("cupy.cuda.Stream(null=, ptds=): use Stream.null")
        self.is_non_blocking = non_blocking
        self._own = queues.Queue(device.current(), f"stream {id(self):x}", blocking=not non_blocking)
        self._outer: list[queues.Queue] = []

    @property
    def _queue(self) -> queues.Queue:
        return queues.null(device.current()) if self._own is None else self._own

    @property
    def done(self) -> bool:
        """Whether the device has done all work in the stream, asked without waiting."""
        return self.record().done

    def __enter__(self) -> Stream:
        here = device.current()
        self._outer.append(queues.current(here))
        queues.make_current(here, self._queue)
        return self

    def __exit__(self, *exception: object) -> None:
        queues.make_current(device.current(), self._outer.pop())

    def use(self) -> Stream:
        """Makes the stream current."""
        queues.make_current(device.current(), self._queue)
        return self

    def synchronize(self) -> None:
        """Waits for all work in the stream."""
        device.synchronize("Stream.synchronize", self._queue.moment())

    def record(self, event: Event | None = None) -> Event:
        """An event that stands for the work so far."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Holds the stream's later work back until ``event``; the host goes on."""
        self._queue.wait(event._moment)

    def begin_capture(self, mode: Any = None) -> None:
        """CUDA graphs need a GPU."""
        raise NotImplementedError("cupy.cuda.Stream.begin_capture: the stand-in cannot capture CUDA graphs")


def _stream_of(queue: queues.Queue | None) -> Stream:
    """A stream that stands for a queue, without asking for a device; None is the null stream of any."""
    stream = object.__new__(Stream)
    stream._own, stream._outer = queue, []  # type: ignore[assignment]
    stream.is_non_blocking = queue is not None and not queue.blocking
    return stream


Stream.null = _stream_of(None)  # exists without a device, as in CuPy


def is_available() -> bool:
    """Whether there is a driver with at least one device; what the driver then does is another matter."""
    return device.machine.devices > 0


def get_current_stream(device_id: int = -1) -> Stream:
    """The stream that takes the next operation."""
    queue = queues.current(device.current() if device_id < 0 else device_id)
    return Stream.null if queue.null else _stream_of(queue)


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Milliseconds between two recorded events, of the host's clock."""
    return 1e3 * (end_event._recorded - start_event._recorded)


def get_device_id() -> int:
    """The current device's number."""
    return device.current()


def alloc_pinned_memory(size: int) -> queues.PinnedMemory:
    """Bytes of the host that a real device copies from without the processor, with garbage in them."""
    device.current()
    return queues.PinnedMemory(b"\x7f" * size)


# cupy.cuda.runtime


def getDeviceCount() -> int:  # noqa: N802 (CUDA's names, here and below)
    """The number of devices; without any, CUDARuntimeError."""
    return device.count()


def getDevice() -> int:  # noqa: N802
    """The current device's number."""
    return device.current()


def setDevice(device_id: int) -> None:  # noqa: N802
    """Makes a device current."""
    device.use(device_id)


def deviceSynchronize() -> None:  # noqa: N802
    """Waits for the current device."""
    device.synchronize("runtime.deviceSynchronize", queues.everything(device.current()))


def streamSynchronize(stream: Any) -> None:  # noqa: N802
    """Waits for a stream."""
    device.synchronize("runtime.streamSynchronize")


def deviceCanAccessPeer(device_id: int, peer: int) -> int:  # noqa: N802
    """Never: see ``standin.device.check_use``."""
    return 0


def driverGetVersion() -> int:  # noqa: N802
    """The CUDA version that the driver supports; 0 without a driver."""
    return device.machine.driver


def runtimeGetVersion() -> int:  # noqa: N802
    """The CUDA version that CuPy was built for."""
    return CUDA_VERSION


def memGetInfo() -> tuple[int, int]:  # noqa: N802
    """Free and total bytes of the current device."""
    taken = pool.get_default_memory_pool().total_bytes()
    return device.machine.memory - taken, device.machine.memory


def getDeviceProperties(device_id: int) -> dict[str, Any]:  # noqa: N802
    """Some of ``cudaDeviceProp``, of a chip that is none in particular."""
    if not 0 <= device_id < device.count():
        raise CUDARuntimeError(device.ERROR_INVALID_DEVICE)
    return {
        "name": b"stand-in",
        "major": 8,
        "minor": 0,
        "multiProcessorCount": 8,
        "sharedMemPerBlock": 49152,
        "totalGlobalMem": device.machine.memory,
        "warpSize": 32,
    }


RUNTIME = (
    deviceCanAccessPeer,
    deviceSynchronize,
    driverGetVersion,
    getDevice,
    getDeviceCount,
    getDeviceProperties,
    memGetInfo,
    runtimeGetVersion,
    setDevice,
    streamSynchronize,
)
