"""Convolutions of every kind by every plain sum, the reference's among them, against a loop over taps in float64.

Inputs are small integers, so that every sum is exact in float32: results must be equal, equal pixels of a pool and
zeros before ReLU included.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from backends.cpu import requirements
from backends.cpu.conv import direct, im2col
from backends.dispatch import explain
from backends.namespace import NUMPY
from backends.reference import conv

Pair = tuple[int, int]
PLAIN = {"conv2d": [conv.conv2d, im2col.Conv2dByColumns, direct.Conv2dOfFewChannels]}
PLAIN["conv2d_relu"] = [
    conv.conv2d_relu, im2col.Conv2dReluByColumns, direct.Conv2dReluOfFewChannels,
]  # fmt: skip


@pytest.fixture(autouse=True)
def _small_calls_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "too_little", lambda work, least: None)


class Oracle:
    """y[n, i, j] = sum over taps of x[n, i s + u d, j s + v d] @ w[u, v], then bias, ReLU and pool, all in float64."""

    def __init__(self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, how: dict[str, Any]) -> None:
        self.x, self.w, self.how = np.pad(x, ((0, 0), *how["padding"], (0, 0))).astype(float), w.astype(float), how
        self.size = [
            (self.x.shape[1 + a] - (w.shape[a] - 1) * how["dilation"][a] - 1) // how["stride"][a] + 1 for a in (0, 1)
        ]
        z: np.ndarray = sum(
            (self.x[self.under(u, v)] @ self.w[u, v] for u, v in np.ndindex(*w.shape[:2])), np.zeros(())
        )
        self.z: np.ndarray = z if b is None else z + b

    def under(self, u: int, v: int) -> tuple[slice, ...]:
        """The pixels under a tap."""
        places = []
        for axis, tap in enumerate((u, v)):
            start, step = tap * self.how["dilation"][axis], self.how["stride"][axis]
            places.append(slice(start, start + step * (self.size[axis] - 1) + 1, step))
        return slice(None), *places

    def windows(self, pool: Pair) -> np.ndarray:
        """(N, PH, PW, K, pixels): what lies in each window of the pool."""
        n, h, w, k = self.z.shape
        ph, pw = h // pool[0], w // pool[1]
        z = self.z[:, : ph * pool[0], : pw * pool[1]].reshape(n, ph, pool[0], pw, pool[1], k)
        return z.transpose(0, 1, 3, 5, 2, 4).reshape(n, ph, pw, k, -1)

    def pooled(self, pool: Pair) -> np.ndarray:
        return np.maximum(self.windows(pool), 0).max(axis=-1)

    def before(self, dy: np.ndarray, pool: Pair) -> np.ndarray:
        """The gradient for z: a window's goes to the first of its largest pixels, where that is above 0."""
        dz = np.zeros_like(self.z)
        best = self.windows(pool).argmax(axis=-1)
        for n, i, j, k in itertools.product(*map(range, dy.shape)):
            row, column = (np.array((i, j)) * pool + divmod(best[n, i, j, k], pool[1])).tolist()
            dz[n, row, column, k] = dy[n, i, j, k] * (self.z[n, row, column, k] > 0)
        return dz

    def gradients(self, dz: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        dx, dw = np.zeros_like(self.x), np.zeros_like(self.w)
        for u, v in np.ndindex(*self.w.shape[:2]):
            dx[self.under(u, v)] += dz @ self.w[u, v].T
            dw[u, v] = np.tensordot(self.x[self.under(u, v)], dz, ((0, 1, 2), (0, 1, 2)))
        (top, bottom), (left, right) = self.how["padding"]
        inside = dx[:, top : dx.shape[1] - bottom, left : dx.shape[2] - right]
        return inside, dw, dz.sum(axis=(0, 1, 2))


def upto(n: int, least: int = 1) -> st.SearchStrategy[Pair]:
    return st.tuples(st.integers(least, n), st.integers(least, n))


@settings(max_examples=120)
@given(
    n=st.integers(1, 3), size=upto(19), kernel=upto(5), c=st.sampled_from([1, 2, 3, 4, 5, 16, 17, 40, 270]),
    k=st.sampled_from([1, 6, 16, 17, 33, 64, 260]), stride=upto(3), dilation=upto(3),
    padding=st.tuples(upto(3, 0), upto(3, 0)), pool=st.none() | upto(3) | st.sampled_from([(2, 2), (7, 6)]),
    relu=st.booleans(), biased=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_convolution_and_its_gradients_are_exact(
    n: int, size: Pair, kernel: Pair, c: int, k: int, stride: Pair, dilation: Pair, padding: tuple[Pair, Pair],
    pool: Pair | None, relu: bool, biased: bool, seed: int,
):  # fmt: skip
    assume(c * k < 5000)
    how: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    room = [size[axis] + sum(padding[axis]) - (kernel[axis] - 1) * dilation[axis] for axis in (0, 1)]
    assume(min(room) > 0)
    window = pool if relu and pool else (1, 1)
    assume(all((room[axis] - 1) // stride[axis] + 1 >= window[axis] for axis in (0, 1)))
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.integers(-2, 3, shape).astype(np.float32)  # noqa: E731
    x, w, b = draw(n, *size, c), draw(*kernel, c, k), draw(k) if biased else None
    oracle = Oracle(x, w, b, how)
    y = oracle.pooled(window) if relu else oracle.z
    dy = draw(*y.shape)
    gradients = oracle.gradients(oracle.before(dy, window) if relu else dy.astype(float))
    name = "conv2d_relu" if relu else "conv2d"
    how |= {"pool": pool} if relu else {}
    for pair in PLAIN[name]:
        entry = [a for a in PLAIN[name][0].alternatives["numpy"] if a.pair is pair]
        if entry and entry[0].unless(x, w, b, **how) is not None:
            continue
        event(f"{name} by {getattr(pair, '__name__', 'the reference')}")
        output, saved = pair.forward(NUMPY, x, w, b, needed=(True, True, biased), **how)
        np.testing.assert_array_equal(output, y)
        assert output.dtype == np.float32
        results = pair.backward(NUMPY, dy, saved, needed=(True, True, biased), **how)
        for result, gradient in zip(results[: 2 + biased], gradients[: 2 + biased], strict=True):
            np.testing.assert_array_equal(result, gradient)
            assert result.dtype == np.float32


WITHOUT = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}


def test_images_larger_than_a_band_and_wider_than_a_block():
    rng = np.random.default_rng(0)
    x, w = rng.integers(-2, 3, (1, 150, 301, 3)), rng.integers(-2, 3, (3, 3, 3, 5))
    x, w = x.astype(np.float32), w.astype(np.float32)
    oracle = Oracle(x, w, None, WITHOUT)
    y = oracle.pooled((2, 2))
    dy = rng.integers(-2, 3, y.shape).astype(np.float32)
    gradients = oracle.gradients(oracle.before(dy, (2, 2)))
    for pair in PLAIN["conv2d_relu"][1:]:
        output, saved = pair.forward(NUMPY, x, w, None, needed=(True, True, False), pool=(2, 2), **WITHOUT)
        np.testing.assert_array_equal(output, y)
        results = pair.backward(NUMPY, dy, saved, needed=(True, True, False), pool=(2, 2), **WITHOUT)
        for result, gradient in zip(results[:2], gradients[:2], strict=True):
            np.testing.assert_array_equal(result, gradient)


def test_what_is_not_taken_is_declined_with_the_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    x, w = np.ones((1, 20, 20, 5), np.float32), np.ones((3, 3, 5, 8), np.float32)
    reasons = lambda *arrays, **how: dict(explain(conv.conv2d_relu, *arrays, **WITHOUT, **how).declined)  # noqa: E731
    assert "are fewer than" in reasons(x, w, None, pool=None)["Conv2dReluByColumns"]
    large = np.repeat(x, 32, axis=0)
    assert "float64" in reasons(large.astype(float), w, None, pool=None)["Conv2dReluByColumns"]
    assert "a byte" in reasons(large, w, None, pool=(18, 18))["Conv2dReluByColumns"]
    assert "5 channels" in reasons(large, w, None, pool=(2, 2))["Conv2dReluOfFewChannels"]
    assert "nothing" in reasons(x[:0], w, None, pool=None)["Conv2dReluByColumns"]
