"""``dlcore tune``: search a model's hyper-parameters, and say which were best and which mattered."""

from __future__ import annotations

import math
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dlcore._core.formatting import figure
from dlcore.cli import texts
from dlcore.cli.options import COMMAND, DEBUG, TRUST, settings_as_flags
from dlcore.errors import ConfigError
from dlcore.train.config.config import Config, dump, load, settings

if TYPE_CHECKING:
    from dlcore.tune.study import Study, Trial

__all__ = ["tune"]

SHOWN = 10
"""Rows of the table; all trials are in trials.csv."""


@settings_as_flags
def tune(
    *,
    search: Annotated[
        list[str] | None,
        Parameter(
            group=COMMAND,
            consume_multiple=True,
            negative=(),
            help="what is searched: NAME=log:LOW:HIGH, NAME=uniform:LOW:HIGH (a third number: points on a grid) or "
            "NAME=VALUE,VALUE,...; the items of a list are joined by +, as in hidden=64,64+32",
        ),
    ] = None,
    trials: Annotated[
        int | None, Parameter(group=COMMAND, help="how many settings are tried [default: 20, of a grid all]")
    ] = None,
    grid: Annotated[
        bool,
        Parameter(group=COMMAND, negative=(), show_default=False, help="every combination, instead of random ones"),
    ] = False,
    refine: Annotated[
        bool,
        Parameter(
            group=COMMAND,
            negative=(),
            show_default=False,
            help="from coarse to fine: half of the trials in the space that the best quarter of the others spans",
        ),
    ] = False,
    prune: Annotated[
        str | None,
        Parameter(group=COMMAND, help="end trials early that are worse than others: median or halving [default: none]"),
    ] = None,
    metric: Annotated[
        str | None,
        Parameter(group=COMMAND, help="what is optimised [default: dev_accuracy, or dev_r2; with heads dev_loss]"),
    ] = None,
    search_seed: Annotated[int | None, Parameter(group=COMMAND, help="seed of what is tried [default: 0]")] = None,
    workers: Annotated[int, Parameter(group=COMMAND, help="trials at the same time, each in a process")] = 1,
    config: Annotated[
        Path | None,
        Parameter(
            group=COMMAND, help="TOML file of settings, such as a run's config.toml; flags take precedence over it"
        ),
    ] = None,
    trust: TRUST = False,
    debug: DEBUG = False,
    **given: Any,
) -> int:
    """Search hyper-parameters: train with many settings, and compare them on the development set.

    Every flag of dlcore train but what is searched holds for all trials. The folder, runs/tune-DATA-MODEL or
    runs/NAME, holds the journal tune.log, trials.csv, tune.json, best.toml, parallel.png and scatter.png. The same
    command goes on with a search that was ended.
    """
    from dlcore.tune.words import parse

    if not search:
        raise ConfigError("there is nothing to search; give --search lr=log:1e-4:1e-1, or several such")
    space = parse(search)
    if grid and search_seed is not None:
        raise ConfigError("--search-seed has no effect with --grid, which draws nothing; leave one of them out")
    for name in space:
        if name in given:
            raise ConfigError(f"--search: {name} came as {settings()[name].flag} too; leave one of them out")

    from dlcore.train.checkpoint.arrays import write_atomically
    from dlcore.train.checkpoint.user_model import check_known
    from dlcore.train.config.unused import refuse_unused
    from dlcore.tune import search as find
    from dlcore.tune.training import Training

    base = Config() if config is None else load(config)
    if config is not None and "model" not in given and (config.parent / "model.json").exists():
        check_known(base.model.model)
    objective = Training(base, given, metric)
    shared = base.override(given)
    refuse_unused(given, shared, _trials(objective, space), objective.data, never=_UNUSED)
    print(texts.about_data(objective.data), flush=True)
    model = "models" if "model" in space else texts.model_name(objective.of(_any(space)).resolve(objective.data))
    folder = Path(shared.run.runs).expanduser() / (shared.run.name or f"tune-{objective.data.name}-{model}")
    print(f"search: {', '.join(f'{name} {parameter.described()}' for name, parameter in space.items())}", flush=True)
    told = _Told(objective)
    try:
        study = find(
            objective, space, trials=trials, method="grid" if grid else "random", refine=refine, prune=prune,
            seed=search_seed or 0, workers=workers, folder=folder, on_trial=told,
        )  # fmt: skip
    except KeyboardInterrupt as interruption:
        interruption.args = (*interruption.args, "and kept: the same command goes on")
        raise
    print("\n".join(_table(study)))
    print("\n".join(_correlations(study)))
    if any(trial.state == "done" for trial in study.trials):  # said first: the disk may be full
        best = study.best
        print(
            f"best: trial {best.number}, {study.metric} {_figure(best)}; as the best of {len(study.trials)} it "
            f"flatters, the test set says more:\n  {_command(objective.of(best.settings))}"
        )
    study.write(folder)
    chosen = objective.of(study.best.settings).anchored()
    path = write_atomically(folder / "best.toml", lambda: dump(Config.of(**{**chosen.flat(), "name": None})))
    print(f"  dlcore train --config {shlex.quote(str(path))}")
    print(f"pictures: {folder / 'parallel.png'}, {folder / 'scatter.png'}; all trials: {folder / 'trials.csv'}")
    return 0


