"""Another file of examples with targets, read as a model's training data were: by its inputs and its classes."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dlcore._core.configurable import did_you_mean
from dlcore.data.dataset import Dataset, Targets
from dlcore.data.normalize import Normalizer
from dlcore.data.parts import part_named
from dlcore.data.preprocess import Inputs
from dlcore.data.readers import ImageFolder, plain_inputs, read_npz
from dlcore.data.readers.csv.levels import Levels
from dlcore.data.readers.csv.rows import MISSING, name_of, no_column, number, table_rows, too_large
from dlcore.data.readers.file import shown
from dlcore.data.readers.images.common_form import Form
from dlcore.data.readers.images.folder import read_parts
from dlcore.data.readers.images.paths import find
from dlcore.errors import DataError

__all__ = ["Reading", "prepared"]

_MEMORY = 512 << 20  # bytes of decoded pixels

_Take = Callable[[str], float | None]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a file becomes examples of a model, with targets.

    shape : of one example of x
    task, classes : as in :class:`~dlcore.data.Splits`
    inputs : how a table or a folder of images becomes x; None where only an NPZ file does
    target : of a table, the column that is y, or the names of several; None for the last that the model does not read
    ignore : columns of a table that are not its target
    missing : "drop" leaves out the rows of a table with a missing cell
    missing_target : "refuse" raises an error for a row of a table without a target, which is left out otherwise
    corrupt : as for :func:`~dlcore.data.read_folder`

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "new.csv"
    >>> _ = file.write_text("kind,size\\nhouse,90\\nflat,30\\n")
    >>> reading = Reading(
    ...     shape=(1,), task="classification", classes=("flat", "house"), inputs=Inputs.table(["size"]), target="kind"
    ... )
    >>> data, notes = reading.read(file)
    >>> data.x.tolist(), data.y.tolist(), notes
    ([[90.0], [30.0]], [1, 0], [])
    """

    shape: tuple[int | None, ...]
    task: str
    classes: Any = None
    inputs: Inputs | None = None
    target: str | Sequence[str] | None = None
    ignore: Sequence[str] = ()
    missing: str | None = None
    missing_target: str | None = None
    corrupt: str = "stop"

    def read(self, path: str | os.PathLike[str], named: tuple[str, str] | None = None) -> tuple[Any, list[str]]:
        """A Dataset or an ImageFolder, not normalised, and remarks on what was left out.

        path : of a table, an NPZ file or a folder of images
        named : a column of a table and a part: the rows alone in which a word for the part stands

        Raises DataError, naming the file with the line and the column, for what cannot be read, for inputs of another
        kind than the model's, and for a class or a level that it does not know.
        """
        path = Path(os.path.expanduser(path))
        kind = "images" if path.is_dir() else "npz" if path.suffix.lower() == ".npz" else "table"
        if kind == "npz":
            return self._archive(path), []
        if self.inputs is None or self.inputs.kind != kind:
            wanted = {"images": "a folder of images", "table": "a table"}.get(self.inputs.kind if self.inputs else "")
            raise DataError(
                f"{shown(path)}: {'this is a folder' if kind == 'images' else 'a table came'}, but the model was "
                f"trained on {f'{wanted}: give such a one' if wanted else 'arrays: give an .npz file with x and y'}"
            )
        if not path.exists():
            raise DataError(f"{shown(path)}: there is no such file or folder")
        return (self._images(path), []) if kind == "images" else self._table(path, self.inputs, named)

    # Tables ----------------------------------------------------------------------------------------------------------

    def _table(self, path: Path, inputs: Inputs, named: tuple[str, str] | None) -> tuple[Dataset, list[str]]:
        file = shown(path)
        used = [column["name"] for column in inputs.columns or ()]
        x, y = array("d"), []
        unlabelled = gaps = 0
        faults: dict[int, str] = {}  # a row with one comes as a fault of the inputs too
        with table_rows(path, rules=inputs.rules, faults=faults) as (header, _, rows, _):
            takers = [(name, header.index(name), self._taker(name)) for name in self._goals(file, header, used)]
            places = [header.index(name) for name in used if name in header]
            if named is not None and named[0] not in header:
                raise DataError(f"{no_column(file, named[0], header)}, but it names the parts")
            for (line, cells), (_, row) in zip(rows, inputs.rows(path), strict=True):
                if line in faults:
                    raise DataError(f"{file}: {row}")
                if named is not None and part_named(cells[header.index(named[0])]) != named[1]:
                    continue
                if all(cells[place] in MISSING for _, place, _ in takers):
                    if self.missing_target == "refuse":
                        raise DataError(
                            f"{file}, line {line}: the target is missing; mend the cell, or set --missing-target drop"
                        )
                    unlabelled += 1
                    continue
                if self.missing == "drop" and any(cells[place] in MISSING for place in places):
                    gaps += 1
                    continue
                if isinstance(row, str):
                    raise DataError(f"{file}: {row}")
                y.append([self._value(file, line, name, cells[place], take) for name, place, take in takers])
                x.frombytes(row.astype(np.float64).tobytes())
        counts = {"without a target": unlabelled, "with missing cells": gaps}
        notes = [f"{n:,} row{'s' * (n != 1)} {what} left out" for what, n in counts.items() if n]
        if not y:
            raise DataError(f"{file}: no row is left{''.join(f'; {note}' for note in notes)}")
        names = [name for name, _, _ in takers]
        return Dataset(np.frombuffer(x, np.float64).reshape(len(y), -1), self._targets(names, y)), notes

    def _goals(self, file: str, header: list[str], used: Sequence[str]) -> list[str]:
        """The targets."""
        if self.target is None:
            left = [name for name in header if name not in used and name not in self.ignore]
            if not left:
                raise DataError(f"{file}: there is no column beside those that the model reads; add its target")
            names = left[-1:]
        else:
            names = [self.target] if isinstance(self.target, str) else list(self.target)
        for name in names:
            if name not in header:
                raise DataError(f"{no_column(file, name, header)}, but it is the target")
        return names

    def _classes_of(self, name: str) -> Sequence[str] | None:
        return self.classes.get(name) if isinstance(self.classes, Mapping) else self.classes

    def _taker(self, name: str) -> _Take:
        """What makes a number of a cell of a target, or None."""
        classes = self._classes_of(name)
        if classes is None:
            return lambda cell: None if (value := number(cell)) is None or too_large(value) else value
        return Levels(classes).place

    def _value(self, file: str, line: int, name: str, cell: str, take: _Take) -> float | None:
        """The target in a cell; None where it is missing."""
        value = None if cell in MISSING else take(cell)
        if value is None and cell not in MISSING:
            raise DataError(f"{file}: column {name_of(name)}, line {line}: {self._odd(name, cell)}")
        return value

    def _odd(self, name: str, cell: str) -> str:
        classes = self._classes_of(name)
        if classes is None:
            return f"{cell!r:.60} is not a number that can be predicted"
        few = ", ".join(map(name_of, classes[:10])) + (", ..." if len(classes) > 10 else "")
        return (
            f"{cell!r:.60} is no class that the model knows{shown(did_you_mean(cell[:60], classes))}; known are {few}"
        )

    def _targets(self, names: Sequence[str], y: list[list[float | None]]) -> Targets:
        if self.task != "multitask":
            return self._typed(np.array(y, np.float64)[:, 0])
        whole = np.array(y, np.float64)  # None becomes NaN
        known = [self._classes_of(name) for name in names]
        return {
            name: values.astype(np.float32)[:, None]
            if classes is None
            else np.where(np.isnan(values), -1, values).astype(np.int64)
            for name, classes, values in zip(names, known, whole.T, strict=True)
        }

    def _typed(self, y: np.ndarray) -> np.ndarray:
        return y.astype(np.int64) if self.task == "classification" else y.astype(np.float32)[:, None]

    # Archives and folders --------------------------------------------------------------------------------------------

    def _archive(self, path: Path) -> Dataset:
        return self.of_arrays(read_npz(path), shown(path))

    def of_arrays(self, data: Dataset, file: str) -> Dataset:
        """Arrays in memory, not normalised, as those of an NPZ file.

        file : what errors call them

        Raises DataError for examples of another shape, and for what is no target of the model.
        """
        words = data.lengths is not None and data.x.dtype.kind in "iub"
        x = data.x if words else plain_inputs(data.x)
        if x.shape[1:] != tuple(self.shape):
            raise DataError(f"{file}: x has examples of shape {x.shape[1:]}, but the model was trained on {self.shape}")
        if (
            isinstance(data.y, dict)
            or data.y.size != len(data)
            or self.task not in ("classification", "binary", "regression")
        ):
            raise DataError(f"{file}: y is not one target per example, as {self.task} takes them")
        y = data.y.reshape(-1)
        if self.task != "regression":
            count = len(self.classes or "01")
            odd = np.flatnonzero(~((y >= 0) & (y < count) & (y == np.floor(y))))
            if len(odd):
                raise DataError(
                    f"{file}: y[{odd[0]}] is {y[odd[0]]}, which is no class that the model knows; its {count:,} "
                    f"classes are the numbers 0 to {count - 1:,}"
                )
        exact = not words and data.x.dtype != np.uint8
        return Dataset(data.x.reshape(x.shape).astype(np.float64) if exact else x, self._typed(y), data.lengths)

    def _images(self, path: Path) -> ImageFolder:
        assert self.inputs is not None  # noqa: S101
        form = Form(self.inputs.size or (1, 1), self.inputs.channels or 1, depth=self.inputs.depth)
        (folder,), _ = read_parts([find(path)], None, None, self.corrupt, _MEMORY, form=form)
        known = list(self.classes or ())
        for name in folder.classes:
            if name not in known:
                few = ", ".join(map(shown, known[:10])) + (", ..." if len(known) > 10 else "")
                raise DataError(
                    f"{shown(path / name)}: {shown(name)} is no class that the model knows; known are {few}; take the "
                    "folder out"
                )
        return folder.relabelled(tuple(known))


def prepared(part: Any, normalizer: Normalizer | None) -> Any:
    """A part as a model takes it: normalised, or as float32."""
    if isinstance(part, ImageFolder):
        return part if normalizer is None else part.normalized(normalizer)
    if normalizer is not None:
        return normalizer.apply(part)
    return replace(part, x=part.x.astype(np.float32)) if part.x.dtype.kind == "f" else part
