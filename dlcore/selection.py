"""Which of several runs to take: the best by one figure among those whose other figures are good enough (notes 3.2)."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dlcore._core.configurable import did_you_mean
from dlcore._core.validation import is_number
from dlcore.errors import ConfigError

__all__ = ["SelectionPolicy", "condition"]

SIGNS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}
SMALLER = (
    "loss", "mse", "mae", "mape", "nll", "perplexity", "parameters", "seconds", "epochs", "bytes", "_ms", "_mb", "size",
    "latency", "memory",
)  # fmt: skip
"""Ends of figures that are better when smaller, and so are those that begin with "ms_", and all kinds of error."""


@dataclass(frozen=True)
class SelectionPolicy:
    """An optimising metric, to be as good as can be, and satisficing ones, to be good enough.

    optimize : the figure that decides
    satisfice : by figure, a sign of <=, <, >=, > and a limit
    larger_is_better : of ``optimize``; by default True but for losses, errors, times and sizes

    >>> policy = SelectionPolicy(optimize="accuracy", satisfice={"ms_per_image": ("<=", 5)})
    >>> runs = {"small": {"accuracy": 0.88, "ms_per_image": 2}, "large": {"accuracy": 0.93, "ms_per_image": 9}}
    >>> policy.choose(runs)
    'small'
    >>> policy.reasons(runs)
    {'large': 'ms_per_image is 9, not <= 5'}

    Source: notes, 3.2.
    """

    optimize: str
    satisfice: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    larger_is_better: bool | None = None

    def __post_init__(self) -> None:
        for name, rule in self.satisfice.items():
            if not isinstance(rule, tuple | list) or len(rule) != 2 or rule[0] not in SIGNS or not _is_number(rule[1]):
                raise ConfigError(f"satisfice: {name} has {rule!r} but a sign and a limit are expected, ('<=', 5)")

    def choose(self, runs: Mapping[str, Any] | Iterable[Any]) -> Any:
        """The best run that satisfies all, the first of equal ones; None where there is none, see :meth:`reasons`.

        runs : by name their figures (the name comes back); or a list of runs of ``dlcore.train.runs.run`` or of dicts

        Raises ConfigError for no runs and for a figure that none of them has.
        """
        named = self._named(runs)
        refused = self._refused(named)
        larger = self._larger()
        fit = [(figures, run) for place, (_, figures, run) in enumerate(named) if place not in refused]
        best = max if larger else min
        return best(fit, key=lambda one: one[0][self.optimize])[1] if fit else None

    def reasons(self, runs: Mapping[str, Any] | Iterable[Any]) -> dict[str, str]:
        """By name, why a run is not to be taken at all.

        runs : figures by name, by the run's name
        """
        named = self._named(runs)
        return {named[place][0]: why for place, why in self._refused(named).items()}

    def _larger(self) -> bool:
        if self.larger_is_better is not None:
            return self.larger_is_better
        base = self.optimize.removeprefix("train_").removeprefix("dev_")
        return not (base.endswith(SMALLER) or base.startswith("ms_") or "error" in base.split("_"))

    def _named(self, runs: Any) -> list[tuple[str, Mapping[str, Any], Any]]:
        """Name, figures, and what is to come back."""
        if isinstance(runs, Mapping):
            named = [(str(name), getattr(one, "figures", one), name) for name, one in runs.items()]
        else:
            named = [(getattr(r, "name", f"run {i}"), getattr(r, "figures", r), r) for i, r in enumerate(runs)]
        if not named:
            raise ConfigError("SelectionPolicy: no runs came; pass at least one")
        known = sorted({name for _, figures, _ in named for name in figures})
        for name in (self.optimize, *self.satisfice):
            if name not in known:
                hint = did_you_mean(name, known)
                raise ConfigError(f"{name} was recorded of no run{hint}; there are {', '.join(known) or 'no figures'}")
        return named

    def _refused(self, named: list[tuple[str, Mapping[str, Any], Any]]) -> dict[int, str]:
        found = {}
        for place, (_, figures, _) in enumerate(named):
            why = [self._unlike(name, figures.get(name), *rule) for name, rule in self.satisfice.items()]
            if not _is_number(figures.get(self.optimize)):
                why.append(f"{self.optimize} was not recorded")
            if any(why):
                found[place] = ", ".join(filter(None, why))
        return found

    @staticmethod
    def _unlike(name: str, value: Any, sign: str, limit: float) -> str:
        if not _is_number(value):
            return f"{name} was not recorded"
        return "" if SIGNS[sign](value, limit) else f"{name} is {value:.6g}, not {sign} {limit:g}"


def condition(text: str) -> tuple[str, tuple[str, float]]:
    """A condition as it is written on the command line.

    >>> condition("ms_per_image<=5")
    ('ms_per_image', ('<=', 5.0))
    """
    found = re.fullmatch(r"\s*(\w+)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*", text)
    try:
        return found[1], (found[2], float(found[3]))  # pyright: ignore[reportOptionalSubscript]
    except (TypeError, ValueError):
        raise ConfigError(
            f"--satisfice is {text!r} but a figure and its limit are expected: 'ms_per_image<=5'"
        ) from None


def _is_number(value: Any) -> bool:
    return is_number(value) and math.isfinite(value)
