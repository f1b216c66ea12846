"""The mode in which layers compute: what a module's flag says, unless a pass through it is an evaluation.

``model.train()`` and ``model.eval()`` set flags of the model, which all threads see. Where a model is evaluated on
somebody's behalf, as by ``Trainer.predict``, the mode belongs to that pass and not to the model: it is a context
variable, so it holds in this thread alone, and nothing has to be put back.

A pass counts the random draws of layers that draw in evaluation too: it begins at none, so that the same pass gives the
same numbers each time, in any thread, and training never notices that something was evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["Evaluation", "evaluating", "evaluation"]


class Evaluation:
    """One evaluation: how often each layer, by path, has drawn from each stream."""

    __slots__ = ("draws",)

    def __init__(self) -> None:
        self.draws: dict[tuple[str, str], int] = {}


_evaluating: ContextVar[Evaluation | None] = ContextVar("evaluating", default=None)


@contextmanager
def evaluation() -> Iterator[None]:
    """Inside, every layer that this thread calls computes in evaluation mode, whatever its flag says.

    One inside another is a part of that one.

    >>> from dlcore import nn
    >>> layer = nn.Dropout(0.5)
    >>> with evaluation():
    ...     layer([[1.0, 2.0]]).numpy().tolist(), layer.training
    ([[1.0, 2.0]], False)
    >>> layer.training
    True
    """
    token = _evaluating.set(_evaluating.get() or Evaluation())
    try:
        yield
    finally:
        _evaluating.reset(token)


evaluating = _evaluating.get
"""The evaluation that this pass is of, or None. A name for the variable's own method: layers ask it in each step."""
