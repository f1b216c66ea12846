"""Freezing a part of a built model, and models of float64 whose numbers are never rounded to float32."""

import numpy as np
import pytest

from dlcore import nn
from dlcore.errors import ConfigError, ShapeError

THIRD = 1 / 3  # which float32 does not hold


def active(model):
    return {segment.path: segment.active for segment in model.built().segments}


class Twice(nn.Module):
    def __init__(self):
        self.branches = [nn.Dense(2), nn.Dense(2)]

    def forward(self, x):
        return self.branches[0](x) + self.branches[1](x)


@pytest.mark.parametrize(
    ("model", "part", "pattern", "frozen"),
    [
        (nn.Sequential(nn.Dense(3), nn.ReLU(), nn.Dense(2)), lambda m: m[2], "w", {"2.w"}),
        (nn.Sequential(nn.Dense(3), nn.Sequential(nn.Dense(3), nn.Dense(2))), lambda m: m[1], "1", {"1.1.w", "1.1.b"}),
        (Twice(), lambda m: m.branches[1], "*", {"branches.1.w", "branches.1.b"}),
        (nn.Residual(nn.Dense(4)), lambda m: m, "*", None),
    ],
    ids=["layer", "nested", "own", "whole"],
)
def test_a_part_of_a_built_model_is_frozen_and_learns_again(model, part, pattern, frozen):
    model.build((4,))
    part(model).freeze(pattern)
    found = {path for path, learns in active(model).items() if not learns}
    assert found == (frozen or set(active(model)))
    part(model).unfreeze(pattern)
    assert all(active(model).values())


def test_a_part_takes_a_factor_on_the_learning_rate_by_its_own_paths():
    model = nn.Sequential(nn.Dense(3), nn.Dense(2)).build((4,))
    model[1].scale_lr("b", 0.5)
    assert [s.lr_scale for s in model.built().segments] == [1, 1, 1, 0.5]


def test_a_pattern_of_the_whole_model_means_nothing_to_a_part():
    model = nn.Sequential(nn.Dense(3), nn.Dense(2)).build((4,))
    with pytest.raises(ConfigError, match="matches no parameter"):
        model[1].freeze("1.w")


def test_a_layer_that_is_not_built_says_so():
    with pytest.raises(ConfigError, match="not built"):
        nn.Sequential(nn.Dense(3))[0].freeze("w")


class Scaled(nn.Module):
    """A parameter and a buffer that setup makes itself, in NumPy's own dtype."""

    def setup(self, x):
        self.scale = nn.Parameter(np.full(x.shape[-1], THIRD))
        self.seen = nn.Buffer(np.full(2, THIRD))

    def forward(self, x):
        return x * self.scale


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_setup_makes_has_the_dtype_of_the_model_and_nothing_is_rounded_on_the_way(dtype):
    model = nn.Sequential(nn.Dense(3, init=lambda key, shape: np.full(shape, THIRD)), Scaled(), nn.BatchNorm())
    model.build((3,), dtype=dtype)
    third = np.dtype(dtype).type(THIRD)
    assert {str(value.dtype) for value in model.state_dict().values()} == {dtype}
    for value in (model[0].w.numpy(), model[1].scale.numpy(), model[1].seen.data):
        assert (value == third).all()


def test_parts_of_float64_keep_their_numbers_in_a_new_model():
    part = nn.Sequential(nn.Dense(2), nn.BatchNorm()).build((3,), dtype="float64")
    part[0].w.data = np.full((3, 2), THIRD)
    part[1].running_mean.data[...] = THIRD
    whole = nn.Sequential(part, nn.Dense(1)).build((3,), dtype="float64")
    assert (whole[0][0].w.numpy() == THIRD).all()
    assert (whole[0][1].running_mean.data == THIRD).all()


def test_a_float64_model_of_recurrent_layers_learns_its_inputs_in_float64():
    model = nn.Sequential(nn.GRU(3, bidirectional=True), nn.Dense(1)).build((5, 2), dtype="float64")
    assert model(np.zeros((1, 5, 2))).dtype == np.float64


@pytest.mark.parametrize(
    ("init", "error", "words"),
    [
        (lambda key, shape: np.zeros(shape, complex), ConfigError, "complex128 but real numbers"),
        (lambda key, shape: np.full(shape, "0"), ConfigError, "real numbers are expected"),
        (lambda key, shape: np.zeros(3), ShapeError, r"gave the shape \(3,\) but \(4, 2\)"),
    ],
    ids=["complex", "text", "shape"],
)
def test_an_initialiser_that_does_not_fit_is_named(init, error, words):
    with pytest.raises(error, match=words):
        nn.Dense(2, init=init).build((4,))


@pytest.mark.parametrize("init", [lambda key, shape: np.ones(shape, np.int64), lambda key, shape: [[1] * shape[1]] * 4])
def test_whole_numbers_and_lists_of_an_initialiser_become_floats(init):
    layer = nn.Dense(2, init=init).build((4,))
    assert layer.w.dtype == np.float32
    assert (layer.w.numpy() == 1).all()


def test_the_initialiser_of_ones_has_a_name():
    layer = nn.Dense(2, init="ones").build((4,))
    assert (layer.w.numpy() == 1).all()
    assert nn.init.named("ones") is nn.init.ones
