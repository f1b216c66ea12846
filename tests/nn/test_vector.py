"""The flat parameter vector: its layout, views and version, runs of equal settings and learning-rate scales."""

import numpy as np
import pytest
from samples import RULES, model_on, train

from dlcore import nn
from dlcore.errors import ConfigError, ShapeError
from dlcore.nn import Parameter, ParameterVector
from dlcore.optim import L2, SGD, Adam


def gaps(vector):
    """True where no parameter lies."""
    free = np.ones(len(vector), dtype=bool)
    for s in vector.segments:
        free[s.start : s.start + s.size] = False
    return free


# --- layout


def test_each_parameter_starts_at_a_multiple_of_64_in_path_order(arrays):
    vector = model_on(arrays).vector
    assert [(s.path, s.start, s.size, s.shape) for s in vector.segments] == [
        ("0.w", 0, 35, (7, 5)),
        ("0.b", 64, 5, (5,)),
        ("1.gamma", 128, 5, (5,)),
        ("1.beta", 192, 5, (5,)),
        ("3.w", 256, 15, (5, 3)),
        ("3.b", 320, 3, (3,)),
    ]
    assert len(vector) == 384
    assert vector.theta.shape == vector.grad.shape == (384,)


@pytest.mark.parametrize(("size", "length"), [(1, 64), (63, 64), (64, 64), (65, 128), (128, 128)])
def test_the_vector_ends_at_a_multiple_of_64(size, length):
    vector = ParameterVector([Parameter(np.ones(size))])
    assert len(vector) == length


def test_theta_holds_the_parameters_and_zeros_between_them(arrays):
    model = model_on(arrays)
    theta = arrays.host(model.vector.theta)
    for p, s in zip(model.parameters(), model.vector.segments, strict=True):
        np.testing.assert_array_equal(theta[s.start : s.start + s.size].reshape(s.shape), p.numpy())
    assert not theta[gaps(model.vector)].any()
    assert not arrays.host(model.vector.grad).any()


@pytest.mark.parametrize("rule", RULES)
def test_gaps_stay_zero_through_training(arrays, rule):
    model = model_on(arrays)
    optimizer = RULES[rule]().attach(model)
    train(arrays, model, optimizer, penalty=L2(0.1))
    free = gaps(model.vector)
    for array in (model.vector.theta, model.vector.grad, *optimizer.state.values()):
        host = arrays.host(array)
        assert np.isfinite(host).all()
        assert not host[free].any()


def test_data_and_grad_are_views(arrays):
    model = model_on(arrays)
    vector, b = model.vector, model[3].b
    vector.theta[320:323] = arrays.place(np.array([1.0, 2.0, 3.0], dtype=np.float32))
    vector.grad[320:323] = arrays.place(np.array([4.0, 5.0, 6.0], dtype=np.float32))
    assert b.numpy().tolist() == [1.0, 2.0, 3.0]
    assert arrays.host(b.grad).tolist() == [4.0, 5.0, 6.0]
    vector.zero_grad()
    assert arrays.host(b.grad).tolist() == [0.0] * 3


def test_backward_adds_into_the_vector(arrays):
    model = model_on(arrays)
    model[3](arrays.place(np.ones((2, 5), dtype=np.float32))).sum().backward()
    assert arrays.host(model.vector.grad)[320:323].tolist() == [2.0] * 3
    model[3](arrays.place(np.ones((2, 5), dtype=np.float32))).sum().backward()
    assert arrays.host(model.vector.grad)[320:323].tolist() == [4.0] * 3


# --- assigning


def test_assigning_copies_in_place_and_counts_as_an_update(arrays):
    model = model_on(arrays)
    vector, b = model.vector, model[3].b
    place, version = b.data, vector.version
    came = arrays.place(np.array([7.0, 8.0, 9.0], dtype=np.float32))
    b.data = came
    assert b.data is place
    assert vector.version == version + 1
    assert arrays.host(vector.theta)[320:323].tolist() == [7.0, 8.0, 9.0]
    b.data = [1, 2, 3]
    assert arrays.host(vector.theta)[320:323].tolist() == [1.0, 2.0, 3.0]
    assert arrays.host(came).tolist() == [7.0, 8.0, 9.0]
    b.grad = [4.0, 5.0, 6.0]
    assert arrays.host(vector.grad)[320:323].tolist() == [4.0, 5.0, 6.0]
    b.grad = None
    assert arrays.host(vector.grad)[320:323].tolist() == [0.0] * 3
    assert vector.version == version + 2  # a gradient is no update


