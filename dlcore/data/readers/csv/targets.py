"""Columns of a table as what is to be predicted: numbers, or classes with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from dlcore.data.dataset import Task
from dlcore.data.readers.csv.columns import CATEGORIES, FEW, Column, flag
from dlcore.data.readers.csv.rows import name_of
from dlcore.errors import DataError

__all__ = ["is_numeric", "several_of", "target_of"]

_DIGITS = 100  # of a number that stands for a class


def is_numeric(goal: Column, task: str | None, several: bool) -> bool:
    """Whether the target, alone or one of ``several``, is a column of numbers."""
    if task in ("classification", "binary"):
        return goal.first_text is None
    remedy = flag("category", goal.name) if several else "--task classification"
    return goal.is_numeric(f"choose another target, or take its values as classes by {remedy}", target=True)


def several_of(
    goals: Sequence[Column], rows: np.ndarray, tasks: Sequence[str | None], numeric: Sequence[bool]
) -> tuple[Task, dict[str, tuple[str, ...]], dict[str, np.ndarray]]:
    """:func:`target_of` by target, with NaN or -1 where a cell is missing."""
    classes: dict[str, tuple[str, ...]] = {}
    y: dict[str, np.ndarray] = {}
    for goal, asked, numbers in zip(goals, tasks, numeric, strict=True):
        present = ~goal.missing()[rows]
        if not present.any():
            raise DataError(f"{goal.label} holds nothing but missing cells, but it is a target; choose another")
        _, names, known = target_of(goal, rows[present], asked, numbers, "take it out of categorical")
        values = np.full((len(rows), *known.shape[1:]), -1 if names else np.nan, known.dtype)
        values[present] = known
        y[goal.name] = values
        if names:
            classes[goal.name] = names
    return "multitask", classes, y


def target_of(
    goal: Column, rows: np.ndarray, task: str | None, numeric: bool, remedy: str = "set task to regression"
) -> tuple[Task, tuple[str, ...] | None, np.ndarray]:
    """task, classes and y of the rows.

    numeric : what :func:`is_numeric` says
    remedy : for numbers that are no classes
    """
    if numeric and task not in ("classification", "binary"):
        return "regression", None, goal.values()[rows].astype(np.float32)[:, None]
    if task == "regression" and goal.first_text is not None:
        line, cell = goal.first_text
        raise DataError(f"{goal.label}, line {line}: {cell!r:.60} is not a number, as a regression's target must be")
    labels, names = _numbered(goal, rows, remedy) if numeric else _named(goal, rows)
    if len(names) < 2 or (task == "binary" and len(names) != 2):
        expected = "two" if task == "binary" else "at least two"
        found = ", ".join(name_of(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")
        raise DataError(
            f"{goal.label} has the values {found}, but {expected} classes are expected; choose another target"
        )
    if task == "binary":
        return "binary", names, labels.astype(np.float32)[:, None]
    return "classification", names, labels


def _named(goal: Column, rows: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    places, words = goal.categories("choose another target")
    found, labels = np.unique(places[rows], return_inverse=True)
    if len(found) > max(FEW, len(rows) / 2):
        raise DataError(
            f"{goal.label} has {len(found):,} classes in {len(rows):,} rows, too few of each to learn from; choose "
            "another target"
        )
    return labels, tuple(words[place] for place in found)


def _numbered(goal: Column, rows: np.ndarray, remedy: str) -> tuple[np.ndarray, tuple[str, ...]]:
    if goal.rules > 1 and goal.words is not None:
        return _identified(goal, rows, remedy)
    values = goal.values()[rows]
    found, labels = np.unique(values, return_inverse=True)
    odd = found[found != np.floor(found)]
    if len(odd):
        raise DataError(_no_class(goal, f"{odd[0]:g}", remedy))
    if len(found) > CATEGORIES or goal.rules > 1:
        n = f"{len(found):,}" if len(found) > CATEGORIES else f"more than {CATEGORIES:,}"
        raise DataError(f"{goal.label} has {n} different values, more than {CATEGORIES:,} classes")
    return labels, tuple(f"{value:.0f}" for value in found)


def _identified(goal: Column, rows: np.ndarray, remedy: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Whole numbers told from one another by every digit, which float64 does not hold beyond 2**53; 7, 07 and 7.0 are
    one class, called 07 where each cell is so."""
    places, words = goal.categories(remedy)
    taken, within = np.unique(places[rows], return_inverse=True)
    spelled: dict[Decimal, list[str]] = {}
    for word in (words[place] for place in taken):
        value = Decimal(word)
        if not value.is_finite() or value.adjusted() > _DIGITS or value != value.to_integral_value():
            raise DataError(_no_class(goal, word, remedy))
        spelled.setdefault(value, []).append(word)
    order = {value: label for label, value in enumerate(sorted(spelled))}
    labels = np.array([order[Decimal(words[place])] for place in taken], np.int64)
    names = (same[0] if len(same) == 1 and same[0].isdecimal() else str(int(v)) for v, same in sorted(spelled.items()))
    return labels[within], tuple(names)


def _no_class(goal: Column, value: str, remedy: str) -> str:
    return f"{goal.label} holds {value}, but classes are names or whole numbers; {remedy}"
