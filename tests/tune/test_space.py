"""What is tried: draws, grids, the narrowing between two rounds, and the rank correlation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from dlcore import tune
from dlcore.errors import ConfigError
from dlcore.tune import space as spaces


def drawn(parameter: tune.Parameter, n: int = 2000) -> list:
    return [spaces.sample({"p": parameter}, 3, number)["p"] for number in range(n)]


def test_a_log_range_is_drawn_uniformly_in_the_logarithm() -> None:
    values = np.log10(drawn(tune.log(1e-4, 1e-1)))
    assert stats.kstest(values, stats.uniform(-4, 3).cdf).pvalue > 0.01
    assert stats.kstest(10**values, stats.uniform(1e-4, 0.1).cdf).pvalue < 1e-9  # the test can fail


def test_a_uniform_range_is_drawn_uniformly() -> None:
    assert stats.kstest(drawn(tune.uniform(-1, 3)), stats.uniform(-1, 4).cdf).pvalue > 0.01


def test_integers_and_choices_are_equally_likely_and_reach_both_ends() -> None:
    for parameter, values in (
        (tune.integers(2, 6), [2, 3, 4, 5, 6]),
        (tune.choice("a", "b", (1, 2)), ["a", "b", (1, 2)]),
    ):
        found = drawn(parameter)
        assert all(value in values for value in found)
        assert stats.chisquare([found.count(value) for value in values]).pvalue > 0.01


def test_whole_numbers_on_a_log_scale_have_equal_counts_in_equal_ratios() -> None:
    found = np.asarray(drawn(tune.integers(1, 255, log=True)))
    counts = np.histogram(np.log(found), np.log([0.5, 3.5, 15.5, 63.5, 255.5]))[0]
    expected = np.diff(np.log([0.5, 3.5, 15.5, 63.5, 255.5]))
    assert stats.chisquare(counts, expected / expected.sum() * len(found)).pvalue > 0.01


def test_draws_of_two_parameters_and_of_two_seeds_are_unrelated() -> None:
    space = {"a": tune.uniform(0, 1), "b": tune.uniform(0, 1)}
    one = [spaces.sample(space, 0, number) for number in range(500)]
    two = [spaces.sample(space, 1, number) for number in range(500)]
    assert abs(np.corrcoef([s["a"] for s in one], [s["b"] for s in one])[0, 1]) < 0.15  # 3 standard errors
    assert abs(np.corrcoef([s["a"] for s in one], [s["a"] for s in two])[0, 1]) < 0.15


def test_a_grid_has_every_combination_once() -> None:
    space = {"lr": tune.log(1e-3, 1e-1, points=3), "n": tune.integers(1, 4, points=9), "o": tune.choice("a", "b")}
    found = [tuple(one.values()) for one in spaces.grid(space)]
    expected = {(lr, n, o) for lr in (0.001, 0.01, 0.1) for n in (1, 2, 3, 4) for o in "ab"}
    assert len(found) == 24
    assert set(found) == expected


def test_the_second_space_is_what_the_best_span_and_a_margin_on_the_log_scale() -> None:
    space = {"lr": tune.log(1e-4, 1e0), "o": tune.choice("a", "b", "c"), "u": tune.uniform(0, 1)}
    best = [{"lr": 1e-3, "o": "c", "u": 0.02}, {"lr": 1e-2, "o": "a", "u": 0.5}]
    narrow = spaces.narrowed(space, best, 0.1)
    low, high = narrow["lr"].low, narrow["lr"].high  # type: ignore[union-attr]
    assert math.log10(low) == pytest.approx(-3.4, abs=1e-5)  # a tenth of four decades
    assert math.log10(high) == pytest.approx(-1.6, abs=1e-5)
    assert narrow["o"] == tune.choice("a", "c")
    assert narrow["u"] == tune.uniform(0, 0.6)  # not below the first range


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tune.log(0.1, 0.001), "reversed"),
        (lambda: tune.log(0, 0.1), "above 0"),
        (lambda: tune.uniform(1, 1), "nothing to search"),
        (lambda: tune.uniform(0, math.nan), "finite"),
        (lambda: tune.integers(1, 2.5), "whole"),  # type: ignore[arg-type]
        (lambda: tune.choice(), "at least one"),
        (lambda: tune.choice(1, 1), "once"),
        (lambda: tune.log(1, 2, points=1), "at least 2"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(make, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()


def test_the_rank_correlation_is_scipys_also_with_ties_and_infinities() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, 40).astype(float), rng.standard_normal(40)
    y[:15] += x[:15]
    y[-2:] = -np.inf
    assert tune.spearman(list(x), list(y)).rho == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_the_interval_holds_the_true_correlation_in_about_95_of_100_samples() -> None:
    rng = np.random.default_rng(1)
    r, inside, samples = 0.6, 0, 2000
    true = 6 / math.pi * math.asin(r / 2)  # Spearman's ρ of a normal pair with Pearson's r
    for _ in range(samples):
        x = rng.standard_normal(25)
        found = tune.spearman(list(x), list(r * x + math.sqrt(1 - r**2) * rng.standard_normal(25)))
        inside += found.low <= true <= found.high
    assert 0.93 < inside / samples < 0.97


def test_what_has_no_correlation_or_no_interval_says_so() -> None:
    assert math.isnan(tune.spearman([1, 1, 1, 1], [1, 2, 3, 4]).rho)
    few = tune.spearman([1, 2, 3], [1, 3, 2])
    assert few.rho == pytest.approx(0.5)
    assert math.isnan(few.low)
    assert math.isnan(tune.spearman(range(9), range(9)).high)


def test_numpys_scalars_become_pythons() -> None:
    assert [type(value) for value in tune.choice(*np.array([1, 2])).values] == [int, int]
    assert tune.choice(np.array([8, 4]).tolist(), np.float32(0.5)).values == ((8, 4), 0.5)
    assert tune.integers(np.int64(1), np.int64(4)) == tune.integers(1, 4)  # type: ignore[arg-type]
    assert tune.log(np.float32(0.5), np.float64(2.0)) == tune.log(0.5, 2.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tune.choice(object(), 1), "numbers, words"),
        (lambda: tune.choice(math.nan, 1.0), "nan but numbers"),
        (lambda: tune.choice([1, [2]], 3), "lists of these"),
        (lambda: tune.choice(True, 1), "each value once"),
        (lambda: tune.uniform(-1e308, 1e308), "wider than floats reach"),
        (lambda: tune.search(lambda settings, report: 0.0, {1: tune.choice(1, 2)}), "called 1 but a word"),  # type: ignore[dict-item]
    ],
)
def test_what_no_journal_can_hold_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()
