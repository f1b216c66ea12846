"""What chance can do to an error that was measured on n examples, and to the difference of two such errors.

Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference (1927); R. G. Newcombe,
Interval estimation for the difference between independent proportions, Statistics in Medicine 17, 873-890 (1998),
method 10.
"""

from __future__ import annotations

import math
from statistics import NormalDist

__all__ = ["Ends", "difference_interval", "difference_of", "positive_interval", "quantile", "wilson_interval"]

Ends = tuple[float, float]


def quantile(confidence: float) -> float:
    """How many standard errors an interval reaches to each side.

    >>> round(quantile(0.95), 3)
    1.96
    """
    return NormalDist().inv_cdf((1 + confidence) / 2)


def wilson_interval(error: float, n: int, confidence: float = 0.95) -> Ends:
    """The interval in which the true proportion lies, where a share ``error`` of ``n`` examples was counted.

    (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n), after Wilson (1927), without correction for continuity.

    >>> [round(end, 4) for end in wilson_interval(0.1, 100)]
    [0.0552, 0.1744]
    """
    z = quantile(confidence)
    middle, half = error + z * z / (2 * n), z * math.sqrt(error * (1 - error) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = (middle - half) / scale, (middle + half) / scale
    return (0.0 if error == 0 else max(low, 0.0)), (1.0 if error == 1 else min(high, 1.0))


def positive_interval(error: float, standard_error: float, confidence: float = 0.95) -> Ends:
    """The interval of an error above 0, such as a mean of squares, from its standard error: e · exp(± z s / e).

    It is symmetric in the logarithm, because sums of squares lean to the right.

    >>> [round(end, 3) for end in positive_interval(0.1, 0.02)]
    [0.068, 0.148]
    """
    if error <= 0 or standard_error == 0:
        return error, error
    reach = math.exp(quantile(confidence) * standard_error / error)
    return error / reach, error * reach


def difference_interval(above: float, n: int, below: float, m: int, confidence: float = 0.95) -> Ends:
    """The interval in which ``above - below`` lies: two proportions, of ``n`` and of ``m`` other examples.

    >>> [round(end, 4) for end in difference_interval(56 / 70, 70, 48 / 80, 80)]
    [0.0524, 0.3339]
    """
    ends = wilson_interval(above, n, confidence), wilson_interval(below, m, confidence)
    return difference_of(above, ends[0], below, ends[1])


def difference_of(above: float, its: Ends, below: float, others: Ends) -> Ends:
    """The interval of ``above - below`` from the intervals (l₁, u₁) and (l₂, u₂) of both, which are independent.

    From d − √((p₁ − l₁)² + (u₂ − p₂)²) to d + √((u₁ − p₁)² + (p₂ − l₂)²), after Newcombe (1998), method 10.
    """
    difference = above - below
    return (
        difference - math.hypot(above - its[0], others[1] - below),
        difference + math.hypot(its[1] - above, below - others[0]),
    )
