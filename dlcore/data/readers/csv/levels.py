"""The levels of a category, found again in files that write them in another dress: 1.0 for 1, TRUE for True."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from dlcore.data.readers.csv.cells import MISSING, exact

__all__ = ["Levels"]

_BOOLEANS = frozenset({"true", "false", "yes", "no", "t", "f", "y", "n"})


class Levels:
    """The positions of a category's levels by their text and, where no level has that text, by their value.

    Numbers are equal as numbers, to the last digit; in a column of nothing but booleans case does not matter. What two
    levels equal is neither of them.

    >>> levels = Levels(["1", "2", "red"])
    >>> levels.place("red"), levels.place("1.0"), levels.place("+2"), levels.place("Red"), levels.place("3")
    (2, 0, 1, None, None)
    >>> Levels(["False", "True"]).place("TRUE"), Levels(["", "no", "yes"]).place("NA")
    (1, 0)
    """

    def __init__(self, values: Sequence[str]) -> None:
        self.values = tuple(values)
        self._texts = {value: place for place, value in enumerate(values)}
        self._booleans = all(value.lower() in _BOOLEANS for value in values if value)
        self._by_value: dict[Decimal | str, int | None] = {}
        for place, level in enumerate(values):
            value = self._value(level)
            if value is not None:
                self._by_value[value] = None if value in self._by_value else place

    def place(self, cell: str) -> int | None:
        """The position of the level that a stripped cell holds; None for one that training lacked."""
        found = self._texts.get(cell)
        if found is None and cell in MISSING:
            return self._texts.get("")
        if found is not None:
            return found
        value = self._value(cell)
        return None if value is None else self._by_value.get(value)

    def _value(self, cell: str) -> Decimal | str | None:
        value = exact(cell)
        return cell.lower() if value is None and self._booleans else value
