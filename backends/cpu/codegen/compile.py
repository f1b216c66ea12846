"""Compilation by Numba: at the first call and not before, kept on disk, announced once.

Numba keeps what it compiles in ``__pycache__`` beside the source, in the user's cache folder where that cannot be
written, or in ``NUMBA_CACHE_DIR``. Where none can be written the code is compiled in each process. Files are written
under a temporary name and then renamed, so processes that compile at once do not disturb each other.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from numba import njit
from numba.core import caching, ccallback

__all__ = ["Compiled", "cache_folder", "part"]

_lock = threading.RLock()
_announced = False

if hasattr(os, "register_at_fork"):  # a fork waits for a compilation: the child could not free Numba's and LLVM's locks
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)

T = TypeVar("T")


def part(function: Callable[..., Any]) -> Any:
    """A function that tasks of the same file are made of; it is compiled into each of them.

    It is called by them alone, so it needs no way in from Python, which would have to be compiled too.
    """
    compiler: Any = njit  # whose annotations leave the last two options out
    return compiler(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)


def _fingerprint() -> str:
    """A hash of the sources whose functions are compiled into those of other files.

    Numba notices only that the file of a function itself has changed, and would go on with the old vector operations.
    """
    here = Path(__file__).parent
    shared = [here.parent / "recurrent" / "common.py", here.parent / "conv" / "winograd_transforms.py"]
    digest = hashlib.sha256()
    for path in [*sorted(here.glob("*.py")), *shared]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


_FINGERPRINT = _fingerprint()


class _Cache(caching.FunctionCache):
    """Numba's cache on disk; what goes wrong in it costs time and nothing else."""

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), _FINGERPRINT)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # a file that was cut off, or written by another Numba
            found = None
            with suppress(Exception):
                self.flush()
        if found is None:
            _announce()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(Exception):  # a full disk, or a folder that has become read-only
            super().save_overload(sig, data)


def cache_folder() -> str | None:
    """Where compiled functions of this package are kept; None where no folder can be written."""
    try:
        return _Cache(_fingerprint).cache_path
    except RuntimeError:
        return None


def _announce() -> None:
    """Say once a process why it takes a moment."""
    global _announced
    if not _announced:
        _announced = True
        print("compiling CPU kernels (first run)", file=sys.stderr, flush=True)


class _Once(Generic[T]):
    """As ``cached_property``, but without the lock of Python 3.11, which the child of a fork may inherit as held."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self.make = make

    def __get__(self, instance: Any, owner: Any) -> T:
        value = instance.__dict__[self.make.__name__] = self.make(instance)
        return value


class Compiled:
    """A function that is compiled when ``call`` or ``address`` is first asked for.

    signature : of Numba, such as ``types.void(types.int64)``
    """

    _all: ClassVar[list[Compiled]] = []

    def __init__(self, function: Callable[..., Any], signature: Any) -> None:
        self.function = function
        self.signature = signature
        self._compiled: Any = None
        self._all.append(self)

    @classmethod
    def compile_all(cls, backwards: bool = False) -> None:
        """Compile everything now, as an installation may that wants no first run.

        backwards : begin with the last, so that two processes that share a cache compile half each
        """
        for compiled in reversed(cls._all) if backwards else cls._all:
            _ = compiled.address

    @_Once
    def _callback(self) -> Any:
        with _lock:
            if self._compiled is not None:  # by another thread meanwhile: who has its address needs it kept
                return self._compiled
            types = (self.signature.args, self.signature.return_type)
            callback: Any = ccallback.CFunc(self.function, types, {}, {"error_model": "numpy"})
            try:
                callback._cache = _Cache(self.function)
            except RuntimeError:  # no folder can be written
                _announce()
            callback.compile()
            self._compiled = callback
            return callback

    @_Once
    def address(self) -> int:
        return self._callback.address

    @_Once
    def call(self) -> Callable[..., Any]:
        """The compiled function; it runs without the interpreter's lock."""
        return self._callback.ctypes
