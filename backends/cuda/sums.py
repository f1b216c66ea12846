"""Sums over the rows of a matrix: exact to the last bits, whatever the number of rows and the precision of products."""

from __future__ import annotations

from typing import Any

from backends.cuda.launch import by_elements, by_rows, launch, real

__all__ = ["sum_columns"]

_ONE_PIECE = 1024
"""Rows up to which one launch is faster than two."""


def sum_columns(xp: Any, x: Any) -> Any:
    """(M, K) in one piece -> (K,): the gradient of a bias; one launch, or two where there are many rows."""
    (rows, columns), dtype = x.shape, x.dtype
    grid, block, rows_a_piece = by_rows(rows, columns)
    if rows <= _ONE_PIECE:
        grid, rows_a_piece = (grid[0], 1), rows
    pieces = grid[1]
    sums = xp.empty((pieces, columns), dtype=real(dtype), device=x.device)
    total = xp.empty(columns, dtype=dtype, device=x.device)
    launch("linear", "column_sums", (x, sums, total, rows, columns, rows_a_piece, pieces), grid, block, dtype)
    if pieces > 1:
        by_elements("linear", "sum_pieces", (sums, total, columns, pieces), columns, dtype)
    return total
