"""``dlcore evaluate``: the figures of a run's model, measured again."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from dlcore.cli.flags import DEBUG
from dlcore.cli.opened import data_of
from dlcore.cli.summary import about_positive, model_name, table_of, unit
from dlcore.errors import DataError

if TYPE_CHECKING:
    from dlcore.data import Splits

__all__ = ["check", "evaluate"]


def evaluate(
    run: Annotated[str, Parameter(help="a run's folder, or its name among --runs")],
    /,
    *,
    part: Annotated[Literal["test", "dev", "train"], Parameter(help="which part of the data")] = "test",
    device: Annotated[str | None, Parameter(help="cpu, cuda, cuda:N or auto [default: as the run]")] = None,
    runs: Annotated[str, Parameter(help="folder of all runs")] = "runs",
    json_: Annotated[
        bool, Parameter(name="--json", negative=(), show_default=False, help="print JSON, with every digit")
    ] = False,
    debug: DEBUG = False,
) -> int:
    """Measure the model of a run: its loss and its metrics on the test set, as at the end of its training.

    A run that is not finished is measured with the weights of its newest checkpoint; one of knn memorises its training
    set again. A run of your own model runs the copy of your file that it holds: evaluate only runs whose code you would
    run.
    """
    from backends.device import describe, resolve
    from dlcore.diagnosis import faults_of
    from dlcore.train._classes import with_names
    from dlcore.train.run import Run, objective_of, plain

    found = Run.find(run, runs)
    settings = found.settings
    place = resolve(settings.train.device if device is None else device)
    if settings.model.model == "knn":
        from dlcore.cli.knn import remembered

        memory, splits, _ = remembered(found, place, part)
        which = "its training set memorised again"
        figures, labels, _ = memory.measure(getattr(splits, part))
        faults = memory.faults(getattr(splits, part), labels)
    else:
        model, about, which = found.model(place)
        splits = data_of(settings, about)
        check(splits, model.input_shape, about, part)
        trainer = settings.trainer(splits, place, model=model, loss=objective_of(about))
        figures, measured = trainer.measure(getattr(splits, part))
        faults = measured.faults()
    said = {part: {"examples": len(getattr(splits, part)), **with_names(splits, faults)}}
    if json_:
        print(
            json.dumps(
                {"run": str(found.folder), "part": part, "weights": which, "figures": plain(figures)} | said[part]
            )
        )
        return 0
    print(describe(place))
    print(f"run: {found.folder}, {which}")
    print(f"data: {splits.source}")
    print(f"      {len(getattr(splits, part)):,} {unit(splits)}, the {part} set")
    print(
        "\n".join([*about_positive(settings.resolve(splits), splits), *table_of({model_name(settings): figures}, part)])
    )
    print("\n".join(faults_of(said, part)), end="\n" * bool(faults_of(said, part)))
    return 0


def check(splits: Splits, shape: tuple[int | None, ...], about: dict[str, Any], part: str) -> None:
    """Say where the training set, or another part, is not that of the training any more.

    shape, about : of the model, as model.json has them

    Raises DataError for examples of another shape; others of the same shape are a UserWarning.
    """
    from dlcore.data.source import as_source, fingerprint

    if splits.train.shape != shape:
        raise DataError(
            f"{splits.name}: examples have shape {splits.train.shape}, but the model was trained on {shape}; the data "
            "have changed since"
        )
    for name, before in (about.get("fingerprints") or {}).items():
        if name in (part, "train") and fingerprint(as_source(getattr(splits, name))) != before:
            warnings.warn(f"{splits.name}: the {name} set is not the one of the training any more", stacklevel=2)
