"""One process for one folder: a lock that the operating system takes back when its holder dies."""

from __future__ import annotations

import json
import os
import socket
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path

from dlcore.errors import CheckpointError, ConfigError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["Lock", "holder"]

NAME = ".lock"
"""The file in the folder; it stays there, and says who holds the lock or held it last."""

_BEYOND = 1 << 20
"""The byte that is locked where bytes are: beyond the text, so that others can read that."""


class Lock:
    """The right to write into a folder: taken by :meth:`acquire`, given back by :meth:`release`, or by any end of the
    process, kill -9 included.

    A process may take the same folder's lock several times: a run holds it, and so does its Checkpoint.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with Lock(folder):
    ...     holder(folder) == f"process {os.getpid()} on {socket.gethostname()}"
    True
    """

    _held: dict[Path, tuple[int, int]] = {}  # noqa: RUF012  folder -> file descriptor and how often it was taken

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._key = self.folder.resolve()  # one folder may have several names

    def acquire(self) -> Lock:
        """Raises ConfigError where another process holds it, CheckpointError where the folder cannot be written."""
        descriptor, times = self._held.get(self._key, (-1, 0))
        if not times:
            descriptor = self._open()
        self._held[self._key] = (descriptor, times + 1)
        return self

    def _open(self) -> int:
        path = self.folder / NAME
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be written ({error.strerror}); choose another folder") from None
        try:
            _take(descriptor)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            raise ConfigError(
                f"{self.folder} is in use by {holder(self.folder) or 'another process'}; wait for it, or choose "
                "another name"
            ) from None
        except OSError as error:  # some network file systems have no locks
            warnings.warn(f"{path}: cannot be locked ({error.strerror}); run one process at a time here", stacklevel=3)
        who = {"process": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(who).encode())
        return descriptor

    def release(self) -> None:
        descriptor, times = self._held.pop(self._key, (-1, 0))
        if times > 1:
            self._held[self._key] = (descriptor, times - 1)
        elif times:
            os.close(descriptor)

    def __enter__(self) -> Lock:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def holder(folder: str | Path) -> str | None:
    """Who holds a folder's lock, in words; None where nobody does."""
    path = Path(folder) / NAME
    if path.parent.resolve() not in Lock._held:
        try:
            descriptor = os.open(path, os.O_RDWR)
        except OSError:  # no lock was ever taken, or it is not for us to take
            return None
        try:
            _take(descriptor)
            return None
        except OSError:
            pass
        finally:
            os.close(descriptor)
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        return f"process {who['process']} on {who['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _take(descriptor: int) -> None:
    """Lock an open file, or raise OSError at once."""
    if sys.platform == "win32":
        os.lseek(descriptor, _BEYOND, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
