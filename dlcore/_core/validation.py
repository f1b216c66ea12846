"""What a setting must be, checked in one way wherever it comes from; NumPy's scalars count as Python's numbers.

NumPy is not imported here: ``--help`` reads this module, and a scalar of NumPy comes only from where it is loaded.
"""

from __future__ import annotations

import math
import sys
from contextlib import suppress
from typing import Any

from dlcore.errors import ConfigError

__all__ = ["flag", "inside", "is_number", "is_whole", "number", "plain", "whole"]


def plain(value: Any) -> Any:
    """``value`` with every scalar of NumPy as Python's own bool, int, float or str, in tuples, lists and dicts too.

    >>> import numpy as np
    >>> plain((np.int64(3), {np.int32(2): np.float32(0.5)}, [np.True_, "same"]))
    (3, {2: 0.5}, [True, 'same'])
    """
    kind = type(value)
    try:
        if kind is tuple or kind is list:
            return kind(map(plain, value))
        if kind is dict:
            return {plain(key): plain(item) for key, item in value.items()}
    except RecursionError:  # a list that holds itself
        return value
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.generic):
        return value
    found = value.item()
    return float(found) if isinstance(found, numpy.floating) else found  # longdouble's item is a longdouble


def is_whole(value: Any) -> bool:
    """Whether ``value`` is a whole number, of Python's or NumPy's integers.

    >>> is_whole(3), is_whole(3.0), is_whole(True)
    (True, False, False)
    """
    value = plain(value)
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether ``value`` is a real number, of Python's or NumPy's, NaN and infinity among them.

    >>> is_number(3), is_number("3"), is_number(True)
    (True, False, False)
    """
    value = plain(value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def inside(value: float, within: str) -> bool:
    """Whether a number is in an interval, such as "[0, 1)".

    >>> inside(0, "[0, 1)"), inside(1, "[0, 1)"), inside(float("nan"), "[0, inf)")
    (True, False, False)
    """
    low, high = (float(end) for end in within[1:-1].split(","))
    above = low <= value if within[0] == "[" else low < value
    return above and (value <= high if within[-1] == "]" else value < high)


def number(owner: str, name: str, value: Any, low: float, high: float, ends: str = "[)") -> float:
    """``value`` as a float where it is a number from low to high, else a ConfigError.

    ends : whether low and high are allowed themselves, as in the interval's notation

    >>> number("Adam", "beta1", 1, 0.0, 1.0)
    Traceback (most recent call last):
    ...
    dlcore.errors.ConfigError: Adam: beta1 is 1 but a number in [0, 1) is expected
    """
    within = f"{ends[0]}{low:g}, {high:g}{ends[1]}"
    found = plain(value)
    if is_number(found) and inside(found, within):
        with suppress(OverflowError):  # an int that no float holds
            return float(found)
    expected = f"in {within}" if math.isfinite(high) else f"{'>=' if ends[0] == '[' else '>'} {low:g}"
    raise ConfigError(f"{owner}: {name} is {value!r:.80} but a number {expected} is expected")


def whole(owner: str, name: str, value: Any, least: float = -math.inf) -> int:
    """``value`` as an int where it is a whole number of at least ``least``, else a ConfigError.

    >>> whole("Cosine", "epochs", 2.5, 1)
    Traceback (most recent call last):
    ...
    dlcore.errors.ConfigError: Cosine: epochs is 2.5 but a whole number >= 1 is expected
    """
    if not is_whole(value) or value < least:
        expected = "a whole number" if math.isinf(least) else f"a whole number >= {least}"
        raise ConfigError(f"{owner}: {name} is {value!r:.80} but {expected} is expected")
    return int(value)


def flag(owner: str, name: str, value: Any) -> bool:
    """``value`` as a bool where it is True or False, else a ConfigError.

    >>> flag("Dense", "bias", 3)
    Traceback (most recent call last):
    ...
    dlcore.errors.ConfigError: Dense: bias is 3 but True or False is expected
    """
    found = plain(value)
    if not isinstance(found, bool):
        raise ConfigError(f"{owner}: {name} is {value!r:.80} but True or False is expected")
    return found
