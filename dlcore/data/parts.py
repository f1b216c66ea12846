"""How the rows of one's own data become its parts: at random, by a column that says it, by groups, or in time."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends.random import derive, permutation
from dlcore.data._series_table import SeriesTable, find_clock
from dlcore.data.overlap import in_training
from dlcore.data.readers.csv.rows import MISSING, name_of
from dlcore.data.readers.file import shown
from dlcore.data.split import split_rows
from dlcore.errors import ConfigError, DataError

__all__ = ["Parting", "lacking", "part_named", "remarks"]

_FRACTIONS = (0.6, 0.2, 0.2)
_PARTS = {
    "train": ("train", "training", "trn"),
    "dev": ("dev", "devel", "development", "val", "valid", "validate", "validation", "eval", "evaluation"),
    "test": ("test", "testing", "tst"),
}
_FILLERS = (
    "set", "data", "dataset", "images", "image", "imgs", "img", "pictures", "split", "seg", "part", "fold",
)  # fmt: skip
"""Words beside that of the part, as in test_set."""
_LACKING = 5  # classes that are named


def part_named(word: str) -> str | None:
    """The part that a word stands for: "train", "dev" or "test"; None where it says nothing.

    >>> [part_named(word) for word in ("Training", "seg_test", "VALID", "validation-set", "tests", "trains")]
    ['train', 'test', 'dev', 'dev', None, None]
    """
    words = [one for one in re.split(r"[\W_]+", word.lower()) if one and one not in _FILLERS]
    if len(words) != 1:
        return None
    return next((part for part, known in _PARTS.items() if words[0] in known), None)


@dataclass(frozen=True, kw_only=True)
class Parting:
    """What says in which part a row goes; at most one of these, and without any chance does, 60-20-20.

    group : a column; the rows of one value stay in one part
    split : a column whose words name the part
    time : the columns that tell a row's time; the parts follow one another in it
    equal : rows of equal inputs stay in one part
    tested : the test set comes from another file: the parts are training and dev set alone, 80-20

    Raises ConfigError for two that contradict each other.

    >>> years = ["1999", "2001", "2000", "2002", "2003"]
    >>> Parting(time=["year"]).rows("t.csv", 5, seed=0, cells=[years], lines=range(2, 7))
    ([array([0, 1, 2]), array([3]), array([4])], ['parts: in the order of year; the training set ends at 2001'])
    """

    group: str | None = None
    split: str | None = None
    time: Sequence[str] | None = None
    equal: bool = False
    tested: bool = False

    def __post_init__(self) -> None:
        names = [name for name in ("group", "split", "time") if getattr(self, name) is not None]
        names += ["keep_equal_together"] if self.equal else []
        names += ["test"] if self.tested and self.split is not None else []
        if len(names) > 1:
            raise ConfigError(f"{' and '.join(names)} came together, but each says which rows are tested; give one")

    @property
    def columns(self) -> dict[str, str]:
        """By the column that is read for this alone, and is no feature, the setting that names it."""
        named = {column: name for name in ("group", "split") if (column := getattr(self, name)) is not None}
        return named | dict.fromkeys(self.time or (), "time")

    def rows(
        self,
        file: str,
        n: int,
        seed: int,
        labels: np.ndarray | None = None,
        *,
        cells: Sequence[Sequence[str]] = (),
        lines: Sequence[int] = (),
        equal: Callable[[], np.ndarray] | None = None,
        rules: int = 2,
    ) -> tuple[list[np.ndarray], list[str]]:
        """The positions of the rows of each part, and what to say of them.

        file : what errors call it
        n : rows
        labels : (n,) the classes that are kept in proportion, where there are classes
        cells : of each of the columns, n words
        lines : (n,) of the rows in the file
        equal : gives (n,) whole numbers, the same for rows of equal inputs

        Raises DataError for cells that cannot be understood and for too few rows.
        """
        shares = _train_and_dev(_FRACTIONS) if self.tested else _FRACTIONS
        times = None if self.time is None else _times(file, self.time, cells, lines)
        try:
            if self.time is not None and times is not None:
                return _in_time(
                    times,
                    " and ".join(map(name_of, self.time)),
                    [" ".join(row) for row in zip(*cells, strict=True)],
                    shares,
                )
            if self.split is not None:
                return _by_words(self.split, cells[0], seed, labels, rules)
            if self.group is not None:
                _refuse_gaps(self.group, cells[0])
                found, groups = np.unique(np.asarray(cells[0], object).astype(str), return_inverse=True)
                line = f"parts: the rows of each of the {len(found):,} values of {name_of(self.group)} stay in one part"
                return _by_groups(groups, shares, seed, labels), [line]
            if self.equal and equal is not None:
                groups = equal()
                line = f"parts: rows of equal inputs stay in one part, {groups.max() + 1:,} different ones of {n:,}"
                return _by_groups(groups, shares, seed, labels), [line]
            return split_rows(n, shares, seed, labels, rules=rules), []
        except DataError as error:
            raise DataError(f"{file}: {error}") from None


def remarks(
    parts: Sequence[Any], digests: Mapping[str, np.ndarray], classes: Any, parting: Parting | None = None
) -> list[str]:
    """What to know of parts that are made: equal rows across them, and classes that the training set lacks.

    parts : the training set first
    parting : how they were made; None where they were given
    """
    by_chance = parting is not None and not (parting.columns or parting.equal or parting.tested)
    lines = [in_training(digests, "--keep-equal-together keeps such rows in one part" if by_chance else "")]
    if isinstance(classes, dict):
        lines += [lacking([part.y[name] for part in parts], names, name) for name, names in classes.items()]
    elif classes:
        lines.append(lacking([part.y for part in parts], classes))
    return [line for line in lines if line]


def lacking(parts: Sequence[np.ndarray], classes: Sequence[str], target: str = "") -> str:
    """A remark on classes without a training row that other parts have; empty without any.

    parts : the labels of each part, (n,) whole numbers, those of the training set first

    >>> lacking([np.array([0, 0]), np.array([0, 1])], ("a", "b"))
    'no training row of the class b, which is never predicted'
    """
    train, *others = parts
    found = np.setdiff1d(np.concatenate([y.reshape(-1) for y in others]), train).astype(int)
    names = [name_of(classes[int(label)]) for label in found[found >= 0].tolist()]
    if not names:
        return ""
    few = ", ".join(names[:_LACKING]) + (", ..." if len(names) > _LACKING else "")
    of = f" of {name_of(target)}" if target else ""
    some = f"class {few}{of}, which is" if len(names) == 1 else f"classes {few}{of}, which are"
    return f"no training row of the {some} never predicted"


def _train_and_dev(shares: Sequence[float]) -> tuple[float, ...]:
    return (1 - shares[1], shares[1])


def _refuse_gaps(column: str, cells: Sequence[str]) -> None:
    gaps = sum(cell in MISSING for cell in cells)
    if gaps:
        raise DataError(
            f"column {name_of(column)} is missing in {gaps:,} of {len(cells):,} rows, which could stand in any part; "
            "fill it, or take the rows out"
        )


# By a column's words -------------------------------------------------------------------------------------------------


def _by_words(
    column: str, cells: Sequence[str], seed: int, labels: np.ndarray | None, rules: int
) -> tuple[list[np.ndarray], list[str]]:
    _refuse_gaps(column, cells)
    meant: dict[str, str] = {}
    for word in dict.fromkeys(cells):
        part = part_named(word)
        if part is None:
            raise DataError(
                f"column {name_of(column)}, which split names, holds {shown(word)!r:.60}, but train, dev (or val) and "
                "test are expected; give a column of such words, or leave split out"
            )
        meant[word] = part
    named = np.array([meant[cell] for cell in cells])
    found = {part: rows for part in _PARTS if len(rows := np.flatnonzero(named == part))}
    lines = [f"parts: named by the column {name_of(column)}"]
    if "train" not in found or len(found) == 1:
        raise DataError(
            f"column {name_of(column)}, which split names, has no row for {'train' if 'train' not in found else 'test'}"
            f", but {', '.join(meant)}; at least train and test are expected"
        )
    lack = next((part for part in _PARTS if part not in found), None)
    if lack is not None:
        train = found["train"]
        kept, drawn = split_rows(
            len(train), _train_and_dev(_FRACTIONS), seed, None if labels is None else labels[train], rules=rules
        )
        found |= {"train": train[np.sort(kept)], lack: train[np.sort(drawn)]}
        lines[0] += f", which has no {lack} set: {len(drawn):,} training rows are drawn for it"
    return [found[part] for part in _PARTS], lines


# In time -------------------------------------------------------------------------------------------------------------


def _in_time(
    times: np.ndarray, column: str, words: Sequence[str], shares: Sequence[float]
) -> tuple[list[np.ndarray], list[str]]:
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    begins = [0]
    for share in np.cumsum(shares)[:-1]:
        begins.append(_change(ordered, round(len(ordered) * float(share)), begins[-1]))
    ends = [*begins[1:], len(ordered)]
    if any(first >= end for first, end in zip(begins, ends, strict=True)):
        raise DataError(
            f"{column} holds {len(np.unique(times)):,} different times, too few for {len(shares)} parts that follow "
            "one another; give a finer time, or leave time out"
        )
    latest = shown(words[int(order[begins[1] - 1])])
    line = f"parts: in the order of {column}; the training set ends at {latest}"
    return [np.sort(order[first:end]) for first, end in zip(begins, ends, strict=True)], [line]


def _change(ordered: np.ndarray, place: int, after: int) -> int:
    """The place nearest to ``place``, and after ``after``, where the time changes: rows of one time stay together."""
    changes = np.flatnonzero(np.diff(ordered)) + 1
    changes = changes[changes > after]
    return int(changes[np.argmin(np.abs(changes - place))]) if len(changes) else len(ordered)


def _times(file: str, columns: Sequence[str], cells: Sequence[Sequence[str]], lines: Sequence[int]) -> np.ndarray:
    """(n,) float64, seconds since 1970 or numbers, from the cells of each column."""
    table = SeriesTable(file, columns)
    for row, line in enumerate(lines):
        table.lines.append(int(line))
        for name, words in zip(columns, cells, strict=True):
            table.columns[name].add(words[row], int(line))
    clock = find_clock(table, columns, ())
    assert clock is not None  # noqa: S101  the columns are named
    return table.times(clock)


# By groups -----------------------------------------------------------------------------------------------------------


def _by_groups(groups: np.ndarray, shares: Sequence[float], seed: int, labels: np.ndarray | None) -> list[np.ndarray]:
    """Each group into one part, the largest first, and of equal ones in random order: into the part that is furthest
    behind its share of the classes which the group has.

    groups : (n,) whole numbers from 0
    """
    count, parts = int(groups.max()) + 1, len(shares)
    if count < parts:
        raise DataError(f"{count:,} different values are too few, for each of {parts} parts needs at least one")
    strata = np.zeros(len(groups), np.intp) if labels is None else np.unique(labels, return_inverse=True)[1].reshape(-1)
    total = np.bincount(strata).tolist()
    pairs, sizes = np.unique(np.stack([groups, strata]), axis=1, return_counts=True)
    begins = np.searchsorted(pairs[0], np.arange(count + 1)).tolist()
    classes, sizes = pairs[1].tolist(), sizes.tolist()
    order = permutation(derive(seed, "split"), count)
    order = order[np.argsort(-np.bincount(groups)[order], kind="stable")]
    filled = [[-share] * len(total) for share in shares]  # of each class, what a part has of it less its share
    part_of, empty = np.empty(count, np.intp), set(range(parts))
    for done, group in enumerate(order.tolist()):
        held = range(begins[group], begins[group + 1])
        open_parts = empty if count - done == len(empty) else range(parts)
        part = min(
            open_parts,
            key=lambda p: sum(sizes[i] / total[classes[i]] * filled[p][classes[i]] for i in held),
        )
        for i in held:
            filled[part][classes[i]] += sizes[i] / total[classes[i]]
        part_of[group] = part
        empty.discard(part)
    places: Mapping[int, np.ndarray] = {part: np.flatnonzero(part_of[groups] == part) for part in range(parts)}
    return [places[part] for part in range(parts)]
