"""Batch normalisation: two passes over the images forward, two backward, and only the images kept between them.

Each piece of the rows has a mean and a sum of squares of its own, exact in two passes while it lies in the cache. They
are combined by the rule of Chan, Golub and LeVeque (1983), which loses nothing where the mean is far from zero.
"""

from __future__ import annotations

import numpy as np

from backends.cpu import requirements
from backends.cpu.codegen.compile import part
from backends.cpu.codegen.simd import LANES, fma, integers, load, spread, store
from backends.cpu.codegen.thread_pool import launch, reads, task, writes
from backends.reference import norm

_PIECE = 16_384  # elements a task
_ROWS = 256  # at most, which are added up one after the other
_LEAST = 65_536  # elements; with fewer the reference is as fast
_ZERO = np.float32(0.0)


@task(x=reads("rows c"), means=writes("pieces c"), squares=writes("pieces c"))
def _statistics(number, arguments):
    """Of each channel the mean of a piece's rows, and the sum of (x - mean)**2; for some pieces."""
    x, means, squares, rows, c, pieces, rows_a_piece, at_once = integers(arguments, 0, 8)
    for piece in range(number * at_once, min(pieces, (number + 1) * at_once)):
        _moments(x, means, squares, piece * rows_a_piece, min(rows, (piece + 1) * rows_a_piece), c, piece * c)


@part
def _moments(x, means, squares, first, last, c, own):
    """Those of the rows from ``first`` to ``last - 1``, in the place ``own`` of the sums."""
    share, zero = spread(np.float32(1.0) / np.float32(last - first)), spread(_ZERO)
    for k in range(0, c, LANES):
        store(means, own + k, zero, c - k)
        store(squares, own + k, zero, c - k)
    row = first
    while row < last:  # four rows at once: the sums wait in the cache, and need not be fetched for each row
        for k in range(0, c, LANES):
            value = load(x, row * c + k, c - k)
            if row + 3 < last:
                value += load(x, (row + 1) * c + k, c - k)
                value += load(x, (row + 2) * c + k, c - k) + load(x, (row + 3) * c + k, c - k)
            store(means, own + k, load(means, own + k, c - k) + value, c - k)
        row += 4 if row + 3 < last else 1
    for k in range(0, c, LANES):
        store(means, own + k, load(means, own + k, c - k) * share, c - k)
    row = first
    while row < last:
        for k in range(0, c, LANES):
            mean = load(means, own + k, c - k)
            centred = load(x, row * c + k, c - k) - mean
            value = centred * centred
            if row + 3 < last:
                for ahead in range(1, 4):
                    centred = load(x, (row + ahead) * c + k, c - k) - mean
                    value = fma(centred, centred, value)
            store(squares, own + k, load(squares, own + k, c - k) + value, c - k)
        row += 4 if row + 3 < last else 1


@task(x=reads("rows c"), mean=reads("c"), scale=reads("c"), beta=reads("c"), y=writes("rows c"))
def _normalise(piece, arguments):
    """(x - mean) scale + beta."""
    x, mean, scale, beta, y, rows, c, rows_a_piece = integers(arguments, 0, 8)
    for row in range(piece * rows_a_piece, min(rows, (piece + 1) * rows_a_piece)):
        for k in range(0, c, LANES):
            centred = load(x, row * c + k, c - k) - load(mean, k, c - k)
            value = fma(centred, load(scale, k, c - k), load(beta, k, c - k))
            store(y, row * c + k, value, c - k)


@task(x=reads("rows c"), dy=reads("rows c"), mean=reads("c"), sums=writes("pieces c"), products=writes("pieces c"))
def _gradient_sums(number, arguments):
    """Of each channel the sum of dy and of dy (x - mean) over a piece's rows; for some pieces."""
    x, dy, mean, sums, products, rows, c, pieces, rows_a_piece, at_once = integers(arguments, 0, 10)
    for piece in range(number * at_once, min(pieces, (number + 1) * at_once)):
        first, last = piece * rows_a_piece, min(rows, (piece + 1) * rows_a_piece)
        _slopes(x, dy, mean, sums, products, first, last, c, piece * c)


@part
def _slopes(x, dy, mean, sums, products, first, last, c, own):
    """Those of the rows from ``first`` to ``last - 1``, in the place ``own`` of the sums."""
    zero = spread(_ZERO)
    for k in range(0, c, LANES):
        store(sums, own + k, zero, c - k)
        store(products, own + k, zero, c - k)
    row = first
    while row < last:
        for k in range(0, c, LANES):
            middle = load(mean, k, c - k)
            slope = load(dy, row * c + k, c - k)
            product = slope * (load(x, row * c + k, c - k) - middle)
            if row + 3 < last:
                for ahead in range(1, 4):
                    other = load(dy, (row + ahead) * c + k, c - k)
                    product = fma(other, load(x, (row + ahead) * c + k, c - k) - middle, product)
                    slope += other
            store(sums, own + k, load(sums, own + k, c - k) + slope, c - k)
            store(products, own + k, load(products, own + k, c - k) + product, c - k)
        row += 4 if row + 3 < last else 1


