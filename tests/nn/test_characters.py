"""The model of text."""

from __future__ import annotations

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn
from dlcore.errors import ConfigError


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_two_pieces_with_the_state_between_are_one_sequence(cell: str) -> None:
    model = nn.CharacterModel(6, hidden=5, layers=2, cell=cell).build((8,), seed=0, input_dtype="int64")
    x = np.random.default_rng(0).integers(0, 6, (3, 8))
    whole, _ = model(x)
    first, state = model(x[:, :5])
    second, _ = model(x[:, 5:], state=state)
    joined = np.concatenate([first.numpy(), second.numpy()], axis=1)
    np.testing.assert_allclose(joined, whole.numpy(), atol=1e-6)  # products of other sizes may round otherwise


def test_a_character_changes_nothing_before_it() -> None:
    model = nn.CharacterModel(6, hidden=5).build((8,), seed=0, input_dtype="int64")
    x = np.zeros((1, 8), int)
    other = x.copy()
    other[0, 5] = 3
    same = np.isclose(model(x)[0].numpy(), model(other)[0].numpy(), atol=1e-12).all(axis=-1)[0]
    assert same.tolist() == [True] * 5 + [False] * 3


def test_an_unknown_cell_is_refused() -> None:
    with pytest.raises(ConfigError, match="cell is 'tlu' but one of rnn, lstm, gru"):
        dl.nn.CharacterModel(6, cell="tlu")
