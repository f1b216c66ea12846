"""What came out of a search, and the files that show it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from dlcore.tune.pictures import draw_parallel, draw_scatter
from dlcore.tune.space import label
from dlcore.tune.trials import Trial, Trials, finite

__all__ = ["FILES", "Study", "Trial"]

FILES = ("trials.csv", "tune.json", "parallel.png", "scatter.png")
"""What :meth:`Study.write` writes."""


class Study(Trials):
    """The trials of a search, by number.

    metric : what was optimised
    maximize : whether more of it is better
    space : of the coarse round; ``fine`` of the second round, None without one
    asked : everything that identifies the search, as its journal holds it

    >>> import math
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

    def write(self, folder: str | Path) -> list[Path]:
        """Write ``trials.csv``, ``tune.json``, ``parallel.png`` and ``scatter.png`` into a folder; returns the paths.

        The pictures are left out where no trial came to its end.
        """
        from dlcore.train.checkpoint.arrays import write_atomically

        place = Path(folder).expanduser()
        written = [
            write_atomically(place / "trials.csv", self._csv),
            write_atomically(place / "tune.json", lambda: json.dumps(self._plain(), indent=2) + "\n"),
        ]
        if any(trial.state == "done" for trial in self.trials):
            written += [draw_parallel(place / "parallel.png", self), draw_scatter(place / "scatter.png", self)]
        return written

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
                name: None if found is None else {k: finite(v) for k, v in vars(found).items()}
                for name, found in self.correlations().items()
            },
            "trials": [_record(trial) for trial in self.trials],
        }


def _record(trial: Trial) -> dict[str, Any]:
    return {
        **vars(trial),
        "settings": dict(trial.settings),
        "value": finite(trial.value),
        "reported": [finite(value) for value in trial.reported],
    }
