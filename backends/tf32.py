"""TF32: products of float32 on the tensor cores of a GPU, of which each factor is first rounded to 10 bits.

CuPy hands its products to cuBLAS, and a switch of its own, for the whole process, says in which precision: there is no
public name for it. ``einsum`` and the kernels of this package do not ask it; products of float16 and float64 stay as
they are. Factors with 10 bits in place of 23 make a relative error of about 1e-3 a product: so much the results of a
CPU and a GPU then differ by.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from backends.errors import DeviceError
from backends.memory import is_cuda

if TYPE_CHECKING:
    from backends.device import Device

__all__ = ["check", "products_in_tf32"]

_LEAST = 80
"""Compute capability 8.0, as CuPy writes it: the first chips that have TF32."""


def check(device: Device) -> None:
    """Refuse a device that has no TF32, by a :class:`DeviceError`.

    >>> from backends.device import CPU
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
def products_in_tf32(wanted: bool) -> Iterator[None]:
    """Inside, CuPy computes its products of float32 in TF32 where that is ``wanted``; then as before.

    Where it is not, nothing changes: the environment's CUPY_TF32 decides as ever. The device, which :func:`check` has
    passed, is current.

    >>> with products_in_tf32(False):  # wanted or not, the block is the same
    ...     pass
    """
    if not wanted:
        yield
        return
    products = importlib.import_module("cupy._core._routines_linalg")
    before = products.get_compute_type(np.float32)
    products.set_compute_type(np.float32, products.COMPUTE_TYPE_TF32)
    try:
        yield
    finally:
        products.set_compute_type(np.float32, before)
