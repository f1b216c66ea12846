"""Characters are drawn by their probability, also where some of them cannot be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dlcore.errors import DataError
from dlcore.experiment.generate_text import _draw


def drawn(*logits: float, temperature: float = 1.0) -> set[int]:
    return {_draw(np.array(logits), None, temperature, 0, step) for step in range(60)}


@pytest.mark.parametrize("temperature", [0.0, 1e-300, 0.5, 10.0])
def test_a_label_of_minus_infinity_is_never_drawn(temperature: float):
    assert drawn(-math.inf, 1.0, -math.inf, temperature=temperature) == {1}
    assert drawn(-math.inf, 0.5, 0.5, -math.inf, temperature=temperature) <= {1, 2}


def test_beside_infinity_nothing_else_is_drawn():
    assert drawn(1e30, math.inf, 0.0) == {1}
    assert drawn(math.inf, -math.inf, math.inf) == {0, 2}


@pytest.mark.parametrize("logits", [(math.nan, 1.0), (-math.inf, -math.inf), (1.0, math.inf, math.nan)])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_where_nothing_can_be_drawn_one_line_says_so(logits: tuple[float, ...], temperature: float):
    with pytest.raises(DataError, match="NaN"):
        drawn(*logits, temperature=temperature)
