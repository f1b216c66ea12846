"""What a part of level 7 hands back."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Result", "judged"]


@dataclass(frozen=True)
class Result:
    """A part's outcome.

    state : "passed", "failed", "left out" for the budget, or "not installed" where the tool that it needs is missing;
        only the first is a pass
    summary : in a few words
    found : whatever it measured, as JSON holds it; "worst" is a list of lines for the summary's page
    """

    state: str
    summary: str
    found: dict[str, Any] = field(default_factory=dict)

    def packed(self) -> dict[str, Any]:
        """For a file."""
        return {"state": self.state, "summary": self.summary, "found": _finite(self.found)}


def judged(ok: bool, summary: str, **found: Any) -> Result:
    """A result that passed or failed."""
    return Result("passed" if ok else "failed", summary, found)


def _finite(x: Any) -> Any:
    """JSON has no NaN and no infinity: they become words."""
    if isinstance(x, dict):
        return {name: _finite(value) for name, value in x.items()}
    if isinstance(x, list | tuple):
        return [_finite(value) for value in x]
    return str(x) if isinstance(x, float) and not math.isfinite(x) else x
