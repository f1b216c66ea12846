"""Tasks, and the threads that share them.

A task is a compiled function of a number and the arguments of a launch; a launch runs it for each number from 0 to
``count - 1``. The numbers are dealt by an atomic counter to the calling thread and to helpers. The work of a number
never depends on who does it, so results are the same for any number of threads, and from run to run.

Helpers spin for a fraction of a millisecond after a launch, without the interpreter's lock, and then sleep. So a launch
costs some microseconds, and nothing is left spinning. A Python thread that finds the pool busy does its tasks alone.
The child of a fork has no helpers and starts its own.

Tasks see addresses instead of arrays. Therefore :func:`launch` compares each array with what the task declares: dtype,
shape, order in memory, and whether it may be written into. It keeps them alive for as long as the task runs. A task
that needs room for what lies between declares it; each thread has its own, kept from launch to launch, because fresh
memory costs as much as the work that is done in it. What is in it at the start of a task is undefined.
"""

from __future__ import annotations

import atexit
import operator
import os
import platform
import struct
import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from backends.cpu.codegen.compile import Compiled
from backends.runtime.threads import kernel_threads

__all__ = ["Task", "compiled_parts", "launch", "reads", "scratch", "task", "tasks_of", "writes"]


# --- what a task declares


@dataclass(frozen=True)
class _Declared:
    """An array of a task: the names of its axes, such as ("rows", "classes"), its dtype, and whether it is written."""

    axes: tuple[str, ...]
    dtype: np.dtype[Any]
    written: bool


def reads(axes: str, dtype: str = "float32") -> _Declared:
    """An array that the task reads, with the names of its axes: "rows classes"."""
    return _Declared(tuple(axes.split()), np.dtype(dtype), False)


def writes(axes: str, dtype: str = "float32") -> _Declared:
    """An array that the task writes into, and may read."""
    return _Declared(tuple(axes.split()), np.dtype(dtype), True)


def scratch() -> _Declared:
    """Memory of the thread's own, in the place of an array: the launch gives the number of float32 elements."""
    return _SCRATCH


_SCRATCH = _Declared((), np.dtype(np.float32), True)


class Task:
    """A function (number, arguments), compiled at its first launch, with the arrays that it takes."""

    def __init__(self, function: Callable[..., None], arrays: dict[str, _Declared]) -> None:
        self.name = function.__name__.strip("_")
        self.compiled = Compiled(function, types.void(types.int64, types.intp))
        self.arrays = arrays
        places = [place for place, declared in enumerate(arrays.values()) if declared is _SCRATCH]
        if len(places) > 1:
            raise TypeError(f"{self.name} declares scratch {len(places)} times; once is enough")
        self.scratch = places[0] if places else None
        """Where among the arrays the scratch stands."""

    def words(
        self, arrays: Sequence[np.ndarray | int], integers: Sequence[int], numbers: Sequence[float]
    ) -> array[int]:
        """The arguments as the task finds them: addresses, lengths of the axes, integers, numbers.

        In the place of the scratch stands how many elements are wanted.
        """
        if len(arrays) != len(self.arrays):
            raise TypeError(f"{self.name} takes the arrays {', '.join(self.arrays)}: {len(arrays)} came")
        lengths: dict[str, int] = {}
        words: list[float] = []
        for x, (name, declared) in zip(arrays, self.arrays.items(), strict=True):
            if declared is _SCRATCH:
                words.append(operator.index(x))  # pyright: ignore[reportArgumentType]
                continue
            if not isinstance(x, np.ndarray):
                raise TypeError(f"{self.name}: {name} is a {type(x).__name__} where an array is expected")
            flags, shape = x.flags, x.shape
            if x.dtype != declared.dtype or not flags.c_contiguous or not flags.aligned:
                raise TypeError(f"{self.name}: {name} is not a contiguous array of {declared.dtype}")
            if declared.written and not flags.writeable:
                raise TypeError(f"{self.name}: {name} is read-only")
            if len(shape) != len(declared.axes):
                raise TypeError(f"{self.name}: {name} {shape} does not have the axes {declared.axes}")
            for axis, n in zip(declared.axes, shape, strict=True):
                if lengths.setdefault(axis, n) != n:
                    raise TypeError(f"{self.name}: {name} {shape} has {n} {axis} where {lengths[axis]} are expected")
            words.append(x.__array_interface__["data"][0])
        words += lengths.values()
        words += integers
        return array("q", struct.pack(f"{len(words)}q{len(numbers)}d", *words, *numbers))


def task(**arrays: _Declared) -> Callable[[Callable[..., None]], Task]:
    """Make a task of a function (number, arguments), with the arrays it takes by name::

        @task(x=reads("n"), y=writes("n"))
        def _double(number, arguments):
            x, y, n = integers(arguments, 0, 3)
            ...

    ``integers`` gives the arrays in this order, then the lengths of the axes in the order of their first mention, then
    the integers of the launch; its numbers come after them. One of the arrays may be :func:`scratch`.
    """
    return lambda function: Task(function, arrays)


