"""A model of text: which character comes next (notes 5, many to many)."""

from __future__ import annotations

from typing import Any

from dlcore._core.validation import number, whole
from dlcore.errors import ConfigError
from dlcore.nn.container import Sequential
from dlcore.nn.layers import Dense, Dropout, Embedding
from dlcore.nn.module import Module
from dlcore.nn.recurrent import GRU, LSTM, RNN
from dlcore.tensor import Tensor

__all__ = ["CharacterModel"]

_CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


class CharacterModel(Module):
    """An embedding, recurrent layers, and logits of the next symbol at each step.

    symbols : K, how many there are
    hidden : units of each recurrent layer
    layers : one above the other
    dropout : rate between the layers and before the logits, in training
    cell : "lstm", "gru" or "rnn"
    embedding : numbers that stand for a symbol

    (N, T) integers -> logits (N, T, K), and the state after the last step, from which the next call goes on:
    ``model(x, state=None)``. A trainer carries it over where the data are one stream, see
    :class:`~dlcore.data.Text`.

    >>> import numpy as np
    >>> logits, state = CharacterModel(5, hidden=8)(np.array([[0, 1, 2]]))
    >>> logits, state = logits.shape, len(state)
    >>> logits
    (1, 3, 5)

    Source: notes, 5.
    """

    carries_state = True

    def __init__(
        self,
        symbols: int,
        hidden: int = 192,
        layers: int = 1,
        dropout: float = 0.0,
        cell: str = "lstm",
        embedding: int = 32,
    ) -> None:
        if cell not in _CELLS:
            raise ConfigError(f"CharacterModel: cell is {cell!r} but one of {', '.join(_CELLS)} is expected")
        self.symbols = whole("CharacterModel", "symbols", symbols, 1)
        self.cell = cell
        self.rate = number("CharacterModel", "dropout", dropout, 0.0, 1.0)
        self.embed = Embedding(symbols, embedding)
        between = dropout if layers > 1 else 0.0
        self.recurrent = _CELLS[cell](hidden, layers, between, return_sequences=True, return_state=True)
        self.out = Sequential(*([Dropout(dropout)] if dropout else []), Dense(symbols))

    def forward(self, x: Any, state: Any = None) -> tuple[Tensor, Any]:
        y, state = self.recurrent(self.embed(x), state=state)
        return self.out(y), state
