"""Launches: checked arguments, on the current device, in the current stream.

A launch returns before the kernel has run; what comes after it in the stream sees its results. Nothing here waits.

A step of training is some hundred launches, and a small model's step lasts as long as they take the host: so what is
looked up at each of them stands in tables keyed by dtypes themselves, whose names are slow to come by.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from backends.cuda import compile

__all__ = ["LIMITS", "THREADS", "blocks", "by_elements", "by_packs", "by_rows", "compact", "launch", "real"]

THREADS = 256
"""Of a block."""

_PACK = 16  # bytes that a thread reads at once, see numbers.cuh
LIMITS = (2**31 - 1, 65_535, 65_535)  # of a grid, by axis
_REALS = {np.dtype(own): np.dtype(of) for own, of in (("f2", "f4"), ("f4", "f4"), ("f8", "f8"))}
_INDEX = np.int32
_KERNELS: dict[tuple[Any, str, str, Any], tuple[Any, Any]] = {}
"""By CuPy's module, which tests exchange, family, name and dtype: the kernel, and the type of its numbers."""


def real(dtype: Any) -> np.dtype[Any]:
    """The dtype that elements of ``dtype`` are computed in."""
    return _REALS[dtype]


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
    """Launch a kernel of ``family.cu`` in its unit for ``dtype``, on the current device, which is that of its arrays.

    arguments : arrays in one piece, and numbers: integers are passed as int32 (``Index``), but uint32 as it is, floats
        as what the unit computes in (``Real``)
    shared_memory : bytes of dynamic shared memory a block, at most 48 KiB

    Raises ValueError where an array does not lie in one piece, or the grid is larger than CUDA's.
    """
    try:
        function, number = _KERNELS[sys.modules["cupy"], family, kernel, dtype]
    except KeyError:
        function, number = _find(family, kernel, dtype)
    packed = []
    for x in arguments:
        kind = type(x)
        if kind is int:
            packed.append(_INDEX(x))  # raises where it does not fit
        elif kind is float:
            packed.append(number(x))  # CuPy would pass 8 bytes, whatever the kernel expects
        elif not isinstance(x, np.generic):
            if not x.flags.c_contiguous:
                raise ValueError(f"{kernel}: an array {x.shape} does not lie in one piece; compact() it")
            packed.append(x)
        elif kind is np.uint32:
            packed.append(x)
        else:
            packed.append(_INDEX(int(x)) if isinstance(x, np.integer) else number(x))
    for n, most in zip(grid, LIMITS, strict=False):
        if not 0 < n <= most:
            raise ValueError(f"{kernel}: a grid of {grid} blocks; CUDA takes 1 to {LIMITS}")
    function(grid, block, packed, shared_mem=shared_memory)


def _find(family: str, kernel: str, dtype: Any) -> tuple[Any, Any]:
    """A kernel as CuPy calls it, and the type of the numbers that it takes; compiled with its unit if need be."""
    key = importlib.import_module("cupy"), family, kernel, dtype
    _KERNELS[key] = compile.function(family, dtype.name, kernel), real(dtype).type
    return _KERNELS[key]
