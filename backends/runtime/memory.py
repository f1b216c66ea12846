"""The memory of a CUDA device: a limit on what CuPy takes of it, what is in use, and one line where it is out.

CuPy's pool keeps what arrays give back, for the next ones: asking the device takes long, and waits for it. So the pool
is never emptied here; where a limit is reached, CuPy itself gives back what it can before it gives up. The pool is all
of the process's: a limit holds for whatever CuPy allocates while it is set, but not for what CUDA and its libraries
take for themselves, some hundred MiB.
"""

from __future__ import annotations

import importlib
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backends.errors import DeviceError

if TYPE_CHECKING:
    from backends.runtime.device import Device

__all__ = ["Limit", "Usage", "in_words", "is_cuda", "limited", "pool_of", "told", "usage"]

_UNITS = {"B": 1, **{f"{unit}iB": 2 ** (10 * i) for i, unit in enumerate("KMGT", 1)}}
_UNITS |= {f"{unit}B": 10 ** (3 * i) for i, unit in enumerate("KMGT", 1)}
_BY_CASE = {unit.lower(): unit for unit in _UNITS}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*", re.IGNORECASE)

_OUT_OF_MEMORY = {"CUDARuntimeError": 2, "CUDADriverError": 2, "CUBLASError": 3}
"""What the errors of CUDA's parts call it, by their class: ``cudaErrorMemoryAllocation``, ``CUDA_ERROR_OUT_OF_MEMORY``
and ``CUBLAS_STATUS_ALLOC_FAILED``. By name, for CuPy loads cuBLAS's part only where it is needed."""


@dataclass(frozen=True)
class Limit:
    """The most that the pool may take of a device: ``size`` bytes, or a ``share`` of its memory; the other is None.

    >>> Limit.of("4GiB").size == 4 * 2**30, Limit(share=0.5).size is None
    (True, True)
    """

    size: int | None = None
    share: float | None = None

    @classmethod
    def of(cls, value: Any) -> Limit:
        """The limit that a value stands for: text with a unit, such as "4GiB" or "500 MB", or a share in (0, 1].

        Raises ValueError, with what is expected in words.

        >>> Limit.of("1.5KiB"), Limit.of(0.5)
        (Limit(size=1536, share=None), Limit(size=None, share=0.5))
        """
        found = None if isinstance(value, bool) else _SIZE.fullmatch(str(value))
        if found is not None:
            number, unit = float(found[1]), found[2]
            if not unit and 0 < number <= 1:
                return cls(share=number)
            if unit.lower() in _BY_CASE and number * _UNITS[_BY_CASE[unit.lower()]] >= 1:
                return cls(size=int(number * _UNITS[_BY_CASE[unit.lower()]]))
        raise ValueError("a size such as 4GiB or a share of the device's memory such as 0.5 is expected")


@dataclass(frozen=True)
class Usage:
    """Bytes of a device at a moment.

    used : held by arrays of this process
    pooled : taken from the device by its pool, for these arrays and for later ones
    free, total : of the device, whoever uses the rest
    limit : of the pool; 0 where there is none

    >>> now = Usage(used=2**30, pooled=2**31, free=2**32, total=2**34, limit=0)
    >>> f"{in_words(now.used)} in arrays, {in_words(now.pooled)} in the pool"
    '1.0 GiB in arrays, 2.0 GiB in the pool'
    """

    used: int
    pooled: int
    free: int
    total: int
    limit: int


def is_cuda(device: Device) -> bool:
    """Whether CuPy allocates there.

    >>> from backends.runtime.device import CPU
    >>> is_cuda(CPU)
    False
    """
    return device.name.startswith("cuda:")


def pool_of(device: Device) -> Any:
    """CuPy's pool; its figures are those of the current device. None where another library allocates.

    >>> from backends.runtime.device import CPU
    >>> pool_of(CPU) is None
    True
    """
    return importlib.import_module("cupy").get_default_memory_pool() if is_cuda(device) else None


