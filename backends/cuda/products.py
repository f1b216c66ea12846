"""cuBLAS's products of float16: added up in float32, and rounded once.

By default cuBLAS may cut a long sum into parts and round each to float16, the dtype of the result, before it adds them:
a part that leaves the range of float16 makes the sum infinite. A switch of its handle forbids that. CuPy has a handle
for each thread and each device; whoever takes one of them anew gets the switch at its first product.
"""

from __future__ import annotations

import importlib
import threading
from typing import Any

import numpy as np

from backends.runtime.current import current_device

__all__ = ["add_product", "exact_sums"]

HALF = np.dtype("float16")

_R_16F, _R_32F = 2, 0  # cudaDataType
_PLAIN, _TURNED = 0, 1  # cublasOperation_t
_WHOLE_SUMS = 16  # CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION, which CuPy has no name for
_ONE, _ZERO = np.ones(1, np.float32), np.zeros(1, np.float32)


class _Handles(threading.local):
    """The handles of this thread that the switch is set for, by device."""

    def __init__(self) -> None:
        self.set: dict[int, Any] = {}


_handles = _Handles()


def exact_sums(xp: Any, dtype: Any) -> None:
    """From here on, in this thread and on the current device, products of ``dtype`` are added up in float32."""
    if dtype is HALF or dtype == HALF:
        _handle(xp)


def _handle(xp: Any) -> Any:
    """cuBLAS's handle of this thread on the current device."""
    cuda = importlib.import_module("cupy").cuda
    handle = cuda.get_cublas_handle()
    device = current_device(xp)()  # type: ignore[reportOptionalCall]  CuPy has one
    if _handles.set.get(device) != handle:
        blas = cuda.cublas
        blas.setMathMode(handle, blas.getMathMode(handle) | _WHOLE_SUMS)
        _handles.set[device] = handle
    return handle


def add_product(xp: Any, total: Any, a: Any, b: Any, first: bool) -> None:
    """total = aᵀ b where ``first``, else total + aᵀ b: a sum over several products that is kept in float32.

    total : (D, K) float32; a (M, D) and b (M, K) float16, all in one piece
    """
    blas, handle = importlib.import_module("cupy").cuda.cublas, _handle(xp)
    (rows, depth), columns = a.shape, b.shape[1]
    # cuBLAS counts along columns: for it the three are totalᵀ, aᵀ and bᵀ, and totalᵀ = bᵀ a.
    blas.gemmEx(
        handle, _PLAIN, _TURNED, columns, depth, rows, _ONE.ctypes.data, b.data.ptr, _R_16F, columns,
        a.data.ptr, _R_16F, depth, (_ZERO if first else _ONE).ctypes.data, total.data.ptr, _R_32F, columns,
        blas.CUBLAS_COMPUTE_32F, blas.CUBLAS_GEMM_DEFAULT,
    )  # fmt: skip
