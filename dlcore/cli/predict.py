"""``dlcore predict``: what a run's model makes of new files."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dlcore.cli.flags import DEBUG, DEVICE
from dlcore.cli.forecast import columns_of_arrays, forecasts, is_series, lines
from dlcore.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

    from dlcore.data import Dataset

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
    top: Annotated[int, Parameter(help="how many classes are told for each example")] = 1,
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
    debug: DEBUG = False,
) -> int:
    """Say what the model of a run makes of images, of the rows of CSV tables, or of arrays in an NPZ file.

    A run on a series predicts the values that follow the last row of a table, with their times.
    A folder stands for all pictures in it and in the folders below. Images are brought to the model's size and colours
    as they were in training, and everything is normalised with the statistics of the training set. For knn, which
    memorises its training set again, a probability is the share of the votes. A file that cannot be read is named, the
    others are predicted, and the exit code is 1. A run of your own model runs the copy of your file that it holds: use
    only runs whose code you would run.
    """
    if bool(files) == (npz is not None):
        raise ConfigError("predict: give files, or --npz FILE, one of the two")
    if top < 1:
        raise ConfigError(f"--top is {top} but a whole number of at least 1 is expected")

    from backends.device import resolve
    from dlcore.data import Dataset, Normalizer
    from dlcore.train import Trainer
    from dlcore.train.rebuild import load_about
    from dlcore.train.run import Run, objective_of

    found = Run.find(run, runs)
    place = resolve(device)
    about, shape = load_about(found.folder)
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
    failed: list[str] = []
    if is_series(about):
        if npz is not None:
            print(f"dlcore: note: {npz}: {columns_of_arrays(about)}", file=sys.stderr)
        for said in forecasts(files, about, normalizer, answer, failed):
            for line in [json.dumps(said)] if json_ else lines(said, _number):
                print(line, flush=sys.stdout.isatty())
        if npz is None:
            return 1 if failed else 0
    examples = _from_npz(npz, shape) if npz else _from_files(files, about, str(found.folder), failed)
    say = _as_json if json_ else _in_words
    for names, x in _sequences(npz, shape) if npz and about.get("lengths") else _batches(examples):
        if normalizer is not None:
            x = normalizer.apply(x) if isinstance(x, Dataset) else normalizer.transform(x)
        outputs = answer(x)
        for name, said in zip(names, _meanings(outputs, about, len(names), top), strict=True):
            print(say(name, said), flush=sys.stdout.isatty())
    return 1 if failed else 0


def _from_files(
    files: tuple[str, ...], about: dict[str, Any], run: str, failed: list[str]
) -> Iterator[tuple[str, np.ndarray]]:
    from dlcore.data import Inputs

    if not about.get("inputs"):
        raise DataError(f"{run}: the run does not say how a file becomes an input; give arrays by --npz")
    inputs = Inputs.from_dict(about["inputs"])
    for file in _expanded(files, inputs.kind, failed):
        try:
            rows = inputs.read(file)
        except DataError as error:
            print(f"dlcore: error: {error}", file=sys.stderr)
            failed.append(file)
            continue
        for number, row in enumerate(rows, start=1):
            yield (file if inputs.kind == "images" else f"{file}, row {number:,}"), row


def _expanded(files: tuple[str, ...], kind: str, failed: list[str]) -> Iterator[str]:
    """The files, and in the place of a folder the pictures in it and below it, sorted, where the model reads images."""
    import os

    from dlcore.data.readers import pictures_below

    for file in files:
        if kind != "images" or not os.path.isdir(file):
            yield file
            continue
        try:
            found = pictures_below(file)
            if not found:
                raise DataError(f"{file}: no picture is in this folder; give images, or a folder of images")
        except DataError as error:
            print(f"dlcore: error: {error}", file=sys.stderr)
            failed.append(file)
            continue
        yield from map(str, found)


def _from_npz(path: str, shape: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray]]:
    from dlcore.data.readers import read_npz_inputs

    for number, row in enumerate(read_npz_inputs(path, shape), start=1):
        yield f"{path}, row {number:,}", row


def _sequences(path: str, shape: tuple[int, ...]) -> Iterator[tuple[list[str], Dataset]]:
    """Batches of sequences of several lengths, with names."""
    from dlcore.data.readers import read_npz_sequences

    data = read_npz_sequences(path, shape)
    for start in range(0, len(data), BATCH):
        part = data[start : start + BATCH]
        yield [f"{path}, row {start + number:,}" for number in range(1, len(part) + 1)], part


def _batches(examples: Iterator[tuple[str, np.ndarray]]) -> Iterator[tuple[list[str], np.ndarray]]:
    import itertools

    import numpy as np

    while part := list(itertools.islice(examples, BATCH)):
        yield [name for name, _ in part], np.stack([row for _, row in part])


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
    return classes[number] if classes else str(number)


def _as_json(name: str, said: dict[str, Any]) -> str:
    return json.dumps({"input": name, **said})


def _in_words(name: str, said: dict[str, Any]) -> str:
    if "heads" in said:
        return f"{name}: " + "; ".join(_in_words(head, part) for head, part in said["heads"].items())
    if "top" in said:
        return f"{name}: " + ", ".join(f"{one['class']} {one['probability']:.1%}" for one in said["top"])
    value = said.get("prediction", said["outputs"])
    return f"{name}: {_number(value)}" if isinstance(value, float) else f"{name}: {value}"


def _number(value: float) -> str:
    """Six digits, and all of a larger number.

    >>> _number(1_234_567.8), _number(23.456789), _number(1.29349e-6)
    ('1,234,568', '23.4568', '1.29349e-06')
    """
    return f"{value:,.0f}" if 1e5 <= abs(value) < 1e15 else f"{value:,.6g}"
