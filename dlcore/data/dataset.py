"""What a model learns from: inputs with their targets, and the three parts that an experiment needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, overload

import numpy as np

from dlcore._core.arrays import plain
from dlcore._core.input_tree import leaves, like, mapped, named_leaves, rows_of, several, steps_of
from dlcore.data import _shown
from dlcore.errors import ConfigError, DataError, ShapeError

if TYPE_CHECKING:
    from dlcore.data._change import Change
    from dlcore.data._series_inputs import SeriesInputs
    from dlcore.data.normalize import Normalizer
    from dlcore.data.origins import Origins
    from dlcore.data.preprocess import Inputs

__all__ = ["Dataset", "Part", "Splits", "Task", "check_labels"]

Targets = np.ndarray | dict[str, np.ndarray]
Task = Literal["classification", "binary", "regression", "multitask", "text"]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Inputs and targets, row by row, checked once when they are put together.

    x : (N, ...) array of numbers — images (N, H, W, C), tables (N, D), sequences (N, T, D) or (N, T). A model that
        takes floats takes integers, such as bytes, as floats of the same values; before an Embedding they stay
        integers. For a model with several inputs a tuple of arrays, in the order of ``forward``'s arguments, or a dict
        of them: keyword arguments where ``forward`` has arguments of these names, else one dict for its one argument
    y : (N, ...) array of numbers, or a dict of them, one per task. In a dict, NaN marks a missing label, and so does −1
        among whole numbers.
    lengths : (N,) whole numbers, 1 to T — valid steps of each sequence; None where all steps are valid. Of several
        inputs, T is that of the first (N, T, ...) with three axes, or of the first (N, T) where there is none

    ``data[3]`` is one example as ``(x[3], y[3])``, with ``lengths[3]`` as a third where there are lengths; a slice, an
    array of positions or a boolean mask gives a Dataset.

    Raises DataError for an empty set, x and y (or lengths) of different lengths, anything but real numbers, NaN or
    infinity, and lengths outside 1 to T.

    >>> data = Dataset(np.zeros((5, 3)), np.arange(5))
    >>> len(data), len(data[1:3]), data[4][1]
    (5, 2, np.int64(4))
    >>> Dataset({"image": np.zeros((5, 8, 8, 1)), "kind": np.arange(5)}, np.arange(5))[:2].shape
    {'image': (8, 8, 1), 'kind': ()}
    >>> Dataset(np.array([[1.0], [np.nan]]), np.arange(2))
    Traceback (most recent call last):
    dlcore.errors.DataError: Dataset: x holds 1 NaN or infinite value, the first at (1, 0); drop or fill such rows
    """

    x: Any
    y: Targets
    lengths: np.ndarray | None = None

    def __post_init__(self) -> None:
        x = self.x
        if isinstance(x, tuple) and not all(hasattr(leaf, "shape") for leaf in x):
            x = list(x)  # the rows of one input
        if several(x):
            x = like(x, [_checked_input(leaf, name) for name, leaf in named_leaves(x)])
            sizes = {name: len(leaf) for name, leaf in named_leaves(x)}
            if len(set(sizes.values())) != 1:
                came = ", ".join(f"{name} {size}" for name, size in sizes.items()) or "no array"
                raise DataError(
                    f"Dataset: x has arrays of different numbers of rows: {came}; give each input every row"
                )
        else:
            x = _checked_input(x, "x")
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", _checked_targets(self.y, rows_of(x)))
        if self.lengths is not None:
            of_steps = any(leaf.ndim > 1 for leaf in leaves(x))
            shape = (rows_of(x), *([steps_of(x)] if of_steps else [])) if several(x) else x.shape
            object.__setattr__(self, "lengths", _checked_lengths(self.lengths, shape))

    @property
    def shape(self) -> Any:
        """The shape of one example of x, without N; of several inputs a tuple or a dict of shapes."""
        return mapped(lambda leaf: leaf.shape[1:], self.x)

    @property
    def dtype(self) -> Any:
        """The type of x; of several inputs a tuple or a dict of types."""
        return mapped(lambda leaf: leaf.dtype, self.x)

    def __len__(self) -> int:
        return rows_of(self.x)

    @overload
    def __getitem__(self, index: int | np.integer) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, index: slice | list[int] | np.ndarray) -> Dataset: ...
    def __getitem__(self, index: Any) -> tuple[Any, ...] | Dataset:
        rows = self.rows(index)
        return rows if isinstance(index, int | np.integer) else Dataset(*rows)

    def rows(self, index: Any) -> tuple[Any, ...]:
        """``(x, y)`` or ``(x, y, lengths)`` at ``index``, as plain arrays: one indexing per array, nothing checked.

        >>> data = Dataset(np.eye(3, dtype=np.float32), np.arange(3))
        >>> data.shape, data.dtype, [part.tolist() for part in data.rows([2, 0])]
        ((3,), dtype('float32'), [[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], [2, 0]])
        """
        y = {task: labels[index] for task, labels in self.y.items()} if isinstance(self.y, dict) else self.y[index]
        x = mapped(lambda leaf: leaf[index], self.x) if several(self.x) else self.x[index]
        return (x, y) if self.lengths is None else (x, y, self.lengths[index])

    def __repr__(self) -> str:
        tasks = self.y if isinstance(self.y, dict) else {"": self.y}
        parts = {
            **dict(named_leaves(self.x)),
            **{f"y[{task!r}]" if task else "y": labels for task, labels in tasks.items()},
        }
        if self.lengths is not None:
            parts["lengths"] = self.lengths
        return f"Dataset({', '.join(f'{name} {part.shape} {part.dtype}' for name, part in parts.items())})"

    def _repr_html_(self) -> str:
        """The arrays as a table, for notebooks."""
        return _shown.dataset_html(self)


