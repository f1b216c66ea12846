"""Maximum and average pools: their inputs, and loops over Python numbers as their oracle."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from case import (
    EXACT,
    Case,
    average,
    case,
    distinct,
    largest,
    normal,
)
from convolution_cases import as_pair, as_sides

__all__ = ["pools"]


def _windows(x: np.ndarray, *, kernel, stride, padding) -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
    """Each place of a pool's output, with the pixels of the image that are in its window, in row-major order."""
    starts = [
        range(-before, x.shape[axis] + after - f + 1, s)
        for axis, f, s, (before, after) in zip((1, 2), kernel, stride, padding, strict=True)
    ]
    for n, (i, top), (j, left), c in itertools.product(
        range(len(x)), enumerate(starts[0]), enumerate(starts[1]), range(x.shape[3])
    ):
        pixels = itertools.product(range(top, top + kernel[0]), range(left, left + kernel[1]))
        yield (n, i, j, c), [(n, h, w, c) for h, w in pixels if 0 <= h < x.shape[1] and 0 <= w < x.shape[2]]


def pooled(fold: Callable[[list[float]], float]) -> Callable[..., np.ndarray]:
    """An oracle that goes from window to window."""

    def oracle(x: np.ndarray, **params: Any) -> np.ndarray:
        found = {place: fold([float(x[pixel]) for pixel in window]) for place, window in _windows(x, **params)}
        y = np.empty([1 + max(axis) for axis in zip(*found, strict=True)])
        for place, value in found.items():
            y[place] = value
        return y

    return oracle


def _to_the_first_largest(dy: np.ndarray, x: np.ndarray, **params: Any) -> tuple[np.ndarray]:
    dx = np.zeros(x.shape)
    for place, window in _windows(x, **params):
        dx[max(window, key=lambda pixel: x[pixel])] += dy[place]  # max keeps the first of equals
    return (dx,)


POOLS: dict[str, tuple[tuple[int, ...], Any, Any, Any]] = {  # shape, kernel, stride, padding
    "2x2": ((2, 4, 6, 3), 2, 2, 0),
    "pixels left over": ((1, 5, 7, 2), 2, 2, 0),
    "overlap": ((2, 5, 5, 2), 3, 1, 0),
    "overlap and padding": ((2, 5, 6, 2), 3, 2, 1),
    "same": ((1, 4, 5, 2), 3, 1, 1),
    "even kernel, same": ((1, 4, 5, 1), (2, 4), 1, ((0, 1), (1, 2))),
    "padding of one side": ((1, 4, 4, 2), (3, 2), (2, 1), ((0, 2), (1, 0))),
    "stride beyond the kernel": ((1, 7, 7, 2), 2, 3, 0),
    "1x1": ((2, 3, 4, 2), 1, 1, 0),
    "1x1 with a stride": ((1, 5, 4, 2), 1, 2, 0),
    "kernel as large as the image": ((2, 3, 4, 2), (3, 4), (3, 4), 0),
    "a window of 156 pixels": ((1, 13, 14, 1), (12, 13), 1, 0),
    "one row": ((1, 1, 6, 1), (1, 3), (1, 2), 0),
    "one pixel": ((1, 1, 1, 1), 3, 1, 1),
    "sixteen channels": ((2, 5, 4, 16), 2, 2, 0),
    "seventeen channels": ((2, 4, 5, 17), 3, 2, 1),
    "forty channels": ((3, 5, 6, 40), (3, 2), (1, 2), ((1, 1), (0, 1))),
}
TIES = {
    "all equal": np.zeros((1, 4, 4, 1)),
    "many ties": np.random.default_rng(5).integers(-2, 1, (2, 5, 6, 2)).astype(np.float64),
    "negative everywhere": np.full((1, 3, 3, 1), -1e30),
    "zeros of both signs": np.array([-0.0, 0.0, 0.0, -0.0]).reshape(1, 2, 2, 1),
}


def pools() -> Iterator[Case]:
    for name, (shape, kernel, stride, padding) in POOLS.items():
        how = {"kernel": as_pair(kernel), "stride": as_pair(stride), "padding": as_sides(padding)}
        yield case("max_pool2d", name, distinct(*shape), oracle=pooled(largest), tolerance=EXACT, **how)
        yield case("avg_pool2d", name, normal(*shape), oracle=pooled(average), **how)
    for (name, image), (kernel, stride, padding) in itertools.product(TIES.items(), ((2, 2, 0), (3, 1, 1))):
        how = {"kernel": as_pair(kernel), "stride": as_pair(stride), "padding": as_sides(padding)}
        yield case(
            "max_pool2d", f"{name}, {kernel}x{kernel}", image, oracle=pooled(largest), tolerance=EXACT,
            gradient=_to_the_first_largest, **how,
        )  # fmt: skip
