"""Where examples come from: the line of a table, or the row of an archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Origins"]


@dataclass(frozen=True, eq=False)
class Origins:
    """The places of examples in the file that they were read from.

    file : its name
    unit : what is counted, "line" (the header is line 1) or "row" (from 0)
    places : (n,) whole numbers

    ``origins[2]`` names the place of one example; an array of positions gives Origins.

    >>> origins = Origins("fruit.csv", "line", np.array([2, 3, 5]))
    >>> origins[2], origins[np.array([1])][0], str(origins)
    ('line 5', 'line 3', 'lines of fruit.csv')
    """

    file: str
    unit: str
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int | np.integer):
            return f"{self.unit} {int(self.places[index])}"
        return Origins(self.file, self.unit, self.places[index])

    def __str__(self) -> str:
        return f"{self.unit}s of {self.file}"
