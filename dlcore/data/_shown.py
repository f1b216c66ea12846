"""Data sets and their parts as people see them in a notebook, and the text of Splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore._core import markup

if TYPE_CHECKING:
    from dlcore.data.dataset import Dataset, Splits

__all__ = ["dataset_html", "splits_html", "splits_text"]

_NUMBERS = 10_000_000
"""Of an array with more numbers, no values are looked at."""
_CLASSES = 10  # named in a text
_NOTES = 20  # lines that are shown
_PARTS = ("train", "dev", "test", "train_dev")


def dataset_html(data: Dataset) -> str:
    """A table of the arrays: shape, dtype, and the range of their values."""
    rows = [(name, array.shape, array.dtype, _values(array)) for name, array in _arrays(data)]
    return markup.together(
        markup.title("Dataset", f"{len(data):,} examples"), markup.table(("Array", "Shape", "Type", "Values"), rows)
    )


def _arrays(data: Dataset) -> Iterator[tuple[str, np.ndarray]]:
    for name in ("x", "y", "lengths"):
        value: Any = getattr(data, name)
        if isinstance(value, dict):
            yield from ((f"{name}[{key!r}]", array) for key, array in value.items())
        elif isinstance(value, tuple):
            yield from ((f"{name}[{i}]", array) for i, array in enumerate(value))
        elif value is not None:
            yield name, value


def _values(array: np.ndarray) -> str:
    if not array.size or array.size > _NUMBERS:
        return ""
    missing = bool(array.dtype.kind == "f" and np.isnan(array).any())
    if missing and np.isnan(array).all():
        return "all missing"
    low, high = (np.nanmin(array), np.nanmax(array)) if missing else (array.min(), array.max())
    form = ".4g" if array.dtype.kind == "f" else ""
    return f"{low:{form}} to {high:{form}}{', some missing' * missing}"


def splits_text(data: Splits) -> str:
    """``repr`` of Splits: what the data are, and a line for each part.

    >>> import dlcore as dl
    >>> print(splits_text(dl.data.load("cars")))
    Splits(
      name: cars
      task: regression
      train: Dataset(x (235, 6) float32, y (235, 1) float32)
      dev: Dataset(x (79, 6) float32, y (79, 1) float32)
      test: Dataset(x (78, 6) float32, y (78, 1) float32)
    )
    """
    lines = ["Splits(", f"  name: {data.name}", f"  task: {data.task}"]
    lines += [f"  classes: {_classes(data.classes)}"] if data.classes else []
    lines += [f"  {name}: {part!r}" for name in _PARTS if (part := getattr(data, name)) is not None]
    return "\n".join([*lines, ")"])


def _classes(classes: Any) -> str:
    if isinstance(classes, dict):
        return "; ".join(f"{task} ({_classes(names)})" for task, names in classes.items())
    few = ", ".join(repr(str(name))[1:-1] for name in classes[:_CLASSES])
    return f"{len(classes):,}: {few}{', ...' * (len(classes) > _CLASSES)}"


def splits_html(data: Splits) -> str:
    """The parts as a table, with what is known about the data."""
    parts = [(name, part) for name in _PARTS if (part := getattr(data, name)) is not None]
    rows = [
        (name, f"{len(part):,}", part.shape, part.dtype, _targets(getattr(part, "y", None))) for name, part in parts
    ]
    known = {
        "task": data.task,
        "classes": _classes(data.classes) if data.classes else "",
        "target": data.target if isinstance(data.target, str) else ", ".join(data.target or ()),
        "features": _few(data.features or ()),
        "source": data.source,
        "licence": data.licence,
        "normalized": "yes" if data.normalizer is not None else "no",
    }
    notes = [("note", note) for note in data.notes[:_NOTES]]
    return markup.together(
        markup.title("Splits", data.name),
        markup.table(("Part", "Examples", "Shape of x", "Type", "Targets"), rows, numbers=(1,)),
        markup.table((), [(name, value) for name, value in known.items() if value] + notes),
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_CLASSES]) + (f", ... ({len(names):,} in all)" if len(names) > _CLASSES else "")


def _targets(y: Any) -> str:
    if y is None:
        return ""
    if isinstance(y, dict):
        return "; ".join(f"{task}: {_targets(values)}" for task, values in y.items())
    y = np.asarray(y)
    shape = f" {y.shape[1:]}" if y.ndim > 1 else ""
    return f"{y.dtype}{shape}, {_values(y)}".removesuffix(", ")
