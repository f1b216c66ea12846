"""How far training is: one plain line an epoch, and on a terminal a bar below the lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dlcore.figures import figure
from dlcore.optim import Constant
from dlcore.train.callbacks import Callback

if TYPE_CHECKING:
    from rich.console import Console

    from dlcore.train.trainer import Trainer

__all__ = ["PlainLines", "ProgressBar", "counting"]

_NOT_MEASURED = ("epoch", "lr", "seconds", "examples_per_second")


class PlainLines(Callback):
    """Say one line after each epoch: what was measured, and how fast it went.

    say : prints a line
    unit : what an example is called, such as "images"
    """

    def __init__(self, say: Callable[[str], Any], unit: str = "examples") -> None:
        self.say = say
        self.unit = unit
        self._widths: dict[str, int] = {"lr": len("0.000123")}

    def on_start(self, trainer: Trainer) -> None:
        if trainer.resumed is not None:
            done = f"{trainer.epoch} of {trainer.epochs} epochs"
            self.say(f"resumed: from {trainer.resumed}, after step {trainer.step:,}, with {done} done")

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        last = str(trainer.epochs)
        parts = [f"epoch {record['epoch'] + 1:>{len(last)}}/{last}"]
        parts += [self._figure(name, value) for name, value in record.items() if name not in _NOT_MEASURED]
        if not isinstance(trainer.schedule, Constant):
            parts.append(f"lr {self._aligned('lr', format(record['lr'], '.3g'))}")
        parts.append(f"{record['examples_per_second']:>7,.0f} {self.unit}/s")
        self.say("  ".join(parts))

    def _figure(self, name: str, value: float) -> str:
        return f"{name.replace('_', ' ')} {self._aligned(name, figure(value))}"

    def _aligned(self, column: str, text: str) -> str:
        """``text`` flush right in its column, which is as wide as what it has held so far."""
        self._widths[column] = max(self._widths.get(column, 0), len(text))
        return text.rjust(self._widths[column])


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
