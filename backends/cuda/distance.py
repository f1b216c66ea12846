"""Distances between rows for nearest neighbours; none takes memory for differences."""

from __future__ import annotations

from backends.cuda import requirements
from backends.cuda.launch import LIMITS, THREADS, blocks, by_elements, compact, launch
from backends.reference import distance

_TILE = 32  # see tiles.cuh
_ROWS_A_BLOCK = THREADS // 32  # a warp takes a row


def _unsuited(a, b) -> str | None:
    reason = requirements.unsuited("distance", a=a, b=b)
    return requirements.uncountable("the output", a.shape[0] * b.shape[0]) if reason is None else reason


def _too_many_tiles(a, b) -> str | None:
    reason = _unsuited(a, b)
    if reason is None and blocks(b.shape[0], _TILE) > LIMITS[1]:
        return f"b has {b.shape[0]} rows, and a grid holds {LIMITS[1] * _TILE}"
    return reason


@distance.l1_distances.alternative("cupy", unless=_too_many_tiles)
class L1ByTiles:
    """Each block reads its rows once, a piece of the features at a time."""

    @staticmethod
    def forward(xp, a, b, *, needed):
        (queries, features), rows = a.shape, b.shape[0]
        y = xp.empty((queries, rows), dtype=a.dtype, device=a.device)
        grid = blocks(queries, _TILE), blocks(rows, _TILE)
        arguments = (compact(xp, a), compact(xp, b), y, queries, rows, features)
        launch("distance", "l1_distances", arguments, grid, (THREADS,), a.dtype)
        return y, None


@distance.squared_distances.alternative("cupy", unless=_unsuited)
class SquaredByProduct:
    """CuPy's product, and one launch that makes distances of it where it lies."""

    @staticmethod
    def forward(xp, a, b, *, needed):
        a, b = compact(xp, a), compact(xp, b)
        y = xp.matmul(a, xp.matrix_transpose(b))
        squares = [_squares(xp, x) for x in (a, b)]
        by_elements("distance", "squared_distances", (y, *squares, y.size, b.shape[0]), y.size, a.dtype)
        return y, None


def _squares(xp, x):
    """|x|² of each row."""
    rows, features = x.shape
    squares = xp.empty(rows, dtype=x.dtype, device=x.device)
    launch(
        "distance", "squares_of_rows", (x, squares, rows, features), (blocks(rows, _ROWS_A_BLOCK),), (THREADS,), x.dtype
    )
    return squares
