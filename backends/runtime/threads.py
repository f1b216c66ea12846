"""How many threads run: those of the BLAS for matrix products, and those of the compiled kernels.

A BLAS splits a product by the number of its threads, and another split rounds differently: with one thread a run gives
the same bits on a machine of two cores and of sixty-four. It is also the safe choice for speed while products are
small: threads that wait for each other make a step many times slower as soon as another process wants a core.

The number is the whole process's. Blocks of :func:`blas_threads` may overlap in several threads where they ask for the
same number: the first sets it, and the last puts back what there was before.

The compiled kernels of :mod:`backends.cpu` split their work by its size alone, so their results do not depend on the
number of threads, and they use the cores that the process may run on.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from backends.errors import DeviceError

__all__ = ["blas_threads", "kernel_threads", "limit_kernel_threads", "loaded_blas"]

_MOST = 8
"""Threads of the compiled kernels at most: a few cores use up what the memory delivers."""

_limits: tuple[int, ...] = ()
"""Of the kernels' threads, as they were asked for; the last one holds."""


@functools.cache
def _controller() -> Any:
    """The BLAS libraries that are loaded; finding them takes some milliseconds, so they are found once."""
    import numpy  # noqa: F401  it loads its BLAS
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def blas_threads(n: int | None) -> AbstractContextManager[Any]:
    """Inside, products use ``n`` threads of the whole process's BLAS; None leaves the number as it is.

    Raises DeviceError where a block in another thread holds another number: it would change the bits of both.

    >>> with blas_threads(1):
    ...     pass
    """
    return nullcontext() if n is None else _held(n)


class _Block:
    """One block of a thread, with the number of BLAS threads that it holds."""

    def __init__(self, n: int) -> None:
        self.thread, self.n = threading.get_ident(), n
        self.undo: Callable[[], None] | None = None
        """Of the libraries whose number is each thread's own."""


class _Blocks:
    """The blocks that are entered now, and how to undo what they have set."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.entered: list[_Block] = []
        self.undo: list[tuple[int, Callable[[], None]]] = []
        """For each change for the process: how many blocks there were before it, and what puts the number back."""

    def enter(self, block: _Block) -> None:
        with self.lock:
            for other in self.entered:
                if other.thread != block.thread and other.n != block.n:
                    raise DeviceError(
                        f"{block.n} BLAS threads are asked for while a fit or predict in another thread uses {other.n}",
                        cause="their number is the whole process's",
                        fix="give both the same number of threads, or run one after the other",
                    )
            if not self.entered or self.entered[-1].n != block.n:  # else all hold it, or the innermost of this thread
                self.undo.append((len(self.entered), _set(block.n, own=False)))
            self.entered.append(block)
            block.undo = _set(block.n, own=True)

    def leave(self, block: _Block) -> None:
        with self.lock:
            if block.undo is not None and block.thread == threading.get_ident():
                block.undo()
            if block in self.entered:
                self.entered.remove(block)
            while self.undo and self.undo[-1][0] >= len(self.entered):
                self.undo.pop()[1]()


def _set(n: int, own: bool) -> Callable[[], None]:
    """Have the libraries whose number is the thread's ``own``, or the process's, use n; what undoes it comes back."""
    libraries = [one for one in _controller().lib_controllers if _of_openmp(one) == own]
    before = [library.num_threads for library in libraries]
    for library in libraries:
        _set_one(library, n)

    def undo() -> None:
        for library, number in zip(libraries, before, strict=True):
            _set_one(library, number)

    return undo


def _of_openmp(library: Any) -> bool:
    return getattr(library, "threading_layer", "") == "openmp"


def _set_one(library: Any, n: int) -> None:
    """From any thread: threadpoolctl 3.8 lets the first one alone change OpenBLAS, until it is told to forget it.

    https://github.com/joblib/threadpoolctl/blob/3.8.0/threadpoolctl.py, ``OpenBLASController``
    """
    forget = getattr(library, "clear_controlling_thread", lambda force: None)
    forget(force=True)
    library.set_num_threads(n)
    forget(force=True)


_blocks = _Blocks()


@contextmanager
def _held(n: int) -> Iterator[None]:
    block = _Block(n)
    try:
        _blocks.enter(block)
        yield
    finally:
        _blocks.leave(block)


def _alone() -> None:
    """In the child of a fork: the other threads are not there any more, and one of them may have held the lock."""
    _blocks.lock = threading.Lock()
    for block in [block for block in _blocks.entered if block.thread != threading.get_ident()]:
        _blocks.leave(block)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone)


def loaded_blas() -> list[dict[str, Any]]:
    """What is known about each BLAS that is loaded: "internal_api", "version", "architecture", "num_threads", ...

    >>> all(blas["num_threads"] > 0 for blas in loaded_blas())
    True
    """
    return list(_controller().info())


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
    limits = _limits
    return limits[-1] if limits else _cores()


@contextmanager
def limit_kernel_threads(n: int) -> Iterator[None]:
    """Inside, compiled kernels of the whole process use up to ``n`` threads.

    >>> with limit_kernel_threads(1):
    ...     kernel_threads()
    1
    """
    global _limits
    with _blocks.lock:
        _limits = (*_limits, n)
    try:
        yield
    finally:
        with _blocks.lock:
            last = max(i for i, limit in enumerate(_limits) if limit == n)
            _limits = _limits[:last] + _limits[last + 1 :]
