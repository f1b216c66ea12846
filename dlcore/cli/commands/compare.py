"""``dlcore runs compare``: several runs side by side, and which of them to take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dlcore._core.formatting import figure
from dlcore.cli.commands.runs import folder_of_runs, print_table, say_unreadable
from dlcore.cli.options import DEBUG
from dlcore.cli.strict_json import json_text
from dlcore.cli.texts import model_name
from dlcore.errors import ConfigError, DlcoreError

if TYPE_CHECKING:
    from dlcore.metrics import SelectionPolicy
    from dlcore.train.runs.run import Run

__all__ = ["compare"]

USUAL = ("loss", "ms_per_image", "parameters", "epochs", "seconds")
"""Figures that are shown besides those that are asked for, where a run has them."""


def compare(
    *names: Annotated[str, Parameter(help="two runs or more: folders, or names among --runs [default: all of --runs]")],
    optimize: Annotated[
        str | None, Parameter(help="figure to be as good as can be [default: the first metric, else loss]")
    ] = None,
    satisfice: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(),
            show_default=False,
            help="condition to be met, such as 'ms_per_image<=5'; may be given several times",
        ),
    ] = (),
    picture: Annotated[str | None, Parameter(help="draw the curves of all: a .png file")] = None,
    runs: Annotated[str, Parameter(help="folder of all runs")] = "runs",
    json_: Annotated[
        bool, Parameter(name="--json", negative=(), show_default=False, help="print JSON, with every digit")
    ] = False,
    debug: DEBUG = False,
) -> int:
    """Set runs side by side, and choose one: the best by one figure among those that meet all conditions.

    Figures are of the development set, with the weights that were kept; those of the training set are called train_...;
    by the test set nothing is chosen. The runs must have the same development set, in the same normalisation. Exit code
    1 where no run meets all conditions.
    """
    from dlcore.metrics import SelectionPolicy
    from dlcore.report.comparison import draw_comparison
    from dlcore.selection import condition
    from dlcore.train.runs.run import Run

    if picture is not None and Path(picture).suffix.lower() != ".png":
        raise ConfigError(f"--picture is {picture!r} but a name that ends in .png is expected")
    conditions = [condition(text) for text in satisfice]
    twice = next((name for i, (name, _) in enumerate(conditions) if name in dict(conditions[:i])), None)
    if twice:
        raise ConfigError(f"--satisfice names {twice} twice, but one limit a figure is expected")
    unreadable: list[str] = []
    found = [Run.find(name, runs) for name in names] if names else _sound(folder_of_runs(runs), unreadable)
    if not found:
        print("[]" if json_ else f"no runs in {runs}; dlcore train makes one")
        return 0
    named = _named(found)
    _check_data(named)
    figures = {label: run.figures for label, run in named.items()}
    policy = SelectionPolicy(optimize or _usual(found[0], figures), dict(conditions))
    chosen, reasons = policy.choose(figures), policy.reasons(figures)
    if json_:
        about = [{"run": label, "folder": str(run.folder), "status": run.status, "model": _model(run),
                  "figures": figures[label]} for label, run in named.items()]  # fmt: skip
        print(json_text({"optimize": policy.optimize, "satisfice": policy.satisfice, "chosen": chosen,
                          "reasons": reasons, "runs": about}, indent=2))  # fmt: skip
    else:
        _show(named, figures, policy, chosen, reasons)
    if picture is not None:
        draw_comparison(picture, {label: run.records() for label, run in named.items()}, policy.optimize)
        if not json_:
            print(f"picture: {picture}")
    say_unreadable(unreadable)
    return 0 if chosen is not None else 1


def _sound(runs: str, unreadable: list[str]) -> list[Run]:
    """The runs in a folder that can be compared; the others are passed over, with the reasons."""
    from dlcore.train.runs.run import Run

    found = []
    for run in Run.all(runs, unreadable):
        try:
            _data_of(run, str(run.folder))
            _model(run)
        except (DlcoreError, OSError) as error:
            unreadable.append(f"{run.folder} ({error})")
        else:
            found.append(run)
    return found


def _data_of(run: Run, label: str) -> str:
    """The fingerprint of its development set."""
    from dlcore.train.checkpoint import model_json

    held = model_json.load_about(run.folder)[0].get("fingerprints")
    held = held.get("dev") if isinstance(held, dict) else None
    if not isinstance(held, str):
        raise ConfigError(f"runs compare: {label} does not say which data it is of; leave it out")
    return held


def _named(found: Sequence[Run]) -> dict[str, Run]:
    """The runs by name, by folder where two have one name. Refuses fewer than two, and one that came twice."""
    if len(found) < 2:
        raise ConfigError(f"runs compare: one run came, {found[0].folder}, but at least two are expected")
    folders = [run.folder.resolve() for run in found]
    twice = next((folder for i, folder in enumerate(folders) if folder in folders[:i]), None)
    if twice:
        raise ConfigError(f"runs compare: {twice} came twice, but different runs are expected")
    names = [run.name for run in found]
    return {run.name if names.count(run.name) == 1 else str(run.folder): run for run in found}


def _check_data(named: dict[str, Run]) -> None:
    """Refuse runs whose figures are of different examples."""
    prints = {label: _data_of(run, label) for label, run in named.items()}
    first, known = next(iter(prints.items()))
    other = next((label for label, held in prints.items() if held != known), None)
    if other:
        raise ConfigError(
            f"runs compare: {other} was measured on another development set than {first}, by their fingerprints "
            f"({prints[other][:8]}, {known[:8]}); name runs of the same data, split and normalisation"
        )


def _usual(run: Run, figures: dict[str, dict[str, float]]) -> str:
    """The first metric; of several heads, which have one each, the loss."""
    metric = (run.settings.train.metrics or ("loss",))[0]
    return metric if any(metric in one for one in figures.values()) else "loss"


def _model(run: Run) -> str | None:
    return model_name(run.settings)


def _show(
    named: dict[str, Run],
    figures: dict[str, dict[str, float]],
    policy: SelectionPolicy,
    chosen: str | None,
    reasons: dict[str, str],
) -> None:
    asked = [policy.optimize, *policy.satisfice]
    columns = [*dict.fromkeys([*asked, *(name for name in USUAL if any(name in one for one in figures.values()))])]
    rows = [
        [label, _model(run) or "", *(_figure(figures[label].get(name)) for name in columns),
         "chosen" if label == chosen else reasons.get(label, "")]
        for label, run in named.items()
    ]  # fmt: skip
    print_table(["run", "model", *columns, ""], rows, left=(0, 1, len(columns) + 2))
    limits = ", ".join(f"{name} {sign} {limit:g}" for name, (sign, limit) in policy.satisfice.items())
    if chosen is not None:
        fit = len(named) - len(reasons)
        among = f"{fit} that satisfy {limits}" if limits else f"{fit}"
        what = f"the only one that satisfies {limits}" if limits and fit == 1 else f"the best of {among}"
        value = figures[chosen][policy.optimize]
        print(f"choice: {chosen}, with {policy.optimize} {_figure(value)}, {what}")
    else:
        print(f"choice: none satisfies {limits or policy.optimize}")
        print("\n".join(f"  {label}: {why}" for label, why in reasons.items()))


def _figure(value: Any) -> str:
    return "–" if value is None else figure(value)
