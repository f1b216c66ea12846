"""``dl.tune.search``: draw, try, narrow, try again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dlcore._core.configurable import did_you_mean
from dlcore._core.lock import Lock
from dlcore._core.validation import is_whole
from dlcore.errors import ConfigError
from dlcore.train.config.config import Config
from dlcore.train.runs.run import Run
from dlcore.tune import space as spaces
from dlcore.tune import workers as crew
from dlcore.tune.journal import NAME, opened
from dlcore.tune.rounds import PRUNERS, Objective, Round
from dlcore.tune.space import Parameter, Space
from dlcore.tune.study import Study, Trial
from dlcore.tune.training import Training

__all__ = ["BEST_SHARE", "FEWEST", "search"]

TRIALS = 20
BEST_SHARE, FEWEST = 0.25, 2
"""The second round covers what this share of the first round's finished trials spans, at least so many of them."""
_SMALLEST = 4


def search(
    objective: Objective | Config | Training,
    space: Mapping[str, Parameter],
    *,
    trials: int | None = None,
    method: str = "random",
    refine: bool = False,
    prune: str | None = None,
    metric: str | None = None,
    maximize: bool | None = None,
    seed: int = 0,
    workers: int = 1,
    folder: str | Path | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> Study:
    """Try settings from ``space``, and say which were the best.

    objective : settings of a run, which is then trained with each trial's settings in place; or a function
        ``objective(settings, report)`` that returns the figure, and may call ``report(figure)`` after each epoch
    trials : how many, over both rounds; by default 20, of a grid all its points
    method : "random", or "grid" for every combination of the parameters' ``points``
    refine : from coarse to fine: a second round in a smaller space. At random it is given half of the trials. It covers
        what the best quarter of the first round, at least 2 trials, spans on each parameter's own scale, wider on both
        sides by 1/(n + 1) of the first range for n random trials, the mean distance between neighbours, or by half a
        step of a grid; of a choice the values that occur among them
    prune : "median" ends a trial whose best figure so far is worse than the median of the others at its epoch, from the
        second epoch on and after four whole trials; "halving" lets a third go on after 1, 3, 9, ... epochs
    metric : what to optimise, a name in the epochs' records; by default the first metric, such as "dev_accuracy"; of
        a function just a name
    maximize : of a function, whether more is better; by default no. For a run the metric knows
    seed : names what is tried: trial k of a seed is the same whatever the number of trials and workers
    workers : processes that try at the same time; with more than one, ``objective`` must be importable, and a script
        needs ``if __name__ == "__main__":``
    folder : of the journal ``tune.log``. The same search in the same folder goes on: what is done is kept and counts
        towards ``trials``; None keeps nothing
    on_trial : called with each trial as it ends

    A trial that fails or diverges counts as tried. One whose process is killed is tried again, up to three times. With
    pruning and several workers, what is tried stays the same, but which of it is pruned depends on who is faster.

    Raises ConfigError for settings that cannot be searched and for a folder that holds another search, or is in use.

    >>> study = search(lambda settings, report: (settings["x"] - 0.3) ** 2, {"x": spaces.uniform(0.0, 1.0)}, trials=30)
    >>> abs(study.best.settings["x"] - 0.3) < 0.1, len(study.trials)
    (True, 30)

    Source: notes, 3.8; random rather than uniform points: Bergstra and Bengio, "Random search for hyper-parameter
    optimization", 2012.
    """
    space = spaces.checked(space)
    one_of("method", method, ("random", "grid"))
    one_of("prune", prune, tuple(PRUNERS))
    _whole("workers", workers, 1)
    _whole("seed", seed, 0)
    if workers > 1 and folder is None:
        raise ConfigError(f"workers is {workers} but there is no folder; give one, where they share a journal")
    total = _total(space, trials, method, refine)
    asked: dict[str, Any] = {
        "seed": seed, "method": method, "refine": refine, "prune": prune,
        "space": {name: parameter.described() for name, parameter in space.items()},
    }  # fmt: skip
    objective = Training(objective, metric=metric) if isinstance(objective, Config) else objective
    if isinstance(objective, Training):
        asked |= objective.prepare(space)
        metric, maximize = objective.metric, objective.maximize
    asked |= {"metric": metric or "value", "maximize": bool(maximize)}
    if folder is None:
        return _Search(objective, space, asked, total, None, workers, on_trial).run()
    folder = Path(folder).expanduser()
    if any((folder / file).exists() for file in Run.FILES) and not (folder / NAME).exists():
        raise ConfigError(f"{folder} holds a run; choose another folder or name for the search")
    with Lock(folder) as lock:
        return _Search(objective, space, asked, total, lock.folder, workers, on_trial).run()


class _Search:
    """The two rounds, one after the other; the folder's lock is held."""

    def __init__(
        self,
        objective: Objective,
        space: dict[str, Parameter],
        asked: dict[str, Any],
        total: int,
        folder: Path | None,
        workers: int,
        on_trial: Callable[[Trial], None] | None,
    ) -> None:
        self.objective, self.space, self.asked, self.total = objective, space, asked, total
        self.folder, self.workers, self.on_trial = folder, workers, on_trial
        self.storage = opened(folder)

    def run(self) -> Study:
        coarse = self._round("coarse", self.space)
        count = self._agree(coarse)
        self._try(coarse, self._wanted(self.space, 0, count))
        found, fine = coarse.trials(), None
        if self.asked["refine"]:
            fine = self._narrowed(found)
        if fine is not None:
            second = self._round("fine", fine)
            more = len(list(spaces.grid(fine))) if self.asked["method"] == "grid" else self.total - count
            self._try(second, self._wanted(fine, count, more))
            found += second.trials()
        return Study(self.asked["metric"], self.asked["maximize"], self.space, found, fine, self.asked)

    def _round(self, name: str, space: Space) -> Round:
        found = Round(name, self.asked["maximize"], self.asked["prune"], self.folder, self.storage)
        found.space = space
        return found

    def _try(self, round_: Round, wanted: dict[int, dict[str, Any]]) -> None:
        round_.enqueue(wanted)
        crew.run(round_, self.objective, self.workers, self.on_trial)

    def _wanted(self, space: Space, first: int, count: int) -> dict[int, dict[str, Any]]:
        """Settings by number."""
        if self.asked["method"] == "grid":
            return dict(enumerate(spaces.grid(space), first))
        return {number: spaces.sample(space, self.asked["seed"], number) for number in range(first, first + count)}

    def _narrowed(self, found: list[Trial]) -> dict[str, Parameter] | None:
        """The space of the second round; None where nothing in the first came to its end."""
        ranked = Study(self.asked["metric"], self.asked["maximize"], self.space, found).ranked
        done = [trial for trial in ranked if trial.state == "done"]
        if not done:
            return None
        best = done[: max(FEWEST, math.ceil(BEST_SHARE * len(done)))]
        narrow = {}
        for name, parameter in self.space.items():
            step = 0.5 / max(len(parameter.grid()) - 1, 1) if self.asked["method"] == "grid" else 1 / (len(found) + 1)
            narrow |= spaces.narrowed({name: parameter}, [trial.settings for trial in best], step)
        return narrow

    def _agree(self, coarse: Round) -> int:
        """How many trials the coarse round has; ConfigError where the journal holds another search, or a larger one."""
        asked = json.loads(json.dumps(self.asked))
        held = coarse.study.user_attrs.get("asked")
        if held is None:
            if coarse.study.trials:
                raise ConfigError(f"{self.folder} holds a journal that dl.tune has not begun; choose another folder")
            halved = self.asked["refine"] and self.asked["method"] == "random"
            count = math.ceil(self.total / 2) if halved else self.total
            coarse.study.set_user_attr("coarse", count)
            coarse.study.set_user_attr("asked", asked)
            coarse.study.set_user_attr("total", self.total)
            return count
        if asked != held:
            raise ConfigError(
                f"{self.folder} holds another search: {_difference(held, asked)}; choose another folder or name, or "
                "ask for the same"
            )
        before = coarse.study.user_attrs.get("total", 0)
        if self.total < before:
            raise ConfigError(
                f"{self.folder} was begun with {before} trials but {self.total} came; give as many, or more"
            )
        coarse.study.set_user_attr("total", self.total)
        return coarse.study.user_attrs["coarse"] if self.asked["refine"] else self.total


def _total(space: Space, trials: int | None, method: str, refine: bool) -> int:
    if method == "random":
        least = _SMALLEST if refine else 1
        return TRIALS if trials is None else _whole("trials", trials, least)
    points = math.prod(len(parameter.grid()) for parameter in space.values())
    if trials is not None and trials != points:
        raise ConfigError(
            f"trials is {trials!r} but the grid has {points} points; leave trials out, or give the ranges other points"
        )
    return points


def _whole(name: str, value: Any, least: int) -> int:
    if not is_whole(value) or value < least:
        raise ConfigError(f"{name} is {value!r} but a whole number of at least {least} is expected")
    return int(value)


def one_of(name: str, value: Any, known: tuple[Any, ...]) -> None:
    """Raises ConfigError where ``value`` is not known."""
    if value not in known:
        words = [str(word) for word in known if word is not None]
        raise ConfigError(f"{name} is {value!r} but one of {', '.join(words)} is expected{did_you_mean(value, words)}")


def _difference(held: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """The first thing in which two searches differ, in words."""
    for name in dict.fromkeys([*asked, *held]):
        a, b = held.get(name), asked.get(name)
        if a == b:
            continue
        if name == "data":
            return "its data are others"
        if isinstance(a, dict) and isinstance(b, dict):
            return _difference(a, b)
        return f"{name} is {_shown(a)} there but {_shown(b)} here"
    return "the order of its parameters is another"


def _shown(value: Any) -> str:
    return "left out" if value is None else " ".join(map(str, value)) if isinstance(value, list) else str(value)
