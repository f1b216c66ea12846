"""Distances between rows, for nearest neighbours (notes 4.1). They have no gradient.

Two ways lead to the squared distance. Differences lose nothing, but there are Q · N · D of them to be written and read;
``|a|² − 2ab + |b|²`` is one product of matrices, ten times as fast and more, and subtracts large numbers from each
other: what it returns is good to a few units in the last place of ``|a|² + |b|²``, not of the distance. Here it is the
product, which on whole numbers below 2^53 in float64 is exact. Whoever calls it subtracts a common centre from all
rows first, in float64, and measures the few rows that are nearest once more by differences, as
:class:`dlcore.neighbors.KNNClassifier` does. The L1 distance knows no such product.
"""

from __future__ import annotations

from backends.dispatch import kernel


@kernel
def l1_distances(xp, a, b, *, needed):
    """sum |a - b| over the features: (Q, D), (N, D) -> (Q, N). Takes memory for 2 Q · N · D numbers meanwhile."""
    return xp.sum(xp.abs(a[:, None, :] - b[None, :, :]), axis=-1), None  # (Q, N, D) -> (Q, N)


@kernel
def squared_distances(xp, a, b, *, needed):
    """sum (a - b)² over the features as |a|² - 2ab + |b|², never below 0: (Q, D), (N, D) -> (Q, N)."""
    squares = xp.sum(a * a, axis=-1)[:, None] + xp.sum(b * b, axis=-1)[None, :]
    return xp.maximum(squares - 2.0 * xp.matmul(a, xp.matrix_transpose(b)), 0.0), None