def usage(device: Device) -> Usage:
    """What is in use of a CUDA device; nothing waits for it."""
    pool = pool_of(device)
    with device.active():
        free, total = device.native.mem_info
        return Usage(pool.used_bytes(), pool.total_bytes(), free, total, pool.get_limit())


@contextmanager
def limited(device: Device, limit: Limit | None) -> Iterator[None]:
    """Inside, the pool takes no more of a CUDA device than ``limit``; then its former limit holds again.

    No effect without a limit and on other devices. Of blocks that overlap, in one thread or several, the smallest limit
    holds.

    >>> from backends.runtime.device import CPU
    >>> with limited(CPU, Limit.of("4GiB")):  # where it changes nothing
    ...     pass
    """
    pool = None if limit is None else pool_of(device)
    if limit is None or pool is None:
        yield
        return
    token = object()
    try:
        with _lock, device.active():
            held = _held.setdefault(device.name, _Held(pool.get_limit()))
            if limit.share is None:
                pool.set_limit(size=limit.size)
            else:
                pool.set_limit(fraction=limit.share)
            held.sizes[token] = pool.get_limit()
            pool.set_limit(size=min(held.sizes.values()))
        yield
    finally:
        with _lock, device.active():
            held = _held.get(device.name, _Held(pool.get_limit()))
            held.sizes.pop(token, None)
            pool.set_limit(size=min(held.sizes.values(), default=held.before))
            if not held.sizes:
                _held.pop(device.name, None)


@dataclass
class _Held:
    """The limit of a device's pool before the first block, and those of the blocks that are entered, in bytes."""

    before: int
    sizes: dict[object, int] = field(default_factory=dict)


_lock = threading.Lock()
_held: dict[str, _Held] = {}
"""By device, while there is a limit."""


def _unlocked() -> None:
    """In the child of a fork: a thread that has stayed behind may have held the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlocked)


@contextmanager
def told(device: Device, advice: Sequence[str] = ()) -> Iterator[None]:
    """Inside, an error of CuPy or CUDA that says that memory is out becomes one :class:`DeviceError` that says more.

    advice : what else to do about it

    >>> from backends.runtime.device import CPU
    >>> with told(CPU, ["lower batch_size"]):  # where nothing is caught
    ...     pass
    """
    if not is_cuda(device):
        yield
        return
    try:
        yield
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        raise _in_one_line(device, error, advice) from error


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, importlib.import_module("cupy").cuda.memory.OutOfMemoryError):
        return True
    status = _OUT_OF_MEMORY.get(type(error).__name__)
    return status is not None and getattr(error, "status", None) == status


def _in_one_line(device: Device, error: Any, advice: Sequence[str]) -> DeviceError:
    size = getattr(error, "_size", None)  # CUDA's own error does not tell
    asked = "an allocation failed" if size is None else f"{in_words(size)} were asked for"
    now = usage(device)
    limit = getattr(error, "_limit", 0) or now.limit
    cause = (
        f"{asked}; of its {in_words(now.total)}, {in_words(now.free)} are free; arrays here use {in_words(now.used)} "
        f"and CuPy's pool holds {in_words(now.pooled)}" + (f", {in_words(limit)} at most" if limit else "")
    )
    others = ["raise the memory limit"] if limit else []
    if now.free + now.pooled < now.total:
        others.append("end other processes on the GPU, which nvidia-smi lists")
    return DeviceError(f"{device} is out of memory", cause=cause, fix=", or ".join([*advice, *others]))


def in_words(n: int) -> str:
    """Bytes for people to read.

    >>> in_words(512), in_words(3 * 2**29)
    ('512 bytes', '1.5 GiB')
    """
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if n >= 1024**power:
            return f"{n / 1024**power:,.1f} {unit}"
    return f"{n} byte{'s' * (n != 1)}"
