"""What came out of a search: its trials, the best of them, and how the figure depends on each parameter."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlcore.errors import TrainingError
from dlcore.tune.correlation import Correlation, spearman
from dlcore.tune.space import Choice, Parameter, label

__all__ = ["FILES", "Study", "Trial"]

FILES = ("trials.csv", "tune.json", "parallel.png", "scatter.png")
"""What :meth:`Study.write` writes."""


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
class Study:
    """The trials of a search, by number.

    metric : what was optimised
    maximize : whether more of it is better
    space : of the coarse round; ``fine`` of the second round, None without one
    asked : everything that identifies the search, as its journal holds it

    >>> from dlcore import tune
    >>> space = {"lr": tune.log(1e-3, 1.0), "rule": tune.choice("sgd", "adam")}
    >>> def loss(settings, report):
    ...     return abs(math.log10(settings["lr"]) + 2) + (settings["rule"] == "sgd")
    >>> study = tune.search(loss, space, trials=12)
    >>> study.best.settings["rule"], study.best is study.ranked[0]
    ('adam', True)
    >>> found = study.correlations()
    >>> -1 <= found["lr"].rho <= 1, found["rule"]
    (True, None)
    >>> {rule: n for rule, (mean, n) in study.means("rule").items()}
    {'sgd': 6, 'adam': 6}
    >>> import tempfile
    >>> [path.name for path in study.write(tempfile.mkdtemp())]
    ['trials.csv', 'tune.json', 'parallel.png', 'scatter.png']
    """

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
        values = [worst if _finite(trial.value) is None else float(trial.value or 0.0) for trial in trials]
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

    def write(self, folder: str | Path) -> list[Path]:
        """Write ``trials.csv``, ``tune.json``, ``parallel.png`` and ``scatter.png`` into a folder; returns the paths.

        The pictures are left out where no trial came to its end.
        """
        from dlcore.train.checkpoint.arrays import write_atomically
        from dlcore.tune.pictures import draw_parallel, draw_scatter

        place = Path(folder).expanduser()
        written = [
            write_atomically(place / "trials.csv", self._csv),
            write_atomically(place / "tune.json", lambda: json.dumps(self._plain(), indent=2) + "\n"),
        ]
        if any(trial.state == "done" for trial in self.trials):
            written += [draw_parallel(place / "parallel.png", self), draw_scatter(place / "scatter.png", self)]
        return written

    def _rank(self, trial: Trial) -> tuple[int, float]:
        place = ("done", "pruned", "diverged", "failed", "lost").index(trial.state)
        if trial.value is None or trial.state != "done":
            return max(place, 1), 0.0
        return place, -trial.value if self.maximize else trial.value

    def _csv(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["trial", "round", "state", self.metric, *self.space, "reports", "seconds", "why"])
        for trial in self.trials:
            settings = [label(trial.settings[name]) for name in self.space]
            value = "" if trial.value is None else repr(trial.value)
            writer.writerow(
                [trial.number, trial.round, trial.state, value, *settings, len(trial.reported), f"{trial.seconds:.3f}",
                 trial.why]
            )  # fmt: skip
        return text.getvalue()

    def _plain(self) -> dict[str, Any]:
        done = any(trial.state == "done" for trial in self.trials)
        return {
            "metric": self.metric,
            "maximize": self.maximize,
            "asked": dict(self.asked),
            "space": {name: parameter.described() for name, parameter in self.space.items()},
            "fine": None if self.fine is None else {name: p.described() for name, p in self.fine.items()},
            "best": _record(self.best) if done else None,
            "correlations": {
                name: None if found is None else {k: _finite(v) for k, v in vars(found).items()}
                for name, found in self.correlations().items()
            },
            "trials": [_record(trial) for trial in self.trials],
        }


def _record(trial: Trial) -> dict[str, Any]:
    return {
        **vars(trial),
        "settings": dict(trial.settings),
        "value": _finite(trial.value),
        "reported": [_finite(value) for value in trial.reported],
    }


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
