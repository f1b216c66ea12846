"""Sequences of several lengths in rows and back."""

from __future__ import annotations

import numpy as np
import pytest
from arrays import Backend
from recurrent_cases import computed_rows

from backends import packed_sequences

LENGTHS = [(3, 1, 4, 1), (2,), (4, 4), (1, 2, 3, 4)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_rows_come_in_the_order_in_which_they_are_computed(lengths: tuple[int, ...], reverse: bool):
    rows = packed_sequences.packed_rows(lengths, 5, reverse)
    np.testing.assert_array_equal(rows, computed_rows(lengths, 5, reverse))
    assert packed_sequences.active(lengths, len(lengths), 5) == [
        sum(n > s for n in lengths) for s in range(max(lengths))
    ]
    np.testing.assert_array_equal(np.argsort(-np.array(lengths), kind="stable"), rows[: len(lengths)] // 5)


@pytest.mark.parametrize("reverse", [False, True])
def test_all_lengths_equal_are_as_no_lengths(reverse: bool):
    x = np.random.default_rng(0).standard_normal((3, 4, 2))
    rows = packed_sequences.packed_rows((4, 4, 4), 4, reverse)
    np.testing.assert_array_equal(packed_sequences.pack(np, x, rows), packed_sequences.pack(np, x, None, reverse))


@pytest.mark.parametrize("lengths", [*LENGTHS, None])
@pytest.mark.parametrize("reverse", [False, True])
def test_unpacking_puts_each_row_back_and_zeros_elsewhere(
    lengths: tuple[int, ...] | None, reverse: bool, arrays: Backend
):
    n = 3 if lengths is None else len(lengths)
    host = np.random.default_rng(1).standard_normal((n, 5, 2))
    xp, x = arrays.device.xp, arrays.place(host)
    rows = None if lengths is None else arrays.place(packed_sequences.packed_rows(lengths, 5, reverse))
    places = None if rows is None else packed_sequences.inverse(xp, rows, n * 5)
    there_and_back = packed_sequences.unpack(xp, packed_sequences.pack(xp, x, rows, reverse), places, n, 5, reverse)
    valid = np.arange(5) < np.array([5] * n if lengths is None else lengths)[:, None]
    np.testing.assert_array_equal(arrays.host(there_and_back), np.where(valid[..., None], host, 0.0))
