"""Edge detection (notes 4.2).

The notes' own example: a picture light on the left and dark on the right, and the filter that answers where it
changes. Then the filters of Sobel and Scharr on a picture of a shirt, and the sizes of what comes out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import image

LIGHT_AND_DARK = np.array([[1, 1, 1, 0, 0, 0]] * 4, dtype=np.float32)
VERTICAL = np.array([[1, 0, -1]] * 3, dtype=np.float32)
EXPECTED = np.array([[0, 3, 3, 0]] * 2, dtype=np.float32)
SOBEL = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], dtype=np.float32)
SCHARR = np.array([[3, 0, -3], [10, 0, -10], [3, 0, -3]], dtype=np.float32)


@recipe("4.2", "A vertical-edge filter answers in the middle, where light meets dark; m − f + 1 pixels come out.")
def edges(setup: Setup) -> Result:
    found = dl.filters.correlate2d(LIGHT_AND_DARK, VERTICAL, mode="valid")
    flat = dl.filters.correlate2d(LIGHT_AND_DARK.T, VERTICAL, mode="valid")  # an edge that it must not see
    data: Any = dl.data.load("fashion-subset")
    shirt = data.train.x[setup.seed % len(data.train), :, :, 0]
    named = {
        "Sobel": (dl.filters.sobel(shirt, border="zero"), dl.filters.correlate2d(shirt, SOBEL)),
        "Scharr": (dl.filters.scharr(shirt, border="zero"), dl.filters.correlate2d(shirt, SCHARR)),
    }
    apart = {n: float(np.abs(a - b).max()) for n, (a, b) in named.items()}
    sizes, wrong = [], 0
    for f, mode, stride in ((3, "valid", 1), (5, "valid", 1), (3, "same", 1), (5, "same", 2), (3, "valid", 2)):
        p = (f - 1) // 2 if mode == "same" else 0
        formula = (28 + 2 * p - f) // stride + 1
        size = dl.filters.correlate2d(shirt, np.ones((f, f)), mode=mode, stride=stride).shape[0]
        wrong += size != formula
        sizes.append((f"28 × 28, f = {f}, p = {p}, s = {stride}", f"{formula} × {formula}", f"{size} × {size}"))

    def draw(figure: Any) -> None:
        figure.set_size_inches(10.5, 5.4)
        (a, b, c), (d, e, f) = figure.subplots(2, 3)
        image(a, LIGHT_AND_DARK, "The notes' picture", numbers=True)
        image(b, VERTICAL, "The vertical-edge filter", signed=True, numbers=True)
        image(c, found, "What it finds", signed=True, numbers=True)
        image(d, shirt, "A piece of clothing")
        image(e, named["Sobel"][0], "Sobel: blue −, orange +", signed=True)
        image(f, dl.filters.edges(shirt, "scharr")[0], "Scharr, both directions")

    return Result(
        ("", "the notes", "measured"),
        [("the notes' example, a row", "0 3 3 0", " ".join(f"{value:g}" for value in found[0])), *sizes],
        [
            at_most("difference from the notes' result", np.abs(found - EXPECTED).max(), 0),
            at_most("answer to a horizontal edge", np.abs(flat).max(), 0),
            at_most("difference of dl.filters.sobel from the notes' mask", apart["Sobel"], 1e-5),
            at_most("difference of dl.filters.scharr from the notes' mask", apart["Scharr"], 1e-5),
            at_most("sizes that are not those of the formulas, of 5", wrong, 0),
            at_least(
                "answer of Scharr at the edges of the picture, over Sobel's",
                np.ptp(named["Scharr"][0]) / np.ptp(named["Sobel"][0]),
                2,
            ),
        ],
        draw,
        ["the * of 4.2 is the correlation of 6.1: the filter is not flipped; a true convolution would give 0 −3 −3 0"],
    )
