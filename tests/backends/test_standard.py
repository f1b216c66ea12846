"""What the standard lacks, against loops; adjoints by their definition, <A x, y> = <x, A* y>, exactly, on integers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from arrays import Backend
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from backends import array_ops
from backends.runtime import copies

modest = settings(
    deadline=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the kinds of array hold no state
)
PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
SIDES = st.tuples(st.integers(0, 2), st.integers(0, 2))


def whole_numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Small integers in float64, whose sums and products are exact."""
    return np.random.default_rng([seed, *shape]).integers(-9, 10, shape).astype(np.float64)


def inner(x: np.ndarray, y: np.ndarray) -> float:
    assert x.shape == y.shape
    return float(np.sum(x * y))


# --- windows


@given(n=st.integers(1, 12), kernel=st.integers(1, 5), stride=st.integers(1, 4), dilation=st.integers(1, 3))
@modest
def test_output_size_counts_the_places_of_a_window(n, kernel, stride, dilation):
    places = [start for start in range(0, n, stride) if start + dilation * (kernel - 1) < n]
    assert max(array_ops.output_size(n, kernel, stride, dilation), 0) == len(places)


@given(shape=st.tuples(*[st.integers(1, 7)] * 2), kernel=PAIR, stride=PAIR, dilation=PAIR)
@modest
def test_windows_and_their_adjoint(arrays: Backend, shape, kernel, stride, dilation):
    size = tuple(map(array_ops.output_size, shape, kernel, stride, dilation))
    assume(min(size) > 0)
    xp, x = arrays.device.xp, whole_numbers(2, *shape, 3)
    windows = arrays.host(array_ops.windows(xp, arrays.place(x), kernel, size, stride, dilation))
    expected = np.empty((2, *size, kernel[0] * kernel[1] * 3))
    for n, i, j, u, v in itertools.product(range(2), *map(range, size), *map(range, kernel)):
        pixel = x[n, i * stride[0] + u * dilation[0], j * stride[1] + v * dilation[1]]
        expected[n, i, j, (u * kernel[1] + v) * 3 : (u * kernel[1] + v + 1) * 3] = pixel
    np.testing.assert_array_equal(windows, expected)

    taps = [whole_numbers(2, *size, 3, seed=t) for t in range(kernel[0] * kernel[1])]
    columns = [arrays.place(tap) for tap in taps]
    folded = arrays.host(array_ops.fold_windows(xp, columns, x.shape, kernel, stride, dilation))
    assert inner(windows, np.concatenate(taps, axis=-1)) == inner(x, folded)
    for column, tap in zip(columns, taps, strict=True):
        np.testing.assert_array_equal(arrays.host(column), tap)


def test_tap_picks_one_pixel_of_every_window():
    x = np.arange(2 * 7 * 9).reshape(2, 7, 9, 1)
    place = array_ops.tap(1, 2, (2, 3), (3, 2), (2, 1))
    np.testing.assert_array_equal(
        x[place][0, :, :, 0], [[x[0, 2 + 3 * i, 2 + 2 * j, 0] for j in range(3)] for i in (0, 1)]
    )


# --- padding


@given(
    shape=st.tuples(*[st.integers(1, 4)] * 4), padding=st.tuples(SIDES, SIDES), value=st.sampled_from([0.0, -1e30, 2.5])
)
@modest
def test_pad_surrounds_and_strip_takes_away(arrays: Backend, shape, padding, value):
    host = whole_numbers(*shape)
    x = arrays.place(host)
    padded = array_ops.pad(arrays.device.xp, x, padding, value)
    assert arrays.device.holds(padded)
    np.testing.assert_array_equal(arrays.host(padded), np.pad(host, ((0, 0), *padding, (0, 0)), constant_values=value))
    np.testing.assert_array_equal(arrays.host(array_ops.strip(padded, padding)), host)
    np.testing.assert_array_equal(arrays.host(x), host)


@given(shape=st.tuples(*[st.integers(1, 4)] * 4), padding=st.tuples(SIDES, SIDES))
@modest
def test_strip_is_the_adjoint_of_pad(shape, padding):
    x = whole_numbers(*shape)
    padded = array_ops.pad(np, x, padding)
    y = whole_numbers(*padded.shape, seed=1)
    assert inner(padded, y) == inner(x, array_ops.strip(y, padding))


def test_pad_keeps_the_dtype(arrays: Backend):
    for dtype in ("float32", "float64", "int32"):
        padded = array_ops.pad(arrays.device.xp, arrays.place(np.ones((1, 2, 2, 1), dtype)), ((1, 0), (0, 1)), 3)
        assert arrays.host(padded).dtype == dtype


def test_pad_by_nothing_copies_nothing(arrays: Backend):
    x = arrays.place(np.ones((1, 2, 2, 1)))
    assert array_ops.pad(arrays.device.xp, x, ((0, 0), (0, 0))) is x


