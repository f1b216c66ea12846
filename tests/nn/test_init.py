"""Initial weights: their variances as the notes give them, and what names a draw."""

import math

import numpy as np
import pytest

from backends import random
from dlcore.errors import ConfigError
from dlcore.nn import init

KEY = random.derive(3, "init", "a.w")
# (kh, kw, C, K): n_in = kh · kw · C, n_out = kh · kw · K; dense (D, K): n_in = D, n_out = K
SHAPES = {(400, 300): (400, 300), (5, 3, 20, 80): (300, 1200)}
VARIANCES = {
    "he_normal": lambda n_in, n_out: 2 / n_in,
    "he_uniform": lambda n_in, n_out: 2 / n_in,
    "xavier_normal": lambda n_in, n_out: 1 / n_in,  # the notes' 2.4
    "xavier_uniform": lambda n_in, n_out: 1 / n_in,
    "glorot_normal": lambda n_in, n_out: 2 / (n_in + n_out),
    "glorot_uniform": lambda n_in, n_out: 2 / (n_in + n_out),
}


def check_moments(draws, variance):
    """Mean 0 and the variance, to five standard errors; the seed is fixed, so this does not change from run to run."""
    n = draws.size
    assert abs(draws.mean()) < 5 * math.sqrt(variance / n)
    assert abs(draws.var() / variance - 1) < 5 * math.sqrt(2 / n)  # of normal draws; uniform ones scatter less


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", VARIANCES)
def test_scaled_initialisers_have_the_variance_of_their_rule(name, shape):
    draws = init.named(name)(KEY, shape)
    assert draws.shape == shape
    assert draws.dtype == np.float32
    variance = VARIANCES[name](*SHAPES[shape])
    check_moments(draws, variance)
    largest = abs(draws).max() / math.sqrt(variance)
    if name.endswith("uniform"):
        assert 1.7 < largest <= math.sqrt(3) * (1 + 1e-6)  # a uniform variable ends at sqrt(3) standard deviations
    else:
        assert largest > 3.5  # a normal one does not


def test_normal_uniform_and_zeros():
    check_moments(init.normal(0.5)(KEY, (300, 300)), 0.25)
    check_moments(init.normal()(KEY, (300, 300)), 1e-4)
    draws = init.uniform(1.0, 3.0)(KEY, (300, 300))
    assert draws.min() >= 1.0
    assert draws.max() < 3.0
    check_moments(draws - 2.0, 4 / 12)
    check_moments(init.uniform()(KEY, (300, 300)), 0.1**2 / 12)
    assert not init.zeros(KEY, (3, 2)).any()


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (25, 25), (3, 3, 4, 5), (1, 7)], ids=str)
def test_orthogonal_weights_are_orthonormal_along_their_shorter_side(shape):
    w = init.orthogonal(KEY, shape).astype(np.float64).reshape(-1, shape[-1])
    gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    np.testing.assert_allclose(gram, np.eye(min(w.shape)), atol=1e-6)  # rounded to float32 once


def test_orthogonal_weights_are_not_biased_towards_one_sign():
    diagonal = [init.orthogonal(random.derive(seed, "init"), (3, 3))[0, 0] for seed in range(40)]
    assert 10 <= sum(d > 0 for d in diagonal) <= 30  # numpy's factorisation alone has them all negative


def test_equal_keys_give_equal_draws_and_others_differ():
    first = init.he_normal(KEY, (20, 30))
    np.testing.assert_array_equal(first, init.he_normal(KEY, (20, 30)))
    assert (first != init.he_normal(random.derive(3, "init", "b.w"), (20, 30))).all()


def test_initialisers_are_found_by_name():
    for name in ("zeros", "normal", "uniform", "orthogonal", *VARIANCES):
        assert init.named(name).name == name
    assert init.named(init.he_normal) is init.he_normal
    own = lambda key, shape: np.ones(shape, np.float32)  # noqa: E731
    assert init.named(own) is own
    with pytest.raises(ConfigError, match=r"'xaver_normal' is not known \(did you mean xavier_normal\?\)"):
        init.named("xaver_normal")


def test_equal_initialisers_are_equal_and_print_alike():
    assert init.normal(0.1) == init.normal(0.1)
    assert init.normal(0.1) != init.normal(0.2)
    assert repr(init.normal(0.1)) == repr(init.normal(0.1))
