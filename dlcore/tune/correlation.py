"""How much a figure depends on a parameter: the rank correlation over the trials, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

__all__ = ["Correlation", "spearman"]

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Correlation:
    """Spearman's ρ of two figures over ``n`` trials, and its 95 % interval from ``low`` to ``high``.

    rho : Spearman's ρ, -1 to 1

    NaN where it does not exist: ρ of a figure that never changes, the interval of fewer than 4 trials or of |ρ| = 1.

    >>> found = spearman([1, 2, 3, 4, 5], [2, 4, 6, 9, 8])
    >>> print(f"{found.rho:.2f}, between {found.low:.2f} and {found.high:.2f}, of {found.n} trials")
    0.90, between -0.17 and 1.00, of 5 trials
    """

    rho: float
    low: float
    high: float
    n: int


def spearman(x: Sequence[float], y: Sequence[float]) -> Correlation:
    """Spearman's rank correlation of ``x`` and ``y``, each (n,), with a 95 % interval.

    ρ is Pearson's correlation of the ranks, equal values sharing their mean rank. Ranks, because a learning rate's
    effect is not linear on any scale, a logarithm changes no rank, and a trial that diverged weighs as the worst and
    not as infinitely bad. An optimum inside the range gives a ρ near 0 however strong the effect is: see the pictures.

    The interval is Fisher's: tanh(artanh ρ ± 1.96 √((1 + ρ²/2) / (n − 3))), with the variance that suits ranks
    (Bonett and Wright, "Sample size requirements for estimating Pearson, Kendall and Spearman correlations", 2000).
    Infinite values are allowed, NaN is not.

    >>> found = spearman([1, 2, 3, 4, 5, 6], [2.0, 1.0, 4.0, 3.0, 6.0, 9.0])
    >>> round(found.rho, 3), found.n
    (0.886, 6)
    """
    a, b = _ranks(x), _ranks(y)
    n = len(a)
    a, b = a - a.mean() if n else a, b - b.mean() if n else b
    norm = math.sqrt(float(a @ a) * float(b @ b))
    if norm == 0:
        return Correlation(math.nan, math.nan, math.nan, n)
    rho = min(max(float(a @ b) / norm, -1.0), 1.0)
    if n < 4 or abs(rho) > 1 - 1e-12:
        return Correlation(rho, math.nan, math.nan, n)
    reach = NormalDist().inv_cdf(0.5 + _CONFIDENCE / 2) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return Correlation(rho, math.tanh(math.atanh(rho) - reach), math.tanh(math.atanh(rho) + reach), n)


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks from 0, (n,) float64; equal values share the mean of theirs."""
    array = np.asarray(values, np.float64)
    _, which, counts = np.unique(array, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[which]
