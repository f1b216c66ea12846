"""TF32: products of float32 on the tensor cores of a GPU, of which each factor is first rounded to 10 bits.

CuPy hands its products to cuBLAS, and a switch of its own, for the whole process, says in which precision: there is no
public name for it. ``einsum`` and the kernels of this package do not ask it; products of float16 and float64 stay as
they are. Factors with 10 bits in place of 23 make a relative error of about 1e-3 a product: so much the results of a
CPU and a GPU then differ by.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.errors import DeviceError
from backends.runtime.memory import is_cuda

if TYPE_CHECKING:
    from backends.runtime.device import Device

__all__ = ["check", "products_in_tf32"]

_LEAST = 80
"""Compute capability 8.0, as CuPy writes it: the first chips that have TF32."""


def check(device: Device) -> None:
    """Refuse a device that has no TF32, by a :class:`DeviceError`.

    >>> from backends.runtime.device import CPU
    >>> check(CPU)
    Traceback (most recent call last):
    ...
    backends.errors.DeviceError: TF32 is not there on cpu; cause: it takes a CUDA device of compute capability 8.0 or \
later; fix: leave tf32 out, or choose such a device
    """
    cause = "it takes a CUDA device of compute capability 8.0 or later"
    if is_cuda(device):
        capability = int(device.native.compute_capability)
        if capability >= _LEAST:
            return
        cause += f", this one has {capability / 10}"
    raise DeviceError(f"TF32 is not there on {device}", cause=cause, fix="leave tf32 out, or choose such a device")


@contextmanager
def products_in_tf32(wanted: bool, device: Device | None = None) -> Iterator[None]:
    """Inside, CuPy computes its products of float32 in TF32 where that is ``wanted``; then as before.

    device : where the products are; without one, those that do not want TF32 do not mind that others do

    Where it is not, nothing changes: the environment's CUPY_TF32 decides as ever. The device, which :func:`check` has
    passed, is current. Raises DeviceError where a block in another thread wants what this one does not.

    >>> with products_in_tf32(False):  # wanted or not, the block is the same
    ...     pass
    """
    if not wanted and (device is None or not is_cuda(device)):
        yield
        return
    block = _Block(threading.get_ident(), wanted)
    try:
        _enter(block)
        yield
    finally:
        _leave(block)


@dataclass(eq=False)
class _Block:
    """Of one thread; ``entered`` once it counts."""

    thread: int
    wanted: bool
    entered: bool = False


_lock = threading.Lock()
_blocks: list[_Block] = []
_before: list[Any] = []
"""How products are computed without TF32, while a block wants it."""


def _enter(block: _Block) -> None:
    with _lock:
        if any(other.thread != block.thread and other.wanted != block.wanted for other in _blocks):
            how = "in TF32" if block.wanted else "without TF32"
            raise DeviceError(
                f"products {how} are asked for while a fit or predict in another thread wants the opposite",
                cause="CuPy's switch is the whole process's",
                fix="give both the same tf32, or run one after the other",
            )
        block.entered = True
        _blocks.append(block)
        if block.wanted and not _before:
            products = importlib.import_module("cupy._core._routines_linalg")
            _before.append(products.get_compute_type(np.float32))
            products.set_compute_type(np.float32, products.COMPUTE_TYPE_TF32)


def _leave(block: _Block) -> None:
    with _lock:
        if block.entered:
            _blocks.remove(block)
        if _before and not any(other.wanted for other in _blocks):
            products = importlib.import_module("cupy._core._routines_linalg")
            products.set_compute_type(np.float32, _before.pop())


def _alone() -> None:
    """In the child of a fork: the other threads are not there any more, and one of them may have held the lock."""
    global _lock
    _lock = threading.Lock()
    for block in [block for block in _blocks if block.thread != threading.get_ident()]:
        _leave(block)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone)
