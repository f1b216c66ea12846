"""CUDA kernels on the host: their sources, unchanged, compiled by g++ and run on the stand-in's arrays. Tests only.

``installed()`` gives the CuPy stand-in what runs kernels, ``cupy.RawModule``, so that the project's own launchers reach
them on the way they take on a GPU. Arguments are checked as no GPU would check them: against the types that the
compiler saw in the kernel. ``schedule()`` sets the order of the threads, ``recorded()`` keeps the launches, to be run
again without one of their barriers or under a sanitizer.

It shows wrong indices, missing barriers and bad shuffles; not the weak memory of a GPU, nor how its functions round.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import standin
from standin import device
from standin.array import ndarray

from shim.build import library

__all__ = ["SCHEDULES", "Launch", "RawModule", "ShimError", "installed", "recorded", "schedule", "write_launches"]

SCHEDULES = (0, 1, 7)
"""The threads in the order of their numbers, in the reverse order, and in a random one."""

_order = SCHEDULES[0]
_recorders: list[list[Launch]] = []


class ShimError(AssertionError):
    """What a kernel or its launch does wrong."""


class Library:
    """A compiled unit."""

    def __init__(self, path: Path) -> None:
        code = ctypes.CDLL(str(path))
        self._launch, self._signature, self._reached = code.shim_launch, code.shim_signature, code.shim_reached
        self._launch.restype = self._signature.restype = ctypes.c_char_p
        self._reached.restype = ctypes.POINTER(ctypes.c_bool)

    def signature(self, kernel: str) -> list[tuple[str, np.dtype[Any]]]:
        """Of each parameter its kind, "*" array, "&" array that is only read or "=" number, and its dtype."""
        text = self._signature(kernel.encode())
        if text is None:
            raise ShimError(f"the unit has no kernel {kernel}")
        text = text.decode()
        return [(text[i], np.dtype(text[i + 1 : i + 3])) for i in range(0, len(text), 3)]

    def run(
        self, kernel: str, grid: tuple[int, ...], block: tuple[int, ...], arguments: Sequence[np.ndarray | np.generic],
        *, shared_memory: int = 0, seed: int = 0, skipped: int = 0,
    ) -> list[int]:  # fmt: skip
        """Run a kernel, without the barrier of the line ``skipped``; the lines of the barriers that it reached."""
        three = lambda sizes: (ctypes.c_uint * 3)(*(*sizes, 1, 1)[:3])  # noqa: E731
        kept = [
            ctypes.c_void_p(x.ctypes.data) if isinstance(x, np.ndarray) else ctypes.create_string_buffer(x.tobytes())
            for x in arguments
        ]
        addresses = (ctypes.c_void_p * len(kept))(*map(ctypes.addressof, kept))
        message = self._launch(
            kernel.encode(), three(grid), three(block), ctypes.c_uint(shared_memory), addresses, ctypes.c_uint(seed),
            ctypes.c_int(skipped),
        )  # fmt: skip
        if message:
            raise ShimError(f"{kernel}: {message.decode()}")
        reached = self._reached()
        return [line for line in range(1 << 14) if reached[line]] if _recorders else []


@dataclass
class Launch:
    """A recorded launch: what its arrays held before, and what those that it may write held after."""

    unit: tuple[str, tuple[str, ...]]
    kernel: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared_memory: int
    kinds: str
    before: list[Any]
    offsets: list[int]
    after: list[Any] = field(default_factory=list)
    barriers: list[int] = field(default_factory=list)

    def again(self, *, seed: int = 0, skipped: int = 0) -> bool:
        """Run it again on copies; whether all arrays hold the same bits as then."""
        arguments = [x.copy() for x in self.before]
        try:
            _library(*self.unit).run(
                self.kernel, self.grid, self.block, arguments, shared_memory=self.shared_memory, seed=seed,
                skipped=skipped,
            )  # fmt: skip
        except ShimError:
            return False
        return all(x is None or x.tobytes() == y.tobytes() for x, y in zip(self.after, arguments, strict=True))

    def packed(self) -> bytes:
        """As replay.cpp reads it."""
        three = lambda sizes: struct.pack("<3I", *(*sizes, 1, 1)[:3])  # noqa: E731
        parts = [struct.pack("B", len(self.kernel)), self.kernel.encode(), three(self.grid), three(self.block)]
        parts.append(struct.pack("<2I", self.shared_memory, len(self.before)))
        for kind, offset, before, after in zip(self.kinds, self.offsets, self.before, self.after, strict=True):
            data = before.tobytes()
            parts += [kind.encode(), struct.pack("<IQ", offset, len(data)), data]
            parts += [after.tobytes()] if kind == "*" else []
        return b"".join(parts)


def write_launches(path: Path, launches: Sequence[Launch]) -> None:
    """A file for ``replay``."""
    path.write_bytes(struct.pack("<I", len(launches)) + b"".join(launch.packed() for launch in launches))


@functools.cache
def _library(code: str, options: tuple[str, ...]) -> Library:
    return Library(library(code, options))


class RawModule:
    """``cupy.RawModule``."""

    def __init__(self, code: str | None = None, *, path: None = None, options: tuple[str, ...] = ()) -> None:
        assert code is not None
        self._unit = (code, tuple(options))

    def compile(self) -> None:
        """Compile it now."""
        _library(*self._unit)

    def get_function(self, name: str) -> Function:
        """A kernel of the unit."""
        return Function(self._unit, name)


class Function:
    """``cupy.RawKernel``: called with a grid, a block and the arguments."""

    def __init__(self, unit: tuple[str, tuple[str, ...]], name: str) -> None:
        self._unit, self._name, self._library = unit, name, _library(*unit)
        self._signature = self._library.signature(name)

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: Any, *, shared_mem: int = 0) -> None:
        if len(args) != len(self._signature):
            raise ShimError(f"{self._name} has {len(self._signature)} parameters and gets {len(args)} arguments")
        arguments = [self._checked(i, x) for i, x in enumerate(args)]
        launch = Launch(
            self._unit, self._name, tuple(grid), tuple(block), shared_mem, "".join(kind for kind, _ in self._signature),
            [x.copy() for x in arguments] if _recorders else [],
            [x.ctypes.data % 256 if isinstance(x, np.ndarray) else 0 for x in arguments],
        )  # fmt: skip
        device.launch(self._name)
        launch.barriers = self._library.run(
            self._name, launch.grid, launch.block, arguments, shared_memory=shared_mem, seed=_order
        )
        for recorder in _recorders:
            launch.after = [x.copy() if kind == "*" else None for kind, x in zip(launch.kinds, arguments, strict=True)]
            recorder.append(launch)

    def _checked(self, position: int, x: Any) -> Any:
        """The argument as NumPy has it, if it is what the kernel's parameter is."""
        kind, dtype = self._signature[position]
        name = f"{self._name}, argument {position}"
        if kind == "=":
            if not isinstance(x, np.generic) or x.dtype != dtype:
                raise ShimError(f"{name}: a NumPy scalar of {dtype} is expected, {type(x).__name__} {x!r} comes")
            return x
        if not isinstance(x, ndarray):
            raise ShimError(f"{name}: a device array is expected, {type(x).__name__} comes")
        if x.dtype != dtype:
            raise ShimError(f"{name}: the kernel has {dtype}, the array {x.dtype}")
        if not x.flags.c_contiguous:
            raise ShimError(f"{name}: an array {x.shape} with strides {x.strides} goes as a bare pointer")
        device.check_use(x)
        return x._host


@contextmanager
def installed(devices: int = 1) -> Iterator[ModuleType]:
    """The stand-in on a machine whose CuPy compiles kernels, and keeps none of them in the folder of the real one."""
    with standin.installed(devices) as cupy, patch.dict(os.environ, CUPY_CACHE_IN_MEMORY="1"):
        kept = cupy.RawModule
        cupy.RawModule, cupy.cuda.nvrtc = RawModule, _NVRTC
        try:
            yield cupy
        finally:
            cupy.RawModule = kept
            del cupy.cuda.nvrtc


class _NVRTC:
    """``cupy.cuda.nvrtc``."""

    @staticmethod
    def getVersion() -> tuple[int, int]:  # noqa: N802  (CuPy's name)
        return 13, 2


@contextmanager
def schedule(seed: int) -> Iterator[None]:
    """The order in which the threads of a block run: one of :data:`SCHEDULES`, or any other number for a random one."""
    global _order
    kept, _order = _order, seed
    try:
        yield
    finally:
        _order = kept


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """The launches of the block, in their order."""
    launches: list[Launch] = []
    _recorders.append(launches)
    try:
        yield launches
    finally:
        _recorders.remove(launches)
