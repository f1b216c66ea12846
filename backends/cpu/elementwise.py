"""Elementwise activations of large arrays, which one thread alone would not bring through the memory."""

from __future__ import annotations

import numpy as np

from backends.cpu import requirements
from backends.cpu.codegen.simd import LANES, greater, integers, larger, load, spread, store, where
from backends.cpu.codegen.thread_pool import launch, reads, task, writes
from backends.reference import elementwise

_PIECE = 32_768  # elements a task
_LEAST = 131_072  # elements; with fewer NumPy is as fast
_ZERO = np.float32(0.0)


@task(x=reads("n"), y=writes("n"))
def _relu(piece, arguments):
    x, y, n = integers(arguments, 0, 3)
    zero = spread(_ZERO)
    for i in range(piece * _PIECE, min(n, (piece + 1) * _PIECE), LANES):
        store(y, i, larger(load(x, i, n - i), zero), n - i)


@task(y=reads("n"), dy=reads("n"), dx=writes("n"))
def _relu_gradient(piece, arguments):
    y, dy, dx, n = integers(arguments, 0, 4)
    zero = spread(_ZERO)
    for i in range(piece * _PIECE, min(n, (piece + 1) * _PIECE), LANES):
        store(dx, i, where(greater(load(y, i, n - i), zero), load(dy, i, n - i), zero), n - i)


def too_small_for_pieces(size: int) -> str | None:
    """Why a ReLU of so many elements is left to NumPy."""
    return f"{size} elements are fewer than {_LEAST}" if size < _LEAST else None


def _unsuited(x) -> str | None:
    return requirements.not_float32(x=x) or too_small_for_pieces(x.size)


def relu_in_place(y: np.ndarray) -> None:
    """y = max(0, y), of an array in one piece: each task reads what it writes, and no more."""
    flat = y.reshape(-1)
    launch(_relu, -(-y.size // _PIECE), (flat, flat))


@elementwise.relu.alternative("numpy", unless=_unsuited)
class ReluByPieces:
    """One pass forward, one backward."""

    @staticmethod
    def forward(xp, x, *, needed):
        y = np.empty(x.shape, np.float32)
        launch(_relu, -(-x.size // _PIECE), (np.ascontiguousarray(x).reshape(-1), y.reshape(-1)))
        return y, y

    @staticmethod
    def backward(xp, dy, y, *, needed):
        dx = np.empty(y.shape, np.float32)
        pieces = -(-y.size // _PIECE)
        launch(
            _relu_gradient, pieces, (y.reshape(-1), np.ascontiguousarray(dy, np.float32).reshape(-1), dx.reshape(-1))
        )
        return (dx,)
