"""Weights of classes: of rare ones more, so that a model does not learn to name the common one alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dlcore import losses
from dlcore.errors import ConfigError

__all__ = ["Probabilities", "balanced", "check", "of_classes", "weighted"]


class Probabilities:
    """Targets (..., K) that are class probabilities: each row counts for a class as much as the class is probable.

    >>> balanced(Probabilities([[1.0, 0.0], [0.5, 0.5], [np.nan, np.nan]]), 2)  # 1.5 and 0.5 examples
    (0.6666666666666666, 2.0)
    """

    def __init__(self, rows: Any) -> None:
        rows = np.asarray(rows, dtype=np.float64)
        rows = rows.reshape(-1, rows.shape[-1])
        self.counts = rows[~np.isnan(rows).any(axis=1)].sum(axis=0)


def balanced(labels: Any, classes: int) -> tuple[float, ...]:
    """n / (k · n_c): each class then has the same share in the loss, as in scikit-learn.

    labels : whole numbers in [0, classes), or Probabilities; others, such as NaN and -1, are missing
    classes : how many outputs tell them apart; one without an example has the weight 1

    >>> balanced([0, 0, 0, 1], 2)
    (0.6666666666666666, 2.0)
    """
    if isinstance(labels, Probabilities):
        present, total = int(np.count_nonzero(labels.counts)), float(labels.counts.sum())
        return tuple(total / (present * n) if n else 1.0 for n in labels.counts.tolist())
    y = np.asarray(labels, dtype=np.float64).ravel()
    y = y[(y >= 0) & (y < classes) & (y == np.rint(y))].astype(np.int64)
    counts = np.bincount(y, minlength=classes)
    present = int(np.count_nonzero(counts))
    return tuple(len(y) / (present * int(n)) if n else 1.0 for n in counts)


def check(weights: Any) -> None:
    """Raise a ConfigError where ``weights`` are nothing that :func:`of_classes` takes, as far as that shows already."""
    if isinstance(weights, str) and weights != "balanced":
        raise ConfigError(f"class_weight is {weights!r} but 'balanced', one weight a class, or a dict is expected")


def of_classes(weights: Any, classes: int, labels: Any) -> tuple[float, ...]:
    """One weight for each of the ``classes``.

    weights : "balanced"; a sequence of them; or a dict by label, in which classes that are left out weigh 1
    labels : of the training set, for "balanced"; None where they are not known
    """
    if isinstance(weights, str):
        if labels is None:
            raise ConfigError(
                "class_weight is 'balanced', which fit works out from the labels of the training set; fit first, or "
                "give one weight a class"
            )
        return balanced(labels, classes)
    if isinstance(weights, Mapping):
        unknown = [label for label in weights if label not in range(classes)]
        if unknown:
            raise ConfigError(f"class_weight has {unknown[0]!r} but labels from 0 to {classes - 1} are expected")
        weights = [weights.get(label, 1.0) for label in range(classes)]
    try:
        table = tuple(float(weight) for weight in weights)
    except (TypeError, ValueError):
        table = ()
    if len(table) != classes or not all(0 <= weight < float("inf") for weight in table) or not any(table):
        raise ConfigError(
            f"class_weight is {weights!r:.80} but {classes} weights are expected, one a class, not negative nor all 0"
        )
    return table


def weighted(loss: Callable[..., Any], table: tuple[float, ...]) -> Callable[..., Any]:
    """The loss with these weights of its classes. Raises ConfigError for a loss that has no classes.

    >>> weighted(losses.cross_entropy, (1.0, 5.0)).keywords
    {'class_weight': (1.0, 5.0)}
    """
    if losses.base(loss) not in (losses.cross_entropy, losses.binary_cross_entropy):
        raise ConfigError(
            f"class_weight is for cross_entropy and binary_cross_entropy, but the loss is "
            f"{getattr(loss, '__name__', type(loss).__name__)}; leave it out, or weigh within a loss of your own"
        )
    if isinstance(loss, functools.partial) and loss.keywords.get("class_weight") is not None:
        raise ConfigError("class_weight came twice, in the loss and beside it; leave one out")
    return functools.partial(loss, class_weight=table)
