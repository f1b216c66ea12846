"""What the CUDA kernels take, and the reasons why not: only the references take everything."""

from __future__ import annotations

from typing import Any

from backends.cuda import compile

__all__ = ["LARGEST", "not_flat", "uncountable", "unsuited"]

LARGEST = 2**31 - 2**16
"""Elements: kernels count in int32, and the last block may reach beyond the end of an array by less than 2**16."""


def unsuited(family: str, **arrays: Any) -> str | None:
    """Why some of the arrays cannot go to the kernels of a family; None where all can, or are None.

    All are floats of one dtype that the family is compiled in.
    """
    reason = compile.why_not()
    if reason is not None:
        return reason
    dtype, taken = None, compile.TAKEN[family]
    for name, x in arrays.items():
        if x is None:
            continue
        own = getattr(x, "dtype", None)
        if own is None:
            return f"{name} is a number, not an array"
        if dtype is None and own not in taken:
            return f"{name} is of {own}, and {family}.cu is compiled for {', '.join(compile.DTYPES[family])}"
        dtype = own if dtype is None else dtype
        if own != dtype:
            return f"{name} is of {own}, and others of {dtype}"
        if not 0 < x.size < LARGEST:
            return uncountable(name, x.size)
    return None


def uncountable(name: str, size: int) -> str | None:
    """Why kernels cannot go through so many elements."""
    if 0 < size < LARGEST:
        return None
    return f"{name} has {size} elements" + (f", {LARGEST} or more" if size else "")


def not_flat(family: str, **arrays: Any) -> str | None:
    """Why a kernel cannot write into the arrays: they are no vectors that lie in one piece, all of one length."""
    reason = unsuited(family, **arrays)
    size = None
    for name, x in arrays.items() if reason is None else ():
        size = x.size if size is None else size
        if not (x.ndim == 1 and x.size == size and x.flags.c_contiguous):
            return f"{name} {x.shape} is not a vector of {size} elements in one piece"
    return reason
