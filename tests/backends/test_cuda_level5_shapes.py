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

from backends.dispatch import kernels
from backends.namespace import NUMPY
from backends.random import bits
from backends.reference import filter

pytestmark = [pytest.mark.level5, pytest.mark.usefixtures("built_units")]

FILLS = ("constant", "nearest", "reflect", "symmetric", "wrap")


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


def sizes(draw: Any, least: int, most: int) -> tuple[int, int]:
    return draw(st.tuples(st.integers(least, most), st.integers(least, most)))


@on_random_shapes
def test_filters_of_any_size(arrays: Backend, draw: Any, dtype: str) -> None:
    kernel, stride, padding = sizes(draw, 1, 5), sizes(draw, 1, 3), (sizes(draw, 0, 6), sizes(draw, 0, 6))
    size = [draw(st.integers(max(1, k - sum(p)), 12)) for k, p in zip(kernel, padding, strict=True)]
    x = numbers(draw, dtype, draw(st.integers(1, 2)), *size, draw(st.sampled_from([1, 3, 33, 40])))
    how = {"padding": padding, "border": draw(st.sampled_from(filter.BORDERS)), "stride": stride}
    if draw(st.booleans()):
        agree(arrays, "correlate2d", [x, numbers(draw, dtype, *kernel)], [True, True], **how)
    else:
        sides = [numbers(draw, dtype, n) for n in kernel]
        agree(arrays, "correlate_separable", [x, *sides], [True] * 3, **how)


@pytest.mark.parametrize(("taps", "channels"), [(60, 40), (200, 33), (1500, 2), (5000, 1), (2000, 3)])
def test_tiles_grow_smaller_for_wide_rows(taps: int, channels: int, host_cuda: Backend):
    rng = np.random.default_rng(taps)
    x, column, row = (rng.standard_normal(shape) for shape in ((1, 5, 6, channels), (3,), (taps,)))
    how = {"padding": ((1, 1), (taps // 2, taps // 2)), "border": "wrap", "stride": (1, 2)}
    agree(host_cuda, "correlate_separable", [x, column, row], [False] * 3, **how)


@on_random_shapes
def test_pixels_that_are_moved_keep_their_bits(arrays: Backend, draw: Any, dtype: str) -> None:
    n, (h, w), (rows, columns) = draw(st.integers(1, 3)), sizes(draw, 1, 6), sizes(draw, 1, 7)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    places = [rng.integers(-20, 20, (n, size)).astype(draw(st.sampled_from(["i4", "i8"]))) for size in (rows, columns)]
    x = numbers(draw, dtype, n, h, w, draw(st.integers(1, 3)))
    same_bits(arrays, "move_pixels", [x, *places], fill=draw(st.sampled_from(FILLS)), value=0.3)


@on_random_shapes
def test_nearest_pixels_are_those_of_the_reference(arrays: Backend, draw: Any, dtype: str) -> None:
    """Multiples of a quarter, so that some places lie just between two pixels, and others that are rounded."""
    n, (h, w), grid = draw(st.integers(1, 3)), sizes(draw, 1, 9), draw(st.sampled_from([4, 3]))
    dtype = "float32" if dtype == "float16" else dtype  # the places would be rounded to it in the reference
    maps = np.random.default_rng(draw(st.integers(0, 99))).integers(-12, 12, (n, 2, 3)) / grid
    x = numbers(draw, dtype, n, h, w, draw(st.integers(1, 3)))
    how = {"fill": draw(st.sampled_from(FILLS)), "value": -1.5}
    same_bits(arrays, "resample", [x, maps.astype(dtype)], interpolation="nearest", **how)
    agree(arrays, "resample", [x, maps.astype(dtype)], [False] * 2, interpolation="bilinear", **how)


def same_bits(arrays: Backend, name: str, host: list[Any], **params: Any) -> None:
    """What is only moved or chosen has the bits that the reference gives in the same dtype."""
    inputs = [arrays.place(x) for x in host]
    pair = alternative(name, arrays, inputs, params)
    y, _ = pair.forward(arrays.device.xp, *inputs, needed=[False] * len(host), **params)
    expected, _ = kernels()[name].forward(NUMPY, *host, needed=[False] * len(host), **params)
    assert arrays.host(y).tobytes() == expected.tobytes()


@on_random_shapes
def test_distances_of_any_size(arrays: Backend, draw: Any, dtype: str) -> None:
    dtype = "float32" if dtype == "float16" else dtype
    queries, rows, features = (draw(st.sampled_from([1, 2, 31, 32, 33, 70])) for _ in range(3))
    a, b = numbers(draw, dtype, queries, features), numbers(draw, dtype, rows, features)
    for name in ("l1_distances", "squared_distances"):
        agree(arrays, name, [a, b], [False] * 2)
        whole = [np.round(3 * x) for x in (a, b)]  # exact in any order
        same_bits(arrays, name, whole)
