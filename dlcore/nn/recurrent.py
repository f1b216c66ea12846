"""Recurrent layers: RNN, LSTM and GRU, of several layers and in both directions (notes 5 and 5.1)."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from backends import random
from backends.random import Key
from dlcore import functional as F
from dlcore._core.validation import flag, number, whole
from dlcore.errors import ConfigError, ShapeError
from dlcore.nn._order import check_recurrent
from dlcore.nn.init import Initializer, glorot_uniform, orthogonal
from dlcore.nn.module import Module
from dlcore.tensor import Tensor, as_tensor, concat

__all__ = ["GRU", "LSTM", "RNN", "detach"]


class RNN(Module):
    """Simple recurrent layers, h = tanh(x U + h' W + b); see :func:`dlcore.functional.rnn`.

    hidden : units, H
    layers : one above the other, each reading the sequence of states of the one below
    dropout : rate between the layers, in training; masks as :class:`~dlcore.nn.Dropout` draws them
    return_sequences : False gives the last state, many to one; True the states after all steps, many to many
    return_state : also give the state after the last step, to carry it over to the next piece of a long sequence
    reverse : read each sequence from its last valid step to its first
    bidirectional : read it in both directions, with weights of their own, and join the two: 2 H features

    Called as ``layer(x, lengths=None, state=None)``: x (N, T, D); lengths, N integers on the host, where sequences are
    padded; state, from which to start instead of zeros. Gives y, (N, H) or (N, T, H) with zeros behind each sequence's
    end; with return_state (y, state).

    A state is a tuple with an entry for each layer and, where bidirectional, for each direction: layer 0 forwards,
    layer 0 in reverse, layer 1 forwards ... An entry is h (N, H), for an LSTM the pair (h, c). What comes back is what
    goes in; gradients flow through it unless :func:`detach` cuts them (truncated backpropagation through time).

    Parameters: u (D, H), w (H, H), b (H,); of several layers or directions one each, "u.0", "u.0.reverse", "u.1". u
    starts as glorot_uniform and w orthogonal, for each gate by itself; b starts at 0.

    >>> RNN(5)(np.zeros((2, 7, 3), dtype=np.float32)).shape
    (2, 5)
    >>> RNN(5, return_sequences=True, bidirectional=True)(np.zeros((2, 7, 3), dtype=np.float32)).shape
    (2, 7, 10)

    Source: notes, 5; in both directions, Schuster and Paliwal (1997).
    """

    gates = 1
    states = 1

    def __init__(
        self,
        hidden: int,
        layers: int = 1,
        dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        reverse: bool = False,
        bidirectional: bool = False,
    ) -> None:
        name = type(self).__name__
        self.hidden = whole(name, "hidden", hidden, 1)
        self.layers = whole(name, "layers", layers, 1)
        self.dropout = number(name, "dropout", dropout, 0.0, 1.0)
        if self.dropout and self.layers == 1:
            raise ConfigError(f"{name}: dropout is between layers, but there is one; put a Dropout layer after it")
        self.return_sequences = flag(name, "return_sequences", return_sequences)
        self.return_state = flag(name, "return_state", return_state)
        self.reverse = flag(name, "reverse", reverse)
        self.bidirectional = flag(name, "bidirectional", bidirectional)
        if self.reverse and self.bidirectional:
            raise ConfigError(f"{name}: reverse and bidirectional came, but both are read; leave reverse out")

    # --- parameters

    def setup(self, x: Tensor) -> None:
        if x.ndim != 3:
            raise ShapeError(
                f"{type(self).__name__}: x has shape {tuple(x.shape)} but (N, T, D) is expected; reshape to sequences "
                "of feature vectors, or put an Embedding before"
            )
        check_recurrent(type(self).__name__, self.path, x, self.hidden, self.layers)
        made: dict[str, dict[str, Any]] = {}
        width = x.shape[2]
        for key in self._keys():
            layer = int(key.partition(".")[0])
            features = width if layer == 0 else self.hidden * (2 if self.bidirectional else 1)
            for name, values in self._made(key, features).items():
                made.setdefault(name, {})[key] = values
        for name, of_each in made.items():
            setattr(self, name, of_each if self._several() else of_each["0"])

    def _made(self, key: str, features: int) -> dict[str, Any]:
        """The parameters of one layer and direction."""
        h, g = self.hidden, self.gates
        path = (lambda name: f"{name}.{key}") if self._several() else (lambda name: name)
        return {
            "u": self.parameter(path("u"), (features, g * h), _by_gate(glorot_uniform, g)),
            "w": self.parameter(path("w"), (h, g * h), _by_gate(orthogonal, g)),
            "b": self.parameter(path("b"), (g * h,), self._biases, decay=False),
        }

    def _biases(self, key: Key, shape: tuple[int, ...]) -> np.ndarray:
        return np.zeros(shape, dtype=np.float32)

    def _several(self) -> bool:
        return self.layers > 1 or self.bidirectional

    def _keys(self) -> list[str]:
        """A name for each layer and direction, in the order of a state."""
        directions = ("", ".reverse") if self.bidirectional else ("",)
        return [f"{layer}{direction}" for layer in range(self.layers) for direction in directions]

    def _of(self, name: str, key: str) -> Any:
        return getattr(self, name)[key] if self._several() else getattr(self, name)

    # --- computing

    def forward(self, x: Any, lengths: Any = None, state: Any = None) -> Any:
        x = as_tensor(x)
        if x.ndim != 3:
            raise ShapeError(f"{type(self).__name__}: x has shape {tuple(x.shape)} but (N, T, D) is expected")
        if lengths is not None:
            lengths = F.Lengths.of(type(self).__name__, lengths, x.shape[0], x.shape[1])
        first = self._first(state)
        after: list[Any] = []
        directions = 2 if self.bidirectional else 1
        keys = self._keys()
        last = x
        for start in range(0, len(keys), directions):
            if start and self.dropout and self.training:
                x = F.dropout(x, self.dropout, key=self.draw("dropout"), first_row=self.clock.first_row)
            ys = []
            for place in range(start, start + directions):
                reverse = self.reverse or keys[place].endswith(".reverse")
                y, *new = self._run(x, keys[place], first[place], lengths, reverse)
                ys.append(y)
                after.append(new[0] if self.states == 1 else tuple(new))
            x = ys[0] if directions == 1 else concat(ys, axis=-1)
            hs = [entry if self.states == 1 else entry[0] for entry in after[start:]]
            last = hs[0] if directions == 1 else concat(hs, axis=-1)
        y = x if self.return_sequences else last
        return (y, tuple(after)) if self.return_state else y

    def _run(self, x: Any, key: str, state: Any, lengths: Any, reverse: bool) -> tuple[Tensor, ...]:
        """One layer in one direction: y and the states after it."""
        u, w, b = (self._of(name, key) for name in "uwb")
        return F.rnn(x, u, w, b, *state, lengths=lengths, reverse=reverse)

    def _first(self, state: Any) -> list[tuple[Any, ...]]:
        """The state from which each layer and direction starts, as arguments."""
        count = len(self._keys())
        if state is None:
            return [(None,) * self.states] * count
        if not isinstance(state, tuple | list) or len(state) != count:
            came = f"{len(state)} entries" if isinstance(state, tuple | list) else f"a {type(state).__name__}"
            raise ShapeError(
                f"{type(self).__name__}: state is {came} but a tuple of {count} is expected, one a layer and "
                "direction; pass what return_state gave"
            )
        if self.states == 1:
            return [(h,) for h in state]
        for entry in state:
            if not isinstance(entry, tuple | list) or len(entry) != self.states:
                raise ShapeError(
                    f"{type(self).__name__}: an entry of state is a {type(entry).__name__} but the pair (h, c) is "
                    "expected; pass what return_state gave"
                )
        return [tuple(entry) for entry in state]


class LSTM(RNN):
    """Long short-term memory; see :func:`dlcore.functional.lstm`, and :class:`RNN` for arguments, calling and state.

    Parameters: u (D, 4 H), w (H, 4 H), b (4 H,), the gates i, f, g, o side by side. The biases of the forget gate f
    start at 1, so that a cell remembers before it has learnt what to forget (Jozefowicz et al., 2015).

    >>> layer = LSTM(4, return_state=True)
    >>> y, ((h, c),) = layer(np.zeros((2, 7, 3), dtype=np.float32), lengths=[7, 2])
    >>> y.shape, h.shape, c.shape
    ((2, 4), (2, 4), (2, 4))

    Source: notes, 5.1; Hochreiter and Schmidhuber (1997).
    """

    gates = 4
    states = 2

    def _biases(self, key: Key, shape: tuple[int, ...]) -> np.ndarray:
        b = np.zeros(shape, dtype=np.float32)
        b[self.hidden : 2 * self.hidden] = 1.0
        return b

    def _run(self, x: Any, key: str, state: Any, lengths: Any, reverse: bool) -> tuple[Tensor, ...]:
        u, w, b = (self._of(name, key) for name in "uwb")
        return F.lstm(x, u, w, b, *state, lengths=lengths, reverse=reverse)


class GRU(RNN):
    """Gated recurrent units; see :func:`dlcore.functional.gru`, and :class:`RNN` for arguments, calling and state.

    Parameters: u (D, 3 H), w (H, 3 H), b (3 H,), the gates r, z, n side by side, and bn (H,), the bias inside r (...).

    >>> GRU(4, layers=2)(np.zeros((2, 7, 3), dtype=np.float32)).shape
    (2, 4)

    Source: notes, 5; Cho et al. (2014).
    """

    gates = 3

    def _made(self, key: str, features: int) -> dict[str, Any]:
        name = f"bn.{key}" if self._several() else "bn"
        return super()._made(key, features) | {"bn": self.parameter(name, (self.hidden,), "zeros", decay=False)}

    def _run(self, x: Any, key: str, state: Any, lengths: Any, reverse: bool) -> tuple[Tensor, ...]:
        u, w, b, bn = (self._of(name, key) for name in ("u", "w", "b", "bn"))
        return F.gru(x, u, w, b, bn, *state, lengths=lengths, reverse=reverse)


def detach(state: Any) -> Any:
    """A state outside the graph: the next piece of a sequence starts from it, and no gradient flows back through it.

    state : what ``return_state`` gave

    >>> layer = RNN(2, return_state=True)
    >>> y, state = layer(np.ones((1, 3, 1), dtype=np.float32))
    >>> y, state = layer(np.ones((1, 3, 1), dtype=np.float32), state=detach(state))
    >>> state[0].requires_grad, detach(state)[0].requires_grad
    (True, False)
    """
    if isinstance(state, tuple | list):
        return tuple(detach(entry) for entry in state)
    return as_tensor(state).detach()


def _by_gate(init: Initializer, gates: int) -> Any:
    """``init`` for each gate by itself, side by side; a partial function rather than a closure, to be pickled."""
    return functools.partial(_gate_by_gate, init, gates)


def _gate_by_gate(init: Initializer, gates: int, key: Key, shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = shape
    draws = [init(random.fold(key, gate), (rows, columns // gates)) for gate in range(gates)]
    return np.concatenate(draws, axis=1)
