"""The order of work in streams: who has waited for whom, and what a program may not do without having waited.

The stand-in computes while it is called, but keeps account of what a GPU would promise. Each stream counts the work it
was given and knows how far it has waited for the others. What a GPU would let pass with a wrong result now and then
raises :class:`StreamError` here, every time:

- an array is used in a stream that has not waited for the work on it in another one, its allocation included: the
  memory pool may have taken the memory from an array whose kernels are still to run in the stream that allocates
- an array is let go while another stream may be using it: the pool gives its memory to the next one
- page-locked memory is written, or copied from again, before the host knows that the copy out of it is over

A copy out of page-locked memory is carried out as late as CUDA may do it: when the array is used in a stream that has
waited for it, or when the host learns that it is over, by waiting or by asking. Until then the array holds garbage.
Any use of an array counts as a write: two streams that only read one need no order on a GPU, but need one here.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np

__all__ = ["Memory", "Moment", "PinnedMemory", "Queue", "StreamError", "copy_to_device", "current", "finish", "reset"]


class StreamError(AssertionError):
    """A use of memory that no wait puts into order."""


class Queue:
    """The work of a stream: what it was given, how much of it the host knows to be done, how far it saw the others."""

    def __init__(self, device: int, name: str, *, null: bool = False, blocking: bool = True) -> None:
        self.device, self.name, self.null, self.blocking = device, name, null, blocking
        self.given = self.finished = 0
        self.seen: Moment = {}
        _all.add(self)
        if not null and blocking:
            _blocking.add(self)

    def __repr__(self) -> str:
        return self.name

    def work(self) -> int:
        """Take one more piece of work; its number."""
        if faults:
            raise StreamError(faults.pop(0))
        self.given += 1
        return self.given

    def moment(self) -> Moment:
        """All that is over when the work so far is."""
        now = dict(self.seen)
        others = [q for q in _blocking if q.device == self.device] if self.null else []
        if not self.null and self.blocking:
            others = [null(self.device)]
        for queue in (*others, self):  # the null stream and the blocking ones wait for each other
            now[queue] = queue.given
        return now

    def wait(self, moment: Moment) -> None:
        """Let all later work come after a moment."""
        for queue, number in moment.items():
            self.seen[queue] = max(self.seen.get(queue, 0), number)

    def sees(self, other: Queue, number: int) -> bool:
        """Whether the next work comes after that piece of another stream's."""
        if other is self or other.finished >= number:
            return True
        pair = self.device == other.device and ((self.null and other.blocking) or (other.null and self.blocking))
        return pair or self.seen.get(other, 0) >= number


Moment = dict[Queue, int]
"""For each stream, the number of its last piece of work that is over."""

_all: weakref.WeakSet[Queue] = weakref.WeakSet()
_blocking: weakref.WeakSet[Queue] = weakref.WeakSet()
_nulls: dict[int, Queue] = {}
_under_way: list[_Copy] = []
faults: list[str] = []
"""What went wrong where nothing can be raised, in the order in which it did."""


class _Current(threading.local):
    """The current streams are a thread's own, one a device, as in CuPy."""

    def __init__(self) -> None:
        self.queues: dict[int, Queue] = {}


_current = _Current()


def null(device: int) -> Queue:
    """The null stream of a device."""
    if device not in _nulls:
        _nulls[device] = Queue(device, "the null stream", null=True)
    return _nulls[device]


def current(device: int) -> Queue:
    """The stream that takes the next work of a device."""
    return _current.queues.get(device) or null(device)


def make_current(device: int, queue: Queue | None) -> None:
    """Make a stream current, the null stream for None."""
    _current.queues.pop(device, None)
    if queue is not None:
        _current.queues[device] = queue


def everything(device: int) -> Moment:
    """All work that a device was given."""
    return {queue: queue.given for queue in _all if queue.device == device}


class Memory:
    """The memory of an array: where it was allocated, who has used it since, and the copies into it under way."""

    __slots__ = ("born", "copies", "home", "others", "used")

    def __init__(self, home: Queue) -> None:
        self.home, self.born = home, home.given
        self.used = home.given
        self.others: Moment = {}
        self.copies: list[_Copy] = []

    def use(self, queue: Queue) -> None:
        """Say that the next work of ``queue`` uses it; StreamError where that is not in order."""
        for other, number in ((self.home, self.used), *self.others.items()):
            if not queue.sees(other, number):
                what = "its allocation" if other is self.home and number == self.born else "its use"
                raise StreamError(f"an array is used in {queue}, which has not waited for {what} in {other}")
        for copy in self.copies:
            copy.carry_out()
        self.copies.clear()
        if queue is self.home:
            self.used = queue.given + 1
        else:
            self.others[queue] = queue.given + 1

    def __del__(self) -> None:
        for other, number in self.others.items():
            if not self.home.sees(other, number):
                faults.append(
                    f"an array of {self.home} was let go, and its memory given to the next one there, while {other} "
                    "may be using it"
                )


class PinnedMemory(bytearray):
    """``cupy.cuda.PinnedMemoryPointer``: page-locked memory of the host, as NumPy takes it for a buffer."""


class _Copy:
    """A copy out of page-locked memory."""

    def __init__(self, to: np.ndarray, source: np.ndarray, queue: Queue) -> None:
        self.to, self.source, self.queue, self.number = to, source, queue, queue.given
        self.bytes = source.tobytes()
        self.done = False

    def check(self) -> None:
        if self.source.tobytes() != self.bytes:
            raise StreamError("page-locked memory was written before the host knew that the copy out of it was over")

    def carry_out(self) -> None:
        if not self.done:
            self.check()
            self.done = True
            self.to[...] = self.source


def copy_to_device(memory: Memory, to: np.ndarray, source: np.ndarray, queue: Queue) -> None:
    """Copy ``source`` into an array's memory, in a stream: at once, unless it is page-locked."""
    memory.use(queue)
    queue.work()
    if not _is_pinned(source):  # CUDA takes what it needs before the call returns
        to[...] = source
        return
    if any(np.may_share_memory(copy.source, source) for copy in _under_way):
        raise StreamError("page-locked memory is copied from again before the host knew that the last copy was over")
    copy = _Copy(to, source, queue)
    memory.copies.append(copy)
    _under_way.append(copy)


def host_knows(moment: Moment) -> None:
    """The host has learnt that all up to a moment is over."""
    for queue, number in moment.items():
        queue.finished = max(queue.finished, number)
    for copy in [copy for copy in _under_way if copy.queue.finished >= copy.number]:
        _under_way.remove(copy)
        copy.check()
        copy.carry_out()


def is_known(moment: Moment) -> bool:
    """Whether the host knows that all up to a moment is over."""
    return all(queue.finished >= number for queue, number in moment.items())


def finish() -> None:
    """Look at all that is still open; StreamError where something was wrong."""
    for copy in _under_way:
        copy.check()
    if faults:
        raise StreamError(faults[0])


def reset() -> None:
    """No copy is under way, nothing was wrong, and the null streams are the calling thread's current ones."""
    _under_way.clear()
    faults.clear()
    _current.queues.clear()


def _is_pinned(array: Any) -> bool:
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, PinnedMemory)
