"""The trials of a search: which is the best, and how the figure depends on each parameter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dlcore.errors import TrainingError
from dlcore.tune.correlation import Correlation, spearman
from dlcore.tune.space import Choice, Parameter

__all__ = ["Trial", "Trials", "finite"]


@dataclass(frozen=True)
class Trial:
    """One trial.

    number : from 0, over all rounds
    round : "coarse" or "fine"
    settings : what was tried, by name
    state : done; pruned, ended early because it was worse than others; diverged, its figures were not finite; failed,
        for a reason that is ``why``; lost, its process was killed
    value : the figure that is optimised; of a pruned trial the last one that it reported
    reported : the figure after each epoch
    seconds : how long it took

    >>> trial = Trial(number=0, round="coarse", settings={"lr": 0.01}, state="done", value=0.93, reported=(0.9, 0.93))
    >>> trial.settings["lr"], max(trial.reported)
    (0.01, 0.93)
    """

    number: int
    round: str
    settings: Mapping[str, Any]
    state: str
    value: float | None
    reported: tuple[float, ...] = ()
    seconds: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Trials:
    """The trials of a search, by number; :class:`dlcore.tune.Study` says what the fields are."""

    metric: str
    maximize: bool
    space: Mapping[str, Parameter]
    trials: list[Trial]
    fine: Mapping[str, Parameter] | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ranked(self) -> list[Trial]:
        """All trials, the best first; of equal ones the earlier. Those that did not come to their end are last."""
        return sorted(self.trials, key=lambda trial: (*self._rank(trial), trial.number))

    @property
    def best(self) -> Trial:
        """The best trial. TrainingError, with the first reason, where none came to its end."""
        ranked = self.ranked
        if ranked and ranked[0].state == "done":
            return ranked[0]
        why = next((f"; the first: {trial.why}" for trial in self.trials if trial.why), "")
        raise TrainingError(f"none of the {len(self.trials)} trials came to its end{why}")

    def correlations(self) -> dict[str, Correlation | None]:
        """Spearman's ρ of each parameter with the figure, over the trials of the coarse round; None for words.

        The coarse round alone, because it covers the whole space evenly; the fine round is where the first was good. A
        trial that was pruned counts with the figure that it had then: without these, ρ would be that of the better
        trials alone. One that diverged counts as the worst. Failed and lost ones are left out.
        """
        worst = -math.inf if self.maximize else math.inf
        trials = self._coarse("done", "pruned", "diverged")
        values = [worst if finite(trial.value) is None else float(trial.value or 0.0) for trial in trials]
        found: dict[str, Correlation | None] = {}
        for name, parameter in self.space.items():
            ranked = not isinstance(parameter, Choice) or parameter.numeric
            found[name] = spearman([trial.settings[name] for trial in trials], values) if ranked else None
        return found

    def _coarse(self, *states: str) -> list[Trial]:
        return [trial for trial in self.trials if trial.round == "coarse" and trial.state in states]

    def means(self, name: str) -> dict[Any, tuple[float, int]]:
        """By value of a choice, the mean figure of the coarse round's finished trials, and their number.

        name : of the choice
        """
        groups: dict[Any, list[float]] = {}
        for trial in self._coarse("done"):
            if trial.value is not None:
                groups.setdefault(trial.settings[name], []).append(trial.value)
        return {value: (math.fsum(figures) / len(figures), len(figures)) for value, figures in groups.items()}

    def _rank(self, trial: Trial) -> tuple[int, float]:
        place = ("done", "pruned", "diverged", "failed", "lost").index(trial.state)
        if trial.value is None or trial.state != "done":
            return max(place, 1), 0.0
        return place, -trial.value if self.maximize else trial.value


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
