"""Filters on infinities, and on images large enough to be cut into pieces: the values do not depend on the cut."""

from __future__ import annotations

import numpy as np
import pytest
from filter_cases import PAD_MODES
from samples import numbers
from scipy import ndimage
from test_filters import KERNELS, SCIPY_MODES, check, fits, image_of, padded, scale_of

from backends.dispatch import explain, kernels
from dlcore import filters


@pytest.mark.parametrize("border", PAD_MODES)
@pytest.mark.parametrize("mode", ["valid", "same", "full"])
def test_infinities_and_nan_stay_in_their_windows(mode: str, border: str) -> None:
    """Each number of the result is the sum of its own window: elsewhere nothing is multiplied with an infinity."""
    places = {(1, 1): [(0, 0)], (1, 6): [(0, 1), (0, 5)], (5, 1): [(4, 0)], (7, 6): [(2, 3), (6, 5), (0, 0)]}
    places[70, 45] = [(2, 3), (33, 20), (69, 44), (35, 31)]
    for shape, at in places.items():
        for dtype in ("float32", "float64"):
            image = image_of(shape, dtype)
            for place, value in zip(at, (np.inf, -np.inf, np.nan, np.inf), strict=False):
                image[place] = value
            for name, kernel in KERNELS.items():
                if not fits(image, kernel, mode):
                    continue
                with np.errstate(invalid="ignore"):
                    wide = padded(image, kernel, mode, border)
                    windows = np.lib.stride_tricks.sliding_window_view(wide, kernel.shape)
                    expected = (windows * kernel).sum(axis=(2, 3))
                    y = filters.correlate2d(image, kernel, mode, border)
                scale = float(np.abs(kernel).sum()) * 10.0
                context = f"{name}, {shape}, {dtype}"
                tolerance = 64 * float(np.finfo(dtype).eps) * scale + 1e-300
                np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance, err_msg=context)
                assert shape != (70, 45) or np.isfinite(y).sum() > y.size // 2


LARGE = {
    "narrower than a vector": (300, 3),
    "an odd width": (97, 131),
    "three colours": (66, 50, 3),
    "a batch of colours": (3, 41, 37, 3),
    "wider than a piece": (9, 4500),
    "written past the caches": (1040, 2050),
    "written past the caches, of rows of whole lines": (1030, 2048),
}


@pytest.mark.parametrize("name", LARGE)
def test_images_of_many_pieces_equal_scipy(name: str) -> None:
    image = numbers(*LARGE[name], seed=7, dtype="float32")
    planes = image.reshape(1, *image.shape, 1) if image.ndim == 2 else image.reshape(-1, *image.shape[-3:])
    for kernel, border in (
        (KERNELS["3x3 of rank 3"], "zero"),
        (KERNELS["even"], "wrap"),
        (np.outer(numbers(9, dtype="float64"), numbers(8, seed=1, dtype="float64")), "symmetric"),
        (np.outer([1.0, 2.0, 1.0], [1.0, 0.0, -1.0, 2.0]), "reflect"),
        (KERNELS["a row"], "nearest"),
    ):
        origin = [(f - 1) // 2 - f // 2 for f in kernel.shape]
        y = filters.correlate2d(image, kernel, border=border).reshape(planes.shape)
        for n, c in np.ndindex(planes.shape[0], planes.shape[3]):
            exact = planes[n, :, :, c].astype(np.float64)
            expected = ndimage.correlate(exact, kernel, mode=SCIPY_MODES[border], origin=origin)
            check(y[n, :, :, c], expected, "float32", scale_of(exact, kernel), (kernel.shape, border))


def test_parts_of_an_image_have_the_bits_of_the_whole() -> None:
    image = numbers(90, 77, seed=8, dtype="float32")
    for kernel in (KERNELS["3x3 of rank 3"], np.outer(np.ones(11), [1.0, 3.0, 2.0, 0.5, 1.0])):
        whole = filters.correlate2d(image, kernel, "valid")
        for top, left in ((1, 0), (13, 5), (40, 31)):
            part = filters.correlate2d(image[top:, left:], kernel, "valid")
            np.testing.assert_array_equal(part, whole[top:, left:])


@pytest.mark.parametrize(
    ("shape", "dtype", "size", "stride", "reason"),
    [
        ((1, 9, 9, 1), "float64", 3, (1, 1), "float64"),
        ((1, 9, 9, 1), "float32", 3, (1, 2), "a stride of"),
        ((1, 9, 9, 1), "float32", 4001, (1, 1), "each thread would copy"),
        ((1, 9, 9, 1), "float32", 3, (1, 1), None),
        ((2, 9, 9, 3), "uint8", 3, (1, 1), None),
        ((2, 0, 9, 0), "int32", 3, (1, 1), None),
        ((1, 9, 9000, 1), "float32", 801, (1, 1), None),
    ],
)
def test_what_does_not_suit_is_declined_with_the_reason(shape, dtype, size, stride, reason) -> None:
    image, kernel = np.zeros(shape, dtype), np.ones((size, size), "float64" if dtype == "float64" else "float32")
    how = {"padding": ((size // 2, size // 2),) * 2, "border": "symmetric", "stride": stride}
    for choice in (
        explain(kernels()["correlate2d"], image, kernel, **how),
        explain(kernels()["correlate_separable"], image, kernel[0], kernel[0], **how),
    ):
        if reason is None:
            assert choice.taken in ("CorrelationByPieces", "SeparableByPieces")
        else:
            assert choice.taken == "reference"
            assert reason in choice.declined[0][1]
