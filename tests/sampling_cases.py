"""Images sampled at other places: their inputs, and NumPy and SciPy as their oracle."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from case import (
    EXACT,
    SUMS,
    Case,
    case,
    integers,
    normal,
)
from scipy import ndimage

__all__ = ["samplings"]


FILLS = {  # the project's word, NumPy's in numpy.pad, SciPy's in scipy.ndimage
    "constant": ("constant", "grid-constant"),
    "nearest": ("edge", "nearest"),
    "reflect": ("reflect", "mirror"),
    "symmetric": ("symmetric", "reflect"),
    "wrap": ("wrap", "grid-wrap"),
}


def _move_pixels(x: np.ndarray, rows: np.ndarray, columns: np.ndarray, *, fill: str, value: float) -> np.ndarray:
    margin = 12  # beyond every index of the cases
    constant = {"constant_values": value} if fill == "constant" else {}
    wide = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)), FILLS[fill][0], **constant)
    y = np.empty((len(x), rows.shape[1], columns.shape[1], x.shape[3]))
    for n, i, j in np.ndindex(y.shape[:3]):
        y[n, i, j] = wide[n, margin + rows[n, i], margin + columns[n, j]]
    return y


def _resample(x: np.ndarray, maps: np.ndarray, *, fill: str, value: float, interpolation: str) -> np.ndarray:
    y = np.empty(x.shape)
    for n, c in itertools.product(range(len(x)), range(x.shape[3])):
        y[n, :, :, c] = ndimage.affine_transform(
            x[n, :, :, c], maps[n, :, :2], maps[n, :, 2], order=1 if interpolation == "bilinear" else 0,
            mode=FILLS[fill][1], cval=value,
        )  # fmt: skip
    return y


def _around(low: int, high: int, *shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.integers(low, high, shape)


def _maps(n: int) -> Callable[[np.random.Generator], np.ndarray]:
    """Turned, stretched and moved by up to three pixels."""
    stay = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    return lambda rng: stay + rng.uniform(-0.5, 0.5, (n, 2, 3)) * [1.0, 1.0, 6.0]


def samplings() -> Iterator[Case]:
    how: dict[str, Any] = {"fill": "nearest", "value": 0.0}
    moved = {"oracle": _move_pixels, "differentiable": (), "tolerance": EXACT}
    yield case("move_pixels", "all stay", normal(2, 2, 3, 2), [[0, 1]] * 2, [[0, 1, 2]] * 2, **moved, **how)
    yield case("move_pixels", "flipped", normal(2, 3, 4, 1), [[0, 1, 2]] * 2, [[3, 2, 1, 0]] * 2, **moved, **how)
    yield case("move_pixels", "another size", normal(3, 4, 5, 2), integers(4, 3, 6), integers(5, 3, 2), **moved, **how)
    yield case("move_pixels", "no images", normal(0, 4, 5, 2), integers(4, 0, 4), integers(5, 0, 5), **moved, **how)
    stay = {"oracle": _resample, "differentiable": (), "interpolation": "bilinear"}
    yield case("resample", "all stay", normal(2, 3, 2, 2), np.stack([np.eye(2, 3)] * 2), **stay, **how)
    yield case("resample", "no images", normal(0, 3, 2, 2), np.zeros((0, 2, 3)), **stay, **how)
    for fill, size in itertools.product(FILLS, ((5, 7), (2, 3), (1, 4), (1, 1))):
        how = {"fill": fill, "value": 0.5}
        h, w = size
        yield case(
            "move_pixels", f"{fill}, {h}x{w}", normal(3, h, w, 2), _around(-9, 10, 3, h), _around(-9, 10, 3, w),
            **moved, **how,
        )  # fmt: skip
        for interpolation, tolerance in (("bilinear", SUMS), ("nearest", EXACT)):
            yield case(
                "resample", f"{interpolation}, {fill}, {h}x{w}", normal(3, h, w, 2), _maps(3),
                oracle=_resample, differentiable=(), interpolation=interpolation, tolerance=tolerance, **how,
            )  # fmt: skip
