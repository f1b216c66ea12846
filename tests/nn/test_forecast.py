"""A forecaster that begins from the last value: levels do not matter, and changes are bounded."""

from __future__ import annotations

import numpy as np
import pytest

from dlcore import nn
from dlcore.errors import ConfigError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 6, 3)).astype(np.float32)


def test_a_constant_added_to_the_series_is_added_to_its_forecast() -> None:
    model = nn.FromLast(nn.GRU(2), (0,), (0.7,)).build((6, 3))
    moved = X + np.array([64.0, 0, 0], np.float32)  # a power of two: rounding stays small
    np.testing.assert_allclose(model(moved).numpy(), model(X).numpy() + 64.0, atol=1e-4)


def test_the_output_is_the_carried_last_value_and_what_the_inner_module_says_of_changes_and_levels() -> None:
    dense = nn.Dense(4)
    inner = nn.Sequential(nn.Flatten(), dense)
    model = nn.FromLast(inner, (0, 2), (0.5, 2.0), (1,), carry=3.0).build((6, 3))
    z = np.concatenate([(X - X[:, -1:])[:, :, [0, 2]] / np.array([0.5, 2.0]), X[:, :, 1:2]], axis=2)
    expected = 3.0 * X[:, -1, :1] + z.reshape(5, -1) @ dense.w.numpy() + inner.state_dict()["1.b"]
    np.testing.assert_allclose(model(X).numpy(), expected, rtol=1e-4, atol=1e-4)


def test_a_change_that_training_never_saw_is_bounded() -> None:
    dense = nn.Dense(1, init="zeros")
    inner = nn.Sequential(nn.Flatten(), dense)
    model = nn.FromLast(inner, (0,), (1.0,), bound=2.0).build((3, 1))
    dense.w.data[:] = 1.0
    far = np.array([[[1e6], [-1e6], [0.0]], [[1.5], [-9.0], [0.0]]], np.float32)
    assert model(far).numpy().tolist() == [[0.0], [-0.5]]
    dense = nn.Dense(1, init="zeros")
    model = nn.FromLast(nn.Sequential(nn.Flatten(), dense), (), (), (0,), bound=3.0).build((2, 1))
    dense.w.data[:] = 1.0
    assert model([[[50.0], [4.0]], [[-50.0], [2.0]]]).numpy().tolist() == [[4.0 + 3.0 + 3.0], [2.0 - 3.0 + 2.0]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((0, 1), (1.0,)), "1 spreads for 2 changes"),
        (((0,), (0.0,)), "a positive spread"),
        (((), ()), "neither changes nor levels"),
        (((0,), (1.0,), (), 1.0, 0.0), "positive bound"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(arguments: tuple, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        nn.FromLast(nn.GRU(2), *arguments)


def test_windows_without_one_of_the_columns_are_refused() -> None:
    with pytest.raises(ShapeError, match="D > 3"):
        nn.FromLast(nn.GRU(2), (3,), (1.0,)).build((6, 3))