# --- broadcasting


@st.composite
def broadcast_shapes(draw: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A shape, and one that broadcasts to it."""
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    smaller = [draw(st.sampled_from([1, n])) for n in shape]
    return tuple(shape), tuple(smaller[draw(st.integers(0, len(shape))) :])


@given(shapes=broadcast_shapes())
@modest
def test_unbroadcast_is_the_adjoint_of_broadcasting(arrays: Backend, shapes):
    shape, smaller = shapes
    x, dy = whole_numbers(*smaller), whole_numbers(*shape, seed=1)
    dx = arrays.host(array_ops.unbroadcast(arrays.device.xp, arrays.place(dy), smaller))
    assert inner(np.broadcast_to(x, shape), dy) == inner(x, dx)


def test_unbroadcast_adds_up_what_was_repeated(arrays: Backend):
    dy = arrays.place(np.arange(24.0).reshape(2, 3, 4))
    for shape, expected in {
        (2, 3, 4): np.arange(24.0).reshape(2, 3, 4),
        (3, 1): [[60.0], [92.0], [124.0]],
        (4,): [60.0, 66.0, 72.0, 78.0],
        (1, 1, 1): [[[276.0]]],
        (): 276.0,
    }.items():
        result = arrays.host(array_ops.unbroadcast(arrays.device.xp, dy, shape))
        np.testing.assert_array_equal(result, np.asarray(expected))
        assert result.shape == shape


@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4))
@modest
def test_sum_rows_adds_up_all_axes_but_the_last(arrays: Backend, shape):
    x = whole_numbers(*shape)
    sums = array_ops.sum_rows(arrays.device.xp, arrays.place(x))
    assert arrays.device.holds(sums)
    np.testing.assert_array_equal(arrays.host(sums), [np.sum(x[..., c]) for c in range(shape[-1])])


# --- elementwise


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
@pytest.mark.parametrize("shape", [(5,), (2, 3), (), (0,), (2, 1, 2)])
def test_one_hot_marks_each_label(dtype, shape, arrays: Backend):
    labels = np.random.default_rng(0).integers(0, 4, shape).astype(dtype)
    result = arrays.host(array_ops.one_hot(arrays.device.xp, arrays.place(labels), 4))
    assert result.dtype == np.bool_
    assert result.tolist() == np.eye(4, dtype=bool)[labels].tolist()


def test_one_hot_of_labels_out_of_range_is_all_false(arrays: Backend):
    result = array_ops.one_hot(arrays.device.xp, arrays.place(np.array([-1, 3, 2])), 3)
    assert arrays.host(result).tolist() == [[False] * 3, [False] * 3, [False, False, True]]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_sign_and_clip_compute_what_numpy_does(dtype, arrays: Backend):
    host = np.array([-7, -2, 0, 1, 2, 9]).astype(dtype)
    x = arrays.place(host)
    before = copies.counts()
    with copies.guard("forbid"):  # which array-api-compat's own would not pass on CuPy
        signs, clipped = array_ops.sign(arrays.device.xp, x), array_ops.clip(arrays.device.xp, x, -2, 2)
    assert copies.counts() == before
    for result, expected in ((signs, np.sign(host)), (clipped, np.clip(host, -2, 2))):
        assert arrays.host(result).dtype == dtype
        np.testing.assert_array_equal(arrays.host(result), expected)


def test_clip_keeps_nan(arrays: Backend):
    clipped = array_ops.clip(arrays.device.xp, arrays.place(np.array([np.nan, np.inf, -np.inf])), -2.0, 2.0)
    np.testing.assert_array_equal(arrays.host(clipped), [np.nan, 2.0, -2.0])


def test_device_of_is_where_an_array_lies(arrays: Backend):
    x = arrays.place(np.ones(3))
    assert array_ops.device_of(x) == x.device
    assert array_ops.device_of(1.5) is None


# --- the smallest of each row


@given(
    rows=st.integers(0, 3),
    n=st.integers(1, 150),
    k=st.integers(1, 12),
    kinds_of_values=st.sampled_from([1, 3, 1000]),
    seed=st.integers(0, 99),
)
@modest
def test_the_smallest_are_those_of_a_stable_sort(
    arrays: Backend, rows: int, n: int, k: int, kinds_of_values: int, seed: int
) -> None:
    x = np.random.default_rng(seed).integers(0, kinds_of_values, (rows, n)).astype(np.float64)
    k = min(k, n)
    values, places = array_ops.smallest(arrays.device.xp, arrays.place(x), k)
    order = [sorted(range(n), key=lambda j, row=row: (row[j], j))[:k] for row in x.tolist()]
    np.testing.assert_array_equal(arrays.host(places), np.array(order, np.int64).reshape(rows, k))
    np.testing.assert_array_equal(arrays.host(values), np.take_along_axis(x, arrays.host(places), axis=1))
    assert arrays.host(places).dtype == np.int64
