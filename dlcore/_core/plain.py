"""Plain JSON values."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """A value for a JSON file, in dicts and lists too: None for what is not finite.

    >>> plain({"loss": float("nan"), "parts": [0.5, float("inf")]})
    {'loss': None, 'parts': [0.5, None]}
    """
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return list(map(plain, value))
    return None if isinstance(value, float) and not math.isfinite(value) else value
