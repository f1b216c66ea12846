"""``dlcore diagnose``: what stands between a run's model and the error that is possible."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dlcore.cli.options import DEBUG, TRUST
from dlcore.cli.strict_json import json_text
from dlcore.errors import ConfigError, DlcoreError

if TYPE_CHECKING:
    from dlcore.train.runs.run import Run

__all__ = ["diagnose_run"]


def diagnose_run(
    run: Annotated[str, Parameter(help="a run's folder, or its name among --runs")],
    /,
    *,
    bayes_error: Annotated[
        float | None, Parameter(help="smallest error that is possible, such as that of people [default: 0]")
    ] = None,
    metric: Annotated[str | None, Parameter(help="what to go by [default: accuracy where it was measured]")] = None,
    permissible: Annotated[float, Parameter(help="a gap up to this needs nothing done about it")] = 0.02,
    confidence: Annotated[float, Parameter(help="of the intervals")] = 0.95,
    runs: Annotated[str, Parameter(help="folder of all runs")] = "runs",
    json_: Annotated[
        bool, Parameter(name="--json", negative=(), show_default=False, help="print JSON, with every digit")
    ] = False,
    trust: TRUST = False,
    debug: DEBUG = False,
) -> int:
    """Say whether a run's model underfits or overfits, with intervals, and what to do next.

    Avoidable bias is the training error minus the Bayes error, variance the development error minus the training
    error. With dlcore train --train-dev 0.05, the difference between the held-out part of the training set and the
    development set is told apart: mismatch. All are measured with the same weights, in evaluation mode, on at most
    10,000 examples each; a run that is not finished is measured now, with its newest checkpoint. Layers whose gradients
    vanish or explode, and those whose units are dead, are named with their figures.
    """
    from dlcore.analysis.diagnosis import diagnose_parts
    from dlcore.train.runs.run import Run

    found = Run.find(run, runs)
    parts = _parts(found)
    try:
        said = diagnose_parts(parts, bayes_error, metric=metric, permissible=permissible, confidence=confidence)
    except DlcoreError as error:  # of a flag, or of what the run's result.json holds
        raise type(error)(f"{found.folder}: {error}") from error
    health = _health(found)
    if json_:
        about = {"run": str(found.folder), "parts": parts, **dataclasses.asdict(said), "health": health}
        print(json_text(about))
    else:
        print(f"run: {found.folder}")
        print(dataclasses.replace(said, faults=()))
        print("\n".join([*_about_health(health, "underfitting" in said.verdicts), *said.faults]))
    return 0


def _health(run: Run) -> dict[str, Any] | None:
    """The record of the weights that were kept, or of the last epoch; None where the run has none."""
    records, best = run.health(), (run.result or {}).get("best_epoch")
    return next((one for one in reversed(records) if one["epoch"] == best), records[-1] if records else None)


def _about_health(record: dict[str, Any] | None, underfits: bool) -> list[str]:
    """A line for each layer that is not healthy, and what the notes recommend; or that all are."""
    from dlcore.train.callbacks.gradient_health import REMEDIES, words

    if record is None:
        return ["layers: their gradients were not measured in this run"]
    epoch = f"after epoch {record['epoch'] + 1:,}"
    lines = words(record)
    if not lines:
        return [f"layers: no gradient vanishes or explodes, and no layer is dead, {epoch}"]
    ill = dict.fromkeys(verdict for layer in record["layers"] for verdict in layer["verdicts"])
    first = "; before the network is made larger, mend these" if underfits else ""
    return [f"layers, {epoch}{first}:", *(f"  {line}" for line in lines), *(f"  {one}: {REMEDIES[one]}" for one in ill)]


def _parts(run: Run) -> dict[str, dict[str, Any]]:
    """The figures on each part: kept in result.json, or measured now."""
    settings = run.settings
    if settings.model.model == "knn":
        raise ConfigError("diagnose: knn remembers its training set, so its training error says nothing; compare k")
    if run.result is not None and "parts" in run.result:
        return run.result["parts"]

    from backends.runtime.device import resolve
    from dlcore.experiment.examined import check, data_of
    from dlcore.experiment.measure_splits import measure_parts
    from dlcore.train.runs.model_about import objective_of

    place = resolve(settings.train.device)
    model, about, _ = run.model(place)
    data = data_of(settings, about)
    check(data, model.input_shape, about, "dev")
    return measure_parts(settings.trainer(data, place, model=model, loss=objective_of(about)), data)
