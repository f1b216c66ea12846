"""L1 and L2: their value and gradient as in the notes' 2.3, and of the loss that is reported."""

import numpy as np
import pytest

from dlcore import functional as F
from dlcore import nn
from dlcore.errors import ConfigError
from dlcore.optim import L1, L2
from dlcore.testing import gradient_check

M = 6  # examples
LAM = 0.7


def numbers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def model_on(arrays):
    model = nn.Sequential(nn.Dense(3), nn.BatchNorm(), nn.Tanh(), nn.Dense(2))
    model.build((4,), seed=0, dtype="float64", device=arrays.device)
    for i, p in enumerate(model.parameters()):  # biases, gamma and beta that are not their neutral values
        p.data = numbers(*p.shape, seed=i)
    return model


def test_l2_is_lambda_over_2m_times_the_squared_norms_of_the_weights(arrays):
    model = model_on(arrays)
    penalty = L2(LAM)(model, M)
    weights = [model[0].w.numpy(), model[3].w.numpy()]
    assert penalty.item() == pytest.approx(LAM / (2 * M) * sum((w**2).sum() for w in weights), rel=1e-14)
    penalty.backward()
    for p in model.parameters():
        expected = LAM / M * p.numpy() if p.path.endswith("w") else np.zeros(p.shape)
        np.testing.assert_allclose(arrays.host(p.grad), expected, rtol=1e-14, atol=0, err_msg=p.path)


def test_l1_is_lambda_over_2m_times_the_absolute_values_of_the_weights(arrays):
    model = model_on(arrays)
    weights = model[0].w.numpy()
    weights[0, 0] = 0.0
    model[0].w.data = weights
    penalty = L1(LAM)(model, M)
    weights = [weights, model[3].w.numpy()]
    assert penalty.item() == pytest.approx(LAM / (2 * M) * sum(abs(w).sum() for w in weights), rel=1e-14)
    penalty.backward()
    for p in model.parameters():
        expected = LAM / (2 * M) * np.sign(p.numpy()) if p.path.endswith("w") else np.zeros(p.shape)
        np.testing.assert_allclose(arrays.host(p.grad), expected, rtol=1e-14, atol=0, err_msg=p.path)


@pytest.mark.parametrize("penalty", [L2(LAM), L1(LAM)], ids=repr)
@pytest.mark.parametrize("examples", [1, M])
def test_gradients_are_those_of_the_reported_loss(arrays, penalty, examples):
    """The sum that the trainer reports, differentiated by this test: no code of the package tells it what to expect."""
    model = model_on(arrays).eval()
    x, y = arrays.place(numbers(M, 4)), arrays.place(numbers(M, 2, seed=1))

    def reported():
        return F.mse(model(x), y) + penalty(model, examples)

    reported().backward()
    gradients = {p.path: arrays.host(p.grad).copy() for p in model.parameters()}
    step = 1e-6
    for p in model.parameters():
        base = p.numpy()
        for place in np.ndindex(*p.shape):
            values = []
            for change in (step, -step):
                moved = base.copy()
                moved[place] += change
                p.data = moved
                values.append(reported().item())
            p.data = base
            numeric = (values[0] - values[1]) / (2 * step)
            # Rounding of a loss of order 1 over 2e-6 is 1e-10; no weight is as near to 0, where L1 has a kink.
            assert gradients[p.path][place] == pytest.approx(numeric, rel=1e-7, abs=1e-9), (p.path, place)


@pytest.mark.parametrize("penalty", [L2(LAM), L1(LAM)], ids=repr)
def test_the_gradient_check_takes_the_penalty_in(arrays, penalty):
    model = model_on(arrays)
    assert gradient_check(model, arrays.place(numbers(M, 4)), arrays.place(numbers(M, 2, seed=1)), "mse", penalty)


def test_a_penalty_of_lambda_0_is_nothing(arrays):
    model = model_on(arrays)
    penalty = L2(0.0)(model, M)
    penalty.backward()
    assert penalty.item() == 0.0
    assert not arrays.host(model.vector.grad).any()


def test_frozen_weights_count_in_the_loss_and_get_no_gradient(arrays):
    model = model_on(arrays)
    whole = L2(LAM)(model, M).item()
    model.freeze("0")
    penalty = L2(LAM)(model, M)
    assert penalty.item() == whole
    penalty.backward()
    assert not arrays.host(model[0].w.grad).any()
    assert arrays.host(model[3].w.grad).all()


def test_a_model_without_weights_has_no_penalty(arrays):
    model = nn.BatchNorm().build((3,), device=arrays.device)
    penalty = L2(LAM)(model, M)
    assert penalty.item() == 0.0
    loss = (model(arrays.place(numbers(M, 3).astype(np.float32))) ** 2).mean() + penalty
    loss.backward()
    assert loss.numpy().dtype == np.float32


def test_the_dtype_is_the_models(arrays):
    model = nn.Dense(2).build((3,), device=arrays.device)
    for penalty in (L1(LAM), L2(LAM)):
        assert penalty(model, M).numpy().dtype == np.float32


@pytest.mark.parametrize("make", [L1, L2])
@pytest.mark.parametrize("lam", [-1, "strong", None, float("nan"), float("inf"), True])
def test_lambda_must_be_a_number_that_is_not_negative(make, lam):
    with pytest.raises(ConfigError, match=rf"{make.__name__}: lam is .* but a number >= 0 is expected"):
        make(lam)


def test_an_unbuilt_model_has_no_weights_yet():
    with pytest.raises(ConfigError, match="not built"):
        L2(0.1)(nn.Dense(3), M)


def test_config_and_repr():
    assert L2(0.1).config == {"lam": 0.1, "examples": None}
    assert repr(L1(0.5)) == "L1(lam=0.5)"
    assert repr(L1(0.5, examples=9)) == "L1(lam=0.5, examples=9)"