class Part(Protocol):
    """What a part of :class:`Splits` must know without making any x: a Dataset, or a folder of images.

    shape : of one example of x, without N
    dtype : of x
    y : of all examples
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def y(self) -> Any: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Any: ...

    def rows(self, index: Any) -> tuple[Any, ...]: ...


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Splits:
    """One data set in three parts, with what is known about it.

    train, dev, test : the parts, each a Dataset or an :class:`~dlcore.data.ImageFolder`, which makes its x batch by
        batch; dev is for choices, test for the final number only
    train_dev : examples of the training set's kind that are held out from it; None where there are none
    name : what :func:`dlcore.data.load` calls it
    task : "classification", "binary" (y is 0 or 1), "regression", "multitask" (y is a dict) or "text" (parts are
        :class:`~dlcore.data.Text`; y is the next character at each step)
    classes : names of the classes, or a text's characters, in the order of their labels; for "multitask" a dict of
        them, by task
    features : names of the entries of x's last axis
    source : which files were read, and how many examples they hold, in one line for people
    licence : the licence of the data
    normalizer : what was applied to x, None if nothing
    notes : what to know about them before anything is trained, a line each for people
    last_value : of a series, the feature of x that holds the target's past: a forecast is compared with its last value
    inputs : how a file becomes x, before the normalizer; None where no file does
    change : of a series, the size of its changes in training; None where the target is learnt as it is
    target : of a table, the name of the column that became y, or the names of several
    digests : by part, what tells its examples from others before any normalizer, (n,) uint64; see
        :mod:`dlcore.data.overlap`
    origins : by part, where its examples stand in the file they were read from, as far as that is known

    Raises DataError where the parts do not have the same shape, a label is not one of the classes, or the targets
    do not suit the task.

    >>> from dlcore.data import load
    >>> data = load("cars")
    >>> data.task, data.train.shape == data.test.shape
    ('regression', True)
    """

    train: Part
    dev: Part
    test: Part
    name: str
    task: Task
    classes: tuple[str, ...] | dict[str, tuple[str, ...]] | None = None
    features: tuple[str, ...] | None = None
    source: str = ""
    licence: str = ""
    normalizer: Normalizer | None = None
    inputs: Inputs | SeriesInputs | None = None
    train_dev: Part | None = None
    notes: tuple[str, ...] = ()
    last_value: int | None = None
    change: Change | None = None
    target: str | tuple[str, ...] | None = None
    digests: Mapping[str, np.ndarray] | None = None
    origins: Mapping[str, Origins] | None = None

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise ConfigError(f"Splits: task is {self.task!r}, expected one of {', '.join(get_args(Task))}")
        shape = self.train.shape
        if self.features is not None and len(self.features) != shape[-1]:
            raise DataError(f"Splits: {len(self.features)} feature names for x with {shape[-1]} features")
        for part in ("train", "dev", "test"):
            data: Part = getattr(self, part)
            if data.shape != shape:
                raise DataError(f"Splits: {part} x has rows of shape {data.shape}, but train x of {shape}")
            self._check_targets(data.y, part)

    def __repr__(self) -> str:
        return _shown.splits_text(self)

    def _repr_html_(self) -> str:
        """The parts as a table, for notebooks."""
        return _shown.splits_html(self)

    def _check_targets(self, y: Targets, part: str) -> None:
        if isinstance(y, dict) != (self.task == "multitask"):
            found = "a dict of targets" if isinstance(y, dict) else "one array of targets"
            raise DataError(f"Splits: {part} y is {found}, which does not suit the task {self.task!r}")
        if isinstance(y, dict):
            for task, names in self.classes.items() if isinstance(self.classes, dict) else ():
                if task not in y:
                    raise DataError(f"Splits: classes are given for {task!r}, but {part} y has {', '.join(y)}")
                check_labels(y[task], len(names), f"{part} y[{task!r}]", missing=True)
        elif self.task == "classification":
            if not self.classes:
                raise DataError("Splits: a classification needs the names of its classes")
            if y.dtype.kind not in "iu":
                raise DataError(f"Splits: {part} y is {y.dtype}, but class labels are integers")
            check_labels(y, len(self.classes), f"{part} y")
        elif self.task == "binary":
            check_labels(y, 2, f"{part} y")


def check_labels(labels: np.ndarray, n_classes: int, name: str = "y", *, missing: bool = False) -> None:
    """Raise DataError unless all ``labels`` are whole numbers from 0 to ``n_classes`` − 1.

    ``name`` stands for the labels in the message. With ``missing``, NaN and −1 are let through.

    >>> check_labels(np.array([0, 2, 10]), 10)
    Traceback (most recent call last):
    dlcore.errors.DataError: y[2] is 10, but 10 classes have the labels 0 to 9
    """
    wrong = ~((labels >= 0) & (labels < n_classes) & (np.floor(labels) == labels))
    if missing:
        wrong &= ~(np.isnan(labels) | (labels == -1))
    if wrong.any():
        first = tuple(np.argwhere(wrong)[0].tolist())
        where = ", ".join(map(str, first))
        allowed = f"0 to {n_classes - 1}"
        raise DataError(f"{name}[{where}] is {labels[first]}, but {n_classes} classes have the labels {allowed}")


def _checked_input(values: Any, name: str) -> np.ndarray:
    x = _numbers(values, name)
    if not len(x):
        raise DataError(f"Dataset: {name} is empty, shape {x.shape}; at least one row is needed")
    if not x.size:
        raise DataError(f"Dataset: {name} has shape {x.shape}, which holds no numbers; every row needs at least one")
    _check_finite(x, name)
    return x


def _numbers(values: Any, name: str) -> np.ndarray:
    """``values`` as a NumPy array of real numbers with at least one axis."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:  # rows of different lengths; an array on another device
        raise DataError(f"Dataset: {name} cannot become a NumPy array on the host ({error})") from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"Dataset: {name} has dtype {array.dtype}, expected numbers; encode names and fill gaps first")
    try:
        array = plain(f"Dataset: {name}", values if isinstance(values, np.ma.MaskedArray) else array)
    except ShapeError as error:
        raise DataError(str(error)) from None
    if not array.ndim:
        raise DataError(f"Dataset: {name} is the single value {array}, expected one row per example")
    return array


