"""The generator: known answers, the same bits everywhere, names that never collide, and the right distributions."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from arrays import Backend
from cases import threefry_word
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from backends import random
from backends.random import STREAMS, bits, derive, fold, normal, permutation, threefry2x32, uniform
from backends.runtime import copies

# Random123's kat_vectors for threefry2x32 of 20 rounds: counter, key, result.
KNOWN_ANSWERS = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]
every_known_answer = pytest.mark.parametrize(("counter", "key", "result"), KNOWN_ANSWERS)
WORD = st.integers(0, 2**32 - 1)
KEY = st.tuples(WORD, WORD)
modest = settings(deadline=None, derandomize=True, max_examples=50)

SIGMAS = 5  # a draw of a right generator is further off once in 1.7 million; the draws are fixed
DRAWS = 100_000


# --- the cipher


@every_known_answer
def test_threefry_gives_the_known_answers(counter, key, result, arrays: Backend):
    x0, x1 = threefry2x32(key, *(arrays.place(np.array([word], np.uint32)) for word in counter))
    assert (arrays.host(x0).tolist(), arrays.host(x1).tolist()) == ([result[0]], [result[1]])
    assert arrays.device.holds(x0)


@every_known_answer
def test_fold_gives_the_known_answers(counter, key, result):
    assert fold(key, *counter) == result


@every_known_answer
def test_the_oracle_gives_the_known_answers(counter, key, result):
    """The plain definition that the tests compare with; it takes a column for each of the two words."""
    assert tuple(threefry_word(key, counter[0], 2 * counter[1] + i) for i in (0, 1)) == result


@given(KEY, WORD, WORD)
@modest
def test_fold_is_threefry_on_python_numbers(key, word0, word1):
    arrays = threefry2x32(key, np.array([word0], np.uint32), np.array([word1], np.uint32))
    assert fold(key, word0, word1) == tuple(int(word[0]) for word in arrays)
    assert fold(key, word0, word1) == tuple(threefry_word(key, word0, 2 * word1 + i) for i in (0, 1))


# --- bits


@pytest.mark.parametrize(
    ("rows", "columns", "first_row"), [(3, 4, 0), (2, 7, 5), (1, 1, 0), (4, 1, 2**31), (2, 3, 2**32 - 2)]
)
@pytest.mark.parametrize("key", [(0, 0), (0xC0FFEE, 7), (2**32 - 1, 2**32 - 1)])
def test_bits_are_the_same_on_every_device(rows, columns, first_row, key, arrays: Backend):
    before = copies.counts()
    with copies.guard("forbid"):
        words = bits(arrays.device.xp, key, rows, columns, first_row=first_row, device=arrays.device.native)
    assert copies.counts() == before
    assert arrays.device.holds(words)
    host = arrays.host(words)
    assert host.dtype == np.uint32
    assert host.tolist() == [[threefry_word(key, first_row + r, c) for c in range(columns)] for r in range(rows)]


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (3, 0), (0, 0)])
def test_bits_of_nothing_are_empty(rows, columns, arrays: Backend):
    assert bits(arrays.device.xp, (1, 2), rows, columns, device=arrays.device.native).shape == (rows, columns)


@given(KEY, st.integers(1, 8), st.integers(1, 17), st.integers(0, 2**31), st.data())
@modest
def test_a_part_drawn_alone_is_the_part_of_the_whole(key, rows, columns, first_row, data):
    whole = bits(np, key, rows, columns, first_row=first_row)
    fewer, start = data.draw(st.integers(1, columns)), data.draw(st.integers(0, rows - 1))
    np.testing.assert_array_equal(bits(np, key, rows, fewer, first_row=first_row), whole[:, :fewer])
    part = bits(np, key, rows - start, columns, first_row=first_row + start)
    np.testing.assert_array_equal(part, whole[start:])


# --- names


def test_different_names_give_different_keys():
    seeds = [0, 1, 2, 2**31, 2**32, 2**32 + 1, 2**63, -1, -2]
    paths = ["", "0", "0.w", "0.b", "1.w", "10.w", "body.0.w", "body.0.w ", "körper", "w" * 100]
    counters = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1), (2**32,), (2**32, 1), (0, 0, 0), (5, 4, 3)]
    names = list(itertools.product(seeds, STREAMS, paths, counters))
    keys = {derive(seed, stream, path, *numbers) for seed, stream, path, numbers in names}
    assert len(keys) == len(names)


def test_steps_and_calls_give_different_keys():
    keys = {derive(0, "dropout", "1", step, call) for step in range(500) for call in range(4)}
    assert len(keys) == 2000


def test_the_streams_have_numbers_of_their_own():
    assert len(set(STREAMS.values())) == len(STREAMS)
    assert {"init", "shuffle", "dropout", "augment"} <= set(STREAMS)


def test_draws_of_different_keys_share_no_row():
    rows = {tuple(row) for step in range(200) for row in bits(np, derive(0, "dropout", "1", step), 10, 4).tolist()}
    assert len(rows) == 2000


def test_the_lowest_64_bits_of_seeds_and_counters_count():
    assert derive(2**64 + 5, "init") == derive(5, "init")
    assert derive(-1, "init") == derive(2**64 - 1, "init")
    assert derive(0, "init", "", 2**64 + 5) == derive(0, "init", "", 5)
    assert derive(np.int64(5), "init", "w", np.int64(3)) == derive(5, "init", "w", 3)


def test_an_unknown_stream_is_refused():
    with pytest.raises(KeyError, match="intit"):
        derive(0, "intit")


@given(st.integers(), st.sampled_from(sorted(STREAMS)), st.text(max_size=20), st.lists(st.integers(), max_size=3))
@modest
def test_keys_are_two_words(seed, stream, path, counters):
    key = derive(seed, stream, path, *counters)
    assert len(key) == 2
    assert all(0 <= word < 2**32 for word in key)


# --- distributions


def test_uniform_numbers_are_evenly_spread():
    numbers = uniform(derive(1, "probe", "uniform"), (DRAWS,), -2.0, 3.0)
    assert numbers.dtype == np.float32
    assert numbers.min() >= -2.0
    assert numbers.max() < 3.0
    deviation = 5.0 / math.sqrt(12)
    assert abs(numbers.mean(dtype=np.float64) - 0.5) < SIGMAS * deviation / math.sqrt(DRAWS)
    assert stats.kstest(numbers, stats.uniform(-2.0, 5.0).cdf).pvalue > 1e-3


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 3.0), (0.0, 0.1), (-0.7, 0.7), (1e-3, 1.0), (5.0, 5.0)])
@pytest.mark.parametrize("word", [0, 1, 2**31, 2**32 - 2, 2**32 - 1])
def test_uniform_never_reaches_its_upper_end(monkeypatch, low, high, word):
    """Rounding the largest words to float32 would, about once in 30 million draws."""
    monkeypatch.setattr(random, "_words", lambda key, n: np.full(n, word, np.uint32))
    numbers = uniform((0, 0), (2, 3), low, high)
    assert numbers.shape == (2, 3)
    assert (numbers >= np.float32(low)).all()
    assert (numbers < np.float32(high)).all() or low == high


def test_normal_numbers_have_the_moments_and_the_shape_of_the_normal_distribution():
    numbers = normal(derive(1, "probe", "normal"), (DRAWS,)).astype(np.float64)
    assert abs(numbers.mean()) < SIGMAS / math.sqrt(DRAWS)
    assert abs(numbers.std() - 1.0) < SIGMAS * math.sqrt(1 / (2 * DRAWS))
    assert abs(stats.skew(numbers)) < SIGMAS * math.sqrt(6 / DRAWS)
    assert abs(stats.kurtosis(numbers)) < SIGMAS * math.sqrt(24 / DRAWS)
    assert stats.kstest(numbers, "norm").pvalue > 1e-3


def test_normal_numbers_are_not_correlated_with_their_neighbours():
    numbers = normal(derive(2, "probe", "normal"), (DRAWS,)).astype(np.float64)
    for lag in (1, 2, 3, DRAWS // 2):
        n = DRAWS - lag
        assert abs(np.mean(numbers[:n] * numbers[lag:])) < SIGMAS / math.sqrt(n)


def test_normal_is_box_and_mullers_transform_of_the_words():
    key, n = (3, 4), 6
    words = [threefry_word(key, 0, column) for column in range(2 * n)]
    expected = [
        0.5 * math.sqrt(-2 * math.log((words[i] + 1) / 2**32)) * math.cos(2 * math.pi * words[n + i] / 2**32)
        for i in range(n)
    ]
    numbers = normal(key, (2, 3), 0.5)
    assert numbers.shape == (2, 3)
    assert numbers.dtype == np.float32
    np.testing.assert_allclose(numbers.ravel(), expected, rtol=1e-7)  # the rounding to float32


@pytest.mark.parametrize("word", [0, 1, 2**31, 2**32 - 1])
def test_normal_is_finite_for_every_word(monkeypatch, word):
    monkeypatch.setattr(random, "_words", lambda key, n: np.full(n, word, np.uint32))
    assert np.isfinite(normal((0, 0), (4,))).all()


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3)])
def test_shapes_without_axes_or_elements_are_drawn_too(shape):
    assert normal((1, 2), shape).shape == uniform((1, 2), shape).shape == shape


# --- permutations


@given(KEY, st.integers(0, 200))
@modest
def test_a_permutation_holds_each_number_once(key, n):
    order = permutation(key, n)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))


def test_permutations_differ_by_key():
    orders = {tuple(permutation(derive(0, "shuffle", "", epoch), 50).tolist()) for epoch in range(200)}
    assert len(orders) == 200


def test_all_orders_of_three_are_equally_likely():
    orders = Counter(tuple(permutation(derive(9, "shuffle", "", t), 3).tolist()) for t in range(3000))
    assert len(orders) == 6
    assert stats.chisquare(list(orders.values())).pvalue > 1e-3


def test_equal_words_keep_their_order(monkeypatch):
    monkeypatch.setattr(random, "_words", lambda key, n: np.full(n, 7, np.uint32))
    assert permutation((0, 0), 5).tolist() == [0, 1, 2, 3, 4]


# --- what is drawn may never change: runs would not repeat, and initial weights would differ between versions


def test_keys_stay_as_they_are():
    assert derive(0, "init") == (0x73B13793, 0x81880AE2)
    assert derive(7, "dropout", "body.1", 3, 2**40) == (0xCC034F48, 0xC39B4504)


def test_draws_stay_as_they_are():
    key = derive(0, "init", "0.w")
    assert bits(np, key, 2, 3, first_row=4).tolist() == [
        [3930144632, 178180712, 166272000],
        [3976596611, 387776900, 458119375],
    ]
    assert normal(key, (5,)).view(np.uint32).tolist() == [1055568531, 3197271880, 3213530804, 1058032231, 1060922799]
    assert uniform(key, (3,), -1, 1).tolist() == [0.04764232784509659, 0.7044416069984436, 0.0995248556137085]
    assert permutation(key, 10).tolist() == [6, 7, 0, 2, 4, 5, 1, 3, 9, 8]
