"""Columns that number the rows: of a file in some order they tell the order, which is not to be learnt from."""

from __future__ import annotations

import re

import numpy as np

__all__ = ["counts_by_one", "is_index_name"]

_FEWEST = 5  # rows from which on numbers that count by one are no accident
_INDEX = re.compile(
    "|(row|record|obs|observation|case|line|sample|instance|entry|item|serial|sr|s)?(ids?|idx|ix|index|no|nr|num|number|names?)"
    "|rows?|record|obs|observation|case|serial|key|pk|unnamed[0-9]*"
)
"""Names of an index, in lower case and without anything but letters and digits."""


def is_index_name(name: str) -> bool:
    """Whether a column is called as the number of a row is.

    >>> [is_index_name(name) for name in ("", "Id", "row.names", "Unnamed: 0", "S.No", "year", "humidity")]
    [True, True, True, True, True, False, False]
    """
    return _INDEX.fullmatch(re.sub(r"[\W_]", "", name).lower()) is not None


def counts_by_one(values: np.ndarray) -> bool:
    """Whether numbers (N,) go up by one from row to row, from any start.

    >>> counts_by_one(np.arange(7.0) + 3), counts_by_one(np.array([1.0, 2.0, 4.0, 5.0, 6.0]))
    (True, False)
    """
    return len(values) >= _FEWEST and bool((np.diff(values) == 1).all())
