"""A round of a search, as the journal holds it, and the processes that work on it.

What is to be tried is written into the journal first; a worker takes one waiting trial after the other until none is
left. Nobody waits for anybody: a worker that is killed takes its one trial with it, which is marked as lost and tried
again, up to ``TRIES`` times.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from dlcore.errors import TrainingError, in_one_line
from dlcore.tune.journal import JournalError, opened
from dlcore.tune.space import Parameter, Range, Space, label
from dlcore.tune.trials import Trial

__all__ = ["PRUNERS", "TRIES", "Objective", "Pruned", "Report", "Round"]

TRIES = 3
"""How often a trial whose process is killed is begun; then it is given up, so that a search always ends."""

Report = Callable[[float], None]
Objective = Callable[[dict[str, Any], Report], float]

PRUNERS: dict[str | None, Callable[[], optuna.pruners.BasePruner]] = {
    None: optuna.pruners.NopPruner,
    # Four whole trials first, and no verdict on a first epoch.
    "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2),
    # After 1, 3, 9, ... epochs a third goes on.
    "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
}


class Pruned(Exception):  # noqa: N818  no error: the search ends a trial that is worse than others
    """Raised by ``report`` where the trial is to end."""


class Round:
    """One round: an Optuna study called "coarse" or "fine".

    folder : of the journal; None: in memory
    storage : where it is open already
    prune : a name of PRUNERS
    """

    def __init__(
        self,
        name: str,
        maximize: bool,
        prune: str | None,
        folder: Path | None = None,
        storage: BaseStorage | None = None,
    ) -> None:
        self.name, self.maximize, self.prune, self.folder = name, maximize, prune, folder
        self.storage = opened(folder) if storage is None else storage
        self.study = optuna.create_study(
            storage=self.storage,
            study_name=name,
            direction="maximize" if maximize else "minimize",
            sampler=optuna.samplers.RandomSampler(),  # never asked
            pruner=PRUNERS[prune](),
            load_if_exists=True,
        )
        self._id = self.storage.get_study_id_from_name(name)
        self.space: Space = {}

    # --- what is to be tried

    def enqueue(self, wanted: Mapping[int, Mapping[str, Any]]) -> None:
        """Write down what is to be tried, by number: what the journal does not hold yet, and what was lost.

        Nobody may be working: what runs then was left by a search that was ended, and is lost.
        """
        self.lose("interrupted")
        for number, settings in wanted.items():
            if self._is_missing(number):
                self._add(number, settings)

    def again(self) -> None:
        """Write down what was lost to be tried again."""
        for number, trials in self._by_number().items():
            if self._is_missing(number):
                self._add(number, self._settings(trials[-1]))

    def lose(self, how: str, process: int | None = None) -> bool:
        """Mark the running trials, all or those of a process, as lost: "killed" or "interrupted". Were there any?"""
        running = [
            trial
            for trial in self._frozen(TrialState.RUNNING)
            if process is None or trial.user_attrs.get("process") == process
        ]
        for trial in running:
            self._note(trial.number, "lost", how)
            self.study.tell(trial.number, state=TrialState.FAIL)
        return bool(running)

    @property
    def waiting(self) -> int:
        return len(self._frozen(TrialState.WAITING))

    # --- work

    def work(self, objective: Objective, told: Callable[[], None] | None = None) -> None:
        """Try what waits, one after the other, until nothing does.

        told : called after each trial
        """
        while (number := self._take()) is not None:
            self._attempt(number, objective)
            if told is not None:
                told()

    def _take(self) -> int | None:
        """The number in the journal of a trial that waited and is now ours; None where none waits."""
        for trial in self._frozen(TrialState.WAITING):
            try:
                if self.storage.set_trial_state_values(self._trial_id(trial.number), TrialState.RUNNING):
                    return trial.number
            except optuna.exceptions.UpdateFinishedTrialError:  # another process has tried it meanwhile
                continue
        return None

    def _attempt(self, number: int, objective: Objective) -> None:
        self._note(number, "process", os.getpid())
        settings = self._settings(self.storage.get_trial(self._trial_id(number)))
        try:
            value = float(objective(settings, self._report(number)))
            if not math.isfinite(value):
                raise TrainingError(f"the figure is {value}")
        except Pruned:
            self.study.tell(number, state=TrialState.PRUNED)
        except JournalError:
            raise
        except Exception as error:
            self._note(number, "diverged", isinstance(error, TrainingError))
            self._note(number, "why", in_one_line(error))
            self.study.tell(number, state=TrialState.FAIL)
        except BaseException:
            self.lose("interrupted", os.getpid())
            raise
        else:
            self.study.tell(number, value)

    def _report(self, number: int) -> Report:
        """What the objective calls with its figure after each epoch."""
        trial, step = self._trial_id(number), 0

        def report(value: float) -> None:
            nonlocal step
            step += 1
            self.storage.set_trial_intermediate_value(trial, step, float(value))
            if self.study.pruner.prune(self.study, self.storage.get_trial(trial)):
                raise Pruned

        return report

    # --- what came out

    def finished(self) -> dict[int, Trial]:
        """Every attempt that has ended, by its number in the journal; those that were lost too."""
        return {trial.number: self._trial(trial) for trial in self._frozen() if trial.state.is_finished()}

    def trials(self) -> list[Trial]:
        """The trials by number, each once: its attempt that counts, or else the last."""
        chosen = []
        for trials in self._by_number().values():
            ended = [trial for trial in trials if trial.state.is_finished()]
            if ended:
                chosen.append(self._trial(next((trial for trial in ended if _counts(trial)), ended[-1])))
        return sorted(chosen, key=lambda trial: trial.number)

    def _trial(self, trial: FrozenTrial) -> Trial:
        notes = trial.user_attrs
        if trial.state == TrialState.FAIL:
            state = "lost" if "lost" in notes else "diverged" if notes.get("diverged") else "failed"
        else:
            state = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned"}[trial.state]
        reported = tuple(value for _, value in sorted(trial.intermediate_values.items()))
        value = trial.value if trial.state == TrialState.COMPLETE else None
        if state == "pruned" and reported:
            value = reported[-1]
        why = f"its process was {notes['lost']}" if state == "lost" else notes.get("why", "")
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        return Trial(notes["number"], self.name, self._settings(trial), state, value, reported, seconds, why)

    # --- the journal

    def _add(self, number: int, settings: Mapping[str, Any]) -> None:
        self.study.add_trial(
            create_trial(
                state=TrialState.WAITING,
                params={name: label(value) for name, value in settings.items()},
                distributions={name: _distribution(self.space[name]) for name in settings},
                user_attrs={"number": number},
            )
        )

    def _settings(self, trial: FrozenTrial) -> dict[str, Any]:
        return {name: parameter.value(trial.params[name]) for name, parameter in self.space.items()}

    def _is_missing(self, number: int) -> bool:
        """Whether a trial must be written down (again)."""
        trials = self._by_number().get(number, [])
        if any(_counts(trial) or not trial.state.is_finished() for trial in trials):
            return False
        return sum(trial.user_attrs["lost"] == "killed" for trial in trials) < TRIES

    def _by_number(self) -> dict[int, list[FrozenTrial]]:
        found: dict[int, list[FrozenTrial]] = {}
        for trial in self._frozen():
            found.setdefault(trial.user_attrs["number"], []).append(trial)
        return found

    def _frozen(self, *states: TrialState) -> list[FrozenTrial]:
        return self.storage.get_all_trials(self._id, deepcopy=False, states=states or None)

    def _trial_id(self, number: int) -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self._id, number)

    def _note(self, number: int, key: str, value: Any) -> None:
        self.storage.set_trial_user_attr(self._trial_id(number), key, value)


def _counts(trial: FrozenTrial) -> bool:
    """Whether a trial has ended by itself, well or not."""
    return trial.state.is_finished() and "lost" not in trial.user_attrs


def _distribution(parameter: Parameter) -> BaseDistribution:
    """What Optuna, and its other tools that read the journal, call the parameter."""
    if not isinstance(parameter, Range):
        return CategoricalDistribution([label(value) for value in parameter.values])
    if parameter.whole:
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
