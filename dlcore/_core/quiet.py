"""Silence for a moment: Python's filters of warnings are the whole process's, so one thread at a time changes them."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet"]

_lock = threading.RLock()


@contextmanager
def quiet(message: str = "") -> Iterator[None]:
    """Inside, no warning is shown whose text begins as the pattern ``message`` says; then the filters are as before.

    Two threads that changed the filters in turns would each put back what they had found, and leave them changed. So
    keep the block short: others that want silence wait.

    >>> with quiet():
    ...     warnings.warn("nobody sees it")
    """
    with _lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message)
        yield


def _unlocked() -> None:
    """In the child of a fork: a thread that has stayed behind may have held the lock."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlocked)
