"""``cupy.cuda.cublas``: the math mode of a handle, and the one product that the project calls by itself.

A handle belongs to a thread and a device. ``gemmEx`` reads the memory that its pointers name, column by column as
cuBLAS does, so a wrong size, order or leading dimension gives a wrong result.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np

from standin import device

CUBLAS_COMPUTE_32F = 68
CUBLAS_GEMM_DEFAULT = -1
CUBLAS_STATUS_ALLOC_FAILED = 3

_DTYPES = {0: np.float32, 1: np.float64, 2: np.float16}  # cudaDataType
_MESSAGES = {1: "CUBLAS_STATUS_NOT_INITIALIZED", 3: "CUBLAS_STATUS_ALLOC_FAILED", 7: "CUBLAS_STATUS_INVALID_VALUE"}

modes: dict[int, int] = {}
"""The math mode of each handle."""


class CUBLASError(RuntimeError):
    """An error of cuBLAS; ``status`` is its number for it."""

    def __init__(self, status: int) -> None:
        super().__init__(_MESSAGES.get(status, f"CUBLAS_STATUS {status}"))
        self.status = status


class _Own(threading.local):
    def __init__(self) -> None:
        self.handles: dict[int, int] = {}


_own = _Own()


def get_cublas_handle() -> int:
    """``cupy.cuda.get_cublas_handle``: that of the calling thread on the current device."""
    handles = _own.handles
    if device.current() not in handles:
        handles[device.current()] = 1000 + len(modes)
        modes[handles[device.current()]] = 0
    return handles[device.current()]


def getMathMode(handle: int) -> int:  # noqa: N802 (CuPy's names, here and below)
    """The handle's flags."""
    return modes[handle]


def setMathMode(handle: int, mode: int) -> None:  # noqa: N802
    """Set the handle's flags."""
    modes[handle] = mode


def gemmEx(  # noqa: N802
    handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, A: int, Atype: int, lda: int, B: int,
    Btype: int, ldb: int, beta: int, C: int, Ctype: int, ldc: int, computeType: int, algo: int,
) -> None:  # fmt: skip
    """C = alpha op(A) op(B) + beta C, all stored by columns, added up in float32."""
    assert computeType == CUBLAS_COMPUTE_32F
    assert handle == get_cublas_handle(), "a handle of another thread or device"
    device.launch("cublas.gemmEx")
    a = _matrix(A, Atype, lda, *((k, m) if transa else (m, k)))
    b = _matrix(B, Btype, ldb, *((n, k) if transb else (k, n)))
    c = _matrix(C, Ctype, ldc, m, n)
    wide = [x.astype(np.float64) for x in (a.T if transa else a, b.T if transb else b)]
    scale, kept = (_matrix(pointer, 0, 1, 1, 1)[0, 0] for pointer in (alpha, beta))
    c[...] = scale * (wide[0] @ wide[1]) + (kept * c if kept else 0)


def _matrix(pointer: int, kind: int, leading: int, rows: int, columns: int) -> Any:
    """A matrix stored by columns, of which each begins ``leading`` numbers behind the last."""
    assert leading >= rows, "a leading dimension below the number of rows"
    dtype = np.dtype(_DTYPES[kind])
    count = (columns - 1) * leading + rows
    memory = (ctypes.c_char * (count * dtype.itemsize)).from_address(pointer)
    return np.ndarray((rows, columns), dtype, memory, strides=(dtype.itemsize, leading * dtype.itemsize))
