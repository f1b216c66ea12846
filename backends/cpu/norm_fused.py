"""Batch normalisation, ReLU and max-pooling in one: what lies between them is never stored.

The statistics are those of :mod:`backends.cpu.norm`. Of a window, which is one pixel where nothing is pooled, the
largest normalised pixel and a byte that tells which it was are all that the backward pass needs besides the images.
"""

from __future__ import annotations

import numpy as np

from backends.cpu import requirements
from backends.cpu.codegen.simd import (
    LANES,
    fma,
    greater,
    greater_or_nan,
    integers,
    larger,
    load,
    load_bytes,
    spread,
    store,
    store_bytes,
    where,
    where_equal,
)
from backends.cpu.codegen.thread_pool import launch, reads, task, writes
from backends.cpu.norm import statistics
from backends.reference import norm

_PIECE = 16_384  # elements of a window's pixels that a task sums
_LEAST = 65_536  # elements; with fewer the reference is as fast
_ZERO = np.float32(0.0)


@task(
    x=reads("n h w c"), mean=reads("c"), scale=reads("c"), beta=reads("c"),
    y=writes("n oh ow c"), winner=writes("n vh vw c", "uint8"),
)  # fmt: skip
def _largest(line, arguments):
    """One row of windows: of each the largest normalised pixel, not below 0, and which one it is."""
    x, mean, scale, beta, y, winner, _, h, w, c, oh, ow = integers(arguments, 0, 12)
    ph, pw = integers(arguments, 14, 2)
    image, row = line // oh, line % oh * ph
    zero = spread(_ZERO)
    for j in range(ow):
        place = (line * ow + j) * c
        for k in range(0, c, LANES):
            middle, slope, offset = load(mean, k, c - k), load(scale, k, c - k), load(beta, k, c - k)
            first = ((image * h + row) * w + j * pw) * c + k
            best, number, t = fma(load(x, first, c - k) - middle, slope, offset), zero, 0
            for u in range(ph):
                for v in range(pw):
                    if t > 0:
                        pixel = fma(load(x, first + (u * w + v) * c, c - k) - middle, slope, offset)
                        better = greater_or_nan(pixel, best)
                        best = where(better, pixel, best)
                        number = where(better, spread(np.float32(t)), number)
                    t += 1
            store(y, place + k, larger(best, zero), c - k)
            if ph * pw > 1:
                store_bytes(winner, place + k, number, c - k)


@task(
    x=reads("n h w c"), dy=reads("n oh ow c"), winner=reads("n vh vw c", "uint8"),
    mean=reads("c"), scale=reads("c"), beta=reads("c"), sums=writes("pieces c"), products=writes("pieces c"),
)  # fmt: skip
def _gradient_sums(piece, arguments):
    """Of each channel the sum of dy and of dy (x - mean) over the piece's rows of windows, where ReLU lets it pass."""
    x, dy, winner, mean, scale, beta, sums, products, n, h, w, c, oh, ow = integers(arguments, 0, 14)
    ph, pw, lines = integers(arguments, 17, 3)
    own, zero = piece * c, spread(_ZERO)
    for k in range(0, c, LANES):
        store(sums, own + k, zero, c - k)
        store(products, own + k, zero, c - k)
    for line in range(piece * lines, min(n * oh, (piece + 1) * lines)):
        image, row = line // oh, line % oh * ph
        for j in range(ow):
            place, first = (line * ow + j) * c, ((image * h + row) * w + j * pw) * c
            for k in range(0, c, LANES):
                pixel, t = load(x, first + k, c - k), 0
                if ph * pw > 1:
                    number = load_bytes(winner, place + k, c - k)
                    for u in range(ph):
                        for v in range(pw):
                            other = load(x, first + k + (u * w + v) * c, c - k)
                            pixel = where_equal(number, spread(np.float32(t)), other, pixel)
                            t += 1
                centred = pixel - load(mean, k, c - k)
                above = greater(fma(centred, load(scale, k, c - k), load(beta, k, c - k)), zero)
                slope = where(above, load(dy, place + k, c - k), zero)
                store(sums, own + k, load(sums, own + k, c - k) + slope, c - k)
                store(products, own + k, fma(slope, centred, load(products, own + k, c - k)), c - k)


