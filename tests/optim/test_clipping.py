"""Clipping by the norm of the whole gradient, and by value."""

import numpy as np
import pytest

from dlcore import nn
from dlcore.errors import ConfigError
from dlcore.optim import clip_by_norm, clip_by_value


def model_on(arrays, dtype="float64"):
    """Gradients (3, 4) of w and (12) of b: their norm is 13."""
    model = nn.Dense(1).build((2,), dtype=dtype, device=arrays.device)
    model.w.grad, model.b.grad = [[3.0], [-4.0]], [12.0]
    return model


def gradient(arrays, model):
    return [*arrays.host(model.w.grad).ravel().tolist(), *arrays.host(model.b.grad).tolist()]


@pytest.mark.parametrize("limit", [13.0, 20, 1e9])
def test_a_norm_within_the_limit_changes_no_bit(arrays, limit):
    model, clip = model_on(arrays), clip_by_norm(limit)
    clip(model)
    assert gradient(arrays, model) == [3.0, -4.0, 12.0]
    assert arrays.host(clip.norm) == 13.0


@pytest.mark.parametrize("limit", [6.5, 1, 1e-6])
def test_a_larger_norm_is_scaled_to_the_limit_in_the_same_direction(arrays, limit):
    model, clip = model_on(arrays), clip_by_norm(limit)
    clip(model)
    np.testing.assert_allclose(gradient(arrays, model), np.array([3.0, -4.0, 12.0]) * limit / 13, rtol=1e-14)
    assert arrays.host(clip.norm) == 13.0  # before clipping


def test_the_norm_is_that_of_each_call(arrays):
    model, clip = model_on(arrays), clip_by_norm(6.5)
    clip(model)
    clip(model)
    assert arrays.host(clip.norm) == pytest.approx(6.5, rel=1e-14)


def test_a_gradient_of_zero_stays_zero(arrays):
    model, clip = model_on(arrays), clip_by_norm(1.0)
    model.vector.zero_grad()
    clip(model)
    assert gradient(arrays, model) == [0.0] * 3
    assert arrays.host(clip.norm) == 0.0


def test_the_norm_is_on_the_models_device_and_of_its_dtype(arrays):
    model, clip = model_on(arrays, "float32"), clip_by_norm(1.0)
    clip(model)
    assert arrays.device.holds(clip.norm)
    assert clip.norm.shape == ()
    assert arrays.host(clip.norm).dtype == np.float32
    other = nn.Dense(1).build((2,))
    other.b.grad = [2.0]
    clip(other)  # of another model, perhaps on another device
    assert float(np.asarray(clip.norm)) == 2.0


def test_a_norm_may_clip_models_of_two_dtypes():
    clip = clip_by_norm(1.0)
    for dtype in ("float32", "float64"):
        model = nn.Dense(1, bias=False).build((1,), dtype=dtype)
        model.w.grad = [[0.1]]
        clip(model)
        assert clip.norm.dtype == dtype


def test_values_are_brought_into_the_limits(arrays):
    model = model_on(arrays)
    clip_by_value(3.5)(model)
    assert gradient(arrays, model) == [3.0, -3.5, 3.5]
    assert not np.delete(arrays.host(model.vector.grad), [0, 1, 64]).any()


@pytest.mark.parametrize("make", [clip_by_norm, clip_by_value])
@pytest.mark.parametrize("limit", [0, -1.0, "1", None, float("nan"), True])
def test_a_limit_must_be_above_zero(make, limit):
    with pytest.raises(ConfigError, match=rf"{make.__name__}: limit is .* but a number > 0 is expected"):
        make(limit)


@pytest.mark.parametrize("make", [clip_by_norm, clip_by_value])
def test_clipping_needs_a_built_model(make):
    with pytest.raises(ConfigError, match="not built"):
        make(1.0)(nn.Dense(1))


def test_config_and_repr():
    assert clip_by_norm(2).config == {"limit": 2}
    assert repr(clip_by_value(0.5)) == "clip_by_value(limit=0.5)"