_SHARED = (
    "backends.cpu.codegen.gemm",
    "backends.cpu.norm",
    "backends.cpu.elementwise",
    "backends.cpu.recurrent.common",
)
"""Files whose functions launch tasks for others."""


def tasks_of(pair: Any) -> list[Task]:
    """The tasks that the functions of a class name, alone or in a dict, and those that functions they name do.

    Functions of other files are followed into a few alone: what a family borrows from another in a rare case is not
    compiled before the case comes.
    """
    found: list[Task] = []
    seen: set[Any] = set()
    waiting = [part for name in ("forward", "backward") if (part := getattr(pair, name, None)) is not None]
    while waiting:
        function = waiting.pop()
        if function in seen:
            continue
        seen.add(function)
        for name in function.__code__.co_names:
            value = function.__globals__.get(name)
            several = value.values() if isinstance(value, dict) else (value,)
            found += [task for task in several if isinstance(task, Task)]
            if isinstance(value, FunctionType) and value.__module__ in (pair.__module__, *_SHARED):
                waiting.append(value)
    return list(dict.fromkeys(found))


def launch(
    task: Task,
    count: int,
    arrays: Sequence[np.ndarray | int],
    integers: Sequence[int] = (),
    numbers: Sequence[float] = (),
) -> None:
    """Run the task for the numbers 0 to ``count - 1``, and return when all are done."""
    _pool.run(task.compiled.address, task.words(arrays, integers, numbers), task.scratch, count)


# --- shared memory: atomic operations on int64 words


_WORD = ir.IntType(64)
_intrinsic: Any = intrinsic  # what it makes is called without the typing context, which its annotations do not say


def _at(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, _WORD.as_pointer())


@_intrinsic
def _add(typing, address, value):
    """Add to a word, and return what it was before."""
    return types.int64(types.int64, types.int64), lambda context, builder, types_, values: builder.atomic_rmw(
        "add", _at(builder, values[0]), values[1], "seq_cst"
    )


@_intrinsic
def _get(typing, address):
    return types.int64(types.int64), lambda context, builder, types_, values: builder.load_atomic(
        _at(builder, values[0]), "seq_cst", 8
    )


