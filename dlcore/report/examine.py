"""Where a model errs: which classes it takes for which, and the examples that it gets wrong and is most sure of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore import losses
from dlcore._core.validation import whole
from dlcore.data import Dataset, Normalizer
from dlcore.data.origins import Origins
from dlcore.data.source import Source, as_source
from dlcore.errors import DataError
from dlcore.metrics import confusion_matrix

if TYPE_CHECKING:
    from dlcore.train import Trainer

__all__ = ["Examination", "Mistake", "examine"]

_CHUNK_BYTES = 1 << 26
_CHUNK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Mistake:
    """One example and what the model made of it.

    position : in the set that was examined
    true, predicted : labels; numbers in a regression
    probability : that the model gave to the predicted class; None in a regression
    picture : (H, W, 1) or (H, W, 3) uint8; None where the input is no image
    origin : where the example comes from, such as "line 17" of a table or the name of an image's file; "" if unknown

    >>> found = Mistake(position=17, true=4, predicted=9, probability=0.98)
    >>> print(f"example {found.position}: {found.true} was taken for {found.predicted}, at {found.probability:.0%}")
    example 17: 4 was taken for 9, at 98%
    """

    position: int
    true: float
    predicted: float
    probability: float | None = None
    picture: np.ndarray | None = None
    origin: str = ""


@dataclass(frozen=True, eq=False)
class Examination:
    """What :func:`examine` found.

    examples : how many were examined
    confusion : (K, K) int64, how often class i (row) was taken for class j (column); None for a regression
    mistakes : the worst first
    origins : what the mistakes' origins are, such as "lines of fruit.csv"; "" where they are none, or files

    >>> found = Examination(100, np.array([[48, 2], [5, 45]]))
    >>> np.diag(found.confusion) / found.confusion.sum(axis=1)  # recall, by class
    array([0.96, 0.9 ])
    """

    examples: int
    confusion: np.ndarray | None = None
    mistakes: tuple[Mistake, ...] = ()
    origins: str = ""


def examine(
    trainer: Trainer,
    data: Any,
    classes: Sequence[str] | Mapping[str, Sequence[str]] | None,
    *,
    worst: int = 12,
    normalizer: Normalizer | None = None,
    origins: Any = None,
) -> Examination:
    """Count which class is taken for which, and find the worst mistakes, on a development set.

    trainer : with one output; of several (Heads) nothing is said
    data : Dataset, or anything with a length and ``rows(index)``; it is read in chunks of at most 64 MB
    classes : names in the order of the labels; None where the targets are numbers; a dict goes with
        several outputs
    worst : how many mistakes to keep: among wrong predictions those with the highest probability, in a regression the
        largest squared errors; of equal ones the earlier comes first
    normalizer : what was applied to x, taken back in the pictures
    origins : the name of each example's place by position, :class:`~dlcore.data.origins.Origins` or a sequence of
        texts; None takes the files of an :class:`~dlcore.data.ImageFolder`, and names nothing of other data

    Inputs (H, W, 1) or (H, W, 3) are pictures: floats are taken to lie in [0, 1], integers in [0, 255]. Targets other
    than one label or number an example, or the probabilities of its classes, are left alone. Raises DataError where
    ``data`` cannot be read by position, and ConfigError for a negative ``worst``.

    >>> import dlcore as dl
    >>> data = dl.data.load("digits", normalize=True)
    >>> trainer = dl.Trainer(dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(10)), device="cpu")
    >>> found = examine(trainer, data.dev, data.classes, worst=3, normalizer=data.normalizer)
    >>> found.confusion.shape, int(found.confusion.sum()) == len(data.dev), found.mistakes[0].picture.shape
    ((10, 10), True, (8, 8, 1))
    """
    worst = whole("examine", "worst", worst, 0)
    source = as_source(data, "examine")
    if not isinstance(source, Source):
        raise DataError("examine: an iterator came, but examples are fetched by position; pass a set with a length")
    judge = _judge(trainer, classes)
    if judge is None:
        return Examination(len(source))
    confusion: np.ndarray | None = None
    found: list[tuple[float, Mistake]] = []  # badness, mistake
    for start, inputs, y in _chunks(source):
        judged = None if isinstance(y, dict) else judge(np.asarray(y), np.asarray(trainer.predict(inputs)))
        if judged is None:
            return Examination(len(source))
        if judged.classes:
            counted = confusion_matrix(judged.true, judged.predicted, labels=np.arange(judged.classes))
            confusion = counted if confusion is None else confusion + counted
        found = sorted([*found, *judged.worst(start, worst)], key=lambda entry: (-entry[0], entry[1].position))[:worst]
    name_of = getattr(source, "name_of", None) if origins is None else origins.__getitem__
    mistakes = [m if name_of is None else replace(m, origin=str(name_of(m.position))) for _, m in found]
    of = str(origins) if isinstance(origins, Origins) else ""
    return Examination(len(source), confusion, tuple(_with_pictures(mistakes, source, normalizer)), of)


@dataclass(frozen=True, eq=False)
class _Judged:
    """A chunk's targets and predictions (N,), how bad each is, and the number of classes, 0 in a regression."""

    true: np.ndarray
    predicted: np.ndarray
    badness: np.ndarray  # a probability, or a squared error
    classes: int

    def worst(self, start: int, count: int) -> list[tuple[float, Mistake]]:
        """The ``count`` worst of the chunk, which begins at position ``start``."""
        badness = np.where(np.isnan(self.badness), math.inf if not self.classes else 0.0, self.badness)
        wrong = np.flatnonzero(self.true != self.predicted)
        chosen = wrong[np.argsort(-badness[wrong], kind="stable")[:count]]
        kind = int if self.classes else float
        return [
            (
                float(badness[i]),
                Mistake(
                    position=start + int(i),
                    true=kind(self.true[i]),
                    predicted=kind(self.predicted[i]),
                    probability=float(self.badness[i]) if self.classes else None,
                ),
            )
            for i in chosen
        ]


