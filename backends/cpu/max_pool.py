"""Max-pooling: the forward pass goes through the output, the backward pass through the image; a task is a row."""

from __future__ import annotations

import numpy as np

from backends.array_ops import output_size
from backends.cpu import requirements
from backends.cpu.codegen.simd import (
    LANES,
    greater_or_nan,
    integers,
    load,
    load_bytes,
    spread,
    store,
    store_bytes,
    where,
    where_equal,
)
from backends.cpu.codegen.thread_pool import launch, reads, task, writes
from backends.reference import pool

_ZERO = np.float32(0.0)


@task(x=reads("n h w c"), y=writes("n oh ow c"), winner=writes("n oh ow c", "uint8"))
def _largest(line, arguments):
    """One row of the output: of each window the largest pixel, and which one it is; the first of equals."""
    x, y, winner, _, h, w, c, oh, ow = integers(arguments, 0, 9)
    kh, kw, down, right, above, left = integers(arguments, 9, 6)
    image, row = line // oh, line % oh * down - above
    top, bottom = max(0, row), min(h, row + kh)  # of the window, without what is padding
    for column in range(ow):
        place = (line * ow + column) * c
        beside = column * right - left
        first, last = max(0, beside), min(w, beside + kw)
        for k in range(0, c, LANES):
            best = load(x, ((image * h + top) * w + first) * c + k, c - k)
            number = spread(np.float32((top - row) * kw + first - beside))
            for i in range(top, bottom):
                for j in range(first + 1 if i == top else first, last):
                    pixel = load(x, ((image * h + i) * w + j) * c + k, c - k)
                    better = greater_or_nan(pixel, best)
                    best = where(better, pixel, best)
                    number = where(better, spread(np.float32((i - row) * kw + j - beside)), number)
            store(y, place + k, best, c - k)
            store_bytes(winner, place + k, number, c - k)


@task(dy=reads("n oh ow c"), winner=reads("n oh ow c", "uint8"), dx=writes("n h w c"))
def _to_the_largest(line, arguments):
    """One row of the image: of each pixel the gradients of the windows that it is the largest of."""
    dy, winner, dx, _, oh, ow, c, h, w = integers(arguments, 0, 9)
    kh, kw, down, right, top, left = integers(arguments, 9, 6)
    image, row = line // h, line % h + top
    first_above, last_above = max(0, (row - kh + down) // down), min(oh - 1, row // down)
    zero = spread(_ZERO)
    for column in range(w):
        place = column + left
        first_left, last_left = max(0, (place - kw + right) // right), min(ow - 1, place // right)
        for k in range(0, c, LANES):
            gradient = zero
            for i in range(first_above, last_above + 1):
                for j in range(first_left, last_left + 1):
                    window = ((image * oh + i) * ow + j) * c + k
                    t = spread(np.float32((row - i * down) * kw + place - j * right))
                    mine = load_bytes(winner, window, c - k)
                    gradient += where_equal(mine, t, load(dy, window, c - k), zero)
            store(dx, (line * w + column) * c + k, gradient, c - k)


def _unsuited(x, *, kernel, stride, padding) -> str | None:
    pixels = kernel[0] * kernel[1]
    if pixels > 256:
        return f"a window of {pixels} pixels, whose numbers do not fit into a byte"
    if any(side >= size for sides, size in zip(padding, kernel, strict=True) for side in sides):
        return f"padding {padding} that fills windows of {kernel}"
    return requirements.not_float32(x=x)


@pool.max_pool2d.alternative("numpy", unless=_unsuited)
class MaxPoolByRows:
    """The number of the largest pixel, a byte, is all that the backward pass needs."""

    @staticmethod
    def forward(xp, x, *, kernel, stride, padding, needed):
        n, h, w, c = x.shape
        oh = output_size(h + sum(padding[0]), kernel[0], stride[0])
        ow = output_size(w + sum(padding[1]), kernel[1], stride[1])
        y, winner = np.empty((n, oh, ow, c), np.float32), np.empty((n, oh, ow, c), np.uint8)
        how = (*kernel, *stride, padding[0][0], padding[1][0])
        launch(_largest, n * oh, (np.ascontiguousarray(x), y, winner), how)
        return y, (winner, x.shape) if needed[0] else None

    @staticmethod
    def backward(xp, dy, saved, *, kernel, stride, padding, needed):
        winner, shape = saved
        dx = np.empty(shape, np.float32)
        how = (*kernel, *stride, padding[0][0], padding[1][0])
        launch(_to_the_largest, shape[0] * shape[1], (np.ascontiguousarray(dy, np.float32), winner, dx), how)
        return (dx,)
