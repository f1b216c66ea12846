"""Signals that end a run: the first one lets it save itself, the second one ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlcore.train.trainer import Trainer

__all__ = ["Interrupted", "deferred"]

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, the polite kill, and the end of the terminal."""


class Interrupted(KeyboardInterrupt):
    """A run was ended at a place from which it can be resumed.

    cause : the signal's name, such as "SIGTERM"
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
    """While a run that saves itself is going on, a signal asks it to save and end; a second one is a KeyboardInterrupt.

    Only in the main thread, where Python lets signals be caught, and only for signals that nobody else handles or
    ignores (as nohup does with SIGHUP).
    """
    if threading.current_thread() is not threading.main_thread() or not any(c.saves_runs for c in trainer.callbacks):
        yield
        return

    def handle(number: int, frame: Any) -> None:
        if trainer.interrupted:
            trainer.abandoned = True
            raise KeyboardInterrupt("at once")
        trainer.interrupt(signal.Signals(number).name)

    usual = {number: signal.getsignal(number) for number in SIGNALS}
    caught = [n for n, handler in usual.items() if handler in (signal.SIG_DFL, signal.default_int_handler)]
    for number in caught:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, usual[number])
