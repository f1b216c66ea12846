"""What a program makes a device do: copies to and from it, waits for it, and kernels; counted, and forbidden on demand.

On a real device a wait or a copy shows only as lost time. Here each one is an event with a kind and the name of the
call that caused it: a test reads the totals, or declares a block in which no such event may occur.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

# Host to device, device to host, device to another device, the host waits for the device, the device computes.
Kind = Literal["h2d", "d2h", "d2d", "sync", "kernel"]


class Event(NamedTuple):
    """One thing the device was made to do; ``call`` names what caused it, as in ``ndarray.__float__``."""

    kind: Kind
    call: str
    nbytes: int


@dataclass(frozen=True)
class Counts:
    """Events since the last ``reset``, and the bytes of the copies.

    ``kernel`` counts operations, not launches: one operation of CuPy may launch several kernels.
    """

    h2d: int = 0
    d2h: int = 0
    d2d: int = 0
    sync: int = 0
    kernel: int = 0
    h2d_bytes: int = 0
    d2h_bytes: int = 0
    d2d_bytes: int = 0


_lock = threading.Lock()
_totals: Counter[str] = Counter()
_hooks: list[Callable[[Event], None]] = []


def reset() -> None:
    """Sets all counts to zero."""
    with _lock:
        _totals.clear()


def counts() -> Counts:
    """The events of all threads since the last ``reset``."""
    with _lock:
        return Counts(**_totals)


def record(kind: Kind, call: str, nbytes: int = 0) -> None:
    """Counts an event, after the hooks have seen it: what a hook refuses by raising has not happened."""
    for hook_ in tuple(_hooks):
        hook_(Event(kind, call, nbytes))
    with _lock:
        _totals[kind] += 1
        if kind in ("h2d", "d2h", "d2d"):
            _totals[f"{kind}_bytes"] += nbytes


@contextmanager
def hook(callback: Callable[[Event], None]) -> Iterator[None]:
    """Calls ``callback`` with every event of the block, before it takes place; what it raises stops the operation."""
    _hooks.append(callback)
    try:
        yield
    finally:
        _hooks.remove(callback)


@contextmanager
def forbid(*kinds: Kind) -> Iterator[None]:
    """Makes every event of ``kinds`` raise AssertionError in the block; by default all copies and waits.

    >>> with forbid("sync", "d2h"):     # a training step that may receive its batch
    ...     step(batch)
    """
    refused = kinds or ("h2d", "d2h", "d2d", "sync")

    def refuse(event: Event) -> None:
        if event.kind in refused:
            raise AssertionError(f"{event.call} {_MEANING[event.kind]} ({event.nbytes} bytes), which is forbidden here")

    with hook(refuse):
        yield


_MEANING: dict[Kind, str] = {
    "h2d": "copies from the host to the device",
    "d2h": "copies from the device to the host",
    "d2d": "copies from one device to another",
    "sync": "makes the host wait for the device",
    "kernel": "computes on the device",
}