@_intrinsic
def _set(typing, address, value):
    def generate(context, builder, types_, values):
        builder.store_atomic(values[1], _at(builder, values[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@_intrinsic
def _call(typing, function, number, arguments):
    """Call the task at an address."""

    def generate(context, builder, types_, values):
        kind = ir.FunctionType(ir.VoidType(), [_WORD, _WORD])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


_ON_X86 = platform.machine().lower() in ("x86_64", "amd64")
_CAN_YIELD = hasattr(os, "sched_yield")


@_intrinsic
def _pause(typing):
    """A moment's rest for the core that waits."""

    def generate(context, builder, types_, values):
        if _ON_X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), generate


@_intrinsic
def _yield(typing):
    """Let another thread have the core, if one wants it."""

    def generate(context, builder, types_, values):
        if _CAN_YIELD:
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), generate


# --- the pool's own compiled functions. The words that the threads share lie a cache line (64 bytes) apart.

_OPEN, _ACTIVE, _NEXT, _COUNT, _TASK, _ARGUMENTS, _STEP, _LAUNCHES, _THREADS = range(0, 576, 64)
_SPINS = 20_000
_PATIENCE = 200
"""Waits before each is a chance for another thread: with fewer cores than threads the one waited for must run."""


def _run_alone(task: Any, arguments: Any, count: Any) -> None:
    for number in range(count):
        _call(task, number, arguments)


def _run_with_helpers(shared: Any, task: Any, arguments: Any, step: Any, count: Any, threads: Any) -> None:
    """The caller's part: publish the launch, deal, and wait for the helpers that joined.

    A helper's arguments stand ``step`` bytes times its number further on.
    """
    _set(shared + _COUNT, count)
    _set(shared + _TASK, task)
    _set(shared + _ARGUMENTS, arguments)
    _set(shared + _STEP, step)
    _set(shared + _THREADS, threads)
    _set(shared + _NEXT, 0)
    _set(shared + _OPEN, 1)
    _add(shared + _LAUNCHES, 1)
    while True:
        number = _add(shared + _NEXT, 1)
        if number >= count:
            break
        _call(task, number, arguments)
    _set(shared + _OPEN, 0)  # who comes now finds it closed; who came before has counted itself as active
    waits = 0
    while _get(shared + _ACTIVE) > 0:
        waits += 1
        _pause()
        if waits > _PATIENCE:
            _yield()


def _help(shared: Any, helper: Any, launches: Any) -> int:
    """A helper's part: join launches until none has come for a while; returns how many there had been."""
    idle = 0
    while idle < _SPINS:
        seen = _get(shared + _LAUNCHES)
        if seen == launches:
            idle += 1
            _pause()
            if idle > _PATIENCE and idle % 16 == 0:
                _yield()
            continue
        launches = seen
        idle = 0
        _add(shared + _ACTIVE, 1)
        if _get(shared + _OPEN) == 1 and helper < _get(shared + _THREADS):
            count, task = _get(shared + _COUNT), _get(shared + _TASK)
            arguments = _get(shared + _ARGUMENTS) + helper * _get(shared + _STEP)
            while True:
                number = _add(shared + _NEXT, 1)
                if number >= count:
                    break
                _call(task, number, arguments)
        _add(shared + _ACTIVE, -1)
    return launches


_long = types.int64
_alone = Compiled(_run_alone, types.void(_long, _long, _long))
_together = Compiled(_run_with_helpers, types.void(_long, _long, _long, _long, _long, _long))
_helping = Compiled(_help, _long(_long, _long, _long))


def compiled_parts(pair: Any) -> list[Compiled]:
    """Everything that a call of the class may run."""
    return [_alone, _together, _helping, *(task.compiled for task in tasks_of(pair))]


# --- the pool


class _Helper(threading.Thread):
    """A thread that joins launches, and sleeps while there are none."""

    def __init__(self, pool: _Pool, number: int) -> None:
        super().__init__(name=f"dlcore-kernels-{number}", daemon=True)
        self.pool = pool
        self.number = number
        self.sleeping = False
        self.wake = threading.Event()

    def run(self) -> None:
        pool, launches = self.pool, 0
        while not pool.stopped:
            launches = _helping.call(pool.address, self.number, launches)
            self.sleeping = True
            if pool.shared[_LAUNCHES // 8] == launches and not pool.stopped:
                self.wake.wait()  # one launch may miss that this thread falls asleep; the next one wakes it
            self.sleeping = False
            self.wake.clear()


_PAGE = 4096


class _Scratch:
    """Memory for what lies between, each thread's piece on pages of its own; it grows and is kept."""

    def __init__(self) -> None:
        self.memory = np.empty(0, np.uint8)

    def handed_out(self, words: array[int], place: int, threads: int) -> array[int]:
        """The arguments once for each thread, its piece's address in the place of the number of elements."""
        piece = -(-4 * words[place] // _PAGE) * _PAGE
        if self.memory.size < (threads + 1) * piece:
            self.memory = np.empty(0, np.uint8)  # first let go of what there was
            self.memory = np.empty((threads + 1) * piece, np.uint8)
        start = -(-self.memory.__array_interface__["data"][0] // _PAGE) * _PAGE
        every = words * threads
        for thread in range(threads):
            every[thread * len(words) + place] = start + thread * piece
        return every


class _Pool:
    """The helpers of this process, and the memory that they share with the thread that launches."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.shared = np.zeros(72, np.int64)
        self.address = self.shared.__array_interface__["data"][0]
        self.helpers: list[_Helper] = []
        self.stopped = False
        self.scratch = _Scratch()
        self.own = threading.local()  # the scratch of a thread that does its tasks alone

    def run(self, task: int, words: array[int], scratch: int | None, count: int) -> None:
        threads = min(kernel_threads(), count)
        if threads <= 1 or self.stopped or not self.lock.acquire(blocking=False):
            if scratch is not None:
                if not hasattr(self.own, "scratch"):
                    self.own.scratch = _Scratch()
                words = self.own.scratch.handed_out(words, scratch, 1)
            _alone.call(task, words.buffer_info()[0], count)
            return
        try:
            step = 0
            if scratch is not None:
                step = len(words) * words.itemsize
                words = self.scratch.handed_out(words, scratch, threads)
            self._start(threads - 1)
            for helper in self.helpers[: threads - 1]:
                if helper.sleeping:
                    helper.wake.set()
            _together.call(self.address, task, words.buffer_info()[0], step, count, threads)
        finally:
            self.lock.release()

    def _start(self, helpers: int) -> None:
        while len(self.helpers) < helpers:
            helper = _Helper(self, len(self.helpers) + 1)
            try:
                helper.start()
            except RuntimeError:  # no more threads may be started: fewer share the work
                return
            self.helpers.append(helper)

    def stop(self) -> None:
        """End the helpers, before the interpreter takes their code away; a launch of another thread is waited for."""
        self.stopped = True
        self.lock.acquire(timeout=1.0)  # kept: who launches now does it alone
        for helper in self.helpers:
            helper.wake.set()
        for helper in self.helpers:
            helper.join(timeout=1.0)


def _start_anew() -> None:
    """In the child of a fork: the helpers have stayed behind, and perhaps one of them had the lock."""
    global _pool
    _pool = _Pool()


_pool = _Pool()
atexit.register(lambda: _pool.stop())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
