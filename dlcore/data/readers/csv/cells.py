"""What a single cell of a table holds: nothing, a number, or text."""

from __future__ import annotations

import re
from decimal import Decimal

__all__ = ["MISSING", "MISSING_BEFORE", "exact", "number"]

MISSING_BEFORE = frozenset({"", "NA", "NaN", "nan", "null", "?"}) | {
    mark + n + "/" + a for mark in ("", "#") for n in "nN" for a in "aA"
}
"""Cells that held nothing in version 0.1; the spreadsheets' ``#N/A`` in any case."""

MISSING = MISSING_BEFORE | {
    "<NA>", "NULL", "None", "-nan", "-NaN", "#NA", "#N/A N/A", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
}  # fmt: skip
"""Cells that hold nothing: with these, all that pandas reads so."""

_NUMBER = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf(?:inity)?)", re.IGNORECASE)


def number(cell: str) -> float | None:
    """The number that a stripped cell holds, infinity included; None where it holds text.

    Stricter than ``float``, which takes ``1_000`` and digits of every script.

    >>> number("-1.5e3"), number("1_000"), number("1e999")
    (-1500.0, None, inf)
    """
    return float(cell) if _NUMBER.fullmatch(cell) else None


def exact(cell: str) -> Decimal | None:
    """As :func:`number`, with every digit: for the numbers that are names, which may not fit in float64.

    >>> exact("9007199254740993") == exact("9007199254740992"), exact("7.0") == exact("07")
    (False, True)
    """
    return Decimal(cell) if _NUMBER.fullmatch(cell) else None
