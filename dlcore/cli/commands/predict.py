"""``dlcore predict``: what a run's model makes of new files."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from dlcore.cli.naming import flags_in_errors
from dlcore.cli.options import DEBUG, DEVICE, TRUST
from dlcore.cli.strict_json import json_text
from dlcore.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["predict"]


@flags_in_errors()
def predict(
    run: Annotated[str, Parameter(help="a run's folder, or its name among --runs")],
    /,
    *files: Annotated[
        str, Parameter(help="images, folders of images, or tables whose columns are those of the training data")
    ],
    npz: Annotated[str | None, Parameter(help="an NPZ file with the inputs as x and, of sequences, lengths")] = None,
    top: Annotated[int | None, Parameter(help="how many classes are told for each example [default: 1]")] = None,
    unknown_level: Annotated[
        Literal["refuse", "missing"] | None,
        Parameter(help="what to do about a category's level that training lacked [default: as the run was trained]"),
    ] = None,
    device: DEVICE = None,
    runs: Annotated[str, Parameter(help="folder of all runs")] = "runs",
    json_: Annotated[
        bool,
        Parameter(
            name="--json",
            negative=(),
            show_default=False,
            help="print one JSON object a line, with the model's outputs",
        ),
    ] = False,
    trust: TRUST = False,
    debug: DEBUG = False,
) -> int:
    """Say what the model of a run makes of images, of the rows of CSV tables, or of arrays in an NPZ file.

    A run on a series predicts the values that follow the last row of a table, with their times.
    A folder stands for all pictures in it and in the folders below. Images are brought to the model's size and colours
    as they were in training, and everything is normalised with the statistics of the training set. For knn, which
    memorises its training set again, a probability is the share of the votes. Each row gives one line, in the order of
    the rows: what cannot be predicted, such as a row with a missing cell or a file that cannot be read, gives a line
    with the error, the others are predicted, and the exit code is 1. A run of your own model runs the copy of your file
    that it holds; one whose code was not trained here by you is refused until --trust.
    """
    if bool(files) == (npz is not None):
        raise ConfigError("predict: give files, or --npz FILE, one of the two")
    if top is not None and top < 1:
        raise ConfigError(f"--top is {top} but a whole number of at least 1 is expected")

    from backends.runtime.device import resolve
    from dlcore.experiment.answers import BATCH, Count, from_files, from_npz, inputs_of
    from dlcore.experiment.forecast import columns_of_arrays, forecasts, is_series
    from dlcore.experiment.trained import TrainedRun
    from dlcore.train.checkpoint.model_json import load_about
    from dlcore.train.runs.run import Run

    found = Run.find(run, runs)
    place = resolve(device)
    about, shape = load_about(found.folder)
    _refuse_unused(found.folder, about, npz, top, unknown_level)
    if about.get("task") == "text":
        raise ConfigError(f"{found.folder} has learnt from text; dlcore generate {found.folder} writes with it")
    opened = TrainedRun(found, place)
    about, answer = opened.about, opened.answer
    if is_series(about):
        if npz is not None:
            print(f"dlcore: note: {npz}: {columns_of_arrays(about)}", file=sys.stderr)
        else:
            failed = False
            for said in forecasts(files, about, opened.normalizer, answer):
                if "error" in said:
                    print(f"dlcore: error: {said['error']}", file=sys.stderr)
                    failed = True
                    continue
                for line in [json_text(said)] if json_ else _lines(said):
                    print(line, flush=sys.stdout.isatty())
            return 1 if failed else 0
    count = Count()
    if npz is not None:
        examples = from_npz(npz, shape, bool(about.get("lengths")), count)
    else:
        examples = from_files(files, inputs_of(about, str(found.folder), unknown_level), count)
    say = _as_json if json_ else _in_words
    while rows := list(itertools.islice(examples, BATCH)):
        for row, said in opened.say(rows, top or 1):
            count.add(row, said)
            print(say(row.name, said), flush=sys.stdout.isatty())
    if count.first:
        print(f"dlcore: error: {count.summary()}", file=sys.stderr)
    return 1 if count.first else 0


def _refuse_unused(
    run: Path, about: dict[str, Any], npz: str | None, top: int | None, unknown_level: str | None
) -> None:
    """Raise ConfigError for a flag that has no effect on what the run predicts."""
    from dlcore.experiment.forecast import is_series

    if unknown_level is not None and (npz is not None or is_series(about)):
        what = "--npz came" if npz is not None else f"{run} has learnt from a series"
        raise ConfigError(f"--unknown-level goes with tables, but {what}; leave it out")
    classes = about.get("classes")
    if top is not None and not (any(classes.values()) if isinstance(classes, dict) else classes):
        losses = about.get("loss")
        found = losses.values() if isinstance(losses, dict) else [losses]
        if not any(loss in ("cross_entropy", "binary_cross_entropy") for loss in found) and about.get("model") != "knn":
            raise ConfigError(f"--top goes with classes, but {run} predicts numbers; leave it out")


# Words ---------------------------------------------------------------------------------------------------------------


def _far(said: dict[str, Any]) -> str:
    """
    >>> _far({"bounded": {"size": 5000.0}}), _far({})
    (' (far outside the training range, so that the nearest value was taken: size 5,000)', '')
    """
    far = ", ".join(f"{name} {_number(value)}" for name, value in said.get("bounded", {}).items())
    return f" (far outside the training range, so that the nearest value was taken: {far})" if far else ""


def _as_json(name: str, said: dict[str, Any]) -> str:
    return json_text({"input": name, **said})


def _in_words(name: str, said: dict[str, Any]) -> str:
    if "error" in said:
        return f"{name}: error: {said['error']}"
    if "heads" in said:
        heads = "; ".join(_in_words(head, part) for head, part in said["heads"].items())
        return f"{name}: {heads}{_far(said)}"
    if "top" in said:
        shares = ", ".join(f"{one['class']} {one['probability']:.1%}" for one in said["top"])
        return f"{name}: {shares}{_far(said)}"
    value = said.get("prediction", said["outputs"])
    return f"{name}: {_number(value) if isinstance(value, float) else value}{_far(said)}"


def _number(value: float) -> str:
    """Six digits, and all of a larger number.

    >>> _number(1_234_567.8), _number(23.456789), _number(1.29349e-6)
    ('1,234,568', '23.4568', '1.29349e-06')
    """
    return f"{value:,.0f}" if 1e5 <= abs(value) < 1e15 else f"{value:,.6g}"


def _lines(said: dict[str, Any]) -> Iterator[str]:
    """A line for each value of a forecast: file, series, time or step, and the value.

    >>> said = {"input": "a.csv", "target": "load", "times": ["2020-01-02"], "prediction": 2.5, "outputs": [2.5]}
    >>> list(_lines(said))
    ['a.csv, 2020-01-02: load 2.5']
    """
    name = ", ".join([said["input"], *([said["series"]] if "series" in said else [])])
    values = said["outputs"]
    steps = said.get("times") or [f"{i} step{'s' * (i > 1)} on" for i in range(1, len(values) + 1)]
    for step, value in zip(steps, values, strict=True):
        yield f"{name}, {step}: {said['target']} {_number(value)}"
