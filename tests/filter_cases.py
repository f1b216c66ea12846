"""The rows of the table of kernels (cases.py) that belong to filters; the oracles are numpy.pad, SciPy and math."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from case import FUNCTION, Case, away, case, integers, normal
from scipy import signal

__all__ = ["PAD_MODES", "filtering"]

PAD_MODES = {"zero": "constant", "reflect": "reflect", "symmetric": "symmetric", "nearest": "edge", "wrap": "wrap"}
"""The names that numpy.pad has for the borders."""


def _correlate2d(x: np.ndarray, h: np.ndarray, *, padding, border, stride) -> np.ndarray:
    wide = np.pad(x.astype(np.float64), ((0, 0), *padding, (0, 0)), PAD_MODES[border])
    maps = [[signal.correlate(image[..., c], h, "valid", "direct") for c in range(x.shape[3])] for image in wide]
    return np.array(maps)[:, :, :: stride[0], :: stride[1]].transpose(0, 2, 3, 1)


def _separable(x: np.ndarray, column: np.ndarray, row: np.ndarray, **how: Any) -> np.ndarray:
    return _correlate2d(x, np.outer(column, row), **how)


ROUND = ((1, 1), (1, 1))
EVERY = tuple(PAD_MODES)
FILTERS: dict[str, tuple[tuple[int, ...], tuple[int, int], Any, tuple[int, int], tuple[str, ...]]] = {
    # x, kernel, padding, stride, borders
    "same": ((2, 4, 5, 2), (3, 3), ROUND, (1, 1), EVERY),
    "valid": ((1, 5, 6, 3), (3, 2), ((0, 0), (0, 0)), (1, 1), ("zero",)),
    "full": ((1, 4, 3, 2), (2, 3), ((1, 1), (2, 2)), (1, 1), ("zero", "symmetric")),
    "even kernel, same": ((1, 4, 5, 1), (4, 2), ((1, 2), (0, 1)), (1, 1), ("reflect", "wrap")),
    "stride": ((2, 7, 6, 1), (3, 3), ROUND, (2, 3), ("nearest",)),
    "stride of one axis": ((1, 5, 6, 2), (3, 1), ((1, 1), (0, 0)), (1, 2), ("wrap",)),
    "1x1": ((2, 3, 2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), ("zero",)),
    "one row": ((1, 1, 5, 1), (3, 3), ROUND, (1, 1), ("reflect",)),
    "kernel larger than the image": ((1, 2, 3, 2), (7, 9), ((3, 3), (4, 4)), (1, 1), EVERY),
    "several pieces of rows": ((1, 70, 37, 1), (5, 4), ((2, 2), (1, 2)), (1, 1), ("zero", "wrap")),
    "rows that are read where they are": ((3, 40, 50, 3), (3, 5), ((1, 1), (2, 2)), (1, 1), ("symmetric",)),
    "a tall kernel": ((1, 45, 21, 2), (9, 2), ((4, 4), (0, 1)), (1, 1), ("nearest",)),
    "one pixel": ((1, 1, 1, 1), (6, 5), ((5, 5), (4, 4)), (1, 1), EVERY),
}


def filtering() -> Iterator[Case]:
    for name, (x, h, padding, stride, borders) in FILTERS.items():
        for border in borders:
            how: dict[str, Any] = {"padding": padding, "border": border, "stride": stride}
            yield case("correlate2d", f"{name}, {border}", normal(*x), normal(*h), oracle=_correlate2d, **how)
            sides = normal(*x), normal(h[0]), normal(h[1])
            yield case("correlate_separable", f"{name}, {border}", *sides, oracle=_separable, **how)
    for dtype in ("uint8", "int64", "bool"):
        how = {"padding": ROUND, "border": "reflect", "stride": (1, 1)}
        image = integers(256, 1, 4, 5, 2, dtype=dtype)
        yield case("correlate2d", dtype, image, normal(3, 3), oracle=_correlate2d, **how)
        yield case("correlate_separable", dtype, image, normal(3), normal(3), oracle=_separable, **how)

    polar = lambda x, y: (np.vectorize(math.hypot)(x, y), np.vectorize(math.atan2)(y, x))  # noqa: E731
    yield case("polar", "vectors", away(3, 4), away(3, 4), oracle=polar, tolerance=FUNCTION)
    yield case(
        "polar", "no length", [0.0, 3.0], [0.0, -4.0], oracle=polar, tolerance=FUNCTION,
        gradient=lambda dy, x, y: (dy * [0.0, 0.6], dy * [0.0, -0.8]),
    )  # fmt: skip
