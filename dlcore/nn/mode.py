"""The mode in which layers compute: what a module's flag says, unless a pass through it is an evaluation.

``model.train()`` and ``model.eval()`` set flags of the model, which all threads see. Where a model is evaluated on
somebody's behalf, as by ``Trainer.predict``, the mode belongs to that pass and not to the model: it is a context
variable, so it holds in this thread alone, and nothing has to be put back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["evaluating", "evaluation"]

_evaluating: ContextVar[bool] = ContextVar("evaluating", default=False)


@contextmanager
def evaluation() -> Iterator[None]:
    """Inside, every layer that this thread calls computes in evaluation mode, whatever its flag says.

    >>> from dlcore import nn
    >>> layer = nn.Dropout(0.5)
    >>> with evaluation():
    ...     layer([[1.0, 2.0]]).numpy().tolist(), layer.training
    ([[1.0, 2.0]], False)
    >>> layer.training
    True
    """
    token = _evaluating.set(True)
    try:
        yield
    finally:
        _evaluating.reset(token)


evaluating = _evaluating.get
"""Whether this pass is an evaluation. A name for the variable's own method: layers ask it in each step."""
