"""Separable filters (notes 6.1).

A kernel that is a column times a row can be applied as a row, then as a column: 2f products a pixel instead of f².
The convolution is associative, so the result is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import label, lines, panels


def seconds(work: Callable[[], Any], rounds: int) -> float:
    """The least CPU time of some rounds, after one that warms up."""
    work()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


@recipe("6.1", "A separable filter, c * (r * F) in place of (c * r) * F, saves products, most with large kernels.")
def separable_filters(setup: Setup) -> Result:
    side = setup.pick(384, 192)
    picture = dl.Tensor(np.random.default_rng(setup.seed).uniform(0, 1, (side, side)).astype(np.float32))
    picture = picture.to(setup.device)
    rows, apart = [], []
    times: dict[str, list[float]] = {"full: f²": [], "two passes: 2f": []}
    sizes = setup.pick((3, 7, 11, 15, 21, 31), (3, 11, 31))
    for f in sizes:
        line = dl.filters.gaussian_kernel(f / 6, truncate=3.0 - 3.0 / f).sum(axis=0)  # of f pixels
        column, row = line[:, None], line[None, :]
        # A pixel of another sign makes a kernel that no column times row gives, as large and as dear as the product.
        other = column @ row
        other[0, 0] *= -1.0
        twice = dl.filters.correlate2d(dl.filters.correlate2d(picture, row, "valid"), column, "valid").numpy()
        full = dl.functional.conv2d(
            picture.reshape(1, side, side, 1), (column @ row).astype(np.float32)[:, :, None, None]
        ).numpy()[0, :, :, 0]
        apart.append(float(np.abs(twice - full).max() / np.abs(full).max()))
        for name, kernel in (("full: f²", other), ("two passes: 2f", column @ row)):
            work = lambda kernel=kernel: dl.filters.correlate2d(picture, kernel, "valid").numpy()  # noqa: E731
            times[name].append(1e3 * seconds(work, setup.pick(7, 3)))
        rows.append((f"{f} × {f}", f * f, 2 * f, times["full: f²"][-1], times["two passes: 2f"][-1], apart[-1]))
    ways = [dl.filters.explain((side, side), np.outer(k, k)).taken for k in ([1.0, 2.0, 1.0], [1.0, 1.0, 1.0])]

    def draw(figure: Any) -> None:
        left, right = panels(figure, 2)
        f = np.array(sizes)
        lines(left, f, {"full: f²": f * f, "two passes: 2f": 2 * f}, marks=True)
        label(left, "Products a pixel", "kernel size f", "products")
        lines(right, f, times, marks=True)
        label(right, f"A picture of {side} × {side}", "kernel size f", "CPU time, ms", log="y")

    return Result(
        ("kernel", "products, full", "two passes", "CPU ms, full", "two passes", "difference, relative"),
        rows,
        [
            at_most("difference between the two, relative", max(apart), 1e-5),
            at_least("products of the 31 × 31 kernel, full over two passes", 31 * 31 / 62, 15),
            at_least("CPU time of it, full over two passes", times["full: f²"][-1] / times["two passes: 2f"][-1], 1.5),
            at_least("kernels that dl.filters finds to be separable by itself, of 2", ways.count("separable"), 2),
        ],
        draw,
    )
