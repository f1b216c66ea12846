"""Correlation and convolution (notes 6.1).

Convolution flips the kernel, then does what correlation does. For a kernel that is its own mirror image nothing
changes; for another one it does. Both are shift invariant: a picture that is moved gives a result that is moved.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import image

KERNELS = {
    "Gaussian (symmetric)": dl.filters.gaussian_kernel(1.0),
    "Laplacian (symmetric)": np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=np.float64),
    "Sobel": np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], dtype=np.float64),
    "corner": np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=np.float64),
}


@recipe("6.1", "Convolution flips the kernel; it does not differ from correlation for a symmetric kernel.")
def correlation_and_convolution(setup: Setup) -> Result:
    data: Any = dl.data.load("fashion-subset")
    picture = data.train.x[setup.seed % len(data.train), :, :, 0].astype(np.float64)
    apart, flipped, pairs = {}, {}, {}
    for name, kernel in KERNELS.items():
        a, b = dl.filters.correlate2d(picture, kernel), dl.filters.convolve2d(picture, kernel)
        pairs[name] = a, b
        apart[name] = float(np.abs(a - b).max() / np.abs(a).max())
        turned = dl.filters.correlate2d(picture, kernel[::-1, ::-1])
        flipped[name] = float(np.abs(b - turned).max())
    corner = KERNELS["corner"]
    moved = np.roll(picture, (3, 5), axis=(0, 1))
    after = dl.filters.correlate2d(moved, corner, border="wrap")
    before = np.roll(dl.filters.correlate2d(picture, corner, border="wrap"), (3, 5), axis=(0, 1))
    shift = float(np.abs(after - before).max())

    def draw(figure: Any) -> None:
        figure.set_size_inches(10.5, 5.4)
        for row, name in zip(figure.subplots(2, 4), ("Gaussian (symmetric)", "Sobel"), strict=True):
            a, b = pairs[name]
            image(row[0], KERNELS[name], f"{name}: blue −, orange +" if KERNELS[name].min() < 0 else name, signed=True)
            image(row[1], a, "correlation", signed=True)
            image(row[2], b, "convolution", signed=True)
            image(row[3], a - b, f"difference, up to {np.abs(a - b).max():.2g}", signed=True)

    return Result(
        ("kernel", "difference, relative", "convolution less correlation with the flipped one"),
        [(n, apart[n], flipped[n]) for n in KERNELS],
        [
            *(at_most(f"{n}: relative difference", apart[n], 1e-12) for n in KERNELS if "symmetric" in n),
            *(at_least(f"{n}: relative difference", apart[n], 0.1) for n in ("Sobel", "corner")),
            at_most("convolution less correlation with the flipped kernel", max(flipped.values()), 1e-12),
            at_most("filtered after a shift less shifted after filtering", shift, 1e-12),
        ],
        draw,
    )
