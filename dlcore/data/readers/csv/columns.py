"""The columns of a table, cell by cell: numbers and words side by side until it is known which a column holds."""

from __future__ import annotations

import shlex
from array import array
from collections import Counter

import numpy as np

from dlcore.data.readers.csv.cells import MISSING, MISSING_BEFORE, number
from dlcore.data.readers.csv.moments import formats_of
from dlcore.data.readers.csv.patterns import is_name_with_number, is_number_written_otherwise, pattern_of
from dlcore.data.readers.csv.rows import name_of, too_large
from dlcore.errors import DataError

__all__ = ["CATEGORIES", "FEW", "Column", "flag", "ordered"]

CATEGORIES = 1000  # different values that a column of categories, or a target of classes, may have
FEW = 20  # different values of which one may well have a row to itself, as in a small table
_NUMERIC_SHARE = 0.9  # from here on, text among numbers is a mistake in the file and not a category
_OWN_SHARE = 0.95  # of rows with a value of their own, beyond which text is an ID, a date or a note and not a category
_MOST = 0.5  # of rows with levels of their own, beyond which each level has too few rows to learn from
_ALIKE = 5  # different values from which on they share a pattern
_SHARED = 0.5  # of the different values that share patterns, from which on they are numbers and not names


class Column:
    """One column as it is read: 12 bytes a cell, and at most CATEGORIES words.

    numbers : of each row; NaN where the cell is missing or holds text
    codes : of each row, a position in ``words``, −1 where missing; both are given up beyond CATEGORIES words
    rules : 1 takes each column that version 0.1 took
    """

    def __init__(self, name: str, file: str, rules: int = 2) -> None:
        self.name = name
        self.label = f"{file}: column {name_of(name)}"
        self.numbers = array("d")
        self.codes = array("i")
        self.words: dict[str, int] | None = {}
        self.rules = rules
        self._missing = MISSING if rules > 1 else MISSING_BEFORE
        self._first: dict[str, int] = {}  # the line of each word, also when words are given up
        self._values: list[float] = []  # of each word, NaN for text
        self.n_text = self.n_missing = 0
        self.first_text: tuple[int, str] | None = None
        self.first_missing: int | None = None
        self.too_large: tuple[int, str] | None = None

    def add(self, cell: str, line: int) -> None:
        """Take the next row's cell, stripped."""
        code = None if self.words is None else self.words.get(cell)
        if code is not None:
            value = self._values[code]
        elif cell in self._missing:
            self._add_missing(line)
            return
        else:
            value = self._new(cell, line)
            if self.words is not None and len(self.words) < CATEGORIES:
                code = self.words[cell] = len(self.words)
                self._first[cell] = line
                self._values.append(value)
            else:
                self.words, self.codes = None, array("i")
        if value != value:  # NaN: text
            self.n_text += 1
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

    def is_numeric(self, remedy: str, target: bool = False) -> bool:
        """Whether every present cell is a number.

        Raises DataError where nearly every one is, or is one but for a unit or the like, with ``remedy`` for a column
        that is meant as text; of a ``target`` what begins with a letter, such as class 12, is a name.
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
        if self.rules > 1:
            self._refuse_numbers_in_text(remedy, target)
        return False

    def _refuse_numbers_in_text(self, remedy: str, target: bool) -> None:
        """Where most of many different values share a pattern with digits, or all of few can only be numbers."""
        values = zip(self._first, self._values, strict=True)
        patterns = {word: pattern_of(word) for word, value in values if value != value}  # "" for none
        patterns = {
            word: "" if is_name_with_number(of) or (target and of[:1].isalpha()) else of
            for word, of in patterns.items()
        }
        n, plain = len(self._first), len(self._first) - len(patterns)
        counts = Counter(of for of in patterns.values() if of)
        alike = [word for word, of in patterns.items() if of and counts[of] >= _ALIKE]
        if n <= FEW or plain + len(alike) < _SHARED * n:
            alike = [word for word, of in patterns.items() if of and is_number_written_otherwise(of)]
            if not alike or plain + len(alike) < _NUMERIC_SHARE * n:
                return
        what = f"as {len(alike):,} of {n:,} different values have{f', and {plain:,} are numbers' if plain else ''}"
        if alike:
            word = max(alike, key=lambda word: counts[patterns[word]])
            line, found = self._first[word], f"{word!r:.60} has the pattern {patterns[word]!r}, {what}"
        else:
            line, word = self.first_text or (0, "")
            found = f"{word!r:.60} is not a number, as {plain:,} of {n:,} different values are"
        raise DataError(f"{self.label}, line {line}: {found}; write numbers plainly, such as 1234.5, or {remedy}")

    def holds_dates(self) -> bool:
        """Whether every one of many different values is a date, or a date with a time of day."""
        return self.n_text == self.present and len(self._first) > FEW and bool(formats_of(list(self._first)))

    def is_its_own(self) -> bool:
        """Whether too many rows have a value of their own, as an ID, a date or a note has."""
        share = _MOST if self.rules > 1 else _OWN_SHARE
        return self.words is not None and len(self.words) > max(FEW, share * self.present)

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


def flag(name: str, column: str) -> str:
    """A flag with a column's name, as it is typed.

    >>> flag("ignore", "fuel type")
    "--ignore 'fuel type'"
    """
    return f"--{name} {shlex.quote(name_of(column))}"


def ordered(word: str) -> tuple[float, str]:
    """The key by which names are sorted: numbers by value, before all others.

    >>> sorted(["b", "10", "9", "a"], key=ordered)
    ['9', '10', 'a', 'b']
    """
    value = number(word)
    return (float("inf") if value is None else value, word)
