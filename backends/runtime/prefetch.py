"""Batches on their way to a device: one copy each, of the next one while the present one is computed.

On a CUDA device the arrays of a batch are packed into one page-locked buffer and copied by one transfer in a stream of
its own, a non-blocking one, for the null stream would wait for any other. Three waits keep that in order, and none of
them is the host's:

- the copy waits for all that the compute stream was given before its buffer was allocated. CuPy's pool is divided by
  streams: what is freed goes to the stream that allocated it, at once, and the next array of that stream may get it
  while kernels are still to run on it. In that stream their order makes it safe; a copy in another one would overwrite
  what those kernels read (https://github.com/cupy/cupy/issues/8068).
- the compute stream waits for the copy's event before the batch is handed over. So its memory can go back to the
  compute stream's part of the pool as soon as nobody holds the batch any more.
- a page-locked buffer is filled again only where its event is done, which is asked and not waited for. Where none is,
  another buffer is made, up to :data:`PINNED_BYTES`; beyond that the host waits for the oldest copy, which means that
  it is several steps ahead of the device.

On the CPU nothing is copied, and other libraries copy array by array; the count is one upload a batch everywhere.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from backends.errors import ShapeError
from backends.namespace import name_of
from backends.runtime import copies
from backends.runtime.device import Device

__all__ = ["PINNED_BYTES", "Prefetch"]

PINNED_BYTES = 64 * 2**20
"""Of page-locked memory, beyond the :data:`_LEAST` buffers that there may be in any case."""

_LEAST = 3
_ALIGNMENT = 256
"""Bytes: of each array in a buffer, as of an allocation by CUDA."""

Arrays = Sequence[np.ndarray]


class Prefetch:
    """Brings batches, lists of host arrays, to a device in their order; its buffers serve one pass after another.

    >>> from backends.runtime.device import CPU
    >>> [[x.tolist() for x in batch] for _, batch in Prefetch(CPU).batches([("first", [np.arange(2), np.ones(1)])])]
    [[[0, 1], [1.0]]]
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self._idle: list[_Ring] = []
        """Those that no pass uses: passes in several threads have one each."""

    def batches(self, items: Iterable[tuple[Any, Arrays]]) -> Iterator[tuple[Any, list[Any]]]:
        """Each item with its arrays on the device.

        items : pairs of anything, which comes back as it is, and the arrays of a batch

        One item is fetched ahead on a CUDA device. What goes wrong with it is raised when its turn comes, after the
        items before it. Close the iterator where it is left early: it then waits for the copy that is under way.
        """
        if name_of(self.device.xp) != "cupy":
            for kept, arrays in items:
                yield kept, _one_by_one(arrays, self.device)
            return
        try:
            ring = self._idle.pop()
        except IndexError:
            ring = _Ring(self.device)
        try:
            yield from ring.batches(items)
        finally:
            self._idle.append(ring)


def _one_by_one(arrays: Arrays, device: Device) -> list[Any]:
    copies.count_upload(sum(x.nbytes for x in arrays), device)
    with device.active():
        return [x if device.holds(x) else device.xp.asarray(x, device=device.native) for x in arrays]


class _Pinned:
    """A page-locked buffer, and the event that tells when the copy out of it is over."""

    def __init__(self, nbytes: int) -> None:
        self.memory = importlib.import_module("cupyx").empty_pinned(nbytes, np.uint8)
        self.copied = importlib.import_module("cupy").cuda.Event(disable_timing=True)


class _Ring:
    """The page-locked buffers, the oldest copy first, and the stream that copies."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.cupy = importlib.import_module("cupy")
        with device.active():
            self.stream = self.cupy.cuda.Stream(non_blocking=True)
        self.buffers: list[_Pinned] = []

    def batches(self, items: Iterable[tuple[Any, Arrays]]) -> Iterator[tuple[Any, list[Any]]]:
        with self.device.active():
            compute = self.cupy.cuda.get_current_stream()
        rest = iter(items)
        following = self._next(rest, compute)
        try:
            while following is not None:
                if isinstance(following, Exception):
                    raise following
                kept, arrays, copied = following
                compute.wait_event(copied)  # first: the next copy may record the same event again
                following = self._next(rest, compute)
                yield kept, arrays
                del kept, arrays  # the pool can have the memory as soon as the caller lets it go
        finally:
            if isinstance(following, tuple):  # nobody waits for this copy any more, so its memory must be kept for it
                following[2].synchronize()

    def _next(self, rest: Iterator[tuple[Any, Arrays]], compute: Any) -> Any:
        """The next item with its arrays and the event of their copy; None at the end; an error for later."""
        try:
            for kept, arrays in rest:
                return kept, *self._copy(arrays, compute)
        except Exception as error:
            return error
        return None

    def _copy(self, arrays: Arrays, compute: Any) -> tuple[list[Any], Any]:
        """Send the arrays on their way; the device's arrays, to be used once the event is over."""
        starts, end = [], 0
        for x in arrays:
            if x.dtype.kind not in "biuf":
                raise ShapeError(f"a batch holds an array of {x.dtype}; numbers are expected")
            starts.append(end)
            end += math.ceil(x.nbytes / _ALIGNMENT) * _ALIGNMENT
        copies.count_upload(sum(x.nbytes for x in arrays), self.device)
        with self.device.active():
            pinned = self._free(end)
            for x, start in zip(arrays, starts, strict=True):
                place = pinned.memory[start : start + x.nbytes].view(x.dtype.newbyteorder("="))
                np.copyto(place.reshape(x.shape), x)
            with compute:
                buffer = self.cupy.empty(end, dtype=np.uint8)
            self.stream.wait_event(compute.record())
            buffer.set(pinned.memory[:end], stream=self.stream)
            pinned.copied.record(self.stream)
            self.buffers.append(pinned)
            return [
                buffer[start : start + x.nbytes].view(x.dtype.newbyteorder("=")).reshape(x.shape)
                for x, start in zip(arrays, starts, strict=True)
            ], pinned.copied

    def _free(self, nbytes: int) -> _Pinned:
        """A buffer of at least so many bytes that no copy reads any more, taken out of the ring."""
        for i, pinned in enumerate(self.buffers):
            if pinned.memory.size >= nbytes and pinned.copied.done:
                return self.buffers.pop(i)
        held = sum(pinned.memory.size for pinned in self.buffers)
        if len(self.buffers) < _LEAST or held + nbytes <= PINNED_BYTES:
            return _Pinned(nbytes)
        oldest = self.buffers.pop(0)
        oldest.copied.synchronize()
        return oldest if oldest.memory.size >= nbytes else _Pinned(nbytes)
