"""The minimal filtering algorithm F(4×4, 3×3): its transforms, and tiles of an image on the way in and out.

Four outputs of a filter of three taps take six products instead of twelve: with the six numbers d under the filter g,

    y = Aᵀ [(G g) ⊙ (Bᵀ d)]

and along both axes of an image 4 × 4 outputs take 36 products instead of 144. The filter is interpolated as a
polynomial at 0, 1, -1, 2, -2 and infinity, so the result is exact but for rounding. The gradients are the transposes:

    dg = Gᵀ [(A dy) ⊙ (Bᵀ d)]

         4  0 -5  0  1  0           1/4    0     0
         0 -4 -4  1  1  0          -1/6  -1/6  -1/6          1  1  1  1  1  0
    Bᵀ = 0  4 -4 -1  1  0      G = -1/6   1/6  -1/6     Aᵀ = 0  1 -1  2 -2  0
         0 -2 -1  2  1  0          1/24  1/12   1/6          0  1  1  4  4  0
         0  2 -1 -2  1  0          1/24 -1/12   1/6          0  1 -1  8 -8  1
         0  4  0 -5  0  1            0     0     1

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2016).

The functions here are parts of the tasks in :mod:`backends.cpu.conv.winograd`. Each works on sixteen channels at once.
"""

from __future__ import annotations

import numpy as np

from backends.cpu.codegen.compile import part
from backends.cpu.codegen.simd import LANES, at, greater, linear, load, load_bytes, spread, store, where, where_equal

__all__ = [
    "NOWHERE",
    "PLAIN",
    "POINTS",
    "READ",
    "WHERE_IT_STOOD",
    "WHERE_POSITIVE",
    "WRITTEN",
    "fetch",
    "filter_gradient",
    "filter_points",
    "gradient_points",
    "image_points",
    "outputs",
]

POINTS = 36
"""Products of a tile: six points along either axis."""

READ, WRITTEN = np.int64(6), np.int64(4)
"""Pixels along either axis of a tile. Of NumPy's type, because Numba compiles a part for each Python number anew."""

PLAIN, WHERE_POSITIVE, WHERE_IT_STOOD = np.int64(0), np.int64(1), np.int64(2)
"""What :func:`fetch` takes of a pixel: all; where the mask is above 0; where the largest of its window stood."""

NOWHERE = 4
"""In the place of the number of the largest pixel, 0 to 3: none of the window is above 0."""

_ZERO = np.float32(0.0)


# --- the transforms

_A = ((1, 0, 0, 0), (1, 1, 1, 1), (1, -1, 1, -1), (1, 2, 4, 8), (1, -2, 4, -8), (0, 0, 0, 1))
_B = (
    (4, 0, 0, 0, 0, 0), (0, -4, 4, -2, 2, 4), (-5, -4, -4, -1, -1, 0),
    (0, 1, -1, 2, -2, -5), (1, 1, 1, 1, 1, 0), (0, 0, 0, 0, 0, 1),
)  # fmt: skip
_G = (
    (1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1),
)  # fmt: skip


def _transposed(matrix):
    return tuple(zip(*matrix, strict=True))


def _both_axes(matrix):
    """The part (x, row, column, room, y, y_step): T x Tᵀ for a matrix T of m rows and n columns.

    Vector (i, j) stands i row + j column elements from x, and of the result (m i + j) y_step from y. There is ``room``
    for m n vectors.
    """
    m, n, transform = len(matrix), len(matrix[0]), linear(matrix)

    @part
    def both(x, row, column, room, y, y_step):
        for j in range(n):
            transform(at(x, j * column), row, at(room, j * LANES), n * LANES)
        for i in range(m):
            transform(at(room, i * n * LANES), LANES, at(y, i * m * y_step), y_step)

    return both


image_points = _both_axes(_transposed(_B))
filter_points = _both_axes(_G)
gradient_points = _both_axes(_A)
outputs = _both_axes(_transposed(_A))
filter_gradient = _both_axes(_transposed(_G))


# --- tiles of an image


@part
def fetch(source, mask, winner, kind, size, image, row, column, pixels, first, last, target, target_row):
    """The channels ``first`` to ``last`` of pixels × pixels, each to the next row of ``target``; outside are zeros.

    size : (h, w, c) of the source, a batch of images; (row, column) is the upper left pixel, perhaps outside
    kind : WHERE_IT_STOOD takes the source as pooled, so each of its pixels stands for a window of 2 × 2
    """
    h, w, c = size
    zero, halved = spread(_ZERO), kind == WHERE_IT_STOOD
    for i in range(row, row + pixels):
        for j in range(column, column + pixels):
            down, right = (i >> 1, j >> 1) if halved else (i, j)
            place = ((image * h + down) * w + right) * c
            end = last if 0 <= down < h and 0 <= right < w else first
            for k in range(first, end, LANES):
                value = load(source, place + k, c - k)
                if kind == WHERE_POSITIVE:
                    value = where(greater(load(mask, place + k, c - k), zero), value, zero)
                elif halved:
                    number = spread(np.float32(2 * (i & 1) + (j & 1)))
                    value = where_equal(load_bytes(winner, place + k, c - k), number, value, zero)
                store(target, k - first, value, LANES)
            for k in range(end, last, LANES):
                store(target, k - first, zero, LANES)
            target = at(target, target_row)
