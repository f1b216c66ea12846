"""The journal of a search: Optuna's file ``tune.log``, made safe for processes that are killed.

Optuna's own locks are files: of a killed process they stay, and everybody else waits until a time is over. This one is
the operating system's and ends with its holder. A line that a killed process has left unfinished is cut off by the next
one that writes; it said nothing yet. Where nothing can be written, as on a full disk, the search ends: what the journal
holds is kept.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from backends.runtime.installation import install_line
from dlcore._core.lock import lock_file
from dlcore._core.regular import open_regular, read_regular
from dlcore.errors import CheckpointError, ConfigError

try:
    import optuna
    from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
    from optuna.storages.journal import JournalFileBackend
except ModuleNotFoundError as error:
    raise ConfigError(f"dl.tune needs optuna ({error}); {install_line('tune')}") from None

__all__ = ["NAME", "JournalError", "opened"]

NAME = "tune.log"
"""The journal in the search's folder."""

_START = b'{"op_code":'
"""Of each of its lines, as Optuna writes them."""

optuna.logging.set_verbosity(optuna.logging.WARNING)  # what there is to say is said by whoever searches


class JournalError(CheckpointError):
    """The journal cannot be written. This is no fault of the trial that was going on."""


def opened(folder: Path | None) -> BaseStorage:
    """The journal in a folder, made where it is missing; None: a storage of this process alone, in memory.

    Raises CheckpointError where the file cannot be read or written, or is no journal.
    """
    if folder is None:
        return InMemoryStorage()
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.close(open_regular(path, os.O_RDWR | os.O_CREAT))
        _check(path)
        lock: Any = _Lock(path)  # Optuna's base class of locks is not public
        backend = _Journal(str(path), lock)
        storage: Any = JournalStorage(backend)
        storage.get_all_studies()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be used ({error.strerror}); choose another folder") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged or no journal ({error}); choose another folder") from None
    return storage


def _check(path: Path) -> None:
    """CheckpointError where a whole line cannot be read, or the last one, which may lack its end, is no journal's;
    Optuna passes over the last one until something is added."""
    *lines, last = read_regular(path).split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            if not isinstance(json.loads(line), dict) or not line.startswith(_START):
                raise ValueError
        except (ValueError, RecursionError):
            raise CheckpointError(
                f"{path}: line {number} is damaged or no journal's; cut the file off before it, or take another folder"
            ) from None
    if not _is_ours(last):
        raise CheckpointError(f"{path}: it ends in something that is no journal's; choose another folder")


def _is_ours(line: bytes) -> bool:
    """Whether a line is one of the journal, or the beginning of one; zeros may stand there after a power failure."""
    return line.startswith(_START) or _START.startswith(line) or not line.strip(b"\0")


class _Journal(JournalFileBackend):
    """Optuna's file, which says what is to be done where it cannot be written."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        try:
            super().append_logs(logs)
        except OSError as error:
            raise JournalError(
                f"{self._file_path}: cannot be written ({error.strerror}); what it holds is kept: make room, and ask "
                "for the same search again"
            ) from None


class _Lock:
    """Held while a line is written; beside the journal, in ``.tune.lock``."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.path = journal.with_name(".tune.lock")
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        descriptor = open_regular(self.path, os.O_RDWR | os.O_CREAT)
        try:
            while True:
                try:
                    lock_file(descriptor)
                    break
                except (BlockingIOError, PermissionError):
                    time.sleep(0.001)
            _mend(self.journal)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _mend(path: Path) -> None:
    """Cut off a last line without an end, where it is a journal's; the lock is held."""
    with open(open_regular(path, os.O_RDWR), "rb+") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        content = file.read()
        end = content.rfind(b"\n") + 1
        if _is_ours(content[end:]):
            file.truncate(end)