def _judge(trainer: Trainer, classes: Any) -> Callable[[np.ndarray, np.ndarray], _Judged | None] | None:
    """What compares targets with outputs, by the loss; None where there is nothing to compare."""
    if "" not in trainer.objectives or isinstance(classes, Mapping):
        return None
    loss = trainer.objectives[""].decoded_as
    if loss is losses.binary_cross_entropy:
        return _binary
    if loss is losses.cross_entropy or classes:  # one's own loss of classes goes by the largest output
        return _classification
    return _regression


def _classification(y: np.ndarray, scores: np.ndarray) -> _Judged | None:
    soft = y.dtype.kind == "f" and y.ndim == 2 and y.shape == scores.shape  # class probabilities
    true = y.argmax(axis=1) if soft else _column(y)
    if true is None or scores.ndim != 2 or scores.shape[1] < 2 or not _are_labels(true):
        return None
    predicted = scores.argmax(axis=1)
    with np.errstate(invalid="ignore"):  # an infinite score gives NaN
        shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
        probability = 1.0 / np.exp(shifted).sum(axis=1)  # softmax of the largest score, which is 0 when shifted
    return _Judged(true.astype(np.int64), predicted, probability, scores.shape[1])


def _binary(y: np.ndarray, scores: np.ndarray) -> _Judged | None:
    true, logits = _column(y), _column(scores)
    if true is None or logits is None or not _are_labels(true):
        return None
    probability = 1.0 / (1.0 + np.exp(-np.abs(logits.astype(np.float64))))  # of the class that was chosen
    return _Judged(true.astype(np.int64), (logits > 0).astype(np.int64), probability, 2)


def _regression(y: np.ndarray, outputs: np.ndarray) -> _Judged | None:
    true, predicted = _column(y), _column(outputs)
    if true is None or predicted is None:
        return None
    true, predicted = true.astype(np.float64), predicted.astype(np.float64)
    return _Judged(true, predicted, (true - predicted) ** 2, 0)


def _column(values: np.ndarray) -> np.ndarray | None:
    """One number an example, (N,); None for anything of more axes."""
    return values.reshape(-1) if values.shape[1:] in ((), (1,)) else None


def _are_labels(y: np.ndarray) -> bool:
    return y.dtype.kind in "biu" or bool((y == np.rint(y)).all())


def _chunks(source: Source) -> Iterator[tuple[int, Any, Any]]:
    """(start, inputs, y) of consecutive parts; inputs are x, with lengths a Dataset."""
    bytes_each = max(1, math.prod(source.shape)) * max(4, np.dtype(source.dtype).itemsize)
    size = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // bytes_each))
    for start in range(0, len(source), size):
        x, y, *lengths = source.rows(np.arange(start, min(start + size, len(source))))
        yield start, Dataset(x, y, *lengths) if lengths else np.asarray(x), y


def _with_pictures(mistakes: list[Mistake], source: Source, normalizer: Normalizer | None) -> Iterator[Mistake]:
    shape = tuple(source.shape)
    if len(shape) != 3 or shape[-1] not in (1, 3) or not mistakes:
        yield from mistakes
        return
    x = np.asarray(source.rows(np.array([mistake.position for mistake in mistakes]))[0])
    for mistake, image in zip(mistakes, _pictures(x, normalizer), strict=True):
        yield replace(mistake, picture=image)


def _pictures(x: np.ndarray, normalizer: Normalizer | None) -> np.ndarray:
    """(N, H, W, C) of the model's inputs -> uint8 of what is seen."""
    if normalizer is not None:
        x = normalizer.inverse(x)
    if x.dtype.kind != "f":
        return np.clip(x.astype(np.int64), 0, 255).astype(np.uint8)
    return np.rint(np.clip(x, 0.0, 1.0) * 255.0).astype(np.uint8)
