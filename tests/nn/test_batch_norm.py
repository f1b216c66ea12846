"""BatchNorm: statistics worked by hand over two steps, evaluation, freezing."""

import numpy as np
import pytest

from dlcore import functional as F
from dlcore import nn, no_grad
from dlcore.errors import ShapeError
from dlcore.optim import SGD

FIRST, SECOND = np.array([[1.0], [3.0]]), np.array([[0.0], [6.0]])  # mean 2, variance 1; mean 3, variance 9
CLOSE = {"rtol": 1e-14}  # float64


def layer_on(arrays, **settings):
    return nn.BatchNorm(**settings).build((1,), dtype="float64", device=arrays.device)


def running(arrays, layer):
    return arrays.host(layer.running_mean.data).item(), arrays.host(layer.running_variance.data).item()


def test_running_statistics_average_the_means_and_the_biased_variances(arrays):
    layer = layer_on(arrays)
    assert running(arrays, layer) == (0.0, 1.0)
    layer(arrays.place(FIRST))
    mean, variance = 0.9 * 0 + 0.1 * 2, 0.9 * 1 + 0.1 * 1
    np.testing.assert_allclose(running(arrays, layer), (mean, variance), **CLOSE)
    layer(arrays.place(SECOND))
    mean, variance = 0.9 * mean + 0.1 * 3, 0.9 * variance + 0.1 * 9  # 0.48 and 1.8; by n - 1 it would be 2.8
    np.testing.assert_allclose(running(arrays, layer), (mean, variance), **CLOSE)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_momentum_is_the_share_of_the_old_that_is_kept(arrays, momentum):
    layer = layer_on(arrays, momentum=momentum)
    layer(arrays.place(SECOND))
    np.testing.assert_allclose(running(arrays, layer), ((1 - momentum) * 3, momentum + (1 - momentum) * 9), **CLOSE)


def test_training_normalises_by_the_batch_and_evaluation_by_the_running_statistics(arrays):
    layer = layer_on(arrays, eps=1e-3)
    y = layer(arrays.place(FIRST))
    np.testing.assert_allclose(y.numpy(), (FIRST - 2) / np.sqrt(1 + 1e-3), **CLOSE)
    kept = running(arrays, layer)
    layer.eval()
    y = layer(arrays.place(SECOND))
    np.testing.assert_allclose(y.numpy(), (SECOND - 0.2) / np.sqrt(1.0 + 1e-3), **CLOSE)
    assert running(arrays, layer) == kept
    assert layer(arrays.place(SECOND[:1])).shape == (1, 1)  # one position is enough here
    layer.train()
    with pytest.raises(ShapeError, match="one position"):
        layer(arrays.place(SECOND[:1]))


def test_gamma_scales_and_beta_shifts(arrays):
    layer = layer_on(arrays, eps=0.0)
    layer.gamma.data, layer.beta.data = [3.0], [-1.0]
    assert layer(arrays.place(FIRST)).numpy().tolist() == [[-4.0], [2.0]]


def test_statistics_are_per_channel_over_all_other_axes(arrays):
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    layer = nn.BatchNorm(momentum=0.0).build((3, 4, 5), dtype="float64", device=arrays.device)
    layer(arrays.place(x))
    np.testing.assert_allclose(arrays.host(layer.running_mean.data), x.mean((0, 1, 2)), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(arrays.host(layer.running_variance.data), x.var((0, 1, 2)), rtol=1e-12)


@pytest.mark.parametrize("pattern", ["1", "1.gamma", "*"])
def test_a_frozen_layer_uses_its_statistics_and_keeps_them(arrays, pattern):
    model = nn.Sequential(nn.Dense(2), nn.BatchNorm(), nn.Dense(1)).build((3,), seed=0, device=arrays.device)
    x = arrays.place(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))
    model(x)
    model.freeze(pattern)
    kept = model.state_dict()
    training = model(x).numpy()
    for path in ("1.running_mean", "1.running_variance"):
        np.testing.assert_array_equal(model.state_dict()[path], kept[path])
    np.testing.assert_array_equal(training, model.eval()(x).numpy())
    model.train().unfreeze(pattern)
    model(x)
    assert (model.state_dict()["1.running_mean"] != kept["1.running_mean"]).all()


def test_a_frozen_layer_passes_the_gradient_on(arrays):
    model = nn.Sequential(nn.Dense(2), nn.BatchNorm(), nn.Dense(1)).build((3,), seed=0, device=arrays.device)
    model.freeze("1")
    x = arrays.place(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))
    F.mse(model(x), arrays.place(np.ones((4, 1), np.float32))).backward()
    assert np.abs(arrays.host(model[0].w.grad)).min() > 0
    assert not arrays.host(model[1].gamma.grad).any()


def test_statistics_follow_in_training_even_where_nothing_is_recorded(arrays):
    layer = layer_on(arrays)
    with no_grad():
        layer(arrays.place(FIRST))
    np.testing.assert_allclose(running(arrays, layer), (0.2, 1.0), **CLOSE)


def test_a_bias_before_it_changes_nothing_but_the_running_mean(arrays):
    """Why the built-in models leave it out (notes 3.9)."""
    model = nn.Sequential(nn.Dense(2), nn.BatchNorm()).build((3,), seed=0, dtype="float64", device=arrays.device)
    x = arrays.place(np.random.default_rng(0).normal(size=(4, 3)))
    plain = model(x).numpy()
    model[0].b.data = [5.0, -7.0]
    np.testing.assert_allclose(model(x).numpy(), plain, rtol=1e-12, atol=1e-12)
    (model(x) ** 3).sum().backward()
    np.testing.assert_allclose(arrays.host(model[0].b.grad), 0.0, atol=1e-12)


def test_the_statistics_of_a_batch_are_no_part_of_the_graph(arrays):
    layer = layer_on(arrays)
    optimizer = SGD(0.1).attach(layer)
    for x in (FIRST, SECOND):
        (layer(arrays.place(x)) ** 2).mean().backward()
        optimizer.step()
    assert layer.running_mean.data.shape == (1,)
