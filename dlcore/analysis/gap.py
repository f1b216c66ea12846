"""One step between two errors of a model, and whether chance explains it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from dlcore.analysis.intervals import Ends, difference_of, positive_interval, quantile, wilson_interval

__all__ = ["PROPORTIONS", "WORDS", "Gap", "Judge"]

WORDS = {"bayes": "Bayes", "train": "training", "train_dev": "train-dev", "dev": "development"}
PROPORTIONS = ("accuracy", "top_k")
"""Metrics that are the share of the examples that are right: one minus them is an error with a known spread."""

ROUNDING = 1e-12
"""1 - 0.98 is larger than 0.02 by less than that."""

MORE = {
    "train": "more training examples",
    "train_dev": "a larger train-dev set (--train-dev)",
    "dev": "a larger development set",
}
"""By set, what is needed where it has too few examples."""


@dataclass(frozen=True)
class Gap:
    """One step between two errors.

    name : "avoidable bias", "variance" or "mismatch"
    value : the larger set of conditions' error minus the other's
    low, high : its interval; None where chance cannot be told
    above, below : the two errors, by what they are of
    examples : over how many examples each was measured, where that is known
    state : "there": larger than chance and than what is permissible; "not there": even the interval's end is
        permissible; else "open"
    why : for an open one, what would settle it

    ``float(gap)`` is its value.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    above: tuple[str, float]
    below: tuple[str, float]
    examples: Mapping[str, int]
    state: Literal["there", "not there", "open"]
    why: str = ""

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        (of, error), (less, other) = self.above, self.below
        chance = "" if self.low is None else f" ({_signed(self.low)} to {_signed(self.high)})"
        return f"{self.name} {_signed(self.value)}{chance}: {WORDS[of]} {error:.4f} − {WORDS[less]} {other:.4f}"


@dataclass(frozen=True)
class Judge:
    """The errors by set, how many examples each is of, its standard error, and what is asked of a gap."""

    errors: Mapping[str, float]
    examples: Mapping[str, int]
    spreads: Mapping[str, float]
    permissible: float
    confidence: float
    metric: str

    @property
    def proportion(self) -> bool:
        return self.metric.endswith(PROPORTIONS)

    def gap(self, name: str, above: str, below: str) -> Gap:
        value = self.errors[above] - self.errors[below]
        its, others = self._ends(above), self._ends(below)
        low, high = (
            difference_of(self.errors[above], its, self.errors[below], others) if its and others else (None,) * 2
        )
        state: Literal["there", "not there", "open"] = "open"
        if low is not None and high is not None:
            permissible = self.permissible + ROUNDING
            if low > 0 and value > permissible:
                state = "there"
            elif high <= permissible:
                state = "not there"
        counts = {part: self.examples[part] for part in (above, below) if part in self.examples}
        why = self._why(above, below) if state == "open" else ""
        ends = (above, self.errors[above]), (below, self.errors[below])
        return Gap(name, value, low, high, *ends, counts, state, why)

    def settling(self, gaps: Iterable[Gap]) -> list[str]:
        """What settles those that are open, each thing once."""
        steps = []
        for gap in (gap for gap in gaps if gap.state == "open"):
            few = self._few(gap.above[0], gap.below[0])
            if few is None:
                steps.append("say what is permissible (--permissible): a gap lies near it")
            else:
                steps.append(f"measure on more examples, before a knob is turned for what is open: {MORE[few]}")
        return list(dict.fromkeys(steps))

    def _ends(self, part: str) -> Ends | None:
        """The interval of one error; None where it is not known."""
        error = self.errors[part]
        if part == "bayes":  # taken as known
            return error, error
        if self.proportion:
            return wilson_interval(error, self.examples[part], self.confidence) if part in self.examples else None
        return positive_interval(error, self.spreads[part], self.confidence) if part in self.spreads else None

    def _why(self, above: str, below: str) -> str:
        """What would settle an open gap."""
        missing = [part for part in (above, below) if self._ends(part) is None]
        if missing and not self.proportion:
            return f"{self.metric} is no share of right answers, so chance cannot be told from two means"
        if missing:
            return f"the number of {' and '.join(WORDS[part] for part in missing)} examples is not known; pass examples"
        few = self._few(above, below)
        if few is None:
            return f"it lies near what is permissible, {self.permissible:g}"
        came = (
            f"{self.examples[few]:,} {WORDS[few]} examples do not tell" if few in self.examples else "few examples came"
        )
        needed = self._needed(few)
        would = f"; some {_rounded(needed):,} would, to within {self.permissible:g}" if needed else ""
        return came + would

    def _few(self, above: str, below: str) -> str | None:
        """The set that tells less, where it tells less than what is permissible."""
        known = [(part, ends) for part in (above, below) if (ends := self._ends(part)) is not None and part != "bayes"]
        part, (low, high) = max(known, key=lambda one: one[1][1] - one[1][0], default=("", (0.0, 0.0)))
        enough = self.examples.get(part, 0) >= self._needed(part) if part in self.examples else (
            (high - low) / 2 <= self.permissible
        )  # fmt: skip
        return part if known and not enough else None

    def _needed(self, part: str) -> int:
        """How many examples make the half width of an error's interval what is permissible; 0: not known."""
        z, error = quantile(self.confidence), self.errors[part]
        if self.proportion:
            return math.ceil(max(z * z * error * (1 - error) / self.permissible**2, z * z / self.permissible))
        spread = self.spreads.get(part, 0.0)
        return math.ceil(self.examples.get(part, 0) * (z * spread / self.permissible) ** 2)


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}".replace("-", "−")


def _rounded(n: int) -> int:
    """Two digits, upwards.

    >>> _rounded(1234)
    1300
    """
    unit = 10 ** max(len(str(n)) - 2, 0)
    return -(-n // unit) * unit
