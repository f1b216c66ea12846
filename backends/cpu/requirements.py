"""What the compiled kernels take, and the reasons why not: only the references take everything."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

__all__ = ["not_flat", "not_float32", "too_few", "too_little", "too_narrow"]

_FLOAT32 = np.dtype(np.float32)


def not_float32(**arrays: Any) -> str | None:
    """Why some of the arrays are not of float32; None where all are, or are None."""
    for name, x in arrays.items():
        if x is not None and not (isinstance(x, np.ndarray) and x.dtype == _FLOAT32):
            return f"{name} is of {getattr(x, 'dtype', type(x).__name__)}, and only float32 is compiled"
    return None


def not_flat(**arrays: Any) -> str | None:
    """Why some of the arrays are no vectors of float32 that lie in one piece, all of one length."""
    reason = not_float32(**arrays)
    size = None
    for name, x in arrays.items() if reason is None else ():
        size = x.size if size is None else size
        if not (x.ndim == 1 and x.size == size and x.flags.c_contiguous and x.flags.aligned):
            return f"{name} {x.shape} is not a vector of {size} elements in one piece"
    return reason


def too_few(x: Any, least: int) -> str | None:
    """Why an array is left to the reference, whose few calls cost less than a launch: found by measuring."""
    return _fewer(x.size, "elements are fewer", least) if x.size < least else None


def too_little(work: int, least: int) -> str | None:
    """As :func:`too_few`, by the multiplications that a call takes."""
    return _fewer(work, "multiplications are fewer", least) if work < least else None


def too_narrow(side: int, least: int) -> str | None:
    """As :func:`too_few`, by the shortest side of a product, which tiles fill up with zeros."""
    return f"a side of {side} is shorter than {least}" if side < least else None


@functools.lru_cache(maxsize=256)
def _fewer(n: int, what: str, least: int) -> str:
    """The reason, remembered: a small model's every step asks for the same ones."""
    return f"{n} {what} than {least}"
