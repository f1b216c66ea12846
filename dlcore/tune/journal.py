"""The journal of a search: Optuna's file ``tune.log``, made safe for processes that are killed.

Optuna's own locks are files: of a killed process they stay, and everybody else waits until a time is over. This one is
the operating system's and ends with its holder. A line that a killed process has left unfinished is cut off by the next
one that writes; it said nothing yet.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from dlcore.errors import CheckpointError, ConfigError
from dlcore.train.lock import lock_file

try:
    import optuna
    from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
    from optuna.storages.journal import JournalFileBackend
except ModuleNotFoundError as error:
    raise ConfigError(f"dl.tune needs optuna ({error}); pip install 'dlcore-xp[tune]'") from None

__all__ = ["NAME", "opened"]

NAME = "tune.log"
"""The journal in the search's folder."""

optuna.logging.set_verbosity(optuna.logging.WARNING)  # what there is to say is said by whoever searches


def opened(folder: Path | None) -> BaseStorage:
    """The journal in a folder, made where it is missing; None: a storage of this process alone, in memory.

    Raises CheckpointError where the file cannot be read or written, or is no journal.
    """
    if folder is None:
        return InMemoryStorage()
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock: Any = _Lock(path)  # Optuna's base class of locks is not public
        storage: Any = JournalStorage(JournalFileBackend(str(path), lock))
        storage.get_all_studies()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be used ({error.strerror}); choose another folder") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged or no journal ({error}); choose another folder") from None
    return storage


class _Lock:
    """Held while a line is written; beside the journal, in ``.tune.lock``."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.path = journal.with_name(".tune.lock")
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
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
    """Cut off a last line without an end; the lock is held."""
    with open(path, "rb+") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
