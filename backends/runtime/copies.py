"""Moving arrays between the host and a device: always here, always counted, and forbidden where asked.

:func:`to_device`, :func:`to_host` and, for batches, :mod:`backends.runtime.prefetch` are the only places that copy
between devices. A hidden copy, such as ``float(x)`` of a GPU array, waits for the device and ruins a training step;
``guard("forbid")`` finds it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backends.errors import DeviceError, DlcoreError
from backends.namespace import name_of, namespace_of
from backends.runtime.current import elsewhere_of
from backends.runtime.device import Device

__all__ = [
    "Counts",
    "TransferError",
    "count_upload",
    "counts",
    "guard",
    "guard_with",
    "register_download",
    "synchronize",
    "to_device",
    "to_host",
]


class TransferError(DlcoreError):
    """A copy between host and device, or a wait for the device, inside ``guard("forbid")``."""


@dataclass
class Counts:
    """Copies made so far by this module: calls and bytes each way; ``waits`` are those that no copy asked for.

    Every download also waits for the device.

    >>> from backends.runtime.device import CPU
    >>> before = counts()
    >>> x = to_device(np.ones(4, np.float32), CPU)
    >>> counts().since(before)
    Counts(uploads=1, downloads=0, uploaded_bytes=16, downloaded_bytes=0, waits=0)
    """

    uploads: int = 0
    downloads: int = 0
    uploaded_bytes: int = 0
    downloaded_bytes: int = 0
    waits: int = 0

    def since(self, before: Counts) -> Counts:
        """The difference of two readings.

        >>> Counts(uploads=3).since(Counts(uploads=1)).uploads
        2
        """
        return Counts(
            self.uploads - before.uploads,
            self.downloads - before.downloads,
            self.uploaded_bytes - before.uploaded_bytes,
            self.downloaded_bytes - before.downloaded_bytes,
            self.waits - before.waits,
        )


_counts = Counts()
_forbidden: ContextVar[bool] = ContextVar("forbidden", default=False)
_downloads: dict[str, Callable[[Any], np.ndarray]] = {"cupy": lambda x: _get(x)}
_waits: dict[str, Callable[[], None]] = {
    "cupy": lambda: importlib.import_module("cupy").cuda.get_current_stream().synchronize()
}
_guards: dict[str, Callable[[], AbstractContextManager[Any]]] = {}


def _get(x: Any) -> np.ndarray:
    """A CuPy array on the host; one that does not lie in one piece is first copied, on its device."""
    place = elsewhere_of(x)
    if place is None:
        return x.get()
    with place:
        return x.get()


def counts() -> Counts:
    """A reading of the counters; subtract two with :meth:`Counts.since`.

    >>> before = counts()
    >>> _ = to_host(np.ones(2))
    >>> counts().since(before).downloads
    1
    """
    return replace(_counts)


def _refuse(action: str) -> None:
    if _forbidden.get():
        raise TransferError(f"{action} inside guard('forbid'): move it out of the step")


def to_device(x: Any, device: Device) -> Any:
    """``x`` as an array on ``device``; the array itself when it is there already.

    A NumPy array is uploaded (on the CPU: used as it is, which counts as an upload all the same, so that the count of a
    run does not depend on its device). An array of another device passes through the host.

    >>> from backends.runtime.device import CPU
    >>> x = np.ones(2)
    >>> to_device(x, CPU) is x
    True
    """
    if isinstance(x, np.ndarray | np.generic):
        count_upload(x.nbytes, device)
        if device.holds(x):
            return x
        with device.active():
            return device.xp.asarray(x, device=device.native)
    return x if device.holds(x) else to_device(to_host(x), device)


def count_upload(nbytes: int, device: Device) -> None:
    """Count one copy to ``device`` that is about to be made, of ``nbytes``; refused inside ``guard("forbid")``.

    >>> from backends.runtime.device import CPU
    >>> before = counts()
    >>> count_upload(16, CPU)
    >>> counts().since(before).uploaded_bytes
    16
    """
    _refuse(f"an upload of {nbytes} bytes to {device}")
    _counts.uploads += 1
    _counts.uploaded_bytes += nbytes


def to_host(x: Any) -> np.ndarray:
    """``x`` as a NumPy array, waiting for its device; a NumPy array itself where there is nothing to copy.

    >>> to_host(np.float32(3.0))
    array(3., dtype=float32)
    """
    _refuse(f"a download of an array of shape {tuple(x.shape)}")
    _counts.downloads += 1
    if isinstance(x, np.ndarray | np.generic):
        host = np.asarray(x)
    else:
        library = name_of(namespace_of(x))
        if library not in _downloads:
            raise DeviceError(
                f"no way is known to copy an array of {library} to the host",
                fix="register one with backends.runtime.copies.register_download",
            )
        host = _downloads[library](x)
    _counts.downloaded_bytes += host.nbytes
    return host


def synchronize(device: Device) -> None:
    """Wait until ``device`` has done the work that it was given in the current stream.

    A library computes on the CPU while it is called: there is nothing to wait for, and the call counts all the same.

    >>> synchronize(Device("cpu", np))
    """
    _refuse(f"a wait for {device}")
    _counts.waits += 1
    wait = _waits.get(name_of(device.xp))
    if wait is not None:
        with device.active():
            wait()


def register_download(library: str, download: Callable[[Any], np.ndarray]) -> None:
    """Teach :func:`to_host` another Array API library.

    library : its short name, as :func:`backends.namespace.name_of` gives it
    download : array -> NumPy array

    >>> register_download("some_library", lambda x: x.copy_to_host())
    >>> _ = _downloads.pop("some_library")
    """
    _downloads[library] = download


def guard_with(name: str, context: Callable[[], AbstractContextManager[Any]]) -> None:
    """Have ``guard("forbid")`` enter ``context()`` too: how a library's own hidden copies are made to raise.

    name : under which it is kept; a second one of that name takes its place

    >>> from contextlib import contextmanager
    >>> @contextmanager
    ... def watched():
    ...     print("from here on")
    ...     yield
    >>> guard_with("doctest", watched)
    >>> with guard("forbid"):
    ...     pass
    from here on
    >>> _ = _guards.pop("doctest")
    """
    _guards[name] = context


@contextmanager
def guard(mode: str) -> Iterator[None]:
    """``guard("forbid")``: inside, a copy between host and device or a wait for the device raises.

    mode : "forbid"; ValueError for anything else

    What is seen depends on the library. Everywhere: :func:`to_device` and :func:`to_host`. Elsewhere what a
    :func:`guard_with` adds. On plain NumPy a hidden conversion such as ``float(x)`` costs nothing and is not seen.

    >>> with guard("forbid"):
    ...     to_host(np.ones(2))
    Traceback (most recent call last):
    backends.runtime.copies.TransferError: a download of an array of shape (2,) \
inside guard('forbid'): move it out of the step
    """
    if mode != "forbid":
        raise ValueError(f"guard: mode {mode!r} is not known; 'forbid' is the only one")
    with ExitStack() as stack:
        for context in _guards.values():
            stack.enter_context(context())
        token = _forbidden.set(True)
        stack.callback(_forbidden.reset, token)
        yield