@task(
    x=reads("n h w c"), dy=reads("n oh ow c"), winner=reads("n vh vw c", "uint8"), mean=reads("c"), scale=reads("c"),
    beta=reads("c"), slope=reads("c"), offset=reads("c"), dx=writes("n h w c"),
)  # fmt: skip
def _gradient(line, arguments):
    """One row of pixels: dy scale - (x - mean) slope - offset; dy is 0 where another pixel of the window is larger."""
    x, dy, winner, mean, scale, beta, slope, offset, dx, _, h, w, c, oh, ow = integers(arguments, 0, 15)
    ph, pw = integers(arguments, 17, 2)
    image, row, zero = line // h, line % h, spread(_ZERO)
    i, first_tap = row // ph, row % ph * pw
    j, v = 0, 0
    for column in range(w):
        place, window = (line * w + column) * c, ((image * oh + i) * ow + j) * c
        for k in range(0, c, LANES):
            factor = load(scale, k, c - k)
            centred, gradient = load(x, place + k, c - k) - load(mean, k, c - k), zero
            if i < oh and j < ow:
                above = greater(fma(centred, factor, load(beta, k, c - k)), zero)
                gradient = where(above, load(dy, window + k, c - k), zero)
                if ph * pw > 1:
                    number = load_bytes(winner, window + k, c - k)
                    gradient = where_equal(number, spread(np.float32(first_tap + v)), gradient, zero)
            pull = fma(centred, load(slope, k, c - k), load(offset, k, c - k))
            store(dx, place + k, gradient * factor - pull, c - k)
        v += 1
        if v == pw:
            j, v = j + 1, 0


def _unsuited(x, gamma, beta, *, eps, pool) -> str | None:
    if not x.size:
        return "there is nothing to average"
    if pool is not None and pool[0] * pool[1] > 256:
        return f"a window of {pool[0] * pool[1]} pixels, whose numbers do not fit into a byte"
    return requirements.not_float32(x=x, gamma=gamma, beta=beta) or requirements.too_few(x, _LEAST)


def _images(x) -> np.ndarray:
    """(..., C) as images (N, H, W, C) in one piece; rows of features are images of one row."""
    x = np.ascontiguousarray(x, np.float32)
    return x if x.ndim == 4 else x.reshape(-1, 1, x.shape[-2] if x.ndim > 2 else 1, x.shape[-1])


@norm.batch_norm_relu.alternative("numpy", unless=_unsuited)
class BatchNormReluByWindows:
    """The statistics in one pass over the images, everything else in a second one; likewise backward."""

    @staticmethod
    def forward(xp, x, gamma, beta, *, eps, pool, needed):
        images, window = _images(x), pool or (1, 1)
        n, h, w, c = images.shape
        mean, variance, inverse = statistics(images.reshape(-1, c), eps)
        scale, beta = gamma * inverse, np.ascontiguousarray(beta)
        y = np.empty((n, h // window[0], w // window[1], c), np.float32)
        winner = np.empty(y.shape if pool else (n, 0, 0, c), np.uint8)
        if y.size:
            launch(_largest, n * y.shape[1], (images, mean, scale, beta, y, winner), window)
        saved = (images, winner, mean, scale, beta, inverse, x.shape)
        return (y if pool else y.reshape(x.shape), mean, variance), saved

    @staticmethod
    def backward(xp, dys, saved, *, eps, pool, needed):
        images, winner, mean, scale, beta, inverse, shape = saved
        n, h, w, c = images.shape
        window, rows = pool or (1, 1), np.float32(n * h * w)
        dy = np.ascontiguousarray(dys[0], np.float32).reshape(n, h // window[0], w // window[1], c)
        lines = max(1, _PIECE // max(1, dy.shape[2] * c))
        pieces = -(-n * dy.shape[1] // lines)
        sums, products = np.empty((pieces, c), np.float32), np.empty((pieces, c), np.float32)
        launch(_gradient_sums, pieces, (images, dy, winner, mean, scale, beta, sums, products), (*window, lines))
        dbeta = sums.sum(axis=0, dtype=np.float64).astype(np.float32)
        dgamma = products.sum(axis=0, dtype=np.float64).astype(np.float32) * inverse
        dx = None
        if needed[0]:
            dx = np.empty(images.shape, np.float32)
            slope, offset = scale * inverse * dgamma / rows, scale * dbeta / rows
            launch(_gradient, n * h, (images, dy, winner, mean, scale, beta, slope, offset, dx), window)
            dx = dx.reshape(shape)
        return dx, dgamma if needed[1] else None, dbeta if needed[2] else None
