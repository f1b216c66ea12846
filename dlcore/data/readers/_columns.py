"""The columns of a table, cell by cell: numbers and words side by side until it is known which a column holds."""

from __future__ import annotations

import re
from array import array

import numpy as np

from dlcore.data.readers._rows import MISSING, name_of, number, too_large
from dlcore.errors import DataError

__all__ = ["CATEGORIES", "FEW", "Column", "ordered"]

CATEGORIES = 1000  # different values that a column of categories, or a target of classes, may have
FEW = 20  # different values of which one may well have a row to itself, as in a small table
_NUMERIC_SHARE = 0.9  # from here on, text among numbers is a mistake in the file and not a category
_OWN_SHARE = 0.95  # of rows with a value of their own, beyond which text is an ID, a date or a note and not a category

_CURRENCY = "(?:[$€£¥]|EUR|USD|GBP|CHF)"
_UNITS = (
    r"%|‰|°[CF]?|[kmµ]?g|lbs?|oz|[kcmµ]?m[²³23]?|ft|km/h|mph|m/s|[mc]?l|mL|ms|min|"
    r"k?W|kWh|hp|PS|[kMGT]i?B|[kMG]?Hz|kcal|mmHg"
)
_DRESSED = re.compile(
    rf"[+-]?\s?(?:{_CURRENCY}\s?)?[+-]?"
    r"(?:[0-9]{1,3}(?:[,.'’\s][0-9]{3})+(?:[.,][0-9]+)?|[0-9]+(?:[.,][0-9]+)?)"
    rf"(?:\s?{_CURRENCY}|\s?(?:{_UNITS}))?"
)
_LONGEST = 40  # characters of a number


class Column:
    """One column as it is read: 12 bytes a cell, and at most CATEGORIES words.

    numbers : of each row; NaN where the cell is missing or holds text
    codes : of each row, a position in ``words``, −1 where missing; both are given up beyond CATEGORIES words
    first_dressed : the first cell that is a number with more around it, such as 250,000.00 or 45%, with its line
    """

    def __init__(self, name: str, file: str) -> None:
        self.name = name
        self.label = f"{file}: column {name_of(name)}"
        self.numbers = array("d")
        self.codes = array("i")
        self.words: dict[str, int] | None = {}
        self._values: list[float] = []  # of each word, NaN for text
        self._dressed: set[int] = set()  # the words that are numbers with more around them
        self.n_text = self.n_missing = self._n_dressed = 0
        self.first_text: tuple[int, str] | None = None
        self.first_dressed: tuple[int, str] | None = None
        self.first_missing: int | None = None
        self.too_large: tuple[int, str] | None = None

    def add(self, cell: str, line: int) -> None:
        """Take the next row's cell, stripped."""
        code = None if self.words is None else self.words.get(cell)
        if code is not None:
            value = self._values[code]
            dressed = code in self._dressed
        elif cell in MISSING:
            self._add_missing(line)
            return
        else:
            value = self._new(cell, line)
            dressed = value != value and len(cell) <= _LONGEST and _DRESSED.fullmatch(cell) is not None
            if dressed:
                self.first_dressed = self.first_dressed or (line, cell)
            if self.words is not None and len(self.words) < CATEGORIES:
                code = self.words[cell] = len(self.words)
                self._values.append(value)
                if dressed:
                    self._dressed.add(code)
            else:
                self.words, self.codes = None, array("i")
        if value != value:  # NaN: text
            self.n_text += 1
            self._n_dressed += dressed
        self.numbers.append(value)
        if code is not None:
            self.codes.append(code)

    def _add_missing(self, line: int) -> None:
        self.n_missing += 1
        self.first_missing = self.first_missing or line
        self.numbers.append(np.nan)
        if self.words is not None:
            self.codes.append(-1)

    def _new(self, cell: str, line: int) -> float:
        """The number in a cell that is not among the words; NaN for text."""
        value = number(cell)
        if value is None:
            self.first_text = self.first_text or (line, cell)
            return np.nan
        if too_large(value):
            self.too_large = self.too_large or (line, cell)
        return value

    @property
    def present(self) -> int:
        return len(self.numbers) - self.n_missing

    def missing(self) -> np.ndarray:
        """(N,) bool, of a target. Raises DataError for text with too many values."""
        if self.words is None:
            return (
                np.isnan(self.values()) if self.first_text is None else self.categories("choose another target")[0] < 0
            )
        return np.frombuffer(self.codes, np.intc) < 0

    def is_numeric(self, remedy: str) -> bool:
        """Whether every present cell is a number.

        Raises DataError where nearly every one is, or is one but for a unit or the like, with ``remedy`` for a column
        that is meant as text.
        """
        if self.first_text is None:
            return True
        share = 1 - self.n_text / self.present
        if share >= _NUMERIC_SHARE:
            line, cell = self.first_text
            raise DataError(
                f"{self.label}, line {line}: {cell!r:.60} is not a number, as {self.present - self.n_text:,} of "
                f"{self.present:,} cells are; mend the cell, or {remedy}"
            )
        plain = self.present - self.n_text
        if self.first_dressed and plain + self._n_dressed >= _NUMERIC_SHARE * self.present:
            line, cell = self.first_dressed
            raise DataError(
                f"{self.label}, line {line}: {cell!r:.60} is a number with more around it, as {self._n_dressed:,} of "
                f"{self.present:,} cells are; write plain numbers such as 1234.5, or {remedy}"
            )
        return False

    def is_its_own(self) -> bool:
        """Whether nearly every row has a value of its own, as an ID, a date or a note has."""
        return self.words is not None and len(self.words) > max(FEW, _OWN_SHARE * self.present)

    def values(self) -> np.ndarray:
        """(N,) float64, NaN where missing. Raises DataError for numbers that have no place in float32."""
        if self.too_large:
            line, cell = self.too_large
            raise DataError(f"{self.label}, line {line}: {cell!r:.60} is not finite in float32; mend the cell")
        return np.frombuffer(self.numbers, np.float64) if self.numbers else np.empty(0)

    def categories(self, remedy: str) -> tuple[np.ndarray, list[str]]:
        """(N,) positions, −1 where missing, in the sorted words; numbers in their order, and then names by theirs.

        Raises DataError for too many, with ``remedy``.
        """
        if self.words is None:
            raise DataError(
                f"{self.label} has more than {CATEGORIES:,} different values, too many for categories; {remedy}"
            )
        words = sorted(self.words, key=ordered)
        place = np.empty(len(words) + 1, np.int64)
        place[-1] = -1
        for rank, word in enumerate(words):
            place[self.words[word]] = rank
        return place[np.frombuffer(self.codes, np.intc) if self.codes else np.empty(0, np.intc)], words


def ordered(word: str) -> tuple[float, str]:
    """The key by which names are sorted: numbers by value, before all others.

    >>> sorted(["b", "10", "9", "a"], key=ordered)
    ['9', '10', 'a', 'b']
    """
    value = number(word)
    return (float("inf") if value is None else value, word)
