"""Launches: checked arguments, on the device of the arrays, in the current stream.

A launch returns before the kernel has run; what comes after it in the stream sees its results. Nothing here waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from backends.cuda import compile
from backends.errors import DeviceError

__all__ = ["THREADS", "blocks", "by_elements", "by_packs", "by_rows", "compact", "launch", "real"]

THREADS = 256
"""Of a block."""

_PACK = 16  # bytes that a thread reads at once, see numbers.cuh
_LIMITS = (2**31 - 1, 65_535, 65_535)  # of a grid, by axis
_REALS = {"float16": np.dtype("float32"), "float32": np.dtype("float32"), "float64": np.dtype("float64")}


def real(dtype: Any) -> np.dtype[Any]:
    """The dtype that elements of ``dtype`` are computed in."""
    return _REALS[dtype.name]


def compact(xp: Any, x: Any) -> Any:
    """The array in one piece, row-major: itself, or a copy on its device."""
    return x if x.flags.c_contiguous else xp.ascontiguousarray(x)


def blocks(n: int, each: int) -> int:
    """How many blocks take ``n`` things, ``each`` a block."""
    return -(-n // each)


_PIECES = 64
_ROWS_A_THREAD = 8  # at least, before there is a second piece
_COLUMNS = 32  # of a block


def by_rows(rows: int, columns: int) -> tuple[tuple[int, int], tuple[int, int], int]:
    """The grid and the block of a launch that sums over rows, see rows.cuh, and the rows a piece.

    The rows are cut into at most 64 pieces, whatever the chip; the second side of the grid is their number.
    """
    across = min(_COLUMNS, 1 << (columns - 1).bit_length())  # a power of 2
    down = THREADS // across
    pieces = min(_PIECES, blocks(rows, down * _ROWS_A_THREAD))
    rows_a_piece = blocks(rows, pieces)
    return (blocks(columns, across), blocks(rows, rows_a_piece)), (across, down), rows_a_piece


def by_elements(family: str, kernel: str, arguments: Sequence[Any], n: int, dtype: Any) -> None:
    """Launch a kernel with a thread for each of ``n`` elements."""
    launch(family, kernel, arguments, (blocks(n, THREADS),), (THREADS,), dtype)


def by_packs(family: str, kernel: str, arguments: Sequence[Any], n: int, dtype: Any) -> None:
    """Launch a kernel with a thread for each pack of 16 bytes."""
    launch(family, kernel, arguments, (blocks(n, THREADS * _PACK // dtype.itemsize),), (THREADS,), dtype)


def launch(
    family: str,
    kernel: str,
    arguments: Sequence[Any],
    grid: tuple[int, ...],
    block: tuple[int, ...],
    dtype: Any,
    *,
    shared_memory: int = 0,
) -> None:
    """Launch a kernel of ``family.cu`` in its unit for ``dtype``.

    arguments : arrays of one device, in one piece, and numbers: integers are passed as int32 (``Index``), but uint32 as
        it is, floats as what the unit computes in (``Real``)
    shared_memory : bytes of dynamic shared memory a block, at most 48 KiB

    Raises
    ------
    backends.errors.DeviceError: the arrays lie on several devices
    ValueError: an array does not lie in one piece, or the grid is larger than CUDA's
    """
    number = real(dtype).type
    device, packed = None, []
    for x in arguments:
        if type(x) is np.uint32:
            packed.append(x)
        elif isinstance(x, (int, np.integer)):
            packed.append(np.int32(int(x)))  # raises where it does not fit
        elif isinstance(x, (float, np.floating)):
            packed.append(number(x))  # CuPy would pass a float or a float64 as 8 bytes, whatever the kernel expects
        else:
            if device is None:
                device = x.device
            elif x.device != device:
                raise DeviceError(
                    f"{kernel}: arrays of CUDA devices {device.id} and {x.device.id} do not mix",
                    fix="move one of them with .to(device)",
                )
            if not x.flags.c_contiguous:
                raise ValueError(f"{kernel}: an array {x.shape} does not lie in one piece; compact() it")
            packed.append(x)
    if any(not 0 < n <= most for n, most in zip(grid, _LIMITS, strict=False)):
        raise ValueError(f"{kernel}: a grid of {grid} blocks; CUDA takes 1 to {_LIMITS}")
    with device:  # type: ignore[reportOptionalContextManager]  every kernel has an array
        compile.function(family, dtype.name, kernel)(grid, block, tuple(packed), shared_mem=shared_memory)
