"""``cupy.cuda.memory``: the pool from which device arrays take their memory, and the error where there is none left.

A block is as large as it is asked for, up to 512 bytes more, and a free one fits any array that is not larger than all
free ones together: the pool of the stand-in never falls into pieces. As in CuPy it keeps what is freed.
"""

from __future__ import annotations

from typing import Any

from standin import device

__all__ = ["MemoryPool", "OutOfMemoryError", "get_default_memory_pool"]

_UNIT = 512


class OutOfMemoryError(MemoryError):
    """``cupy.cuda.memory.OutOfMemoryError``: what was asked for, and what the pool holds."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        limited = f", limit set to: {limit:,} bytes" if limit else ""
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes{limited}).")
        self._size, self._total, self._limit = size, total, limit


class _Shares:
    """What one device's part of the pool holds, in bytes."""

    def __init__(self) -> None:
        self.used = self.total = self.limit = 0


class MemoryPool:
    """``cupy.cuda.MemoryPool``: its figures are those of the current device."""

    def __init__(self, allocator: Any = None) -> None:
        if allocator is not None:
            raise NotImplementedError("cupy.cuda.MemoryPool(allocator=): the stand-in has one kind of memory")
        self._shares: dict[int, _Shares] = {}

    def _of(self, number: int) -> _Shares:
        return self._shares.setdefault(number, _Shares())

    def used_bytes(self) -> int:
        """In use by arrays."""
        return self._of(device.current()).used

    def total_bytes(self) -> int:
        """Taken from the device."""
        return self._of(device.current()).total

    def free_bytes(self) -> int:
        """Taken from the device and in use by no array."""
        return self.total_bytes() - self.used_bytes()

    def get_limit(self) -> int:
        """The most that is taken from the device; 0 for no limit."""
        return self._of(device.current()).limit

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        """Set the limit, in bytes or as a share of the device's memory; None or 0 takes it off."""
        if size is not None and fraction is not None:
            raise ValueError("size and fraction cannot be specified at one time")
        if fraction is not None:
            if not 0 <= fraction <= 1:
                raise ValueError(f"memory limit fraction out of range: {fraction}")
            size = int(fraction * device.machine.memory)
        if (size or 0) < 0:
            raise ValueError(f"memory limit size out of range: {size}")
        self._of(device.current()).limit = size or 0

    def free_all_blocks(self, stream: Any = None) -> None:
        """Give back to the device what no array uses."""
        share = self._of(device.current())
        share.total = share.used

    def _take(self, number: int, size: int) -> None:
        share, needed = self._of(number), self._of(number).used + size
        if needed > share.total:
            for limit, most in ((share.limit, share.limit or needed), (0, device.machine.memory)):
                if needed > most:
                    share.total = share.used  # CuPy frees what it can before it gives up
                    raise OutOfMemoryError(size, share.total, limit)
            share.total = needed
        share.used = needed

    def _give_back(self, number: int, size: int) -> None:
        self._of(number).used -= size

    def _restart(self) -> None:
        """No limit, and nothing free: what a test before this one has left says nothing."""
        for share in self._shares.values():
            share.total, share.limit = share.used, 0


_pool = MemoryPool()


def get_default_memory_pool() -> MemoryPool:
    """The pool that all arrays come from."""
    return _pool


def restart() -> None:
    """A machine on which nothing has run yet."""
    _pool._restart()


class Block:
    """So many bytes of the pool, given back when nothing refers to them any more."""

    __slots__ = ("device", "size")

    def __init__(self, number: int, nbytes: int) -> None:
        self.size = 0
        self.device = number
        size = -(-nbytes // _UNIT) * _UNIT
        _pool._take(number, size)
        self.size = size

    def __del__(self) -> None:
        _pool._give_back(self.device, self.size)