@task(
    x=reads("rows c"), dy=reads("rows c"), mean=reads("c"),
    scale=reads("c"), slope=reads("c"), offset=reads("c"), dx=writes("rows c"),
)  # fmt: skip
def _gradient(piece, arguments):
    """dy scale - (x - mean) slope - offset."""
    x, dy, mean, scale, slope, offset, dx, rows, c, rows_a_piece = integers(arguments, 0, 10)
    for row in range(piece * rows_a_piece, min(rows, (piece + 1) * rows_a_piece)):
        for k in range(0, c, LANES):
            centred = load(x, row * c + k, c - k) - load(mean, k, c - k)
            pull = fma(centred, load(slope, k, c - k), load(offset, k, c - k))
            store(dx, row * c + k, load(dy, row * c + k, c - k) * load(scale, k, c - k) - pull, c - k)


def _rows(x) -> np.ndarray:
    """(..., C) -> (rows, C) in one piece."""
    return np.ascontiguousarray(x, np.float32).reshape(-1, x.shape[-1])


def _cut(rows: int, c: int) -> tuple[int, int, int, int]:
    """Rows a piece, how many pieces there are, and pieces a task, and how many tasks there are."""
    rows_a_piece = max(16, min(_ROWS, _PIECE // c))
    pieces, at_once = -(-rows // rows_a_piece), max(1, _PIECE // (rows_a_piece * c))
    return rows_a_piece, pieces, at_once, -(-pieces // at_once)


def statistics(flat: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, variance and 1 / sqrt(variance + eps) of each channel of (rows, C), each (C,) float32."""
    rows, c = flat.shape
    rows_a_piece, pieces, at_once, tasks = _cut(rows, c)
    means, squares = np.empty((pieces, c), np.float32), np.empty((pieces, c), np.float32)
    launch(_statistics, tasks, (flat, means, squares), (rows_a_piece, at_once))
    counts = np.full((pieces, 1), float(rows_a_piece))
    counts[-1] = rows - (pieces - 1) * rows_a_piece
    mean = (counts * means).sum(axis=0) / rows
    variance = (squares + counts * (means - mean) ** 2).sum(axis=0) / rows
    inverse = 1.0 / np.sqrt(variance + eps)
    return mean.astype(np.float32), variance.astype(np.float32), inverse.astype(np.float32)


def _unsuited(x, gamma, beta, *, eps) -> str | None:
    if not x.size:
        return "there is nothing to average"
    return requirements.not_float32(x=x, gamma=gamma, beta=beta) or requirements.too_few(x, _LEAST)


@norm.batch_norm.alternative("numpy", unless=_unsuited)
class BatchNormByPieces:
    """The statistics of pieces in float32, combined in float64."""

    @staticmethod
    def forward(xp, x, gamma, beta, *, eps, needed):
        flat = _rows(x)
        rows_a_piece, _, at_once, tasks = _cut(*flat.shape)
        mean, variance, inverse = statistics(flat, eps)
        scale = gamma * inverse
        y = np.empty(x.shape, np.float32)
        arrays = (flat, mean, scale, np.ascontiguousarray(beta), _rows(y))
        launch(_normalise, tasks, arrays, (rows_a_piece * at_once,))
        return (y, mean, variance), (flat, mean, inverse, scale)

    @staticmethod
    def backward(xp, dys, saved, *, eps, needed):
        flat, mean, inverse, scale = saved
        dy = _rows(dys[0])
        rows, c = flat.shape
        rows_a_piece, pieces, at_once, tasks = _cut(rows, c)
        sums, products = np.empty((pieces, c), np.float32), np.empty((pieces, c), np.float32)
        launch(_gradient_sums, tasks, (flat, dy, mean, sums, products), (rows_a_piece, at_once))
        dbeta = sums.sum(axis=0, dtype=np.float64).astype(np.float32)
        dgamma = products.sum(axis=0, dtype=np.float64).astype(np.float32) * inverse
        dx = None
        if needed[0]:
            dx = np.empty(dys[0].shape, np.float32)
            slope, offset = scale * inverse * dgamma / np.float32(rows), scale * dbeta / np.float32(rows)
            arrays = (flat, dy, mean, scale, slope, offset, _rows(dx))
            launch(_gradient, tasks, arrays, (rows_a_piece * at_once,))
        return dx, dgamma if needed[1] else None, dbeta if needed[2] else None
