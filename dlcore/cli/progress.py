"""How far training is: on a terminal a bar below the lines of the epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dlcore.train.engine.callback import Callback

if TYPE_CHECKING:
    from rich.console import Console

    from dlcore.train.engine.trainer import Trainer

__all__ = ["ProgressBar", "counting"]


class ProgressBar(Callback):
    """A bar over the steps of the epoch, gone when training ends. It waits for nothing on the device.

    label : stands before the bar
    """

    def __init__(self, console: Console, label: str = "") -> None:
        self.console = console
        self.label = label

    def on_start(self, trainer: Trainer) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"))
        self._progress = Progress(*columns, TimeRemainingColumn(), console=self.console, transient=True)
        self._task = self._progress.add_task("", total=None)
        self._progress.start()
        self.on_epoch_start(trainer)  # which does not come where a run goes on in the middle of an epoch

    def on_epoch_start(self, trainer: Trainer) -> None:
        text = f"{self.label} epoch {trainer.epoch + 1}/{trainer.epochs}".strip()
        steps = trainer.steps_per_epoch or None
        self._progress.reset(self._task, total=steps, completed=trainer.progress.batches, description=text)

    def on_step(self, trainer: Trainer) -> None:
        self._progress.advance(self._task)

    def on_end(self, trainer: Trainer) -> None:
        self._progress.stop()


@contextmanager
def counting(console: Console | None, label: str, total: int, unit: str) -> Iterator[Callable[[int], Any]]:
    """A bar over ``total`` examples where somebody sees it, moved on by calling what is given; gone at the end."""
    if console is None:
        yield lambda count: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda count: progress.advance(task, count)
