"""``dlcore predict``: what a run's model makes of new files."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from dlcore.cli.flags import DEBUG, DEVICE, TRUST
from dlcore.cli.forecast import columns_of_arrays, forecasts, is_series, lines
from dlcore.cli.strict_json import json_text
from dlcore.errors import ConfigError, DataError, ShapeError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from dlcore.data import Inputs, Normalizer

__all__ = ["predict"]

BATCH = 256
"""Examples at a time, as Trainer.predict takes them: the outputs are its outputs, to the bit."""


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

    from backends.device import resolve
    from dlcore.data import Normalizer
    from dlcore.train import Trainer
    from dlcore.train.rebuild import load_about
    from dlcore.train.run import Run, objective_of

    found = Run.find(run, runs)
    place = resolve(device)
    about, shape = load_about(found.folder)
    _refuse_unused(found.folder, about, npz, top, unknown_level)
    if about.get("task") == "text":
        raise ConfigError(f"{found.folder} has learnt from text; dlcore generate {found.folder} writes with it")
    if about.get("model") == "knn":
        from dlcore.cli.knn import remembered

        memory, _, about = remembered(found, place)
        answer = memory.answer
    else:
        model, about, _ = found.model(place)
        trainer = Trainer(model, loss=objective_of(about), device=place)
        answer = functools.partial(trainer.predict, batch_size=BATCH)
    normalizer = Normalizer.from_dict(about["normalizer"]) if about.get("normalizer") else None
    if is_series(about):
        if npz is not None:
            print(f"dlcore: note: {npz}: {columns_of_arrays(about)}", file=sys.stderr)
        else:
            failed: list[str] = []
            for said in forecasts(files, about, normalizer, answer, failed):
                for line in [json_text(said)] if json_ else lines(said, _number):
                    print(line, flush=sys.stdout.isatty())
            return 1 if failed else 0
    count = _Count()
    if npz is not None:
        examples = _from_npz(npz, shape, bool(about.get("lengths")), count)
    else:
        examples = _from_files(files, _inputs(about, str(found.folder), unknown_level), count)
    say = _as_json if json_ else _in_words
    tell = functools.partial(_told, about=about, answer=answer, normalizer=normalizer, top=top or 1)
    while rows := list(itertools.islice(examples, BATCH)):
        told = iter(tell([row for row in rows if not row.fault]))
        for row in rows:
            said = {"error": row.fault} if row.fault else next(told)
            count.add(row, said)
            print(say(row.name, said), flush=sys.stdout.isatty())
    if count.first:
        print(f"dlcore: error: {count.summary()}", file=sys.stderr)
    return 1 if count.first else 0


def _refuse_unused(
    run: Path, about: dict[str, Any], npz: str | None, top: int | None, unknown_level: str | None
) -> None:
    """Raise ConfigError for a flag that has no effect on what the run predicts."""
    if unknown_level is not None and (npz is not None or is_series(about)):
        what = "--npz came" if npz is not None else f"{run} has learnt from a series"
        raise ConfigError(f"--unknown-level goes with tables, but {what}; leave it out")
    classes = about.get("classes")
    if top is not None and not (any(classes.values()) if isinstance(classes, dict) else classes):
        losses = about.get("loss")
        found = losses.values() if isinstance(losses, dict) else [losses]
        if not any(loss in ("cross_entropy", "binary_cross_entropy") for loss in found) and about.get("model") != "knn":
            raise ConfigError(f"--top goes with classes, but {run} predicts numbers; leave it out")


# Rows ----------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Row:
    """One row to predict, or the reason why it cannot be.

    name : where it comes from, as people are told
    x : of one example, before any normalizer; None with a fault
    length : of a sequence
    fault : "" for a sound row
    is_file : whether the fault, or the row, is a whole file
    """

    name: str
    x: np.ndarray | None = None
    length: int | None = None
    fault: str = ""
    is_file: bool = False


@dataclasses.dataclass
class _Count:
    """How many rows and files there were, and how many of them could not be predicted."""

    rows: int = 0
    bad_rows: int = 0
    files: int = 0
    bad_files: int = 0
    first: str = ""

    def add(self, row: _Row, said: dict[str, Any]) -> None:
        bad = "error" in said
        if row.is_file:
            self.bad_files += bad
        else:
            self.rows += 1
            self.bad_rows += bad
        if bad and not self.first:
            self.first = f"{row.name}: {said['error']}"

    def summary(self) -> str:
        """
        >>> _Count(rows=100, bad_rows=2, files=3, bad_files=1, first="new.csv, row 7: no number").summary()
        '2 of 100 rows and 1 of 3 files could not be predicted, the first: new.csv, row 7: no number'
        """
        kinds = (("row", self.bad_rows, self.rows), ("file", self.bad_files, self.files))
        parts = [f"{bad:,} of {all_:,} {kind}{'s' * (all_ != 1)}" for kind, bad, all_ in kinds if bad]
        return f"{' and '.join(parts)} could not be predicted, the first: {self.first}"


def _inputs(about: dict[str, Any], run: str, unknown_level: str | None) -> Inputs:
    from dlcore.data import Inputs

    if not about.get("inputs"):
        raise DataError(f"{run}: the run does not say how a file becomes an input; give arrays by --npz")
    inputs = Inputs.from_dict(about["inputs"])
    if unknown_level is None:
        return inputs
    if inputs.columns is None:
        raise ConfigError(f"--unknown-level goes with tables, but the inputs of {run} are {inputs.kind}; leave it out")
    return dataclasses.replace(inputs, unknown_level=unknown_level)


def _from_files(arguments: tuple[str, ...], inputs: Inputs, count: _Count) -> Iterator[_Row]:
    for argument in arguments:
        try:
            files = _files_of(argument, inputs)
        except DataError as error:
            count.files += 1
            yield _broken(argument, error)
            continue
        for file in files:
            count.files += 1
            yield from _from_file(file, inputs)


def _from_file(file: str, inputs: Inputs) -> Iterator[_Row]:
    alone = inputs.kind == "images"  # a file is a row
    try:
        for number, (_, x) in enumerate(inputs.rows(file), start=1):
            name = file if alone else f"{file}, row {number:,}"
            if isinstance(x, str):
                yield _Row(name, fault=x, is_file=alone)
            else:
                yield _Row(name, x, is_file=alone)
    except DataError as error:
        yield _broken(file, error)


def _files_of(argument: str, inputs: Inputs) -> Sequence[str]:
    """The files that an argument stands for: itself, or of a folder, where the model reads images, all pictures."""
    import os

    from dlcore.data.readers import pictures_below

    if inputs.kind != "images" or not os.path.isdir(argument):
        return [argument]
    found = pictures_below(argument)
    if not found:
        raise DataError(f"{argument}: no picture is in this folder; give images, or a folder of images")
    return [str(file) for file in found]


def _from_npz(path: str, shape: tuple[int, ...], sequences: bool, count: _Count) -> Iterator[_Row]:
    from dlcore.data.readers import read_npz_inputs

    count.files += 1
    try:
        x, lengths, faults = read_npz_inputs(path, shape, sequences=sequences)
    except DataError as error:
        yield _broken(path, error)
        return
    for i, row in enumerate(x):
        name = f"{path}, row {i + 1:,}"
        yield _Row(name, fault=faults[i]) if i in faults else _Row(name, row, None if lengths is None else lengths[i])


def _broken(file: str, error: DataError) -> _Row:
    """A file that cannot be read, or not to its end."""
    from dlcore.data.readers._file import shown

    return _Row(file, fault=str(error).removeprefix(f"{shown(file)}: "), is_file=True)


# Answers -------------------------------------------------------------------------------------------------------------


def _told(
    rows: Sequence[_Row], about: dict[str, Any], answer: Callable[[Any], Any], normalizer: Normalizer | None, top: int
) -> list[dict[str, Any]]:
    """What the model says of each of the sound ``rows``, or why it says nothing."""
    if not rows:
        return []
    try:
        outputs = answer(_ready(rows, normalizer))
    except (DataError, ShapeError) as error:  # one row that the model does not take leaves the others alone
        if len(rows) == 1:
            return [{"error": str(error)}]
        half = len(rows) // 2
        return [said for part in (rows[:half], rows[half:]) for said in _told(part, about, answer, normalizer, top)]
    faults, sound = _not_finite(outputs, len(rows))
    said = _meanings(sound, about, len(rows) - len(faults), top)
    return [
        {"error": faults[i]} if i in faults else next(said) | _bounded(row, about, normalizer)
        for i, row in enumerate(rows)
    ]


def _bounded(row: _Row, about: dict[str, Any], normalizer: Normalizer | None) -> dict[str, Any]:
    """The inputs of a row that lie so far outside the training range that the nearest value was taken, by feature."""
    if normalizer is None or normalizer.low is None or row.x is None:
        return {}
    from dlcore.data import Inputs

    x = row.x if row.length is None else row.x[: row.length]
    x = x.reshape(-1, x.shape[-1])
    found = normalizer.bounds(x)
    places = [i for i in range(x.shape[1]) if found[:, i].any()]
    names = Inputs.from_dict(about["inputs"]).features if places and about.get("inputs") else ()
    far = {names[i] if names else f"feature {i}": float(x[found[:, i], i][0]) for i in places}
    return {"bounded": far} if far else {}


def _ready(rows: Sequence[_Row], normalizer: Normalizer | None) -> Any:
    """What the model takes: x (N, ...) normalised, with lengths a Dataset."""
    import numpy as np

    from dlcore.data import Dataset

    x = np.stack([row.x for row in rows if row.x is not None])
    if x.dtype.kind == "f" and (normalizer is None or normalizer.low is None):  # in training it was rounded first
        x = x.astype(np.float32)
    if normalizer is not None:
        x = normalizer.transform(x)
    if rows[0].length is None:
        return x
    return Dataset(x, np.zeros(len(rows)), np.array([row.length for row in rows]))


def _not_finite(outputs: Any, n: int) -> tuple[dict[int, str], Any]:
    """The rows whose outputs are no numbers, each with a reason, and the outputs of the others."""
    import numpy as np

    heads = outputs if isinstance(outputs, dict) else {"": outputs}
    faults: dict[int, str] = {}
    for name, values in heads.items():
        wide = values.reshape(n, -1)
        for row in np.flatnonzero(~np.isfinite(wide).all(axis=1)).tolist():
            value = wide[row][~np.isfinite(wide[row])][0]
            of = f" of the head {name}" if name else ""
            faults.setdefault(row, f"the model's output{of} is {value:g}, no finite number; check its weights")
    if not faults:
        return faults, outputs
    kept = np.array([row not in faults for row in range(n)])
    return faults, {name: values[kept] for name, values in heads.items()} if heads is outputs else outputs[kept]


def _meanings(outputs: Any, about: dict[str, Any], count: int, top: int) -> Iterator[dict[str, Any]]:
    """For each example the prediction, probabilities where there are any, and the outputs themselves."""
    import numpy as np

    if isinstance(outputs, dict):  # a model with heads
        parts = {name: _meanings(values, _of_head(about, name), count, top) for name, values in outputs.items()}
        for _ in range(count):
            yield {"heads": {name: next(said) for name, said in parts.items()}}
        return
    classes = about.get("classes")
    for logits in outputs:
        plain: dict[str, Any] = {"outputs": logits.tolist()}
        wide = logits.astype(np.float64)
        if about.get("loss") == "cross_entropy" or about.get("model") == "knn":
            shares = np.exp(wide - wide.max()) if about.get("model") != "knn" else wide  # these are shares of votes
            shares /= shares.sum()
            order = np.argsort(-shares, kind="stable")[:top]
            best = [{"class": _class(classes, int(i)), "probability": float(shares[i])} for i in order]
            yield {"prediction": best[0]["class"], "top": best, **plain}
        elif about.get("loss") == "binary_cross_entropy":
            share = float(1 / (1 + np.exp(-wide.item())))
            yes, no = _class(classes, 1), _class(classes, 0)
            pair = sorted([{"class": yes, "probability": share}, {"class": no, "probability": 1 - share}],
                          key=lambda one: -one["probability"])[:top]  # fmt: skip
            yield {"prediction": yes if share > 0.5 else no, "top": pair, **plain}
        else:
            yield {"prediction": logits.item() if logits.size == 1 else logits.tolist(), **plain}


def _of_head(about: dict[str, Any], name: str) -> dict[str, Any]:
    """What is known about one head alone."""
    return {what: (about.get(what) or {}).get(name) for what in ("loss", "classes")}


def _class(classes: Any, number: int) -> str:
    """The name of an output, or its number where it has none, as in a model of one's own with more of them."""
    return classes[number] if classes and number < len(classes) else str(number)


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