def _check_finite(array: np.ndarray, name: str, *, nan_is_missing: bool = False) -> None:
    if array.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):  # no NaN and no infinity gets lost in a sum, and it needs no second array
            return
    wrong = np.isinf(array) if nan_is_missing else ~np.isfinite(array)
    count = int(wrong.sum())
    if count:
        first = tuple(np.argwhere(wrong)[0].tolist())
        kind = "infinite" if nan_is_missing else "NaN or infinite"
        advice = "NaN marks a missing label" if nan_is_missing else "drop or fill such rows"
        values = "value" if count == 1 else "values"
        raise DataError(f"Dataset: {name} holds {count} {kind} {values}, the first at {first}; {advice}")


def _checked_targets(y: Any, n: int) -> Targets:
    if not isinstance(y, dict):
        return _checked_labels(y, "y", n, nan_is_missing=False)
    if not y:
        raise DataError("Dataset: y is an empty dict, expected one array of labels per task")
    return {task: _checked_labels(labels, f"y[{task!r}]", n, nan_is_missing=True) for task, labels in y.items()}


def _checked_labels(labels: Any, name: str, n: int, *, nan_is_missing: bool) -> np.ndarray:
    labels = _numbers(labels, name)
    if len(labels) != n:
        raise DataError(f"Dataset: x has {n} rows but {name} has {len(labels)}; give one target per row")
    _check_finite(labels, name, nan_is_missing=nan_is_missing)
    return labels


def _checked_lengths(lengths: Any, shape: tuple[int, ...]) -> np.ndarray:
    lengths = _numbers(lengths, "lengths")
    if lengths.dtype.kind not in "iu" or lengths.shape != shape[:1]:
        raise DataError(
            f"Dataset: lengths are {lengths.dtype} of shape {lengths.shape}, expected integers of shape {shape[:1]}"
        )
    if len(shape) < 2:
        raise DataError(f"Dataset: lengths need an axis of steps, x (N, T, ...), but x has shape {shape}")
    wrong = np.flatnonzero((lengths < 1) | (lengths > shape[1]))
    if len(wrong):
        raise DataError(f"Dataset: lengths[{wrong[0]}] is {lengths[wrong[0]]}, expected 1 to {shape[1]}, x's steps")
    return lengths
