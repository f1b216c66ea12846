"""Metrics: how good predictions are, on the host in NumPy, with the names and meanings of scikit-learn.

Every function takes ``(y_true, y_pred)``; shapes (N,) and (N, 1) go together, and nothing else broadcasts. A share of
nothing, such as the precision of a class that was never predicted, counts as 0.

A trainer asks :func:`named` for a metric: it says what it reads and which way is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dlcore._core.arrays import beyond_int64
from dlcore._core.configurable import did_you_mean
from dlcore._core.validation import flag, number, whole
from dlcore.errors import ConfigError, DataError, ShapeError
from dlcore.selection import SelectionPolicy
from dlcore.tensor import Tensor

__all__ = [
    "ExponentialAverage",
    "Metric",
    "SelectionPolicy",
    "accuracy",
    "confusion_matrix",
    "f1",
    "mse",
    "named",
    "perplexity",
    "precision",
    "r2",
    "r2_standard_error",
    "recall",
    "top_k",
]


def __dir__() -> list[str]:
    return sorted(__all__)


# --- classification


def accuracy(y_true: Any, y_pred: Any) -> float:
    """The share of labels that are right.

    y_true, y_pred : (N,) or (N, 1) integer labels, as any numeric dtype; of more axes, such as (N, T), every label
        counts alike (scikit-learn asks whole rows to be right)

    Raises ShapeError, and DataError for no labels or for numbers that are no labels.

    >>> accuracy([0, 1, 2, 2], [0, 2, 2, 2])
    0.75
    """
    y_true, y_pred = _label_pair("accuracy", y_true, y_pred)
    return float(np.mean(y_true == y_pred))


def top_k(y_true: Any, scores: Any, k: int = 5) -> float:
    """The share of labels that are among the ``k`` highest scores; of equal scores the later class ranks higher.

    y_true : (N,) integer labels, each in [0, K)
    scores : (N, K) logits or probabilities; (N, T, K) goes with labels (N, T)

    Raises ShapeError, DataError, and ConfigError for k < 1.

    >>> top_k([0, 1], [[0.5, 0.2, 0.3], [0.5, 0.2, 0.3]], k=2)
    0.5
    """
    k = whole("top_k", "k", k, 1)
    labels, table = _labels_and_scores("top_k", y_true, scores)
    own = np.take_along_axis(table, labels[:, None], axis=1)
    above = ~(table <= own) | ((table == own) & (np.arange(table.shape[1]) > labels[:, None]))  # NaN is never right
    return float(np.mean(above.sum(axis=1) < min(k, table.shape[1])))


def confusion_matrix(y_true: Any, y_pred: Any, labels: Any = None) -> np.ndarray:
    """How often class i (row) was taken for class j (column): (K, K) int64.

    y_true, y_pred : (N,) integer labels
    labels : the K classes in the order of the rows; examples of others are left out. By default those that occur,
        sorted

    Raises ShapeError, DataError.

    >>> confusion_matrix([0, 0, 1], [0, 1, 1])
    array([[1, 1],
           [0, 1]])
    """
    y_true, y_pred = _label_pair("confusion_matrix", y_true, y_pred)
    if labels is None:
        classes = np.union1d(y_true, y_pred)
    else:
        classes = _labels("confusion_matrix", "labels", _host(labels)).ravel()
        if np.unique(classes).size != classes.size or not classes.size:
            raise DataError(f"confusion_matrix: labels are {labels!r} but one or more different classes are expected")
        among = np.isin(y_true, classes) & np.isin(y_pred, classes)
        y_true, y_pred = y_true[among], y_pred[among]
    order = np.argsort(classes)
    row, column = (order[np.searchsorted(classes, y, sorter=order)] for y in (y_true, y_pred))
    k = classes.size
    return np.bincount(row * k + column, minlength=k * k).reshape(k, k).astype(np.int64)


def precision(y_true: Any, y_pred: Any, average: str | None = "macro", *, positive: int = 1) -> Any:
    """Of the examples taken for a class, the share that belong to it: TP / (TP + FP).

    y_true, y_pred : (N,) integer labels; the classes are those that occur in either
    average : "macro", the mean of the classes; "weighted", their mean weighted by how often each is in ``y_true``;
        "micro", all decisions counted together, which for labels is the accuracy; "binary", that of the class
        ``positive`` alone, of two classes; None, one number a class
    positive : the label of the positive class, for "binary"; scikit-learn's pos_label

    Returns a float, or a (K,) float64 array, in the order of the sorted classes, for None. A class that was never
    predicted has precision 0. Raises ShapeError, DataError, also for "binary" where more than two classes occur, and
    ConfigError for another ``average``.

    >>> precision([0, 0, 1, 1], [0, 1, 1, 1], average=None).tolist()
    [1.0, 0.6666666666666666]
    >>> precision([0, 0, 1, 1], [0, 0, 0, 1], average="binary"), precision([0, 1], [0, 1], "binary", positive=0)
    (1.0, 1.0)
    """
    right, predicted, actual = _count("precision", y_true, y_pred, average, positive)
    return _averaged("precision", right, predicted, actual, average)


def recall(y_true: Any, y_pred: Any, average: str | None = "macro", *, positive: int = 1) -> Any:
    """Of the examples of a class, the share taken for it: TP / (TP + FN).

    Arguments, result and errors as in :func:`precision`; a class that is not in ``y_true`` has recall 0.

    >>> recall([0, 0, 1, 1], [0, 1, 1, 1])
    0.75
    """
    right, _, actual = _count("recall", y_true, y_pred, average, positive)
    return _averaged("recall", right, actual, actual, average)


def f1(y_true: Any, y_pred: Any, average: str | None = "macro", *, positive: int = 1) -> Any:
    """The harmonic mean of a class's precision and recall: 2 TP / (2 TP + FP + FN).

    Arguments, result and errors as in :func:`precision`.

    >>> round(f1([0, 0, 1, 1], [0, 1, 1, 1]), 4)
    0.7333

    Source: notes, 3.2, as the single number; van Rijsbergen (1979).
    """
    right, predicted, actual = _count("f1", y_true, y_pred, average, positive)
    return _averaged("f1", 2 * right, predicted + actual, actual, average)


# --- regression


def mse(y_true: Any, y_pred: Any) -> float:
    """The mean over all elements of (y_true - y_pred)², in float64.

    y_true, y_pred : numbers of one shape, or (N,) and (N, 1)

    Raises ShapeError, and DataError for no numbers.

    >>> mse([1.0, 2.0], [1.0, 4.0])
    2.0

    Source: notes, 1.3.
    """
    y_true, y_pred = _number_pair("mse", y_true, y_pred)
    return float(np.mean((y_true - y_pred) ** 2))


def r2(y_true: Any, y_pred: Any) -> float:
    """The share of the variance that is explained: 1 - sum (y_true - y_pred)² / sum (y_true - mean)².

    y_true, y_pred : (N,) or (N, D) numbers; the result is the mean over the D outputs

    An output that is constant in ``y_true`` scores 1 where it is predicted exactly, and else 0. One example alone,
    and a prediction of NaN, give NaN. Raises ShapeError, and DataError for no numbers.

    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    0.5
    """
    y_true, y_pred = _number_pair("r2", y_true, y_pred)
    n = y_true.shape[0]
    if n < 2:
        return math.nan
    y_true, y_pred = y_true.reshape(n, -1), y_pred.reshape(n, -1)
    residual = np.sum((y_true - y_pred) ** 2, axis=0)
    total = np.sum((y_true - np.mean(y_true, axis=0)) ** 2, axis=0)
    constant = (y_true == y_true[0]).all(axis=0) | (total == 0)
    right = np.where(np.isnan(residual), math.nan, residual == 0)
    scores = np.where(constant, right, 1.0 - residual / np.where(constant, 1.0, total))
    return float(np.mean(scores))


def r2_standard_error(y_true: Any, y_pred: Any) -> float:
    """How far chance moves :func:`r2` of N examples: its standard error, NaN of a constant output.

    y_true, y_pred : (N,) or (N, D) numbers; fewer than 3 examples give NaN

    The jackknife: with θ₋ᵢ, what r2 is without example i, and their mean, √((N − 1)/N Σ(θ₋ᵢ − mean)²).

    >>> round(r2_standard_error([1.0, 2.0, 3.0, 4.0], [1.5, 2.0, 2.5, 4.0]), 3)
    0.125

    Source: B. Efron and C. Stein, The jackknife estimate of variance (1981).
    """
    y_true, y_pred = _number_pair("r2_standard_error", y_true, y_pred)
    n = y_true.shape[0]
    y_true, y_pred = y_true.reshape(n, -1), y_pred.reshape(n, -1)
    residual, spread = (y_true - y_pred) ** 2, (y_true - np.mean(y_true, axis=0)) ** 2
    if n < 3:
        return math.nan
    total = np.sum(spread, axis=0) - spread * (n / (n - 1))  # without each example
    if not (total > 0).all():
        return math.nan
    without = np.mean((np.sum(residual, axis=0) - residual) / total, axis=1)
    return math.sqrt((n - 1) * float(np.var(without)))


# --- sequences


def perplexity(y_true: Any, scores: Any, lengths: Any = None) -> float:
    """exp of the mean negative log-likelihood of a step: K for a uniform guess among K symbols, 1 for certainty.

    y_true : (N, T) integer labels, each in [0, K) at the valid steps; or (N,), one a row
    scores : (N, T, K) or (N, K) logits or log-probabilities: the softmax is taken here
    lengths : (N,) integers: steps beyond a sequence's length do not count. By default all do

    Returns a float, infinite where a label has no probability. Raises ShapeError, and DataError for no valid step and
    for labels out of range.

    >>> perplexity([[0, 1], [1, 0]], [[[0.0, 0.0]] * 2] * 2, lengths=[2, 1])
    2.0

    Source: notes, 5, whose loss it is the exponential of; Jelinek, Mercer, Bahl and Baker (1977).
    """
    labels, table = _labels_and_scores("perplexity", y_true, scores, lengths)
    with np.errstate(invalid="ignore", over="ignore"):  # an infinite logit gives NaN or an infinite perplexity
        shifted = table - np.max(table, axis=1, keepdims=True)
        own = np.take_along_axis(shifted, labels[:, None], axis=1)[:, 0]
        return float(np.exp(np.mean(np.log(np.sum(np.exp(shifted), axis=1)) - own)))


# --- averages over time


class ExponentialAverage:
    """v = beta v + (1 - beta) x, from v = 0: about the mean of the last 1 / (1 - beta) values.

    beta : 0 <= beta < 1, the share of the old average that is kept
    bias_correction : divide by 1 - beta^t after t values, or the first averages are too near to 0

    >>> average = ExponentialAverage(0.9)
    >>> round(average.update(10.0), 6), round(average.update(20.0), 6)
    (10.0, 15.263158)

    Source: notes, 3.4.
    """

    def __init__(self, beta: float, bias_correction: bool = True) -> None:
        self.beta = number("ExponentialAverage", "beta", beta, 0.0, 1.0)
        self.bias_correction = flag("ExponentialAverage", "bias_correction", bias_correction)
        self.v = 0.0
        self.t = 0

    def update(self, x: float) -> float:
        """Take in one more value; returns the new average.

        x : a number
        """
        self.v = self.beta * self.v + (1.0 - self.beta) * float(x)
        self.t += 1
        return self.value

    @property
    def value(self) -> float:
        """The average of the values so far; before the first it is NaN, or 0 without bias correction.

        >>> average = ExponentialAverage(0.9, bias_correction=False)
        >>> round(average.update(10.0), 6), average.value == average.v  # pushed down by v = 0
        (1.0, True)
        """
        if not self.bias_correction:
            return self.v
        return self.v / (1.0 - self.beta**self.t) if self.t else math.nan


# --- the registry


@dataclass(frozen=True)
class Metric:
    """A metric as a trainer uses it: ``metric(y_true, y_pred)`` gives a float.

    name : under which it is reported
    function : what computes it
    needs : "prediction" (labels in classification, outputs in regression) or "scores" (the model's outputs as they are)
    larger_is_better : False for a metric to be made small
    positive : of a task of two classes, the label of the class that the metric is of, and then the function takes
        ``average="binary"`` and ``positive``; None for a metric that is the same for any number of classes

    >>> from functools import partial
    >>> Metric("top_3", partial(top_k, k=3), needs="scores")([0], [[0.1, 0.2, 0.3, 0.4]])
    0.0
    """

    name: str
    function: Callable[..., float] = field(repr=False)
    needs: str = "prediction"
    larger_is_better: bool = True
    positive: int | None = None

    def __post_init__(self) -> None:
        if self.needs not in ("prediction", "scores"):
            raise ConfigError(f"metric {self.name}: needs is {self.needs!r} but 'prediction' or 'scores' is expected")

    def __call__(self, y_true: Any, y_pred: Any, **options: Any) -> float:
        return self.function(y_true, y_pred, **options)

    def measure(self, y_true: Any, y_pred: Any, two_classes: bool) -> float:
        """The metric of a model's outputs: predictions below 0, which :func:`dlcore.losses.decode` gives where an
        output is NaN, are wrong, and no class of their own.

        two_classes : whether the task has two, of which ``positive`` is the one that counts

        >>> named("recall").measure([0, 0, 0, 1], [0, 0, 1, 1], two_classes=True), named("recall")([0, 1, 1], [0, 1, 0])
        (1.0, 0.75)
        """
        if two_classes and self.positive is not None:
            y_pred = np.where(_host(y_pred) < 0, 1 - self.positive, _host(y_pred))
            return float(self.function(y_true, y_pred, average="binary", positive=self.positive))
        if self.function in (precision, recall, f1) and np.any(_host(y_pred) < 0):
            classes = np.union1d(*_label_pair(self.name, y_true, y_pred))
            shares: Any = self.function(y_true, y_pred, average=None)
            return float(np.mean(shares[classes >= 0]))
        return float(self.function(y_true, y_pred))


_KNOWN = {
    metric.name: metric
    for metric in (
        Metric("accuracy", accuracy),
        Metric("top_k", top_k, needs="scores"),
        Metric("precision", precision, positive=1),
        Metric("recall", recall, positive=1),
        Metric("f1", f1, positive=1),
        Metric("macro_precision", precision),
        Metric("macro_recall", recall),
        Metric("macro_f1", f1),
        Metric("r2", r2),
        Metric("mse", mse, larger_is_better=False),
        Metric("perplexity", perplexity, needs="scores", larger_is_better=False),
    )
}


def named(metric: str | Callable[..., float]) -> Metric:
    """The metric of a name, of one's own function ``(y_true, y_pred) -> float``, or the Metric itself.

    A function is taken to read predictions and to be better when larger, unless it has attributes ``needs`` and
    ``larger_is_better`` that say otherwise; a ``functools.partial`` of a metric of this module is like that metric.
    Precision, recall and f1 of two classes are those of the second, ``positive=1``; of more classes, and by the names
    macro_precision, macro_recall and macro_f1, the mean of the classes.
    Raises ConfigError.

    >>> named("mse").larger_is_better, named("top_k").needs
    (False, 'scores')
    """
    if isinstance(metric, Metric):
        return metric
    if callable(metric):
        base = getattr(metric, "func", metric)  # what a functools.partial calls
        known = next((entry for entry in _KNOWN.values() if entry.function is base), None)
        if known is not None:
            return known if base is metric else replace(known, function=metric, positive=None)
        name = getattr(base, "__name__", type(base).__name__)
        return Metric(name, metric, getattr(metric, "needs", "prediction"), getattr(metric, "larger_is_better", True))
    if not isinstance(metric, str) or metric not in _KNOWN:
        raise ConfigError(
            f"metric {metric!r} is not known{did_you_mean(metric, _KNOWN)}; there are {', '.join(_KNOWN)}, "
            "or pass a function of (y_true, y_pred)"
        )
    return _KNOWN[metric]


# --- checks and counts


def _host(values: Any) -> np.ndarray:
    try:
        array = values.numpy() if isinstance(values, Tensor) else np.asarray(values)
    except (TypeError, ValueError) as error:  # rows of different lengths; an array on another device
        raise ShapeError(f"{values!r:.60} is no array on the host ({error}); pass rows of one length") from None
    return np.atleast_1d(array)


def _pair(metric: str, y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both on the host, of one shape, and not empty."""
    y_true, y_pred = _host(y_true), _host(y_pred)
    shapes = y_true.shape, y_pred.shape
    if shapes[0] == (*shapes[1], 1):
        y_true = y_true.reshape(shapes[1])
    elif shapes[1] == (*shapes[0], 1):
        y_pred = y_pred.reshape(shapes[0])
    elif shapes[0] != shapes[1]:
        raise ShapeError(
            f"{metric}: y_pred has shape {shapes[1]} but that of y_true, {shapes[0]}, is expected; "
            "pass one prediction for each true value (labels, not scores or one-hot rows)"
        )
    if not y_true.size:
        raise DataError(f"{metric}: no examples came (shape {shapes[0]}) but at least one is expected; pass some data")
    return y_true, y_pred


def _number_pair(metric: str, y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
    y_true, y_pred = _pair(metric, y_true, y_pred)
    for name, y in (("y_true", y_true), ("y_pred", y_pred)):
        if y.dtype.kind not in "biuf":
            raise DataError(f"{metric}: {name} holds {y.dtype} but numbers are expected; convert it")
    return y_true.astype(np.float64), y_pred.astype(np.float64)


def _label_pair(metric: str, y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
    """All labels in a row, as integers."""
    y_true, y_pred = _pair(metric, y_true, y_pred)
    return _labels(metric, "y_true", y_true).ravel(), _labels(metric, "y_pred", y_pred).ravel()


def _labels(metric: str, name: str, y: np.ndarray) -> np.ndarray:
    """Labels as int64; they may come as bool or as whole floating-point numbers."""
    if y.dtype.kind == "f":
        wrong = y[~((y == np.rint(y)) & np.isfinite(y))]
        if wrong.size:
            raise DataError(
                f"{metric}: {name} holds {wrong[0]} but integer labels are expected; decode scores first, "
                "with argmax(axis=-1) or a threshold"
            )
    elif y.dtype.kind not in "biu":
        raise DataError(f"{metric}: {name} holds {y.dtype} but integer labels are expected; number the classes")
    if beyond_int64(y):
        raise DataError(f"{metric}: {name} holds numbers from {y.min()} to {y.max()}, beyond int64; number the classes")
    return y.astype(np.int64)


def _labels_and_scores(metric: str, y_true: Any, scores: Any, lengths: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """(M,) labels and (M, K) float64 scores of the valid steps."""
    y_true, scores = _host(y_true), _host(scores)
    if y_true.shape == (*scores.shape[:-1], 1):
        y_true = y_true.reshape(scores.shape[:-1])
    if scores.ndim < 2 or y_true.shape != scores.shape[:-1] or scores.shape[-1] < 2:
        raise ShapeError(
            f"{metric}: scores have shape {scores.shape} and y_true {y_true.shape} but (..., K) and (...) are "
            "expected, for K >= 2 classes; pass one score a class"
        )
    everything = np.ones(y_true.shape, dtype=bool)
    if scores.dtype.kind not in "biuf":
        raise DataError(f"{metric}: scores hold {scores.dtype} but real numbers are expected; convert them")
    valid = everything if lengths is None else _valid_steps(metric, _host(lengths), y_true.shape)
    labels, table = _labels(metric, "y_true", y_true[valid]), scores[valid].astype(np.float64)
    if not labels.size:
        raise DataError(f"{metric}: no valid examples came (y_true {y_true.shape}) but at least one is expected")
    if labels.min() < 0 or labels.max() >= table.shape[1]:
        raise DataError(
            f"{metric}: labels span {labels.min()} to {labels.max()} but 0 to {table.shape[1] - 1} is expected for "
            f"{table.shape[1]} scores; check the labels or the units of the last layer"
        )
    return labels, table


def _valid_steps(metric: str, lengths: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(N, T) bool: whether a step lies within its sequence."""
    if len(shape) != 2 or lengths.shape != shape[:1] or lengths.dtype.kind not in "iu":
        raise ShapeError(
            f"{metric}: lengths are {lengths.dtype} of shape {lengths.shape} and y_true has shape {shape} but integers "
            "(N,) and labels (N, T) are expected; give one length a sequence"
        )
    if lengths.size and (lengths.min() < 0 or lengths.max() > shape[1]):
        raise DataError(
            f"{metric}: lengths span {lengths.min()} to {lengths.max()} but 0 to {shape[1]} is expected; "
            "count the steps of each sequence before the padding"
        )
    return np.arange(shape[1]) < lengths[:, None]


def _count(
    metric: str, y_true: Any, y_pred: Any, average: str | None, positive: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each class that occurs, or for "binary" the positive one: how many were right, predicted, and in y_true."""
    y_true, y_pred = _label_pair(metric, y_true, y_pred)
    classes, place = np.unique(np.concatenate((y_true, y_pred)), return_inverse=True)
    if average == "binary":
        if classes.size > 2:
            raise DataError(
                f"{metric}: {classes.size} classes came but two are expected for average='binary'; take 'macro'"
            )
        true, predicted = y_true == positive, y_pred == positive
        right = true & predicted
        return np.array([right.sum()]), np.array([predicted.sum()]), np.array([true.sum()])
    true, predicted = place[: y_true.size], place[y_true.size :]
    k = classes.size
    right = np.bincount(true[true == predicted], minlength=k)
    return right, np.bincount(predicted, minlength=k), np.bincount(true, minlength=k)


def _averaged(metric: str, part: np.ndarray, whole: np.ndarray, support: np.ndarray, average: str | None) -> Any:
    """part / whole of each class, 0 where there is none of it, brought together."""
    if average == "micro":
        return float(part.sum() / whole.sum())
    share = part / np.maximum(whole, 1)  # where the whole is 0, so is the part
    if average is None:
        return share
    if average in ("macro", "binary"):  # the one class, for "binary"
        return float(share.mean())
    if average == "weighted":
        return float(np.average(share, weights=support))
    known = ("macro", "micro", "weighted", "binary")
    raise ConfigError(
        f"{metric}: average is {average!r} but one of {', '.join(map(repr, known))} or None is expected"
        f"{did_you_mean(average, known)}"
    )
