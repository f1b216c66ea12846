"""Who uses a model at the moment: one fit, or any number of predictions and evaluations, each in a thread of its own.

A fit changes the weights that a prediction reads: an answer from another thread meanwhile would come from weights of
several steps. So it is refused, in one line, and so is a second fit. The fit's own thread may do both: its callbacks
run between two steps. A fit that begins while others read waits until they have ended, and whoever comes meanwhile is
refused as if it had begun. Predictions beside each other only wait while one of them builds the model or moves it to
another device.

An optimiser, and a callback with a state of its own, serve one fit at a time too.

Who calls ``model(x)`` itself is not asked: a check there would cost every layer of every step.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from dlcore.errors import ConfigError

__all__ = ["fitting", "reading"]

_changed = threading.Condition()
"""Guards what follows, for moments only; notified where a use ends."""


class _Use:
    """Of one object: the threads that use it now, with how many times over, for a thread may nest what it does."""

    def __init__(self, used: Any) -> None:
        self.used = used  # kept, so that its identity stays its own
        self.fits: dict[int, int] = {}
        self.readers: dict[int, int] = {}
        self.preparing: int | None = None

    def others_fit(self, me: int) -> bool:
        return any(thread != me for thread in self.fits)

    def others_read(self, me: int) -> bool:
        return any(thread != me for thread in self.readers)


_uses: dict[int, _Use] = {}
"""By identity, and only while somebody uses the object."""


def _use_of(used: Any) -> _Use:
    return _uses.setdefault(id(used), _Use(used))


def _begin(threads: dict[int, int], me: int) -> None:
    threads[me] = threads.get(me, 0) + 1


def _end(use: _Use, threads: dict[int, int], me: int) -> None:
    with _changed:
        threads[me] -= 1
        if not threads[me]:
            del threads[me]
        if not use.fits and not use.readers:
            _uses.pop(id(use.used), None)
        _changed.notify_all()


@contextmanager
def fitting(model: Any, *others: Any) -> Iterator[None]:
    """Inside, this thread trains the model; raises ConfigError where another thread does.

    others : what this fit changes besides: ConfigError where a fit in another thread changes it

    >>> from dlcore import nn
    >>> with fitting(nn.Dense(1)):
    ...     pass
    """
    with ExitStack() as stack:
        stack.enter_context(_changing(model, "is being trained by", "wait for its end, or train a copy of the model"))
        for other in others:
            stack.enter_context(_changing(other, "keeps the state of", "give each trainer its own"))
        yield


@contextmanager
def _changing(used: Any, does: str, remedy: str) -> Iterator[None]:
    me = threading.get_ident()
    with _changed:
        use = _use_of(used)
        if use.others_fit(me):
            raise ConfigError(f"fit: {type(used).__name__} {does} a fit in another thread; {remedy}")
        _begin(use.fits, me)  # who comes from now on is refused; who reads already ends first
    try:
        with _changed:
            _changed.wait_for(lambda: not use.others_read(me))
        yield
    finally:
        _end(use, use.fits, me)


@contextmanager
def reading(
    model: Any, verb: str, is_ready: Callable[[], bool] = lambda: True, prepare: Callable[[], Any] = lambda: None
) -> Iterator[None]:
    """Inside, no other thread trains the model; raises ConfigError where one does.

    verb : what is done, for the message
    is_ready, prepare : what has to hold, and what brings it about while nobody else reads, such as a build

    >>> from dlcore import nn
    >>> model = nn.Dense(1)
    >>> with reading(model, "predict", lambda: model.vector is not None, lambda: model.build((2,))):
    ...     str(model.device)
    'cpu'
    """
    me = threading.get_ident()
    with _changed:
        while True:
            use = _use_of(model)
            if use.others_fit(me) and me not in use.readers:
                raise ConfigError(
                    f"{verb}: {type(model).__name__} is being trained by a fit in another thread, and its weights "
                    f"change meanwhile; wait for the end, call {verb} in a callback of the fit, or ask a copy"
                )
            if use.preparing is None or use.preparing == me:
                ready = is_ready()
                if ready or not use.others_read(me):
                    break
            _changed.wait()
        _begin(use.readers, me)
        if not ready:
            use.preparing = me
    try:
        if not ready:
            try:
                prepare()
            finally:
                use.preparing = None
                with _changed:
                    _changed.notify_all()
        yield
    finally:
        _end(use, use.readers, me)


def _alone() -> None:
    """In the child of a fork: the other threads are not there any more, and one of them may have held the lock."""
    global _changed
    _changed = threading.Condition()
    me = threading.get_ident()
    for place, use in list(_uses.items()):
        for threads in (use.fits, use.readers):
            for thread in [thread for thread in threads if thread != me]:
                del threads[thread]
        use.preparing = me if use.preparing == me else None
        if not use.fits and not use.readers:
            del _uses[place]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone)
