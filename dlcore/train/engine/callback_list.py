"""The events of a fit, and the callbacks that are told of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dlcore.train.engine.signals import Interrupted

if TYPE_CHECKING:
    from dlcore.train.engine.callback import Callback
    from dlcore.train.engine.trainer import Trainer

__all__ = ["notified", "notify"]


@contextmanager
def notified(trainer: Trainer) -> Iterator[None]:
    """The callbacks' ``on_start`` before and, of all that have started, ``on_end`` after, whatever happens."""
    started: list[Callback] = []
    problem: BaseException | None = None
    try:
        for callback in _ordered(trainer):
            callback.on_start(trainer)
            started.append(callback)
        yield
        trainer.complete = True
    except Interrupted as interruption:
        problem = interruption
        notify(trainer, "on_interrupt")
        if trainer.saved is not None:
            text = f"by {interruption.cause}; the run is saved in {trainer.saved}, go on by fit(..., resume='auto')"
            problem = Interrupted(interruption.cause, text)
    except BaseException as error:
        problem = error
    finally:
        for callback in started:
            try:
                callback.on_end(trainer)
            except BaseException as error:  # the first problem is the one to tell of
                problem = problem or error
        cause, trainer.interrupted = trainer.interrupted, ""
        trainer.fits -= not trainer.complete  # it goes on when fit is called again
    if problem is not None:
        raise problem
    if cause:  # while the callbacks were ending
        raise Interrupted(cause)


def _ordered(trainer: Trainer) -> list[Callback]:
    """The callbacks in the order of the list, but those last that save what the others have done."""
    return sorted(trainer.callbacks, key=lambda callback: callback.saves_runs)


def notify(trainer: Trainer, event: str, *args: Any) -> None:
    """Tell every callback of an ``event``, the name of its method."""
    for callback in _ordered(trainer):
        getattr(callback, event)(trainer, *args)