@pytest.mark.parametrize(
    "value", [np.zeros((2, 3)), np.zeros(4), 0.0, np.zeros((3, 1))], ids=["2x3", "4", "number", "3x1"]
)
def test_assigning_another_shape_is_refused_even_where_it_would_broadcast(value):
    model = nn.Dense(3).build((5,))
    with pytest.raises(ShapeError, match=r"parameter b: shape .* came but \(3,\) is expected"):
        model.b.data = value
    with pytest.raises(ShapeError, match=r"\(3,\) is expected"):
        model.b.grad = value


def test_assigning_keeps_the_dtype(arrays):
    model = model_on(arrays)
    model[3].b.data = np.array([1.0, 2.0, 3.0])
    assert model[3].b.numpy().dtype == np.float32


def test_a_parameter_leaves_the_array_it_came_from_alone(arrays):
    came = arrays.place(np.ones(3))
    parameter = Parameter(came)
    parameter.data = [5.0, 6.0, 7.0]
    assert arrays.host(came).tolist() == [1.0] * 3
    assert parameter.numpy().tolist() == [5.0, 6.0, 7.0]


def test_numpy_of_a_parameter_stays_as_it_was_when_the_parameter_is_updated(arrays):
    model = model_on(arrays)
    before = model[0].w.numpy()
    kept = before.copy()
    train(arrays, model, SGD(0.1).attach(model), steps=1)
    np.testing.assert_array_equal(before, kept)
    assert (model[0].w.numpy() != kept).any()


def test_each_step_counts_as_an_update(arrays):
    model = model_on(arrays)
    optimizer = Adam().attach(model)
    version = model.vector.version
    train(arrays, model, optimizer, steps=3)
    assert model.vector.version == version + 3
    assert optimizer.steps == model.clock.step == 3


# --- runs of equal settings


def stretches(runs):
    return [(run.place.start, run.place.stop, run.decay, run.lr_scale) for run in runs]


def test_a_plain_model_is_one_run():
    vector = nn.Sequential(nn.Dense(5), nn.Dense(3)).build((7,)).vector
    assert stretches(vector.runs()) == [(0, 256, False, 1.0)]


def test_runs_break_where_settings_change():
    model = nn.Sequential(nn.Dense(5), nn.Dense(3)).build((7,))  # w 0, b 64, w 128, b 192
    vector = model.vector
    assert stretches(vector.decay_runs()) == [
        (0, 64, True, 1.0), (64, 128, False, 1.0), (128, 192, True, 1.0), (192, 256, False, 1.0),
    ]  # fmt: skip
    vector.scale_lr("0.b", 0.5)
    assert stretches(vector.runs()) == [(0, 64, False, 1.0), (64, 128, False, 0.5), (128, 256, False, 1.0)]
    model.freeze("1.w")
    assert stretches(vector.runs()) == [(0, 64, False, 1.0), (64, 128, False, 0.5), (192, 256, False, 1.0)]
    model.freeze("*")
    assert stretches(vector.runs()) == []
    model.unfreeze("1.b")
    assert stretches(vector.runs()) == [(192, 256, False, 1.0)]


def test_an_empty_parameter_adds_no_run():
    vector = ParameterVector([Parameter(np.ones(3)), Parameter(np.ones((0, 2)))])
    assert stretches(vector.runs()) == [(0, 64, False, 1.0)]


@pytest.mark.parametrize("rule", ["SGD", "Momentum", "Adam", "AdamW"])
def test_runs_compute_what_one_vector_computes(arrays, rule):
    """Splitting a step into runs changes no bit of it."""
    whole, split = model_on(arrays), model_on(arrays)
    split.vector.scale_lr("1.gamma", 0.5)
    split.vector.scale_lr("1.gamma", 1.0)
    split.vector.scale_lr("3.b", 0.25)
    for model in (whole, split):
        train(arrays, model, RULES[rule]().attach(model), steps=1)
    for path, value in whole.state_dict().items():
        if path != "3.b":
            np.testing.assert_array_equal(value, split.state_dict()[path], err_msg=path)


def test_a_scale_multiplies_the_learning_rate_of_its_parameter(arrays):
    model = model_on(arrays)
    before = model.state_dict()
    model.vector.scale_lr("0.w", 0.25)
    model.vector.scale_lr("3.w", 0.0)
    for p in model.parameters():
        p.grad = np.ones(p.shape)
    SGD(0.5).attach(model).step()
    after = model.state_dict()
    for path, change in {"0.w": 0.125, "0.b": 0.5, "3.w": 0.0, "3.b": 0.5}.items():
        # 1 rounding of a float32 of order 1
        np.testing.assert_allclose(before[path] - after[path], change, atol=2e-7)


def test_a_scale_for_an_unknown_parameter_or_below_0_is_refused():
    model = nn.Dense(3).build((2,))
    with pytest.raises(ConfigError, match=r"'W' is no parameter.*there are w, b"):
        model.vector.scale_lr("W", 0.5)
    with pytest.raises(ConfigError, match="factor is -1"):
        model.vector.scale_lr("w", -1)
