"""How many threads run: those of the BLAS for matrix products, and those of the compiled kernels.

A BLAS splits a product by the number of its threads, and another split rounds differently: with one thread a run gives
the same bits on a machine of two cores and of sixty-four. It is also the safe choice for speed while products are
small: threads that wait for each other make a step many times slower as soon as another process wants a core.

The compiled kernels of :mod:`backends.cpu` split their work by its size alone, so their results do not depend on the
number of threads, and they use the cores that the process may run on.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

__all__ = ["blas_threads", "kernel_threads", "limit_kernel_threads", "loaded_blas"]

_MOST = 8
"""Threads of the compiled kernels at most: a few cores use up what the memory delivers."""

_limit: int | None = None


@functools.cache
def _controller() -> Any:
    """The BLAS libraries that are loaded; finding them takes some milliseconds, so they are found once."""
    import numpy  # noqa: F401  it loads its BLAS
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def blas_threads(n: int | None) -> AbstractContextManager[Any]:
    """Inside, products use ``n`` threads of the whole process's BLAS; None leaves the number as it is.

    >>> with blas_threads(1):
    ...     pass
    """
    return nullcontext() if n is None else _controller().limit(limits=n, user_api="blas")


def loaded_blas() -> list[dict[str, Any]]:
    """What is known about each BLAS that is loaded: "internal_api", "version", "architecture", "num_threads", ...

    >>> all(blas["num_threads"] > 0 for blas in loaded_blas())
    True
    """
    return [library for library in _controller().info() if library["user_api"] == "blas"]


@functools.cache
def _cores() -> int:
    """The cores that this process may run on, fewer where ``OMP_NUM_THREADS`` says so, eight at most."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(usable, _MOST, int(asked) if asked.isdecimal() else _MOST))


def kernel_threads() -> int:
    """How many threads a compiled kernel may use, the calling one included.

    >>> 1 <= kernel_threads() <= 8
    True
    """
    return _cores() if _limit is None else _limit


@contextmanager
def limit_kernel_threads(n: int) -> Iterator[None]:
    """Inside, compiled kernels of the whole process use up to ``n`` threads.

    >>> with limit_kernel_threads(1):
    ...     kernel_threads()
    1
    """
    global _limit
    before, _limit = _limit, n
    try:
        yield
    finally:
        _limit = before
