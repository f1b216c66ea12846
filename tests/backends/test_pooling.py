"""Pooling over windows of every kind, by every implementation, against loops over Python numbers.

Images are small integers, so there are many ties, and the largest pixels must be equal to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backends.dispatch import Kernel
from backends.namespace import NUMPY
from backends.reference import pool

Pair = tuple[int, int]


def upto(n: int, least: int = 1) -> st.SearchStrategy[Pair]:
    return st.tuples(st.integers(least, n), st.integers(least, n))


def windows(shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Each place of the output, and the pixels of the image in its window, in row-major order."""
    n, h, w, c = shape
    (top, bottom), (left, right) = padding
    for image in range(n):
        for i, row in enumerate(range(-top, h + bottom - kernel[0] + 1, stride[0])):
            for j, column in enumerate(range(-left, w + right - kernel[1] + 1, stride[1])):
                inside = [
                    (y, x)
                    for y in range(max(0, row), min(h, row + kernel[0]))
                    for x in range(max(0, column), min(w, column + kernel[1]))
                ]
                for channel in range(c):
                    yield (image, i, j, channel), [(image, y, x, channel) for y, x in inside]


def implementations(kernel: Kernel, x: np.ndarray, params: dict[str, Any]) -> list[Any]:
    kernel.choose(NUMPY, [x], params)  # imports the alternatives
    return [kernel, *(a.pair for a in kernel.alternatives.get("numpy", ()) if a.unless(x, **params) is None)]


@settings(max_examples=150)
@given(
    n=st.integers(1, 2), size=upto(8), c=st.sampled_from([1, 2, 5, 16, 19]), kernel=upto(4), stride=upto(4),
    padding=st.tuples(upto(3, 0), upto(3, 0)), largest=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_pooling_and_its_gradient_are_those_of_the_windows(
    n: int, size: Pair, c: int, kernel: Pair, stride: Pair, padding: tuple[Pair, Pair], largest: bool, seed: int
):
    assume(all(max(padding[axis]) < kernel[axis] for axis in (0, 1)))
    assume(all(size[axis] + sum(padding[axis]) >= kernel[axis] for axis in (0, 1)))
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, (n, *size, c)).astype(np.float32)
    places = list(windows(x.shape, kernel, stride, padding))
    assume(all(pixels for _, pixels in places))
    shape = tuple(np.array([place for place, _ in places]).max(axis=0) + 1)
    dy = rng.integers(-2, 3, shape).astype(np.float32)
    y, dx = np.empty(shape), np.zeros(x.shape)
    for place, pixels in places:
        values = [float(x[pixel]) for pixel in pixels]
        if largest:
            y[place] = max(values)
            dx[pixels[values.index(max(values))]] += dy[place]
        else:
            y[place] = sum(values) / len(values)
            for pixel in pixels:
                dx[pixel] += dy[place] / len(values)
    kernel_pair = pool.max_pool2d if largest else pool.avg_pool2d
    params = {"kernel": kernel, "stride": stride, "padding": padding}
    found = implementations(kernel_pair, x, params)
    assert len(found) == (2 if largest else 1)
    for pair in found:
        output, saved = pair.forward(NUMPY, x, needed=(True,), **params)
        (gradient,) = pair.backward(NUMPY, dy, saved, needed=(True,), **params)
        assert output.dtype == gradient.dtype == np.float32
        if largest:
            np.testing.assert_array_equal(output, y)
            np.testing.assert_array_equal(gradient, dx)
        else:
            np.testing.assert_allclose(output, y, rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(gradient, dx, rtol=2e-6, atol=1e-6)