_UNUSED = ("baseline", "checkpoint_steps", "checkpoint_minutes")
"""Trials have no baseline, and are not saved."""


def _trials(objective: Any, space: Any) -> list[Config]:
    """Resolved settings of trials: each value of each parameter occurs in one of them."""
    found = []
    for name, parameter in space.items():
        for value in parameter.grid():
            with suppress(ConfigError):  # what does not go together, which the search refuses
                found.append(objective.of({**_any(space), name: value}).resolve(objective.data))
    return found


def _any(space: Any) -> dict[str, Any]:
    return {name: parameter.grid()[0] for name, parameter in space.items()}


class _Told:
    """Prints a line for each trial, and the best figure so far."""

    def __init__(self, objective: Any) -> None:
        self.objective = objective
        self.best: float | None = None

    def __call__(self, trial: Trial) -> None:
        sign = 1 if self.objective.maximize else -1
        if trial.state == "done" and trial.value is not None:
            better = self.best is None or sign * (trial.value - self.best) > 0
            self.best = trial.value if better else self.best
        result = _figure(trial) if trial.state == "done" else trial.state
        if trial.state == "pruned":
            result = f"pruned after {len(trial.reported)} epoch{'s' * (len(trial.reported) != 1)} at {_figure(trial)}"
        best = "" if self.best is None else f", best {figure(self.best)}"
        why = f" ({trial.why})" if trial.why else ""
        print(
            f"trial {trial.number}, {trial.round}: {_settings(trial)}: {result}{why}, {trial.seconds:.1f} s{best}",
            flush=True,
        )


def _settings(trial: Trial) -> str:
    return ", ".join(f"{name} {_word(value)}" for name, value in trial.settings.items())


def _word(value: Any) -> str:
    from dlcore.tune.space import label

    return f"{value:g}" if isinstance(value, float) else str(label(value))


def _figure(trial: Trial) -> str:
    return "" if trial.value is None else figure(trial.value)


def _table(study: Study) -> list[str]:
    """The best trials, the best first."""
    rows = [["trial", "round", study.metric, *study.space, "epochs", "seconds", "state"]]
    for trial in study.ranked[:SHOWN]:
        settings_ = [_word(trial.settings[name]) for name in study.space]
        rows.append(
            [str(trial.number), trial.round, _figure(trial), *settings_, str(len(trial.reported)),
             f"{trial.seconds:.1f}", trial.state]
        )  # fmt: skip
    more = len(study.trials) - SHOWN
    return [*texts.table(rows, left={1, len(rows[0]) - 1}), *([f"... and {more} more"] if more > 0 else [])]


def _correlations(study: Study) -> list[str]:
    """How the figure goes with each parameter."""
    rows = [["Spearman's ρ", "with " + study.metric, "95 % interval", "trials"]]
    lines = []
    for name, found in study.correlations().items():
        if found is None:
            means = [f"{_word(value)} {figure(mean)} (n {n})" for value, (mean, n) in study.means(name).items()]
            lines.append(f"mean {study.metric} by {name}: {', '.join(means) or 'none'}")
            continue
        between = "-" if math.isnan(found.low) else f"{found.low:+.2f} to {found.high:+.2f}"
        rows.append([name, "-" if math.isnan(found.rho) else f"{found.rho:+.2f}", between, str(found.n)])
    pruned = sum(trial.state == "pruned" and trial.round == "coarse" for trial in study.trials)
    if pruned:
        lines.append(f"pruned in the first round: {pruned}, with their last figure part of ρ, but of no mean")
    return [*(texts.table(rows, left={0}) if len(rows) > 1 else []), *lines]


def _command(chosen: Config) -> str:
    """The command that trains with these settings."""
    words = ["dlcore", "train"]
    usual = Config().flat()
    for name, value in chosen.flat().items():
        if value == usual[name] or name in ("name", "runs"):
            continue
        flag = settings()[name].flag
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag.removeprefix('--')}")
        else:
            items = value if isinstance(value, tuple) else (value,)
            words += [flag, *(repr(item) if isinstance(item, float) else str(item) for item in items)]
    return shlex.join(words)
