"""``dlcore evaluate``: the figures of a run's model, measured again."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from dlcore.cli.naming import flags_in_errors
from dlcore.cli.options import DEBUG, TRUST
from dlcore.cli.strict_json import json_text
from dlcore.cli.texts import about_positive, model_name, table_of, unit
from dlcore.errors import ConfigError

__all__ = ["evaluate"]


@flags_in_errors()
def evaluate(
    run: Annotated[str, Parameter(help="a run's folder, or its name among --runs")],
    /,
    *,
    part: Annotated[Literal["test", "dev", "train"], Parameter(help="which part of the data")] = "test",
    data: Annotated[
        str | None,
        Parameter(
            help="another labelled table, .npz or folder of images, read with the run's own columns, classes and "
            "normalisation [default: the part of the run's data]"
        ),
    ] = None,
    unknown_level: Annotated[
        Literal["refuse", "missing"] | None,
        Parameter(
            help="with --data, what to do about a category's level that training lacked [default: as the run was "
            "trained]"
        ),
    ] = None,
    device: Annotated[str | None, Parameter(help="cpu, cuda, cuda:N or auto [default: as the run]")] = None,
    runs: Annotated[str, Parameter(help="folder of all runs")] = "runs",
    json_: Annotated[
        bool, Parameter(name="--json", negative=(), show_default=False, help="print JSON, with every digit")
    ] = False,
    trust: TRUST = False,
    debug: DEBUG = False,
) -> int:
    """Measure the model of a run: its loss and its metrics on the test set, as at the end of its training.

    Where the run's own file has changed since, the examples that it has learned from are left out of the test set.
    A run that is not finished is measured with the weights of its newest checkpoint; one of knn memorises its training
    set again. A run of your own model runs the copy of your file that it holds; one whose code was not trained here by
    you is refused until --trust.
    """
    from backends.runtime.device import describe, resolve
    from dlcore._core.plain import plain
    from dlcore.analysis.diagnosis import faults_of
    from dlcore.experiment.trained import TrainedRun
    from dlcore.train.runs.run import Run

    if data is not None and part != "test":
        raise ConfigError(f"--data and --part {part} came together; another file has no parts, leave one out")
    if unknown_level is not None and data is None:
        raise ConfigError("--unknown-level goes with --data FILE; leave it out")
    found = Run.find(run, runs)
    settings = found.settings
    place = resolve(settings.train.device if device is None else device)
    opened = TrainedRun(found, place)
    measured = opened.measure(part, data, unknown_level)
    chosen, figures, faults, which = measured.chosen, measured.figures, measured.faults, opened.weights
    count = len(chosen.part)
    if json_:
        of = {"part": part} if data is None else {"data": data}
        known = {
            "run": str(found.folder),
            **of,
            "weights": which,
            "examples": count,
            "left_out": chosen.left_out,
            "figures": plain(figures),
        }
        print(json_text(known | faults))
        return 0
    lines = [
        describe(place),
        f"run: {found.folder}, {which}",
        f"data: {chosen.splits.source}",
        f"      {count:,} {unit(chosen.splits)}, {chosen.what}",
        *about_positive(settings.resolve(chosen.splits), chosen.splits),
        *table_of({model_name(settings): figures}, part),
        *faults_of({part: {"examples": count, **faults}}, part, "the data" if data is not None else None),
    ]
    print("\n".join(lines))
    return 0
