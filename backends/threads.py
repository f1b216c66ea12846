"""How many threads the BLAS uses for matrix products.

A BLAS splits a product by the number of its threads, and another split rounds differently: with one thread a run gives
the same bits on a machine of two cores and of sixty-four. It is also the safe choice for speed while products are
small: threads that wait for each other make a step many times slower as soon as another process wants a core.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any

__all__ = ["blas_threads"]


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
