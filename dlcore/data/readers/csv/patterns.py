"""What stands around the digits of a cell, by which numbers with a unit, a sign or a bracket are told from names."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["is_name_with_number", "is_number_written_otherwise", "pattern_of"]

_LONGEST = 40  # characters of a number with what stands around it
_MOST_WORDS = 3  # beside a number, as in "12 miles per gallon"; a cell with more of them is a sentence
_NUMBER = re.compile(r"\d{1,3}(?:[.,'’\s]\d{3})+(?:[.,]\d+)?|\d+(?:[.,]\d+)?|(?<!\w)[.,]\d+")
_NOTATION = frozenset("+-−–%‰°().,'’\"=~ ")


def pattern_of(cell: str) -> str:
    """A cell with 0 in the place of each number; "" where it holds no digit, or is a sentence.

    >>> [pattern_of(cell) for cell in ("12.5 kg", "10,000+", "18-24", "٣٤", "north")]
    ['0 kg', '0+', '0-0', '0', '']
    """
    if len(cell) > _LONGEST:
        return ""
    pattern = _NUMBER.sub("0", cell)
    return pattern if "0" in pattern and len(re.findall(r"[^\W\d_]+", pattern)) <= _MOST_WORDS else ""


def is_name_with_number(pattern: str) -> bool:
    """Whether a pattern begins with a word that is no currency's: that of a name, such as model 58, and no number.

    >>> [is_name_with_number(pattern) for pattern in ("model 0", "z 0", "CHF 0", "Rs. 0", "R$ 0", "0 kg", "<0")]
    [True, True, False, False, False, False, False]
    """
    word = re.match(r"[^\W\d_]*", pattern)
    letters = word[0] if word else ""
    return bool(letters) and not (len(letters) <= 3 and letters.isupper()) and letters.lower() not in ("rs", "kr", "fr")


def is_number_written_otherwise(pattern: str) -> bool:
    """Whether a pattern can only be that of a number: beside it are but signs, brackets, spaces and currencies' signs.

    >>> [is_number_written_otherwise(pattern) for pattern in ("0%", "−0", "€ 0", "0", "0-0", "0 kg")]
    [True, True, True, True, False, False]
    """
    rest = pattern.replace("0", "", 1)
    return all(mark in _NOTATION or unicodedata.category(mark) in ("Sc", "Cf", "Zs") for mark in rest)
