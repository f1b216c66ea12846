"""Tables from CSV files: numbers as they are, names as one-hot columns, and one column as the target."""

from __future__ import annotations

import os
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from dlcore.data.dataset import Dataset, Targets, Task
from dlcore.data.readers.csv.columns import Column, flag
from dlcore.data.readers.csv.row_numbers import counts_by_one, is_index_name
from dlcore.data.readers.csv.rows import LIMIT, name_of, no_column, table_rows
from dlcore.data.readers.csv.targets import is_numeric, several_of, target_of
from dlcore.data.readers.file import shown
from dlcore.errors import ConfigError, DataError

__all__ = ["Table", "open_table", "read_csv"]

_CHOICES = {
    "missing": ("refuse", "drop", "mean"),
    "missing_target": ("drop", "refuse"),
    "task": ("classification", "binary", "regression", None),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """What :func:`read_csv` gives.

    data : x (N, features) float32 and y
    features : the names of x's columns; a category has one per value, such as "colour=red"
    target : the name of the column that became y, or the names of several
    task : "classification", "binary" or "regression"; of several targets "multitask"
    classes : the names of the classes in the order of their labels; None for a regression. Of several targets a dict,
        without the regressions
    columns : how a row becomes x, as JSON has it; see :class:`~dlcore.data.Inputs`
    dropped : rows that were left out because a cell was missing
    without_target : those of them in which the target was missing
    index : whether a first column without a name was left out
    row_numbers : the columns of numbers that go up by one from row to row and have an index's name, such as id, which
        were left out: they tell the order of the file, and nothing of a new row
    counting : the other columns that go up by one from row to row, which stay
    dates : the columns of dates, which were left out: a date of training does not come again

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "rooms.csv"
    >>> _ = file.write_text("size,kind,price\\n30,flat,90\\n,flat,110\\n90,house,300\\n")
    >>> table = read_csv(file, missing="drop")
    >>> table.task, table.target, table.features, table.dropped
    ('regression', 'price', ('size', 'kind=flat', 'kind=house'), 1)
    >>> table.data
    Dataset(x (2, 3) float32, y (2, 1) float32)
    """

    data: Dataset
    features: tuple[str, ...]
    target: str | tuple[str, ...]
    task: Task
    classes: tuple[str, ...] | dict[str, tuple[str, ...]] | None
    columns: list[dict[str, Any]]
    dropped: int
    without_target: int = 0
    index: bool = False
    row_numbers: tuple[str, ...] = ()
    counting: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()


def read_csv(
    path: str | os.PathLike[str],
    target: str | Sequence[str] | None = None,
    *,
    categorical: Collection[str] = (),
    ignore: Collection[str] = (),
    missing: str = "refuse",
    missing_target: str = "drop",
    task: str | None = None,
    limit: int = LIMIT,
) -> Table:
    """Read a table with a header line from a CSV or text file in UTF-8, or in UTF-16 with a byte order mark.

    path : of the file
    target : the name of the column to predict; None takes the last one that is not ignored. A list of names gives a
        dict of targets, in which NaN, or -1 among class labels, stands for a missing cell; rows without any of them are
        left out
    categorical : names of columns that stand for categories whatever they look like, such as numbers; among several
        targets, of those whose numbers stand for classes
    ignore : names of columns to leave out
    missing : what to do about cells that are empty or hold ?, NA, NaN, NULL, None, #N/A or another of the words that
        pandas reads so. "refuse" raises an error; "drop" leaves their rows out; "mean" fills numbers with the mean of
        the column's other cells and makes a category of its own, "", of missing names
    missing_target : what to do about rows without a target: "drop" leaves them out, "refuse" raises an error. Of
        several targets some may be missing
    task : "classification", y (N,) int64; "binary", y (N, 1) float32 of 0 and 1; "regression", y (N, 1) float32; None
        takes "classification" where the target is text, else "regression". Of several targets each is as with None
    limit : bytes of the file, 1 GiB unless given; x may have four times as many, and reading takes at most twelve
        times as many beside it

    The delimiter is what a first line ``sep=;`` names, else the one of the comma, the semicolon, the tab and the bar
    that gives the first lines as many cells as the header, and most of them; a file without these may have blanks, ":",
    "~" or "^". A first column without a name, which is an index, and last ones without a name and empty throughout, are
    left out, and so is a column of numbers that go up by one from row to row and has an index's name, such as id,
    unless it is the target or the last column to learn from. A column of dates, of which there are many, is left out
    too. Names and cells are read in Unicode's form NFC. A column
    whose every present cell is a number is one feature; any other column is a category, one feature of 0 or 1 for
    each of its values, in sorted order. Classes are sorted too, numbers by value. Blank lines do not count.

    Raises DataError, naming the file with the line (the header is line 1) and the column, for a file that is no table
    or in another encoding, a header with an empty or repeated name or none at all, rows of another length, text in a
    column of which nine cells in ten are numbers, text whose many different values are numbers with more around them
    ("12 kg", "<5", "18-24"), or few that can only be numbers ("45%", "250,000.00"), unless the column is
    named in ``categorical``, numbers that float32 does not hold, missing cells as said above, more than 1,000 different
    values of a category, text with more than half as many values as rows, and a target that is not there, does not suit
    the task or has almost a class per row; ConfigError for another word than those above.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "fruit.csv"
    >>> _ = file.write_text("weight,colour,fruit\\n120,red,apple\\n7,red,cherry\\n130,green,apple\\n")
    >>> table = read_csv(file)
    >>> table.features, table.classes
    (('weight', 'colour=green', 'colour=red'), ('apple', 'cherry'))
    >>> table.data.x.tolist(), table.data.y.tolist()
    ([[120.0, 0.0, 1.0], [7.0, 0.0, 1.0], [130.0, 1.0, 0.0]], [0, 1, 0])

    Source: RFC 4180, "Common format and MIME type for comma-separated values", 2005.
    """
    return open_table(
        path,
        target,
        categorical=categorical,
        ignore=ignore,
        missing=missing,
        missing_target=missing_target,
        task=task,
        limit=limit,
    ).table()


def open_table(
    path: str | os.PathLike[str],
    target: str | Sequence[str] | None = None,
    *,
    categorical: Collection[str] = (),
    ignore: Collection[str] = (),
    missing: str = "refuse",
    missing_target: str = "drop",
    task: str | None = None,
    limit: int = LIMIT,
    rules: int = 2,
    aside: Mapping[str, str] = MappingProxyType({}),
) -> OpenTable:
    """The table before its gaps are filled, so that they can be filled by the means of the training rows alone; the
    arguments and errors of :func:`read_csv`.

    aside : columns that are no features, whose cells OpenTable.aside gives as they are, each with the setting that
        names it
    rules : 1 keeps the columns that number the rows, and those of text that is now refused, as version 0.1 did
    """
    for name, value in (("missing", missing), ("missing_target", missing_target), ("task", task)):
        if value not in _CHOICES[name]:
            words = ", ".join(str(word) for word in _CHOICES[name])
            raise ConfigError(f"read_csv: {name} is {value!r} but one of {words} is expected")
    several = target is not None and not isinstance(target, str)
    if several and task is not None:
        raise ConfigError(
            f"read_csv: task is {task} but there are several targets; leave it out, and name those whose numbers stand "
            "for classes in categorical"
        )
    file = shown(path)
    with table_rows(path, limit, rules) as (header, delimiter, rows, index):
        _check_aside(file, header, target, categorical, aside)
        ignore = [*(name for name in ignore if name not in aside), *aside]
        targets = _checked_names(file, header, target, categorical, ignore)
        taken = [(place, Column(name, file, rules)) for place, name in enumerate(header) if name not in ignore]
        held: dict[str, list[str]] = {name: [] for name in aside}
        kept, lines = [(header.index(name), cells) for name, cells in held.items()], array("q")
        n = 0
        for line, cells in rows:
            n += 1
            lines.append(line)
            for place, values in kept:
                values.append(cells[place])
            for place, column in taken:
                column.add(cells[place], line)
    columns = [column for _, column in taken]
    if not n:
        raise DataError(f"{file}: there is no row below the header; at least one is expected")
    if delimiter != ",":
        _refuse_decimal_commas(columns)
    opened = OpenTable(
        file, columns, targets, frozenset(categorical), missing, missing_target, task, limit, index, several, rules,
        delimiter, lines,
    )  # fmt: skip
    opened.aside = {name: [cells[row] for row in opened.places] for name, cells in held.items()}
    opened.lines = np.frombuffer(lines, np.int64)[opened.places]
    return opened


class OpenTable:
    """The columns of a table, typed and with its missing rows dropped, but with its gaps not yet filled.

    y, target, task, classes : as in :class:`Table`
    dropped, without_target : rows left out, and those of them without a target
    places : of the rows that are kept, among all
    aside : by column, the cells of these rows
    lines : (n,) of these rows in the file
    """

    aside: dict[str, list[str]]
    lines: np.ndarray
    y: Targets
    task: Task
    classes: tuple[str, ...] | dict[str, tuple[str, ...]] | None
    row_numbers: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()

    def __init__(
        self,
        file: str,
        columns: Sequence[Column],
        targets: Sequence[str],
        categorical: Collection[str],
        missing: str,
        missing_target: str,
        task: str | None,
        limit: int,
        index: bool,
        several: bool,
        rules: int,
        delimiter: str,
        lines: Sequence[int],
    ) -> None:
        self.file = file
        self.target = tuple(targets) if several else targets[0]
        self.index = index
        self.delimiter = delimiter
        self.missing, self.missing_target = missing, missing_target
        self._fill = missing == "mean"
        self._limit = 4 * limit
        goals = [next(column for column in columns if column.name == name) for name in targets]
        self._inputs = [column for column in columns if column not in goals]
        if rules > 1:
            dates = [column for column in self._inputs if column.name not in categorical and column.holds_dates()]
            self._leave_out_dates(dates)
            columns = [column for column in columns if column not in dates]
        counting = [column for column in self._inputs if column.name not in categorical and _counts(column)]
        rest = [column for column in self._inputs if not (column in counting and is_index_name(column.name))]
        if rules > 1 and rest:
            self.row_numbers = tuple(column.name for column in self._inputs if column not in rest)
            self._inputs = rest
            columns = [*rest, *goals]
        self.counting = tuple(column.name for column in counting if column in self._inputs)
        tasks = ["classification" if several and goal.name in categorical else task for goal in goals]
        numeric = [is_numeric(goal, asked, several) for goal, asked in zip(goals, tasks, strict=True)]
        numbers = {
            column.name: column.values()
            for column in self._inputs
            if column.name not in categorical and column.is_numeric(_remedy(column))
        }
        names = {
            column.name: _categories(column, column.name in categorical)
            for column in self._inputs
            if column.name not in numbers
        }
        gaps = {name: np.isnan(values) for name, values in numbers.items()}
        gaps |= {name: places < 0 for name, (places, _) in names.items()}
        labelled = self._labelled(goals, missing_target, lines)
        self.without_target = int((~labelled).sum())
        rows = self._kept(gaps, labelled, missing, lines)
        self._numbers = {name: values[rows] for name, values in numbers.items()}
        self._names = {name: _with_gaps(places[rows], words) for name, (places, words) in names.items()}
        self.task, self.classes, self.y = (
            several_of(goals, rows, tasks, numeric) if several else target_of(goals[0], rows, task, numeric[0])
        )
        self._n, self.places = len(rows), rows
        self.dropped = len(goals[0].numbers) - self._n
        self._check_size()

    def __len__(self) -> int:
        return self._n

    def table(self, training: np.ndarray | None = None, dtype: Any = np.float32) -> Table:
        """The Table; gaps are filled by the mean of the rows ``training``, positions, or of all rows.

        dtype : of x: float64 keeps every digit for a normalizer

        Raises DataError for a column without a single number among them.
        """
        x = np.zeros((len(self), self._width()), dtype)
        features: list[str] = []
        columns: list[dict[str, Any]] = []
        for column in self._inputs:
            name, first = column.name, len(features)
            if name in self._numbers:
                values, fill = self._numbers[name], self._mean(column, training)
                x[:, first] = values if fill is None else np.where(np.isnan(values), fill, values)
                features.append(name)
                columns.append({"name": name, "kind": "number", "fill": fill})
            else:
                places, words = self._names[name]
                x[np.arange(len(x)), first + places] = 1
                features += [f"{name}={word}" for word in words]
                columns.append({"name": name, "kind": "category", "values": list(words)})
        return Table(
            data=Dataset(x, self.y),
            features=tuple(features),
            target=self.target,
            task=self.task,
            classes=self.classes,
            columns=columns,
            dropped=self.dropped,
            without_target=self.without_target,
            index=self.index,
            row_numbers=self.row_numbers,
            counting=self.counting,
            dates=self.dates,
        )

    def _labelled(self, goals: Sequence[Column], missing_target: str, lines: Sequence[int]) -> np.ndarray:
        """(N,) bool: the rows with a target, or one of several. Raises DataError as ``missing_target`` has it."""
        absent = np.logical_and.reduce([goal.missing() for goal in goals])
        count, label = int(absent.sum()), goals[0].label
        if count and missing_target == "refuse":
            raise DataError(
                f"{label}, line {lines[int(np.argmax(absent))]}: the target is missing, {_one_of(count)}; mend the "
                "file, or set missing_target to drop"
            )
        if absent.all():
            raise DataError(f"{label}, the target, is missing in every one of {count:,} rows; choose another target")
        return ~absent

    def _kept(
        self, gaps: dict[str, np.ndarray], labelled: np.ndarray, missing: str, lines: Sequence[int]
    ) -> np.ndarray:
        """The positions of the rows to keep. Raises DataError as ``missing`` has it."""
        gaps = {name: places & labelled for name, places in gaps.items()}
        counts = {name: int(places.sum()) for name, places in gaps.items() if missing != "mean" and places.any()}
        if not counts:
            return np.flatnonzero(labelled)
        labels = {column.name: column.label for column in self._inputs}
        if missing == "refuse":
            first = min(counts, key=lambda name: int(np.argmax(gaps[name])))
            raise DataError(
                f"{labels[first]}, line {lines[int(np.argmax(gaps[first]))]}: the cell is missing, "
                f"{_one_of(sum(counts.values()))}; mend the file, or set missing to drop or mean"
            )
        keep = labelled & ~np.logical_or.reduce([gaps[name] for name in counts])
        if not keep.any():
            most = max(counts, key=lambda name: counts[name])
            raise DataError(
                f"{labels[most]} is missing in {counts[most]:,} rows, and no row is left; take it out, or set missing "
                "to mean"
            )
        return np.flatnonzero(keep)

    def _mean(self, column: Column, training: np.ndarray | None) -> float | None:
        if not self._fill:
            return None
        values = self._numbers[column.name] if training is None else self._numbers[column.name][training]
        present = values[~np.isnan(values)]
        if not len(present):
            where = "at all" if training is None else "in the training set"
            raise DataError(f"{column.label} holds no number {where}, so that there is no mean; take the column out")
        return float(present.mean())

    def _leave_out_dates(self, dates: Sequence[Column]) -> None:
        self.dates = tuple(column.name for column in dates)
        if dates and len(dates) == len(self._inputs):
            names = ", ".join(map(name_of, self.dates))
            raise DataError(
                f"{self.file}: beside the target there are only dates: {names}; for the next values of a series give "
                "--window, else add a column to learn from"
            )
        self._inputs = [column for column in self._inputs if column not in dates]

    def _width(self) -> int:
        return len(self._numbers) + sum(len(words) for _, words in self._names.values())

    def _check_size(self) -> None:
        if not self._inputs:
            raise DataError(f"{self.file}: {_only(self.target)}; add a column to learn from")
        size = len(self) * self._width() * 4
        if size > self._limit:
            widest = max(self._names, key=lambda name: len(self._names[name][1]), default="")
            reason = f"; column {name_of(widest)} alone makes {len(self._names[widest][1]):,}" if widest else ""
            raise DataError(
                f"{self.file}: {len(self):,} rows with {self._width():,} features take {size:,} bytes, but at most "
                f"{self._limit:,} are taken{reason}"
            )


def _one_of(count: int) -> str:
    return "the only one" if count == 1 else f"the first of {count:,} missing cells"


def _only(target: str | tuple[str, ...]) -> str:
    if isinstance(target, str):
        return f"the only column is the target {name_of(target)}"
    return f"the only columns are the targets {', '.join(map(name_of, target))}"


def _checked_names(
    file: str,
    header: list[str],
    target: str | Sequence[str] | None,
    categorical: Collection[str],
    ignore: Collection[str],
) -> list[str]:
    """The targets' names."""
    several = target is not None and not isinstance(target, str)
    targets = [target] if isinstance(target, str) else list(dict.fromkeys(target or ()))
    if several and not targets:
        raise ConfigError("read_csv: target is an empty list; name at least one column")
    for name in ignore:
        if name not in header:
            raise DataError(f"{no_column(file, name, header)}, but ignore names it")
        if name in targets or name in categorical:
            also = "is the target" if name in targets else "is named in categorical"
            raise DataError(f"{file}: ignore names {name_of(name)}, which {also}; take it out of one of them")
    left = [name for name in header if name not in ignore]
    if not left:
        raise DataError(f"{file}: ignore names every column; keep a target and a column to learn from")
    for name in targets:
        if name not in header:
            raise DataError(no_column(file, name, header))
    targets = targets or left[-1:]
    for name in categorical:
        if name not in header:
            raise DataError(f"{no_column(file, name, header)}, but categorical names it")
        if name in targets and not several:
            raise DataError(f"{file}: categorical names the target {name_of(name)}; set task to classification instead")
    return targets


def _check_aside(
    file: str,
    header: list[str],
    target: str | Sequence[str] | None,
    categorical: Collection[str],
    aside: Mapping[str, str],
) -> None:
    targets = [target] if isinstance(target, str) else target or ()
    for name, setting in aside.items():
        if name not in header:
            raise DataError(f"{no_column(file, name, header)}, but {setting} names it")
        if name in targets or name in categorical:
            also = "is a target" if name in targets else "is named in categorical"
            raise DataError(f"{file}: {setting} names {name_of(name)}, which {also}; take it out of one of them")


def _with_gaps(places: np.ndarray, words: list[str]) -> tuple[np.ndarray, list[str]]:
    """With missing names as the first category, "", where there are any."""
    return (places + 1, ["", *words]) if (places < 0).any() else (places, words)


def _counts(column: Column) -> bool:
    return column.first_text is None and not column.n_missing and counts_by_one(column.values())


def _categories(column: Column, wanted: bool) -> tuple[np.ndarray, list[str]]:
    """As :meth:`Column.categories`; where nobody asked for them, nearly every row may not have a value of its own."""
    if not wanted and column.is_its_own():
        raise DataError(
            f"{column.label} is text with {len(column.words or ()):,} different values in {column.present:,} rows, as "
            f"an ID, a date or a note is; {_remedy(column)}"
        )
    return column.categories(f"leave it out by {flag('ignore', column.name)}")


def _remedy(column: Column) -> str:
    return (
        f"leave it out by {flag('ignore', column.name)}, or take its values as categories by "
        f"{flag('category', column.name)}"
    )


def _refuse_decimal_commas(columns: Sequence[Column]) -> None:
    """Where semicolons stand between the cells, 3,5 is a number to its writer, and not a name."""
    for column in columns:
        line, cell = column.first_text or (0, "")
        whole, comma, part = cell.lstrip("+-").partition(",")
        if comma and whole.isdecimal() and part.isdecimal():
            raise DataError(f"{column.label}, line {line}: {cell!r:.60} has a decimal comma; write points")
