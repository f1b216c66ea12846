"""One line after each epoch: what was measured, and how fast it went."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from dlcore._core.escapes import escaped
from dlcore._core.formatting import figure
from dlcore.errors import ConfigError
from dlcore.optim import Constant
from dlcore.train.engine.callback import Callback

if TYPE_CHECKING:
    from dlcore.train.engine.trainer import Trainer

__all__ = ["ProgressLines", "lines_of", "silent"]

_NOT_MEASURED = ("epoch", "lr", "seconds", "examples_per_second")

_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)


class ProgressLines(Callback):
    """Print one line after each epoch: what was measured, and how fast it went.

    say : prints a line; None prints to stdout
    unit : what an example is called, such as "images"

    ``Trainer.fit`` does so by itself on a terminal and in a notebook, see its ``verbose``.

    >>> import dlcore as dl
    >>> data = dl.data.load("cars", normalize=True)
    >>> said = []
    >>> trainer = dl.Trainer(dl.nn.Dense(1), "mse", device="cpu", callbacks=[ProgressLines(said.append, "cars")])
    >>> history = trainer.fit(data.train, epochs=2)
    >>> len(said), said[1][:15], said[1][-6:]
    (2, 'epoch 2/2  loss', 'cars/s')
    """

    def __init__(self, say: Callable[[str], Any] | None = None, unit: str = "examples") -> None:
        self.say = _print if say is None else say
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


@contextmanager
def silent() -> Iterator[None]:
    """Within, a fit prints nothing unless it is asked to by ``verbose=True``.

    >>> with silent():
    ...     _shown()
    False
    """
    token = _QUIET.set(True)
    try:
        yield
    finally:
        _QUIET.reset(token)


def lines_of(trainer: Trainer, verbose: bool | None) -> ProgressLines | None:
    """What prints the lines of a fit; None where nobody is to see any, or a callback prints them already.

    verbose : as in :meth:`dlcore.Trainer.fit`
    """
    if verbose is not None and not isinstance(verbose, bool):
        raise ConfigError(f"fit: verbose is {verbose!r:.60} but True, False or None is expected")
    if any(isinstance(callback, ProgressLines) for callback in trainer.callbacks):
        return None
    return ProgressLines() if (_shown() if verbose is None else verbose) else None


def _shown() -> bool:
    """Whether somebody reads along: stdout is a terminal, or the cell of a notebook."""
    if _QUIET.get() or "PYTEST_CURRENT_TEST" in os.environ:
        return False
    if type(sys.stdout).__module__.partition(".")[0] == "ipykernel":
        return True
    try:
        return sys.stdout.isatty()
    except (AttributeError, ValueError):  # there is no stdout, or it is closed
        return False


def _print(text: str) -> None:
    with suppress(OSError, ValueError):  # nobody listens any more: that is no reason to stop training
        print(escaped(text), flush=True)
