"""The processes that work on a round, and the one that looks after them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from dlcore.errors import ConfigError, TrainingError
from dlcore.tune.journal import JournalError
from dlcore.tune.rounds import Objective, Round
from dlcore.tune.space import Space
from dlcore.tune.trials import Trial

__all__ = ["run"]

_LOOK = 0.1
"""Seconds between two looks at the journal."""
_FRUITLESS = 3
"""Workers in a row that may end without having taken a trial."""


def run(round_: Round, objective: Objective, workers: int, on_trial: Callable[[Trial], None] | None) -> None:
    """Try all that waits in a round: in this process where there is one worker, else in so many others.

    on_trial : called here with each trial that has ended, also with those that were lost
    """
    before = set(round_.finished())

    def tell() -> None:
        for number, trial in round_.finished().items():
            if number not in before:
                before.add(number)
                if on_trial is not None:
                    on_trial(trial)

    if workers == 1:
        round_.work(objective, tell)
    elif round_.waiting:
        _Crew(round_, objective, workers).run(tell)


class _Crew:
    """The workers of a round. Whatever ends this process ends them too."""

    def __init__(self, round_: Round, objective: Objective, workers: int) -> None:
        self.round, self.objective, self.workers = round_, objective, workers
        self.live: list[BaseProcess] = []
        self.fruitless = 0

    def run(self, tell: Callable[[], None]) -> None:
        try:
            while self.live or self.round.waiting:
                for _ in range(min(self.workers - len(self.live), self.round.waiting)):
                    self.live.append(self._start())
                connection.wait([process.sentinel for process in self.live], timeout=_LOOK)
                self._bury()
                tell()
        finally:
            for process in self.live:
                process.terminate()
            for process in self.live:
                process.join(5)
                process.kill()
            self.round.lose("interrupted")

    def _bury(self) -> None:
        """Mark what the workers that were killed have taken with them, and write it down again."""
        for process in [process for process in self.live if process.exitcode is not None]:
            self.live.remove(process)
            if process.exitcode == 0:
                self.fruitless = 0
                continue
            self.fruitless = 0 if self.round.lose("killed", process.pid) else self.fruitless + 1
            if self.fruitless == _FRUITLESS:
                raise TrainingError(
                    f"{_FRUITLESS} workers in a row ended before their first trial, the last with code "
                    f"{process.exitcode}; try workers=1, which shows why"
                )
        if not self.live:  # one that was killed before it could say which trial it had taken
            self.round.lose("killed")
        self.round.again()

    def _start(self) -> BaseProcess:
        round_ = self.round
        arguments = (round_.folder, round_.name, round_.maximize, round_.prune, round_.space, self.objective)
        process = multiprocessing.get_context("spawn").Process(target=_work, args=arguments, daemon=True)
        try:
            with _without_ctrl_c():
                process.start()
        except (
            TypeError,
            AttributeError,
            ValueError,
        ) as error:  # what pickle raises, and its own error is a ValueError
            raise _unsendable(error) from None
        except Exception as error:
            if type(error).__name__ != "PicklingError":
                raise
            raise _unsendable(error) from None
        return process


def _unsendable(error: Exception) -> ConfigError:
    return ConfigError(
        f"the objective cannot be sent to another process ({error}); define it in a module, or take workers=1"
    )


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C wait; a process that is started meanwhile never gets it, and so shows no traceback of its imports."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # by the first start otherwise, which lets SIGINT through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(folder: Path, name: str, maximize: bool, prune: str | None, space: Space, objective: Any) -> None:
    """A worker process: Ctrl-C is for the one that looks after it, and without that one it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        round_ = Round(name, maximize, prune, folder)
        round_.space = space
        round_.work(objective)
    except JournalError:  # whoever looks after it cannot write either, and says so
        sys.exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        while parent.is_alive():
            time.sleep(0.01)
        os._exit(1)
