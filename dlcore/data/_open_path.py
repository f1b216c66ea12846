"""People's own data: a table, an archive of arrays or a folder of images, in three parts and ready to train on."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlcore.data._open_images import images, name_of_data
from dlcore.data.dataset import Dataset, Splits, Targets, Task
from dlcore.data.labelled import Reading, prepared
from dlcore.data.normalize import Normalizer
from dlcore.data.origins import Origins
from dlcore.data.overlap import digests_of, equal_inputs
from dlcore.data.parts import Parting, remarks
from dlcore.data.preprocess import Inputs
from dlcore.data.readers import plain_inputs, read_npz
from dlcore.data.readers.csv.columns import CATEGORIES, FEW
from dlcore.data.readers.csv.row_numbers import counts_by_one
from dlcore.data.readers.csv.rows import is_table, name_of
from dlcore.data.readers.csv.sniff import DELIMITERS
from dlcore.data.readers.csv.table import OpenTable, Table, open_table
from dlcore.data.readers.file import shown
from dlcore.errors import ConfigError, DataError

__all__ = ["TAKES", "is_a_table", "open_path", "refuse_others"]

TAKES = {
    "table": (
        "target", "missing", "missing_target", "unknown_level", "categorical", "ignore", "task", "test", "group",
        "split", "time", "keep_equal_together",
    ),
    "npz": ("task", "test", "keep_equal_together"),
    "images": ("image_size", "color", "corrupt", "test", "keep_equal_together"),
}  # fmt: skip
"""By kind of data, the arguments of :func:`open_path` that it takes."""

_WORDS = {"table": "a table (.csv or .tsv)", "npz": "an NPZ file", "images": "a folder of images"}
_TABLES = (".csv", ".tsv")
_MAYBE_TABLES = (".txt", ".dat", ".data", "")
_AS_CLASSES = "; it is read as numbers; task classification would take them as classes"
_NAMED = 5  # columns of categories that are named
_LARGE = 1000  # of a target's mean size, beyond which the default training does not get there


def open_path(
    path: str | os.PathLike[str],
    *,
    target: str | Sequence[str] | None = None,
    normalize: bool = False,
    seed: int = 0,
    missing: str | None = None,
    missing_target: str | None = None,
    unknown_level: str | None = None,
    categorical: Sequence[str] | None = None,
    ignore: Sequence[str] | None = None,
    task: str | None = None,
    image_size: Sequence[int] | None = None,
    color: str | None = None,
    corrupt: str | None = None,
    test: str | os.PathLike[str] | None = None,
    group: str | None = None,
    split: str | None = None,
    time: Sequence[str] | None = None,
    keep_equal_together: bool = False,
    rules: int = 2,
) -> Splits:
    """Data from a path, in three parts: 60-20-20, in proportion of the classes where there are classes.

    ================  ================================================================================================
    ``.csv .tsv``     a table, see :func:`~dlcore.data.read_csv`; with ``missing="mean"`` the mean of the training rows
    ``.txt .dat``     and ``.data`` or no suffix: a table too, where an argument of a table is given or all of its first
                      lines have as many cells and one column holds numbers
    ``.npz``          x and y, see :func:`~dlcore.data.read_npz`. Whole numbers in y are classes, others are to be
                      predicted; x of uint8 and three axes or four is taken for images and becomes float32 in [0, 1]
    a folder          of images, one folder per class, see :func:`~dlcore.data.read_folder`. Where it has folders that
                      are called ``train``, ``dev`` and ``test``, or ``Training``, ``valid`` and the like, each with the
                      same classes, these are the parts; where one of the last two is not there, a fifth of the
                      training images, 5,000 at most, are drawn for it
    ================  ================================================================================================

    normalize : bring each feature of x (images: each channel) to mean 0 and standard deviation 1 by the statistics of
        the training part alone, as :class:`~dlcore.data.Normalizer` says; for a folder of images by 10,000 training
        images at most, evenly spaced. Whole numbers with lengths, which are words, stay as they are.
    seed : of the split; of several targets, the first that has classes gives the proportion
    target, missing, missing_target, categorical, ignore, task : of a table, in which several targets make y a dict; an
        NPZ takes task too
    unknown_level : of a table, what :class:`~dlcore.data.Inputs` do about a level that is not in it
    image_size, color, corrupt : of a folder of images, where ``read_folder`` calls them size, color and corrupt; one
        number of image_size stands for both
    test : another file or folder of the same kind, whose examples are the test set: read as the training data are, with
        their columns, levels and classes; the parts of the first file are training and dev set then, 80-20
    group, split, time : columns of a table that say which rows go into which part, and are no features: rows of one
        value of ``group`` stay in one part; the words in ``split``, such as train, dev, val and test, name the part;
        by ``time``, a list of the columns that tell it, such as ["date"], the training rows come first and the test
        rows last. Give one of them at most.
    keep_equal_together : examples of equal inputs stay in one part
    rules : version of the rules by which all this is done; 1 is for runs of version 0.1

    Raises DataError for what the readers refuse, for y of an NPZ that is not one target per example, for parts with
    other classes than ``train``, and for a path that is none of these; ConfigError for an argument that the kind of
    data does not take.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "line.csv"
    >>> _ = file.write_text("a,b\\n" + "".join(f"{i},{2 * i}\\n" for i in range(10)))
    >>> data = open_path(file)
    >>> data.task, data.features, len(data.train), len(data.dev), len(data.test)
    ('regression', ('a',), 6, 2, 2)
    """
    path = Path(os.path.expanduser(path))
    given = {
        "target": target, "missing": missing, "missing_target": missing_target, "unknown_level": unknown_level,
        "categorical": categorical, "ignore": ignore, "task": task,
        "image_size": image_size, "color": color, "corrupt": corrupt, "test": test, "group": group, "split": split,
        "time": time, "keep_equal_together": keep_equal_together or None,
    }  # fmt: skip
    kind = _kind(path, any(given[name] is not None for name in TAKES["table"]))
    refuse_others(given, TAKES[kind], f"is {shown(path)}, {_WORDS[kind]}")
    parting = Parting(group=group, split=split, time=time, equal=keep_equal_together, tested=test is not None)
    if kind == "table":
        opened = open_table(
            path,
            target,
            categorical=categorical or (),
            ignore=ignore or (),
            missing=missing or "refuse",
            missing_target=missing_target or "drop",
            task=task,
            rules=rules,
            aside=parting.columns,
        )
        return _table(path, opened, normalize, seed, task, rules, parting, test, unknown_level or "refuse")
    if kind == "npz":
        return _npz(path, normalize, seed, task, rules, parting, test)
    return images(path, normalize, seed, image_size, color, corrupt or "stop", rules, parting, test)


def refuse_others(given: dict[str, Any], takes: Sequence[str], reason: str) -> None:
    """Raise ConfigError where an argument is given that the data do not take; ``reason`` says what they are."""
    for name, value in given.items():
        if value is not None and name not in takes:
            takers = " or ".join(_WORDS[kind] for kind, names in TAKES.items() if name in names)
            raise ConfigError(f"{name} goes with {takers}, but data {reason}; leave {name} out")


def is_a_table(path: Path, asked: bool = False, text: bool = False) -> bool:
    """Whether a path is a table: by its suffix, by what is ``asked`` of it, or because it plainly is one.

    asked : whether there is a setting that only a table takes
    text : whether there is one that only a text takes
    """
    suffix = path.suffix.lower()
    if suffix in _TABLES:
        return True
    if suffix == ".npz" or not path.is_file():
        return False
    return (asked and suffix in _MAYBE_TABLES) or (not (text and suffix == ".txt") and is_table(path))


def _kind(path: Path, asked: bool) -> str:
    if path.is_dir():
        return "images"
    if is_a_table(path, asked):
        return "table"
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return "npz"
    if path.exists() and not path.is_file():
        raise DataError(f"{shown(path)}: it is no folder, table or archive, but a device or a pipe")
    found = f"ends in {shown(suffix) or 'nothing'}" if path.exists() else "is not there"
    raise DataError(f"{shown(path)}: {found}, but a folder of images, a .csv, a .tsv or an .npz file is expected")


# Tables --------------------------------------------------------------------------------------------------------------


def _table(
    path: Path,
    opened: OpenTable,
    normalize: bool,
    seed: int,
    task: str | None,
    rules: int,
    parting: Parting,
    test: str | os.PathLike[str] | None,
    unknown_level: str,
) -> Splits:
    parts, said = _rows(
        path, len(opened), seed, opened.y, opened.task, rules, parting,
        lambda: opened.table(dtype=np.float64).data, opened,
    )  # fmt: skip
    for name, values in opened.y.items() if isinstance(opened.y, dict) else ():
        if (np.isnan(values) if values.dtype.kind == "f" else values < 0)[parts[0]].all():
            raise DataError(
                f"{shown(path)}: column {name_of(name)} is missing in every row of the training set, so that nothing "
                "can be learnt of it; choose other targets, or another seed of the split"
            )
    table = opened.table(training=parts[0], dtype=np.float64 if rules > 1 else np.float32)
    left_out = _unusual(path, opened.delimiter)
    left_out += f", {table.without_target:,} without a target left out" if table.without_target else ""
    gapped = table.dropped - table.without_target
    left_out += f", {gapped:,} with missing cells left out" if gapped else ""
    left_out += ", the index left out" if table.index else ""
    names = [table.target] if isinstance(table.target, str) else table.target
    goal = f"{', '.join(map(shown, names))} {'is' if len(names) == 1 else 'are'} predicted"
    goal += f" from {_kinds(table.columns)}{_constant(table.data.y, table.target)}"
    goal += "" if normalize else _large(table.data.y, table.target)
    if isinstance(y := table.data.y, dict):
        like = [shown(name) for name in names if name not in (table.classes or ()) and _like_classes(y[name])]
        if like:
            goal += f"; {', '.join(like)} read as numbers; categorical would take them as classes"
    elif task is None and table.task == "regression" and _like_classes(y):
        goal += _AS_CLASSES
    inputs = Inputs.table(table.columns, missing=opened.missing, unknown_level=unknown_level)
    sets = [table.data[rows] for rows in parts]
    if test is not None:
        reading = Reading(
            shape=table.data.shape, task=table.task, classes=table.classes, inputs=inputs, target=table.target,
            missing=opened.missing, missing_target=opened.missing_target,
        )  # fmt: skip
        sets.append(_tested(reading, test, said))
    return _splits(
        path,
        sets,
        normalize,
        rules,
        parting,
        notes=(*_numbering(table), *said),
        task=table.task,
        classes=table.classes,
        features=table.features,
        source=f"{shown(path)}, {len(table.data):,} rows{left_out}; {goal}",
        inputs=inputs,
        target=table.target,
        origins=_origins(path, "line", [opened.lines[rows] for rows in parts]),
    )


def _tested(reading: Reading, test: str | os.PathLike[str], said: list[str]) -> Any:
    """The test set from a file of its own."""
    data, notes = reading.read(test)
    said.append(f"test set: {shown(test)}, {len(data):,} examples{''.join(f'; {note}' for note in notes)}")
    return data


def _unusual(path: Path, delimiter: str) -> str:
    """That a file was read as a table, where its name or its delimiter leaves a doubt.

    >>> _unusual(Path("a.txt"), "\\t")
    ', read as a table with tabs between its cells'
    """
    plain = path.suffix.lower() in _TABLES and delimiter in ",;\t"
    return "" if plain else f", read as a table with {DELIMITERS[delimiter]} between its cells"


def _numbering(table: Table) -> tuple[str, ...]:
    """Remarks on the columns that number or date the rows."""
    left, kept = (", ".join(map(name_of, names)) for names in (table.row_numbers, table.counting))
    lines = [f"{left}: numbers the rows, and is left out; rename the column to keep it"] if left else []
    if table.dates:
        dates = ", ".join(map(name_of, table.dates))
        lines.append(
            f"{dates}: holds dates, and is left out; --time COLUMN tests on the latest rows, --window forecasts"
        )
    if kept:
        lines.append(
            f"warning: {kept} goes up by one from row to row, as the number of a row does; where that says nothing of "
            "new rows, leave it out by --ignore"
        )
    return tuple(lines)


def _numbers(y: Targets, target: str | tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """The targets that are numbers, those that are known, by name."""
    for name, values in (y if isinstance(y, dict) else {str(target): y}).items():
        if values.dtype.kind == "f":
            yield name, values[~np.isnan(values)]


def _constant(y: Targets, target: str | tuple[str, ...]) -> str:
    """A remark on targets that are the same in every row.

    >>> _constant({"k": np.array([[2.5], [np.nan], [2.5]]), "price": np.array([[1.0], [2.0], [3.0]])}, ("k", "price"))
    '; k is 2.5 in every row, so that there is nothing to learn of it'
    """
    return "".join(
        f"; {shown(name)} is {float(values[0]):,.6g} in every row, so that there is nothing to learn of it"
        for name, values in _numbers(y, target)
        if values.size and values.min() == values.max()
    )


def _large(y: Targets, target: str | tuple[str, ...]) -> str:
    """A remark on targets whose numbers are so large that a network, which begins near 0, takes very long to get there.

    >>> _large(np.array([[250_000.0], [300_000.0]]), "price")
    '; price is about 280,000, which is far from 0: normalize, or divide it in the file, so that its numbers are near 1'
    """
    words = []
    for name, values in _numbers(y, target):
        size = float(np.mean(np.abs(values)))
        if size > _LARGE:
            words.append(
                f"; {shown(name)} is about {float(f'{size:.2g}'):,.0f}, which is far from 0: normalize, or divide it "
                "in the file, so that its numbers are near 1"
            )
    return "".join(words)


def _kinds(columns: Sequence[dict[str, Any]]) -> str:
    """How many columns are numbers, and which are categories.

    >>> _kinds([{"name": "a", "kind": "number"}, {"name": "b", "kind": "category"}])
    '1 number, 1 category: b'
    """
    names = [name_of(column["name"]) for column in columns if column["kind"] == "category"]
    numbers = len(columns) - len(names)
    parts = [f"{numbers:,} number{'s' * (numbers != 1)}"] if numbers else []
    if names:
        few = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
        parts.append(f"{len(names):,} {'category' if len(names) == 1 else 'categories'}: {few}")
    return ", ".join(parts)


def _like_classes(y: Any) -> bool:
    """Whether a target of numbers has but a few whole ones, fewer than there are rows."""
    found = np.unique(y[~np.isnan(y)])
    return len(found) <= min(FEW, len(y) - 1) and bool((found == np.floor(found)).all())


def _rows(
    path: Path,
    n: int,
    seed: int,
    y: Targets,
    task: str,
    rules: int,
    parting: Parting,
    plain: Callable[[], Any],
    opened: OpenTable | None = None,
) -> tuple[list[np.ndarray], list[str]]:
    """The positions of the parts, and remarks on them.

    plain : gives the examples before any normalizer
    opened : the table, where there is one
    """
    if isinstance(y, dict):
        labels = next((labels for labels in y.values() if labels.dtype.kind == "i"), None)
    else:
        labels = None if task == "regression" else y.reshape(n).astype(np.int64)
    return parting.rows(
        shown(path),
        n,
        seed,
        labels,
        cells=() if opened is None else list(opened.aside.values()),
        lines=() if opened is None else opened.lines.tolist(),
        equal=lambda: equal_inputs(digests_of(plain())),
        rules=rules,
    )


def _splits(
    path: Path,
    parts: Sequence[Dataset],
    normalize: bool,
    rules: int,
    parting: Parting,
    notes: Sequence[str] = (),
    **known: Any,
) -> Splits:
    normalizer = Normalizer.fit(parts[0], bounded=rules > 1) if normalize else None
    notes = (*notes, *_constant_inputs(parts[0].x, known.get("features"), normalize))
    digests = None
    if rules > 1:
        digests = {name: digests_of(part) for name, part in zip(("train", "dev", "test"), parts, strict=True)}
        notes = (*notes, *remarks(parts, digests, known.get("classes"), parting))
    train, dev, test = (prepared(part, normalizer) for part in parts)
    return Splits(
        train=train,
        dev=dev,
        test=test,
        name=name_of_data(path),
        normalizer=normalizer,
        notes=notes,
        digests=digests,
        **known,
    )


def _origins(path: Path, unit: str, places: Sequence[np.ndarray]) -> dict[str, Origins]:
    """Of the parts that were dealt from a file; a test set of its own has none."""
    return {name: Origins(shown(path.name), unit, rows) for name, rows in zip(("train", "dev", "test"), places)}  # noqa: B905


def _constant_inputs(x: np.ndarray, names: tuple[str, ...] | None, normalize: bool) -> Iterator[str]:
    """A remark on the features of x (N, ..., features) of the training set that are the same in every row.

    >>> list(_constant_inputs(np.array([[1.0, 0.0], [1.0, 2.0]]), ("lot", "size"), True))
    ['constant in the training set, so that nothing can be learned from it, and set to 0: lot']
    """
    values = x.reshape(-1, x.shape[-1])
    same = np.flatnonzero(values.min(axis=0) == values.max(axis=0))
    if x.ndim > 3 or not len(same):
        return
    some = [name_of(names[i]) if names else f"feature {i}" for i in same[:_NAMED].tolist()]
    more = f" and {len(same) - len(some):,} more of {values.shape[1]:,}" if len(same) > len(some) else ""
    it = "them" if len(same) > 1 else "it"
    done = ", and set to 0" if normalize else ""
    yield f"constant in the training set, so that nothing can be learned from {it}{done}: {', '.join(some)}{more}"


# Archives of arrays --------------------------------------------------------------------------------------------------


def _npz(
    path: Path,
    normalize: bool,
    seed: int,
    task: str | None,
    rules: int,
    parting: Parting,
    test: str | os.PathLike[str] | None,
) -> Splits:
    data = read_npz(path)
    chosen, classes, y = _targets(shown(path), data.y, task)
    words = data.lengths is not None and data.x.dtype.kind in "iub"
    x = data.x if words else plain_inputs(data.x)
    exact = not words and rules > 1 and data.x.dtype != np.uint8
    for key, before, after in (("x", data.x, x), ("y", data.y, y)):
        if after.dtype == np.float32 and not np.isfinite(after).all():  # the file's own values were finite
            first = np.asarray(before).reshape(-1)[np.flatnonzero(~np.isfinite(after))[0]]
            raise DataError(f"{shown(path)}: {key} holds {first}, too large for float32; scale it down")
    if x.ndim == 4 and x.shape[1] in (1, 3) and min(x.shape[2:]) > 4:
        raise DataError(
            f"{shown(path)}: x has shape {x.shape}, which looks like channels first, but channels last, (N, H, W, C), "
            "is expected; save x.transpose(0, 2, 3, 1)"
        )
    remark = _AS_CLASSES if task is None and chosen == "regression" and _like_classes(y) else ""
    pictures = data.x.dtype == np.uint8 and x.ndim == 4 and x.shape[3] in (1, 3)
    inputs = Inputs.images(x.shape[1:3], x.shape[3]) if pictures else None
    try:
        data = Dataset(data.x.reshape(x.shape).astype(np.float64) if exact else x, y, data.lengths)
    except DataError as error:
        raise DataError(f"{shown(path)}: {error}") from None
    rows, said = _rows(path, len(data), seed, y, chosen, rules, parting, lambda: data)
    parts = [data[some] for some in rows]
    if test is not None:
        parts.append(_tested(Reading(shape=data.shape, task=chosen, classes=classes, inputs=inputs), test, said))
    return _splits(
        path,
        parts,
        normalize and not words,
        rules,
        parting,
        notes=[*said, *_counting_features(data.x)],
        task=chosen,
        classes=classes,
        source=f"{shown(path)}, {len(data):,} examples of shape {data.shape}{remark}",
        inputs=inputs,
        origins=_origins(path, "row", rows),
    )


def _counting_features(x: np.ndarray) -> Iterator[str]:
    """A remark on the features of x (N, D) that number the rows: without a name it is not known that they mean nothing.

    >>> list(_counting_features(np.column_stack([np.arange(9.0) ** 2, np.arange(9.0) + 5])))
    ['warning: feature 1 goes up by one from row to row, as the number of a row does; if it is that, take it out of x']
    """
    if x.ndim == 2 and len(x) > 1:
        for place in np.flatnonzero(x[1] - x[0].astype(np.float64) == 1).tolist():
            if counts_by_one(x[:, place]):
                yield (
                    f"warning: feature {place} goes up by one from row to row, as the number of a row does; if it is "
                    "that, take it out of x"
                )


def _targets(name: str, y: Any, task: str | None) -> tuple[Task, tuple[str, ...] | None, np.ndarray]:
    """task, classes and y as a loss takes it."""
    if y.size != len(y):
        raise DataError(f"{name}: y has shape {y.shape}, but one target per example is expected, (N,) or (N, 1)")
    y = y.reshape(-1)
    if task is None:
        task = "classification" if y.dtype.kind in "iub" else "regression"
    if task == "regression":
        with np.errstate(over="ignore"):
            return "regression", None, y.astype(np.float32)[:, None]
    whole = y == np.floor(y) if y.dtype.kind == "f" else np.ones(len(y), bool)
    limit = 2 if task == "binary" else CATEGORIES
    wrong = np.flatnonzero(~whole | (y < 0) | (y >= limit))
    if len(wrong):
        first = wrong[0]
        raise DataError(f"{name}: y[{first}] is {y[first]}, but {task} takes whole numbers from 0 to {limit - 1:,}")
    if not y.any():
        raise DataError(f"{name}: y is 0 throughout, but at least two classes are expected; choose another target")
    if task == "binary":
        return "binary", ("0", "1"), y.astype(np.float32)[:, None]
    labels = y.astype(np.int64)
    gaps = np.flatnonzero(np.bincount(labels) == 0)
    if len(gaps):
        few = ", ".join(map(str, gaps[:5])) + (", ..." if len(gaps) > 5 else "")
        warnings.warn(f"{name}: y has no example of the classes {few}, of 0 to {labels.max()}", stacklevel=2)
    return "classification", tuple(map(str, range(int(labels.max()) + 1))), labels
