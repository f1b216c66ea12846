"""Columns of a table as what is to be predicted: numbers, or classes with their labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dlcore.data.dataset import Task
from dlcore.data.readers._columns import CATEGORIES, FEW, Column
from dlcore.data.readers._rows import name_of
from dlcore.errors import DataError

__all__ = ["is_numeric", "several_of", "target_of"]


def is_numeric(goal: Column, task: str | None, several: bool) -> bool:
    """Whether the target, alone or one of ``several``, is a column of numbers."""
    if task in ("classification", "binary"):
        return goal.first_text is None
    return goal.is_numeric(f"name {name_of(goal.name)} in categorical" if several else "set task to classification")


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
    values = goal.values()[rows]
    found, labels = np.unique(values, return_inverse=True)
    odd = found[found != np.floor(found)]
    if len(odd):
        raise DataError(f"{goal.label} holds {odd[0]:g}, but classes are names or whole numbers; {remedy}")
    if len(found) > CATEGORIES:
        raise DataError(f"{goal.label} has {len(found):,} different values, more than {CATEGORIES:,} classes")
    return labels, tuple(f"{value:.0f}" for value in found)
