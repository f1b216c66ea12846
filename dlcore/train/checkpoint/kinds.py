"""Of what kind a value in a file of a run must be, so that its readers can count on it.

A kind takes a value and where it stands, and gives what is wrong in words; nothing where it fits. Kinds are made of
others: lists, values by name, and records with a kind for each key.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from contextlib import suppress
from math import isfinite
from typing import Any

import numpy as np

__all__ = [
    "ARRAY",
    "COUNT",
    "FLAG",
    "LABEL",
    "NUMBER",
    "OBJECT",
    "TEXT",
    "Kind",
    "brief",
    "by_name",
    "each",
    "either",
    "kind",
    "or_none",
    "record",
]

Kind = Callable[[Any, str], str]


def brief(value: Any) -> str:
    """What a file holds, in at most 60 characters, however much it is."""
    with suppress(ValueError):  # numbers of thousands of digits are not shown by Python
        return f"{reprlib.repr(value):.60}"
    return f"a {type(value).__name__}"


def kind(fits: Callable[[Any], bool], words: str) -> Kind:
    """
    >>> kind(lambda value: value == 3, "3")([1], "size.0")
    'size.0 is [1], but 3 is expected'
    """
    return lambda value, where: "" if fits(value) else f"{where} is {brief(value)}, but {words} is expected"


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_number(value: Any) -> bool:
    return (type(value) is float and isfinite(value)) or (type(value) is int and abs(value) < 2**53)


TEXT = kind(lambda value: isinstance(value, str), "a text")
FLAG = kind(lambda value: isinstance(value, bool), "true or false")
COUNT = kind(_is_count, "a whole number of at least 0")
NUMBER = kind(_is_number, "a number")
ARRAY = kind(lambda value: isinstance(value, np.ndarray), "an array")
OBJECT = kind(lambda value: isinstance(value, dict), "an object")
LABEL = kind(lambda value: value is None or isinstance(value, str | int | float), "a name")
"""Of a class: text, or a number or a truth value of a label."""


def each(of: Kind) -> Kind:
    """A list.

    >>> each(COUNT)([1, "x"], "sizes")
    "sizes.1 is 'x', but a whole number of at least 0 is expected"
    """

    def wrong(value: Any, where: str) -> str:
        if not isinstance(value, list):
            return f"{where} is {brief(value)}, but a list is expected"
        return next(filter(None, (of(item, f"{where}.{i}") for i, item in enumerate(value))), "")

    return wrong


def by_name(of: Kind) -> Kind:
    """An object with any keys."""

    def wrong(value: Any, where: str) -> str:
        inner = OBJECT(value, where)
        return inner or next(filter(None, (of(item, f"{where}.{key}") for key, item in value.items())), "")

    return wrong


def or_none(of: Kind) -> Kind:
    return lambda value, where: "" if value is None else of(value, where)


def either(words: str, *kinds: Kind) -> Kind:
    return kind(lambda value: any(not of(value, "") for of in kinds), words)


def record(kinds: dict[str, Kind], optional: frozenset[str] = frozenset()) -> Kind:
    """An object with at least these keys, but for those that are optional.

    >>> record({"size": COUNT})({}, "")
    'size is missing'
    """

    def wrong(value: Any, where: str) -> str:
        if inner := OBJECT(value, where or "it"):
            return inner
        for key, of in kinds.items():
            place = f"{where}.{key}" if where else key
            if key in value:
                if inner := of(value[key], place):
                    return inner
            elif key not in optional:
                return f"{place} is missing"
        return ""

    return wrong
