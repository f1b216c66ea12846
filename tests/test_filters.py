"""dl.filters against SciPy, on every kind of array; its gradients, its choice of a way, its errors."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from arrays import Backend
from filter_cases import PAD_MODES
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import numbers
from scipy import ndimage, signal

import dlcore as dl
from backends.runtime.copies import guard
from dlcore import filters
from dlcore.errors import ConfigError, ShapeError
from dlcore.functional.filter import polar
from dlcore.testing import gradient_check_function

SCIPY_MODES = {
    "zero": "constant",
    "reflect": "mirror",
    "symmetric": "reflect",
    "nearest": "nearest",
    "wrap": "grid-wrap",
}
"""The names that scipy.ndimage has for the borders."""

KERNELS = {
    "3x3 of rank 3": numbers(3, 3, seed=1, dtype="float64"),
    "3x3 of rank 1": np.outer([1.0, 2.0, 1.0], [1.0, 0.0, -1.0]),
    "even": numbers(4, 2, seed=2, dtype="float64"),
    "even of rank 1": np.outer([1.0, -3.0], [2.0, 1.0, 0.5, 1.0]),
    "one number": np.array([[2.5]]),
    "a row": numbers(1, 5, dtype="float64"),
    "a column": numbers(4, 1, dtype="float64"),
    "larger than the image": numbers(9, 11, seed=3, dtype="float64"),
    "zeros": np.zeros((3, 2)),
}
SHAPES = [(1, 1), (1, 6), (5, 1), (7, 6)]


def image_of(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    x = numbers(*shape, seed=5, dtype="float64")
    return np.clip(128 + 60 * x, 0, 255).astype(dtype) if dtype == "uint8" else x.astype(dtype)


def padded(image: np.ndarray, kernel: np.ndarray, mode: str, border: str) -> np.ndarray:
    """The image in float64, extended by numpy.pad as far as the kernel goes."""
    sides = {"valid": lambda f: (0, 0), "same": lambda f: ((f - 1) // 2, f // 2), "full": lambda f: (f - 1, f - 1)}
    return np.pad(image.astype(np.float64), [sides[mode](f) for f in kernel.shape], PAD_MODES[border])


def correlated(image: np.ndarray, kernel: np.ndarray, mode: str, border: str) -> np.ndarray:
    return signal.correlate2d(padded(image, kernel, mode, border), kernel, "valid")


def fits(image: np.ndarray, kernel: np.ndarray, mode: str) -> bool:
    return mode != "valid" or all(n >= f for n, f in zip(image.shape, kernel.shape, strict=True))


def check(result: np.ndarray, expected: np.ndarray, dtype: str, scale: float, context: Any = "") -> None:
    """Within 64 roundings of the sum of the absolute terms, which the order of a sum cannot exceed."""
    kind = np.dtype("float64" if dtype == "float64" else "float32")
    assert result.dtype == kind, context
    assert result.shape == expected.shape, context
    allowed = 64 * float(np.finfo(kind).eps) * scale + float(np.finfo(kind).smallest_normal)
    assert np.abs(result - expected).max() <= allowed, context


def scale_of(image: np.ndarray, kernel: np.ndarray) -> float:
    return float(np.abs(kernel).sum() * np.abs(image.astype(np.float64)).max())


# --- against SciPy


@pytest.mark.parametrize("border", PAD_MODES)
@pytest.mark.parametrize("mode", ["valid", "same", "full"])
def test_correlation_and_convolution_equal_scipy(mode: str, border: str) -> None:
    for name, kernel in KERNELS.items():
        for shape in SHAPES:
            for dtype in ("float32", "float64", "uint8"):
                image, context = image_of(shape, dtype), (name, shape, dtype)
                if not fits(image, kernel, mode):
                    with pytest.raises(ShapeError, match="must fit into the image"):
                        filters.correlate2d(image, kernel, mode, border)
                    continue
                expected = correlated(image, kernel, mode, border)
                scale = scale_of(image, kernel)
                check(filters.correlate2d(image, kernel, mode, border), expected, dtype, scale, context)
                flipped = np.flip(kernel)
                check(filters.convolve2d(image, flipped, mode, border), expected, dtype, scale, context)
                if mode == "same":  # again by ndimage, which extends the image by itself
                    origin = [(f - 1) // 2 - f // 2 for f in kernel.shape]
                    again = ndimage.correlate(image.astype(np.float64), kernel, mode=SCIPY_MODES[border], origin=origin)
                    np.testing.assert_allclose(again, expected, atol=1e-12 * scale + 1e-300)


@pytest.mark.parametrize("mode", ["valid", "full"])
def test_convolution_equals_scipys_own(mode: str) -> None:
    image, kernel = image_of((7, 6), "float64"), KERNELS["even"]
    for border, boundary in {"zero": "fill", "symmetric": "symm", "wrap": "wrap"}.items():
        expected = signal.convolve2d(image, kernel, mode, boundary)
        check(filters.convolve2d(image, kernel, mode, border), expected, "float64", scale_of(image, kernel))


NAMED: dict[str, tuple[Callable[..., Any], Callable[..., np.ndarray]]] = {  # ours, SciPy's (image, mode=)
    "moving_average 0": (lambda x, **k: filters.moving_average(x, 0, **k), lambda x, mode: x),
    "moving_average 2": (
        lambda x, **k: filters.moving_average(x, 2, **k), lambda x, mode: ndimage.uniform_filter(x, 5, mode=mode),
    ),
    "box": (lambda x, **k: filters.box(x, (3, 5), **k), lambda x, mode: ndimage.uniform_filter(x, (3, 5), mode=mode)),
    "box of an even size": (
        lambda x, **k: filters.box(x, 4, **k), lambda x, mode: ndimage.uniform_filter(x, 4, mode=mode, origin=-1),
    ),
    "gaussian": (
        lambda x, **k: filters.gaussian(x, 1.3, **k), lambda x, mode: ndimage.gaussian_filter(x, 1.3, mode=mode),
    ),
    "gaussian, first derivative to the right": (
        lambda x, **k: filters.gaussian(x, 0.9, (0, 1), **k),
        lambda x, mode: ndimage.gaussian_filter(x, 0.9, (0, 1), mode=mode),
    ),
    "gaussian, orders and widths of its own": (
        lambda x, **k: filters.gaussian(x, (0.7, 1.5), (2, 1), truncate=3.0, **k),
        lambda x, mode: ndimage.gaussian_filter(x, (0.7, 1.5), (2, 1), truncate=3.0, mode=mode),
    ),
    "sobel x": (lambda x, **k: filters.sobel(x, **k), lambda x, mode: -ndimage.sobel(x, 1, mode=mode)),
    "sobel y": (lambda x, **k: filters.sobel(x, "y", **k), lambda x, mode: -ndimage.sobel(x, 0, mode=mode)),
    "prewitt x": (lambda x, **k: filters.prewitt(x, "x", **k), lambda x, mode: -ndimage.prewitt(x, 1, mode=mode)),
    "prewitt y": (lambda x, **k: filters.prewitt(x, "y", **k), lambda x, mode: -ndimage.prewitt(x, 0, mode=mode)),
    "scharr x": (
        lambda x, **k: filters.scharr(x, **k),
        lambda x, mode: ndimage.correlate(x, [[3.0, 0, -3], [10, 0, -10], [3, 0, -3]], mode=mode),
    ),
    "scharr y": (
        lambda x, **k: filters.scharr(x, "y", **k),
        lambda x, mode: ndimage.correlate(x, [[3.0, 10, 3], [0, 0, 0], [-3, -10, -3]], mode=mode),
    ),
    "laplacian": (lambda x, **k: filters.laplacian(x, **k), lambda x, mode: ndimage.laplace(x, mode=mode)),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_the_filters_with_names_equal_scipy(name: str) -> None:
    ours, theirs = NAMED[name]
    for border, mode in SCIPY_MODES.items():
        for shape in SHAPES:
            for dtype in ("float32", "float64", "uint8"):
                image = image_of(shape, dtype)
                expected = theirs(image.astype(np.float64), mode=mode)
                scale = 32.0 * float(np.abs(image.astype(np.float64)).max())
                check(ours(image, border=border), expected, dtype, scale, (border, shape, dtype))
        image = image_of((12, 13), "float64")
        if border == "symmetric":
            np.testing.assert_array_equal(ours(image), ours(image, border="symmetric"))
            whole, inner = ours(image, mode="same"), ours(image, mode="valid")
            (top, left) = ((a - b) // 2 for a, b in zip(whole.shape, inner.shape, strict=True))
            np.testing.assert_allclose(inner, whole[top:, left:][: inner.shape[0], : inner.shape[1]], atol=1e-13)


@pytest.mark.parametrize("mode", ["valid", "full"])
@pytest.mark.parametrize("name", NAMED)
def test_the_filters_with_names_equal_scipy_in_every_mode(name: str, mode: str) -> None:
    """SciPy knows "same" alone: the image is extended before, and of what comes the whole windows are kept."""
    ours, theirs = NAMED[name]
    size = ours(np.zeros((1, 1)), mode="full").shape  # one pixel gives as many as the kernel has
    middle = [(f - 1) // 2 for f in size]
    for border in SCIPY_MODES:
        for shape in SHAPES:
            for dtype in ("float32", "float64", "uint8"):
                image = image_of(shape, dtype)
                if mode == "valid" and any(n < f for n, f in zip(shape, size, strict=True)):
                    with pytest.raises(ShapeError, match="must fit into the image"):
                        ours(image, mode=mode, border=border)
                    continue
                beyond = [f - 1 if mode == "full" else 0 for f in size]
                wide = np.pad(image.astype(np.float64), [(b, b) for b in beyond], PAD_MODES[border])
                rows, columns = (
                    slice(m, m + n + 2 * b - f + 1) for m, n, b, f in zip(middle, shape, beyond, size, strict=True)
                )
                expected = theirs(wide, mode="nearest")[rows, columns]
                scale = 32.0 * float(np.abs(image.astype(np.float64)).max())
                check(ours(image, mode=mode, border=border), expected, dtype, scale, (border, shape, dtype))


def test_edges_are_the_length_and_the_angle_of_both_derivatives() -> None:
    image = image_of((6, 7), "float64")
    for kind, mask in {"sobel": ndimage.sobel, "prewitt": ndimage.prewitt}.items():
        gx, gy = -mask(image, 1), -mask(image, 0)
        magnitude, direction = filters.edges(image, kind)
        np.testing.assert_allclose(magnitude, np.hypot(gx, gy), rtol=1e-12)
        np.testing.assert_allclose(direction, np.arctan2(gy, gx), atol=1e-12)
        both = getattr(filters, kind)(image, "both")
        np.testing.assert_allclose(both[0], gx, atol=1e-12)
        np.testing.assert_allclose(both[1], gy, atol=1e-12)


@pytest.mark.parametrize(
    ("light", "angle"), [("left", 0.0), ("above", math.pi / 2), ("right", math.pi), ("below", -math.pi / 2)]
)
def test_the_direction_points_from_light_to_dark(light: str, angle: float) -> None:
    image = np.zeros((6, 6))
    place = {"left": np.s_[:, :3], "right": np.s_[:, 3:], "above": np.s_[:3], "below": np.s_[3:]}
    image[place[light]] = 1.0
    for kind in ("sobel", "scharr", "prewitt"):
        magnitude, direction = filters.edges(image, kind)
        assert magnitude[3, 3] > 0
        assert abs(direction[3, 3]) == pytest.approx(math.pi) if light == "right" else direction[3, 3] == angle


def test_from_light_to_dark_is_positive_which_in_scipy_is_negative() -> None:
    image = np.array([[1.0, 1.0, 0.0, 0.0]] * 3)
    assert filters.sobel(image)[1].tolist() == [0, 4, 4, 0] == (-ndimage.sobel(image, 1))[1].tolist()
    assert filters.sobel(image.T, "y")[:, 1].tolist() == [0, 4, 4, 0]


def test_the_moving_average_is_the_notes_formula() -> None:
    image, k = image_of((6, 8), "float64"), 2
    y = filters.moving_average(image, k, mode="valid")
    for i, j in np.ndindex(y.shape):
        window = [image[i + k + u, j + k + v] for u in range(-k, k + 1) for v in range(-k, k + 1)]
        assert y[i, j] == pytest.approx(math.fsum(window) / (2 * k + 1) ** 2, rel=1e-12)


def test_the_gaussian_kernel_is_the_notes_bell() -> None:
    sigma, kernel = 1.7, filters.gaussian_kernel(1.7)
    r = kernel.shape[0] // 2
    assert r == math.floor(4 * sigma + 0.5)
    bell = [[math.exp(-(u**2 + v**2) / (2 * sigma**2)) for v in range(-r, r + 1)] for u in range(-r, r + 1)]
    np.testing.assert_allclose(kernel, np.array(bell) / np.sum(bell), rtol=1e-12)
    image = image_of((9, 8), "float64")
    for order in (0, 1, (2, 0)):
        kernel = filters.gaussian_kernel(1.2, order=order)
        expected = filters.correlate2d(image, kernel, border="symmetric")
        np.testing.assert_allclose(filters.gaussian(image, 1.2, order), expected, atol=1e-13)


@settings(deadline=None, max_examples=80)
@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    mode=st.sampled_from(["valid", "same", "full"]),
    border=st.sampled_from(sorted(PAD_MODES)),
    separable=st.booleans(),
    channels=st.sampled_from([(), (1,), (3,)]),
)
def test_any_shape_and_stride(
    shape: tuple[int, int], size: tuple[int, int], stride: tuple[int, int], mode: str, border: str, separable: bool,
    channels: tuple[int, ...],
) -> None:  # fmt: skip
    kernel = numbers(*size, dtype="float64")
    kernel = np.outer(kernel[:, 0], kernel[0]) if separable else kernel
    image = numbers(*shape, *channels, dtype="float64")
    if not fits(image[..., 0] if channels else image, kernel, mode):
        return
    y = filters.correlate2d(image, kernel, mode, border, stride)
    p = {"valid": 0, "same": 1, "full": 2}[mode]
    sizes = [(n + p * (f - 1) - f) // s + 1 for n, f, s in zip(shape, size, stride, strict=True)]
    assert y.shape == (*sizes, *channels)
    planes = np.moveaxis(image, 2, 0) if channels else [image]
    expected = [correlated(plane, kernel, mode, border)[:: stride[0], :: stride[1]] for plane in planes]
    np.testing.assert_allclose(y, np.moveaxis(expected, 0, 2) if channels else expected[0], atol=1e-12)


# --- on every kind of array

EACH: dict[str, Callable[..., Any]] = {
    "correlate2d": lambda x: filters.correlate2d(x, [[1.0, 2.0], [0.5, -1.0]], border="wrap"),
    "correlate2d, two passes": lambda x: filters.correlate2d(x, [[1, 2, 1]] * 3, mode="full", stride=(2, 1)),
    "convolve2d": lambda x: filters.convolve2d(x, [[1.0, 2.0, 0.5]], mode="valid"),
    "moving_average": lambda x: filters.moving_average(x, 1),
    "box": lambda x: filters.box(x, (2, 3)),
    "gaussian": lambda x: filters.gaussian(x, 0.8, (0, 2)),
    "sobel": lambda x: filters.sobel(x, "y"),
    "scharr": lambda x: filters.scharr(x),
    "prewitt": lambda x: filters.prewitt(x, border="nearest"),
    "laplacian": lambda x: filters.laplacian(x),
    "magnitude": lambda x: filters.edges(x, "scharr")[0],
    "direction": lambda x: filters.edges(x)[1],
}


@pytest.mark.parametrize("name", EACH)
def test_every_kind_of_array_gives_its_own_kind(arrays: Backend, name: str) -> None:
    for shape in ((5, 6), (5, 6, 3), (2, 5, 6, 3)):
        for dtype in ("float32", "uint8"):
            host = image_of(shape, dtype)
            expected = EACH[name](host)
            assert isinstance(expected, np.ndarray)
            assert expected.dtype == np.float32
            assert expected.ndim == len(shape)
            y = EACH[name](arrays.place(host))
            assert arrays.device.holds(y)
            np.testing.assert_allclose(arrays.host(y), expected, rtol=1e-5, atol=1e-4)
            tensor = EACH[name](dl.Tensor(arrays.place(host)))
            assert isinstance(tensor, dl.Tensor)
            np.testing.assert_array_equal(tensor.numpy(), arrays.host(y))
    single = np.stack([EACH[name](image_of((2, 5, 6, 3), "float32")[1, :, :, c]) for c in range(3)], axis=-1)
    np.testing.assert_allclose(EACH[name](image_of((2, 5, 6, 3), "float32"))[1], single, atol=1e-4)


def test_lists_and_integers_and_bools_give_float32() -> None:
    assert filters.box([[1, 2, 3]], 1).dtype == np.float32
    assert filters.box(np.ones((2, 2), bool), 1).tolist() == [[1, 1], [1, 1]]
    assert filters.box(np.full((1, 3), 255, np.uint8), (1, 3), border="zero").ravel().tolist() == [170, 255, 170]


@pytest.mark.parametrize("name", EACH)
def test_the_gradient_for_the_image(arrays: Backend, name: str) -> None:
    image = 0.3 * numbers(4, 5, 2, dtype="float64") + np.arange(5)[:, None] + 0.5 * np.arange(4)[:, None, None]
    assert gradient_check_function(EACH[name], image, place=arrays.place, probes=4)


def test_the_gradient_for_the_kernel(arrays: Backend) -> None:
    image, kernel = numbers(4, 5, dtype="float64"), numbers(2, 3, dtype="float64")
    for function in (filters.correlate2d, filters.convolve2d):
        assert gradient_check_function(
            lambda x, h, f=function: f(x, h, border="reflect", stride=(1, 2)), image, kernel, place=arrays.place
        )


def test_where_nothing_changes_the_gradient_of_the_magnitude_is_zero() -> None:
    image = dl.Tensor(np.ones((3, 3)), requires_grad=True)
    magnitude, direction = filters.edges(image)
    (magnitude.sum() + direction.sum()).backward()
    assert not np.asarray(image.grad).any()


def test_the_angle_has_a_gradient_too(arrays: Backend) -> None:
    x, y = numbers(3, 4, seed=1, dtype="float64") + 3.0, numbers(3, 4, seed=2, dtype="float64") - 3.0
    assert gradient_check_function(lambda a, b: polar(a, b)[1], x, y, place=arrays.place)


def test_a_kernel_on_the_device_is_applied_without_looking_at_it(arrays: Backend) -> None:
    image, kernel = arrays.place(image_of((5, 6), "float32")), arrays.place(np.ones((3, 3), np.float32))
    if arrays.name in ("strict", "cupy-standin"):
        with guard("forbid"):
            y = filters.correlate2d(image, kernel)
    else:
        y = filters.correlate2d(image, kernel)
    expected = filters.correlate2d(image_of((5, 6), "float32"), np.ones((3, 3)))
    np.testing.assert_allclose(arrays.host(y), expected, atol=1e-5)


# --- which way


def test_masks_of_whole_numbers_are_factored_exactly() -> None:
    for mask in ([[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[3, 10, 3], [0, 0, 0], [-3, -10, -3]], [[7]], [[0, 0]]):
        column, row = filters.separate(mask)
        np.testing.assert_array_equal(np.outer(column, row), mask)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_a_rounded_product_is_factored_within_the_tolerance(dtype: str, scale: float) -> None:
    for seed in range(20):
        column, row = numbers(7, seed=seed, dtype="float64"), numbers(5, seed=seed + 50, dtype="float64")
        kernel = (scale * np.outer(column, row)).astype(dtype)
        factors = filters.separate(kernel)
        error = np.abs(np.outer(*factors) - kernel).max() / np.abs(kernel).max()
        assert error <= 64 * np.finfo(dtype).eps


def test_what_has_no_factors_is_refused_with_its_rank_and_singular_values() -> None:
    with pytest.raises(ConfigError, match=r"separate: the kernel \(2, 2\) has rank 2, not 1 \(singular values 3, 1\)"):
        filters.separate([[2, 1], [1, 2]])
    nearly = np.outer([1.0, 2.0, 1.0], [1.0, 0.0, -1.0])
    nearly[0, 0] += 1e-12
    with pytest.raises(ConfigError, match="rank 2"):
        filters.separate(nearly)


def test_the_way_that_is_told_is_the_way_that_is_taken(launches: list[str]) -> None:
    smooth, laplace = [[1, 2, 1], [2, 4, 2], [1, 2, 1]], [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
    for kernel, shape, mode, stride, taken, word in (
        (smooth, (8, 9), "same", 1, "separable", "480 multiplications a channel in two passes, 648 in one"),
        (laplace, (8, 9, 3), "same", 1, "direct", "rank 2"),
        ([[1, 1], [1, 1]], (8, 9), "valid", 1, "direct", "saves nothing"),
        (smooth, (2, 8, 9, 1), "same", (1, 9), "direct", "saves nothing"),
        ([[1] * 5] * 5, (8, 9), "full", 2, "separable", "column times a row"),
    ):
        way = filters.explain(shape, kernel, mode, stride)
        assert way.taken == taken
        assert word in str(way)
        launches.clear()
        filters.correlate2d(np.zeros(shape, np.float32), kernel, mode, stride=stride)
        assert {"separable": "correlate_separable", "direct": "correlate2d"}[taken] in launches


# --- the layer


def test_the_layer_equals_the_function_and_uploads_its_kernel_once(arrays: Backend) -> None:
    kernel, host = np.outer([1, 2, 1], [1, 0, -1]), image_of((2, 6, 7, 3), "float32")
    layer = dl.nn.Filter2D(kernel, "valid", stride=2)
    x = arrays.place(host)
    first = layer(x)
    with guard("forbid"):
        again = layer(x)
    expected = filters.correlate2d(host, kernel, "valid", stride=2)
    np.testing.assert_allclose(arrays.host(first.data), expected, atol=1e-5)
    np.testing.assert_array_equal(arrays.host(first.data), arrays.host(again.data))
    assert layer.parameters() == []
    assert layer.state_dict() == {}


def test_the_layer_is_written_down_and_copied() -> None:
    layer = dl.nn.Filter2D(np.array([[1, 2]], np.int8), border="wrap")
    assert json.loads(json.dumps(layer.config))["kernel"] == [[1.0, 2.0]]
    assert repr(layer) == "Filter2D(kernel=((1.0, 2.0),), border='wrap')"
    x = image_of((1, 3, 4, 1), "float32")
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin(x).numpy(), layer(x).numpy())
    assert layer(x.astype(np.float64)).dtype == np.float64


# --- errors

IMAGE = np.zeros((4, 5), np.float32)
FAULTS: dict[str, tuple[Callable[[], Any], type[Exception], list[str]]] = {
    "empty kernel": (lambda: filters.correlate2d(IMAGE, []), ConfigError, ["correlate2d", "(0,)", "(kh, kw)"]),
    "kernel without columns": (lambda: filters.correlate2d(IMAGE, np.ones((3, 0))), ConfigError, ["(3, 0)"]),
    "kernel of three axes": (
        lambda: filters.convolve2d(IMAGE, np.ones((3, 3, 1))), ConfigError, ["convolve2d", "(3, 3, 1)"],
    ),
    "Tensor of one axis": (
        lambda: filters.convolve2d(IMAGE, dl.Tensor([1.0], requires_grad=True)), ConfigError, ["(1,)"],
    ),
    "ragged kernel": (lambda: filters.separate([[1, 2], [3]]), ConfigError, ["separate", "no array of numbers"]),
    "kernel of words": (lambda: filters.correlate2d(IMAGE, "sobel"), ConfigError, ["no array of numbers"]),
    "NaN in the kernel": (lambda: filters.correlate2d(IMAGE, [[1.0, math.nan]]), ConfigError, ["nan at [0, 1]"]),
    "infinite kernel": (lambda: dl.nn.Filter2D([[math.inf]]), ConfigError, ["Filter2D", "inf at [0, 0]"]),
    "one axis": (lambda: filters.sobel(np.zeros(4)), ShapeError, ["sobel", "(4,)", "(H, W, C)"]),
    "five axes": (lambda: filters.gaussian(np.zeros((1, 1, 1, 1, 1)), 1), ShapeError, ["gaussian", "(1, 1, 1, 1, 1)"]),
    "no pixels": (lambda: filters.box(np.zeros((0, 3)), 3), ShapeError, ["box", "0 × 3"]),
    "complex image": (lambda: filters.box(np.zeros((3, 3), complex), 3), ShapeError, ["box", "complex128"]),
    "float16 image": (lambda: filters.box(np.zeros((3, 3), "float16"), 3), ShapeError, ["float16", "float32"]),
    "unknown mode": (lambda: filters.correlate2d(IMAGE, [[1]], "vaild"), ConfigError, ["did you mean valid?"]),
    "unknown border": (lambda: filters.sobel(IMAGE, border="nearst"), ConfigError, ["sobel", "did you mean nearest?"]),
    "unknown kind": (lambda: filters.edges(IMAGE, "sobl"), ConfigError, ["edges", "did you mean sobel?"]),
    "unknown axis": (lambda: filters.scharr(IMAGE, "z"), ConfigError, ["scharr", "'z'", "x, y, both"]),
    "stride 0": (lambda: filters.correlate2d(IMAGE, [[1]], stride=0), ShapeError, ["correlate2d: stride is 0"]),
    "stride of the layer": (lambda: dl.nn.Filter2D([[1]], stride=(1, -1)), ConfigError, ["Filter2D", "(1, -1)"]),
    "sigma 0": (lambda: filters.gaussian(IMAGE, 0.0), ConfigError, ["gaussian", "sigma is 0.0", "above 0"]),
    "sigma below 0": (lambda: filters.gaussian_kernel((1.0, -1.0)), ConfigError, ["gaussian_kernel", "sigma is -1.0"]),
    "sigma NaN": (lambda: filters.gaussian(IMAGE, math.nan), ConfigError, ["sigma is nan"]),
    "three sigmas": (lambda: filters.gaussian(IMAGE, (1, 2, 3)), ConfigError, ["(1, 2, 3)", "or two"]),  # type: ignore[arg-type]
    "a huge sigma": (lambda: filters.gaussian(IMAGE, 1e9), ConfigError, ["10,000", "scale the image down"]),
    "truncate 0": (lambda: filters.gaussian(IMAGE, 1, truncate=0), ConfigError, ["truncate is 0"]),
    "third order": (lambda: filters.gaussian(IMAGE, 1, 3), ConfigError, ["order is 3", "0, 1 or 2"]),
    "k below 0": (lambda: filters.moving_average(IMAGE, -1), ConfigError, ["moving_average", "k is -1"]),
    "size 0": (lambda: filters.box(IMAGE, 0), ConfigError, ["box: size is 0"]),
    "larger than the image": (
        lambda: filters.correlate2d(IMAGE, np.ones((5, 5)), "valid"), ShapeError, ["5 × 5", "4 × 5", "mode='same'"],
    ),
    "three dimensions to explain": (lambda: filters.explain((4,), [[1]]), ShapeError, ["explain", "(4,)"]),
    "layer on one image": (lambda: dl.nn.Filter2D([[1]])(IMAGE), ShapeError, ["Filter2D: x has shape", "(N, H, W, C)"]),
    "kernel of another dtype": (
        lambda: filters.correlate2d(IMAGE, dl.Tensor(np.ones((2, 2)), requires_grad=True)),
        ShapeError, ["float32", "float64"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_an_error_is_one_line_before_anything_is_launched(name: str, launches: list[str]) -> None:
    call, kind, parts = FAULTS[name]
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)
    assert not set(launches) - {"getitem", "reshape"}
