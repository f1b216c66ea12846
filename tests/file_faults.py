"""Faults of file operations in this process: a kill -9 or a full disk at the nth of them.

After a kill nothing more is written by the code that was cut, whatever stands in its ``except`` and ``finally``.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

__all__ = ["Faults", "Killed", "fault_at"]

CALLS = (
    "open", "write", "fsync", "replace", "rename", "unlink", "mkdir", "rmdir", "link", "truncate", "ftruncate",
)  # fmt: skip
FILLING = ("open", "write", "mkdir", "link", "fsync")
"""Calls that a full disk refuses."""


class Killed(BaseException):
    """In the place of a kill -9."""


class Faults:
    """Counts the calls of ``os`` that change files.

    at : the number of the call that fails, from 1; 0: none does
    kind : "kill", half of a write is done then; or "full", where this call and all later ones that need room fail;
        or "once", where this call alone does
    """

    def __init__(self, at: int, kind: str) -> None:
        self.at, self.kind, self.count = at, kind, 0

    def hit(self, name: str, real: Any, args: tuple[Any, ...]) -> None:
        self.count += 1
        if not self.at or self.count < self.at:
            return
        if self.kind == "kill":
            if self.count == self.at and name == "write":
                real(args[0], args[1][: len(args[1]) // 2])
            raise Killed
        if self.count == self.at or (self.kind == "full" and name in FILLING):
            raise OSError(errno.ENOSPC, "No space left on device")


@contextmanager
def fault_at(at: int, kind: str = "kill") -> Iterator[Faults]:
    """The faults within the block; a kill ends it. Nothing waits for the disk."""
    faults = Faults(at, kind)
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, _counted(faults, name, getattr(os, name)))
        with suppress(Killed):
            yield faults


def _counted(faults: Faults, name: str, real: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        if name == "open" and not args[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return real(*args, **kwargs)
        faults.hit(name, real, args)
        return None if name == "fsync" else real(*args, **kwargs)

    return call
