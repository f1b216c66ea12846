"""What a trainer does about the memory of its device: a limit, the most that a step has used, and one line of an error.

Read by the configuration of a run: NumPy is not imported here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from backends.runtime import memory
from dlcore.errors import ConfigError

if TYPE_CHECKING:
    from backends.runtime.device import Device

__all__ = ["Memory", "limit_of"]


def limit_of(value: Any, label: str = "memory_limit") -> memory.Limit | None:
    """The limit that a setting stands for; None for none. ConfigError where it is no limit.

    >>> limit_of("64MiB")
    Limit(size=67108864, share=None)
    """
    if value is None:
        return None
    try:
        return memory.Limit.of(value)
    except ValueError as error:
        raise ConfigError(f"{label} is {value!r:.80} but {error}") from None


class Memory:
    """Of one trainer's device.

    limit : the most that CuPy's pool may take there, such as "4GiB" or a share such as 0.5; no effect on a CPU
    peak : the most bytes that arrays held at the end of a forward pass since :meth:`begin`, where a step holds the most
        that it has computed; what a kernel needs for a moment besides, and the gradients, are not in it. None on a CPU
    advice : what to do where memory is out
    """

    def __init__(self, device: Device, limit: Any = None, mixed: bool = False) -> None:
        self.device = device
        self.limit = limit_of(limit)
        self.peak: int | None = None
        self.advice = ["lower batch_size", *([] if mixed else ["compute with --precision mixed"])]
        self._pool = memory.pool_of(device)

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Inside, the device is current, the limit holds, and one DeviceError tells where memory is out."""
        with self.device.active(), memory.limited(self.device, self.limit), memory.told(self.device, self.advice):
            yield

    def begin(self) -> None:
        """Forget the peak of a former fit."""
        self.peak = None

    def sample(self) -> None:
        """Note what arrays hold now: figures of the host, so nothing waits for the device."""
        if self._pool is not None:
            self.peak = max(self.peak or 0, self._pool.used_bytes())

    def record(self) -> dict[str, int] | None:
        """Bytes that arrays use and that the pool holds now, and the peak; None on a CPU and before the first step."""
        if self.peak is None:
            return None
        now = memory.usage(self.device)
        return {"used": now.used, "pooled": now.pooled, "peak": self.peak}

    def report(self) -> str:
        """The record in one line; empty where there is none."""
        record = self.record()
        if record is None:
            return ""
        return "memory: " + ", ".join(f"{name} {memory.in_words(n)}" for name, n in record.items())
