"""JSON as the standard has it, without the NaN and Infinity that Python would write."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["json_text"]


def json_text(value: Any, indent: int | None = None) -> str:
    """``value`` as JSON, null for a number that is not finite, also in dicts, lists and tuples.

    >>> json_text({"loss": float("nan"), "parts": (0.5, [float("-inf")])})
    '{"loss": null, "parts": [0.5, [null]]}'
    """
    from dlcore._core.plain import plain

    return json.dumps(plain(value), indent=indent, allow_nan=False)
