"""A function of tensors beside the same of NumPy arrays: equal values, and gradients that central differences have."""

import numpy as np

from dlcore import Tensor

__all__ = ["VALUE", "check", "numbers"]

STEP = 1e-5
# Central differences in float64: truncation about STEP² = 1e-10, rounding about 1e-16 / STEP = 1e-11, each times
# derivatives of order 10.
GRADIENT = {"rtol": 1e-6, "atol": 1e-8}
VALUE = {"rtol": 1e-14, "atol": 1e-15}  # a few units in the last place of float64


def numbers(*shape, low=-2.0, high=2.0, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape)


def check(arrays, function, oracle, *hosts):
    """The value equals the oracle's, and each gradient of a random projection its difference quotient."""
    tensors = [Tensor(arrays.place(host), requires_grad=True) for host in hosts]
    y = function(*tensors)
    expected = oracle(*hosts)
    assert y.requires_grad
    assert y.shape == np.shape(expected)
    np.testing.assert_allclose(y.numpy(), expected, **VALUE)
    weights = numbers(*y.shape, seed=9)
    y.backward(arrays.place(weights))
    for i, host in enumerate(hosts):
        numeric = np.zeros(host.shape)
        for place in np.ndindex(*host.shape):
            above, below = host.copy(), host.copy()
            above[place] += STEP
            below[place] -= STEP
            values = [np.sum(oracle(*hosts[:i], moved, *hosts[i + 1 :]) * weights) for moved in (above, below)]
            numeric[place] = (values[0] - values[1]) / (2 * STEP)
        gradient = arrays.host(tensors[i].grad)
        assert gradient.dtype == np.float64
        np.testing.assert_allclose(gradient, numeric, **GRADIENT, err_msg=f"gradient for argument {i}")
