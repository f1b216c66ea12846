"""Level 5: the CUDA kernels on the host against the references, on random shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from arrays import Backend
from host_cuda import (
    agree,
    alternative,
    both_passes,
    numbers,
    on_random_shapes,
)
from hypothesis import strategies as st

from backends.kernel import kernels
from backends.namespace import NUMPY
from backends.random import bits

pytestmark = [pytest.mark.level5, pytest.mark.usefixtures("built_units")]


@on_random_shapes
def test_activations_of_any_size(arrays: Backend, draw: Any, dtype: str) -> None:
    x = numbers(draw, dtype, draw(st.integers(1, 600)))
    name = draw(st.sampled_from(["relu", "leaky_relu", "sigmoid", "tanh"]))
    agree(arrays, name, [x], [True], **({"alpha": 0.125} if name == "leaky_relu" else {}))


@on_random_shapes
def test_dropout_of_any_size(arrays: Backend, draw: Any, dtype: str) -> None:
    """The bits of the reference, masks and scaled numbers alike."""
    x = numbers(draw, dtype, draw(st.integers(1, 9)), draw(st.integers(1, 70)))
    key = draw(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)))
    params = {"rate": draw(st.floats(0.0, 0.999)), "key": key, "first_row": draw(st.integers(0, 2**32 - 10))}
    expected = both_passes(kernels()["dropout"], NUMPY, [x], [True], x, **params)
    inputs = [arrays.place(x)]
    pair = alternative("dropout", arrays, inputs, params)
    results = both_passes(pair, arrays.device.xp, inputs, [True], inputs[0], **params)
    assert [arrays.host(result).tobytes() for result in results] == [value.tobytes() for value in expected]


def test_dropout_keeps_a_word_that_equals_the_threshold(host_cuda: Backend):
    x = np.ones((2, 3), np.float32)
    for word in bits(NUMPY, (5, 6), 2, 3).ravel().tolist():
        params = {"rate": word * 2.0**-32, "key": (5, 6), "first_row": 0}
        pair = alternative("dropout", host_cuda, [host_cuda.place(x)], params)
        y, _ = pair.forward(host_cuda.device.xp, host_cuda.place(x), needed=(False,), **params)
        expected, _ = kernels()["dropout"].forward(NUMPY, x, needed=(False,), **params)
        assert host_cuda.host(y).tobytes() == expected.tobytes()


@on_random_shapes
def test_cross_entropy_of_any_size(arrays: Backend, draw: Any, dtype: str) -> None:
    rows, classes = draw(st.sampled_from([1, 2, 7, 33, 300])), draw(st.integers(1, 70))
    logits = 3 * numbers(draw, dtype, rows, classes)
    labels = (
        np.random.default_rng(rows).integers(-1, classes + 1, rows).astype(draw(st.sampled_from(["i4", "i8", "i2"])))
    )
    weight = draw(st.sampled_from([None, np.abs(numbers(draw, dtype, rows))]))
    smoothing = draw(st.sampled_from([0.0, 0.1]))
    agree(arrays, "cross_entropy", [logits, labels, weight], [True, False, False], label_smoothing=smoothing)


@on_random_shapes
def test_batch_norm_of_any_size(arrays: Backend, draw: Any, dtype: str) -> None:
    rows, channels = draw(st.sampled_from([2, 3, 17, 150, 700])), draw(st.integers(1, 40))
    shape = draw(st.sampled_from([(rows, channels), (rows, 1, channels)]))
    x, gamma, beta = numbers(draw, dtype, *shape) + 2, numbers(draw, dtype, channels), numbers(draw, dtype, channels)
    if draw(st.booleans()):
        agree(arrays, "batch_norm", [x.astype(dtype), gamma, beta], [True] * 3, eps=1e-2)
    else:
        mean, variance = numbers(draw, dtype, channels), np.abs(numbers(draw, dtype, channels))
        host = [x.astype(dtype), gamma, beta, mean, variance]
        agree(arrays, "batch_norm_fixed", host, [True] * 3 + [False] * 2, eps=1e-2)


@on_random_shapes
def test_pools_of_any_size(arrays: Backend, draw: Any, dtype: str) -> None:
    kernel, stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4))), draw(st.tuples(*[st.integers(1, 3)] * 2))
    # A window lies in the image at least by a pixel, or its mean would be 0 / 0.
    padding = tuple(draw(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1))) for k in kernel)
    size = [draw(st.integers(max(1, k - sum(p)), 9)) for k, p in zip(kernel, padding, strict=True)]
    size = [n + (p[0] + p[1] if n < k else 0) for n, k, p in zip(size, kernel, padding, strict=True)]
    x = numbers(draw, dtype, draw(st.integers(1, 3)), *size, draw(st.integers(1, 5)))
    name = draw(st.sampled_from(["max_pool2d", "avg_pool2d"]))
    agree(arrays, name, [x], [True], kernel=kernel, stride=stride, padding=padding)


@on_random_shapes
def test_batch_norm_with_relu_of_any_size(arrays: Backend, draw: Any, dtype: str) -> None:
    pool = draw(st.sampled_from([None, (1, 1), (2, 2), (3, 1)]))
    height, width = (draw(st.integers(k, 9)) for k in pool or (1, 1))
    channels = draw(st.sampled_from([1, 2, 3, 31, 33]))
    x = numbers(draw, dtype, draw(st.sampled_from([1, 2, 20])), height, width, channels)
    gamma, beta = numbers(draw, dtype, channels), numbers(draw, dtype, channels)
    agree(arrays, "batch_norm_relu", [x, gamma, beta], [True] * 3, eps=1e-2, pool=pool)
