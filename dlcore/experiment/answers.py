"""What a run's model makes of new rows, of files, of arrays and of tables in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlcore._core.input_tree import leaves, like, several
from dlcore.errors import ConfigError, DataError, ShapeError

if TYPE_CHECKING:
    from dlcore.data import Inputs, Normalizer

__all__ = ["BATCH", "Count", "Row", "from_arrays", "from_files", "from_npz", "from_records", "inputs_of", "told"]

BATCH = 256
"""Examples at a time, as Trainer.predict takes them: the outputs are its outputs, to the bit."""


# Rows ----------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Row:
    """One row to predict, or the reason why it cannot be.

    name : where it comes from, as people are told
    x : of one example, before any normalizer, of several inputs a tuple or dict; None with a fault
    length : of a sequence
    fault : "" for a sound row
    is_file : whether the fault, or the row, is a whole file
    """

    name: str
    x: Any = None
    length: int | None = None
    fault: str = ""
    is_file: bool = False


@dataclasses.dataclass
class Count:
    """How many rows and files there were, and how many of them could not be predicted."""

    rows: int = 0
    bad_rows: int = 0
    files: int = 0
    bad_files: int = 0
    first: str = ""

    def add(self, row: Row, said: dict[str, Any]) -> None:
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
        >>> Count(rows=100, bad_rows=2, files=3, bad_files=1, first="new.csv, row 7: no number").summary()
        '2 of 100 rows and 1 of 3 files could not be predicted, the first: new.csv, row 7: no number'
        """
        kinds = (("row", self.bad_rows, self.rows), ("file", self.bad_files, self.files))
        parts = [f"{bad:,} of {all_:,} {kind}{'s' * (all_ != 1)}" for kind, bad, all_ in kinds if bad]
        return f"{' and '.join(parts)} could not be predicted, the first: {self.first}"


def inputs_of(about: dict[str, Any], run: str, unknown_level: str | None) -> Inputs:
    """How a file becomes x. Raises DataError where the run does not say it, ConfigError where it reads no tables and a
    rule for levels came."""
    from dlcore.data import Inputs

    if not about.get("inputs"):
        raise DataError(
            f"{run}: its model.json has no inputs, which say how a file becomes an array; give arrays, as by --npz"
        )
    inputs = Inputs.from_dict(about["inputs"])
    if unknown_level is None:
        return inputs
    if inputs.columns is None:
        raise ConfigError(f"unknown_level goes with tables, but the inputs of {run} are {inputs.kind}; leave it out")
    return dataclasses.replace(inputs, unknown_level=unknown_level)


def from_files(arguments: Sequence[str], inputs: Inputs, count: Count) -> Iterator[Row]:
    """The rows of files, and of the pictures in folders."""
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


def _from_file(file: str, inputs: Inputs) -> Iterator[Row]:
    alone = inputs.kind == "images"  # a file is a row
    try:
        for number, (_, x) in enumerate(inputs.rows(file), start=1):
            name = file if alone else f"{file}, row {number:,}"
            if isinstance(x, str):
                yield Row(name, fault=x, is_file=alone)
            else:
                yield Row(name, x, is_file=alone)
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


def from_npz(path: str, shape: tuple[int, ...], sequences: bool, count: Count) -> Iterator[Row]:
    """The rows of ``x`` in an NPZ file."""
    from dlcore.data.readers import read_npz_inputs

    count.files += 1
    try:
        x, lengths, faults = read_npz_inputs(path, shape, sequences=sequences)
    except DataError as error:
        yield _broken(path, error)
        return
    for i, row in enumerate(x):
        name = f"{path}, row {i + 1:,}"
        yield Row(name, fault=faults[i]) if i in faults else Row(name, row, None if lengths is None else lengths[i])


def from_arrays(x: Any, shape: Any, lengths: Any = None, sequences: bool = False) -> Iterator[Row]:
    """The rows of arrays in memory, x (N, ...); of several inputs in a list, a tuple or a dict.

    Raises DataError where they are of another shape than the model takes, are no numbers, or lengths are missing.
    """
    import numpy as np

    from dlcore._core.input_tree import mapped
    from dlcore.data.readers import checked_inputs
    from dlcore.nn._inputs import several_shapes
    from dlcore.train.engine.validate import fits

    if several_shapes(shape):
        whole = mapped(np.asarray, tuple(x) if isinstance(x, list) else x)
        found = mapped(lambda leaf: leaf.shape[1:], whole)
        if not fits(found, shape) or len({len(leaf) for leaf in leaves(whole)}) != 1:
            raise DataError(f"predict: x has examples of shape {found}, but the model was trained on {shape}")
        for i in range(len(leaves(whole)[0])):
            yield Row(f"row {i + 1:,}", mapped(lambda leaf, i=i: leaf[i], whole))
        return
    x = np.asarray(x)
    if x.dtype.kind not in "biuf":
        raise DataError(f"predict: x holds {x.dtype}, but numbers are expected, one array (N, ...) of all examples")
    if not x.ndim or not len(x):
        raise DataError(f"predict: x has shape {x.shape}, but at least one example is expected, as an array (N, ...)")
    if sequences and lengths is None:
        raise DataError("predict: the model reads sequences of several lengths; give Dataset(x, y, lengths)")
    x, lengths, faults = checked_inputs(x, shape, "predict", lengths if sequences else None, sequences=sequences)
    for i, row in enumerate(x):
        name = f"row {i + 1:,}"
        yield Row(name, fault=faults[i]) if i in faults else Row(name, row, None if lengths is None else lengths[i])


def from_records(records: Iterable[Mapping[str, Any]], inputs: Inputs) -> Iterator[Row]:
    """The rows of a table in memory, each a dict of cells by the names of its columns."""
    for i, x in enumerate(inputs.of_records(records)):
        name = f"row {i + 1:,}"
        yield Row(name, fault=x) if isinstance(x, str) else Row(name, x)


def _broken(file: str, error: DataError) -> Row:
    """A file that cannot be read, or not to its end."""
    from dlcore.data.readers.file import shown

    return Row(file, fault=str(error).removeprefix(f"{shown(file)}: "), is_file=True)


# Answers -------------------------------------------------------------------------------------------------------------


def told(
    rows: Sequence[Row], about: dict[str, Any], answer: Callable[[Any], Any], normalizer: Normalizer | None, top: int
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
        return [said for part in (rows[:half], rows[half:]) for said in told(part, about, answer, normalizer, top)]
    faults, sound = _not_finite(outputs, len(rows))
    said = _meanings(sound, about, len(rows) - len(faults), top)
    return [
        {"error": faults[i]} if i in faults else next(said) | _bounded(row, about, normalizer)
        for i, row in enumerate(rows)
    ]


def _bounded(row: Row, about: dict[str, Any], normalizer: Normalizer | None) -> dict[str, Any]:
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


def _ready(rows: Sequence[Row], normalizer: Normalizer | None) -> Any:
    """What the model takes: x (N, ...) normalised, with lengths a Dataset."""
    import numpy as np

    from dlcore.data import Dataset

    found = [row.x for row in rows if row.x is not None]
    if several(found[0]):
        return like(found[0], [np.stack(one) for one in zip(*map(leaves, found), strict=True)])
    x = np.stack(found)
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
