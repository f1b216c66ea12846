"""Signals that end a run: it saves itself first, unless a second Ctrl-C ends it at once."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlcore.train.engine.trainer import Trainer

__all__ = ["Interrupted", "deferred", "raised"]

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, the polite kill, and the end of the terminal."""

ONE_PRESS = 0.25
"""Seconds within which two Ctrl-C are one: programs that start others pass on what the terminal has sent already."""


class Interrupted(KeyboardInterrupt):
    """A run was ended by a signal; where it has a Checkpoint, at a place from which it can be resumed.

    cause : the signal's name, such as "SIGTERM"

    >>> str(Interrupted("SIGTERM")), Interrupted("SIGTERM").exit_code
    ('by SIGTERM', 143)
    """

    def __init__(self, cause: str, text: str = "") -> None:
        super().__init__(text or f"by {cause}")
        self.cause = cause

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as shells count; 130 where it was no signal."""
        return 128 + getattr(signal, self.cause, signal.SIGINT)


@contextmanager
def deferred(trainer: Trainer) -> Iterator[None]:
    """While a run that saves itself is going on, a signal asks it to save and end.

    A second Ctrl-C is a KeyboardInterrupt at once. Other signals that come again change nothing: a terminal that closes
    sends several, and kill -9 is there for those who cannot wait. Nothing is done outside the main thread, where Python
    lets nobody catch signals, and for signals that somebody else handles or ignores (as nohup does with SIGHUP).
    """
    first = float("inf")

    def handle(number: int, frame: Any) -> None:
        nonlocal first
        now = time.monotonic()
        if not trainer.interrupted:
            first = now
            trainer.interrupt(signal.Signals(number).name)
        elif number == signal.SIGINT and now - first > ONE_PRESS:
            trainer.abandoned = True
            raise KeyboardInterrupt("at once")

    with _caught(handle if any(c.saves_runs for c in trainer.callbacks) else None, SIGNALS):
        yield


@contextmanager
def raised() -> Iterator[None]:
    """A polite kill, or the end of the terminal, is an Interrupted, as Ctrl-C is a KeyboardInterrupt."""
    with _caught(_raise, SIGNALS[1:]):
        yield


def _raise(number: int, frame: Any) -> None:
    raise Interrupted(signal.Signals(number).name)


@contextmanager
def _caught(handle: Callable[[int, Any], None] | None, numbers: tuple[int, ...]) -> Iterator[None]:
    if handle is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {number: signal.getsignal(number) for number in numbers}
    ours = (signal.SIG_DFL, signal.default_int_handler, _raise)
    caught = [number for number, handler in usual.items() if handler in ours]
    try:
        for number in caught:
            signal.signal(number, handle)
        yield
    finally:
        for number in caught:
            signal.signal(number, usual[number])
