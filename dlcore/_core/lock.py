"""One process for one folder: a lock that the operating system takes back when its holder dies."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import warnings
import weakref
from datetime import UTC, datetime
from pathlib import Path

from dlcore._core.regular import open_regular, read_regular
from dlcore.errors import CheckpointError, ConfigError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["Lock", "holder", "lock_file"]

NAME = ".lock"
"""The file in the folder; it stays there, and says who holds the lock or held it last."""

PATIENCE = 1.0
"""Seconds for which a lock is asked for again: somebody may just be looking whether it is held."""

_LONGEST = 4096
"""Bytes of the text."""

_BEYOND = 1 << 20
"""The byte that is locked where bytes are: beyond the text, so that others can read that."""


class Lock:
    """The right to write into a folder, for one owner: taken by :meth:`acquire`, given back by :meth:`release`, or by
    any end of the process, kill -9 included. A forked child does not have it.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with Lock(folder):
    ...     holder(folder) == f"process {os.getpid()} on {socket.gethostname()}"
    True
    """

    _all: weakref.WeakSet[Lock] = weakref.WeakSet()  # noqa: RUF012  what a forked child lets go of

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._descriptor: int | None = None
        self._all.add(self)

    @property
    def path(self) -> Path:
        return self.folder / NAME

    def acquire(self) -> Lock:
        """Raises ConfigError where somebody else holds it, CheckpointError where the folder cannot be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = open_regular(self.path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            self._take(descriptor)
            if not _is_ours(os.read(descriptor, _LONGEST)):
                raise ConfigError(f"{self.path}: it is no lock of dlcore, and not written into; choose another folder")
            _say_who(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise self._unwritable(error) from None
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return self

    def _take(self, descriptor: int) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return lock_file(descriptor)
            except (BlockingIOError, PermissionError):
                if time.monotonic() > until:
                    raise ConfigError(
                        f"{self.folder} is in use by {holder(self.folder) or 'another process'}; wait for it, or "
                        "choose another name"
                    ) from None
                time.sleep(0.02)
            except OSError as error:  # some network file systems have no locks
                return warnings.warn(
                    f"{self.path}: cannot be locked ({error.strerror}); run one process at a time here", stacklevel=4
                )

    def _unwritable(self, error: OSError) -> CheckpointError:
        return CheckpointError(f"{self.path}: cannot be written ({error.strerror}); choose another folder")

    def check(self) -> None:
        """Raise CheckpointError where the folder has been removed or replaced while the lock was held."""
        try:
            there = self._descriptor is not None and os.path.samestat(os.fstat(self._descriptor), os.stat(self.path))
        except OSError:
            there = False
        if not there:
            raise CheckpointError(f"{self.folder}: the folder was removed or replaced while it was in use; train anew")

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Lock:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def holder(folder: str | Path) -> str | None:
    """Who holds a folder's lock, in words; None where nobody does."""
    path = Path(folder) / NAME
    try:
        descriptor = open_regular(path)
    except OSError:  # no lock was ever taken, or it is not for us to see
        return None
    try:
        lock_file(descriptor, shared=True)
        return None
    except OSError:
        pass
    finally:
        os.close(descriptor)
    try:
        who = json.loads(read_regular(path, _LONGEST))
        return f"process {who['process']} on {who['host']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"


def _is_ours(text: bytes) -> bool:
    """Whether a lock has said this, or a part of it; zeros may stand in its place after a power failure."""
    start = b'{"process": '
    return text.startswith(start) or start.startswith(text) or not text.strip(b"\0")


def _say_who(descriptor: int) -> None:
    who = {"process": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, json.dumps(who).encode())


def lock_file(descriptor: int, shared: bool = False) -> None:
    """Lock an open file, or raise OSError at once."""
    if sys.platform == "win32":
        os.lseek(descriptor, _BEYOND, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _let_go() -> None:
    """In a forked child: close what it has of the parent's locks, which stay the parent's."""
    for lock in list(Lock._all):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
