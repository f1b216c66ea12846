"""What a model is called with besides its input: the lengths of sequences, and the state of the batch before.

A model with ``carries_state`` is called as ``model(x, state=None)`` and gives ``(outputs, state)``; see
:class:`~dlcore.nn.RNN` for what a state is. Where the data say by ``contiguous`` that row i of a batch goes on where
row i of the batch before has ended, the state goes on too, outside the graph: truncated backpropagation through time
(notes 5). Everywhere else each batch starts from zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from backends.runtime import copies
from dlcore._core.input_tree import mapped, several
from dlcore.nn.module import Module
from dlcore.nn.recurrent import detach
from dlcore.tensor import as_tensor

__all__ = ["Carried", "are_inputs", "called"]


class Carried:
    """The state between two batches; None before the first.

    on : whether the batches go on where the one before has ended
    """

    def __init__(self, on: bool = False) -> None:
        self.on = on
        self.state: Any = None

    @classmethod
    def over(cls, data: Any) -> Carried:
        """For one pass over ``data``, from the start."""
        return cls(bool(getattr(data, "contiguous", False)))

    def change(self, function: Callable[[Any], Any]) -> None:
        """Put ``function`` of each of the state's arrays in its place, such as a rounding to another dtype."""
        self.state = _mapped(lambda entry: as_tensor(function(as_tensor(entry).data)), self.state, tuple)

    def state_dict(self) -> Any:
        """The state as arrays on the host, in lists; waits for the device."""
        return _mapped(lambda entry: copies.to_host(as_tensor(entry).data), self.state, list)

    def load_state_dict(self, state: Any, upload: Callable[[Any], Any]) -> None:
        """Go on from what :meth:`state_dict` gave; ``upload`` brings an array to the device."""
        self.state = _mapped(upload, state, tuple)


def called(model: Module, x: Any, lengths: Any = None, carried: Carried | None = None) -> Any:
    """The model's outputs for a batch; ``carried`` then holds the state after it.

    A model that takes no lengths, such as a dense one on padded sequences, gets none. Several inputs, in a tuple or a
    dict, go in as :mod:`dlcore._core.input_tree` says.
    """
    if several(x):
        x = mapped(as_tensor, x)
    if getattr(model, "carries_state", False):
        outputs, state = model(x, state=None if carried is None or not carried.on else carried.state)
        if carried is not None and carried.on:
            carried.state = detach(state)
        return outputs
    if lengths is not None and model.takes_lengths:
        return model(x, lengths=lengths)
    return model(x)


def are_inputs(x: Any, model: Module) -> bool:
    """Whether ``x`` holds several inputs: a dict does, and a tuple of arrays where the model is not of one input."""
    if not several(x) or isinstance(x, Mapping):
        return several(x)
    return all(hasattr(leaf, "shape") for leaf in x) and (model.vector is None or several(model.input_dtype))


def _mapped(function: Callable[[Any], Any], state: Any, kind: type) -> Any:
    if state is None:
        return None
    return kind(_mapped(function, one, kind) for one in state) if isinstance(state, tuple | list) else function(state)
