"""Losses from logits, averaged over the batch (notes 1.3).

With weights, each example's loss is multiplied by its weight and the sum divided by the sum of the weights. With
``lengths`` the valid steps of padded sequences are packed into rows before anything is computed, so that padding is in
no sum: it changes no bit of a loss or a gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from backends.namespace import NUMPY, isdtype, namespace_of
from backends.reference import loss as _loss
from dlcore._core.arrays import from_list, plain
from dlcore._core.current_device import on_its_device
from dlcore.errors import DataError, ShapeError
from dlcore.functional._calls import noted
from dlcore.functional.checks import (
    constant,
    floats,
    none_empty,
    not_probabilities,
    on_host,
    out_of_range,
    refuse,
    tensor,
)
from dlcore.functional.layers import _integers
from dlcore.functional.lengths import Lengths, pack
from dlcore.tensor import Tensor, apply, as_tensor

__all__ = ["binary_cross_entropy", "cross_entropy", "mse"]


@on_its_device
def mse(prediction: Any, target: Any, *, sample_weight: Any = None, lengths: Any = None) -> Tensor:
    """The mean squared error, the mean over all elements of (a - y)².

    prediction : (N, ...) float array
    target : array of the same shape; (N,) goes with predictions (N, 1)
    sample_weight : (N,) weights of the examples, not negative
    lengths : N integers on the host or Lengths, for series (N, T, ...): the mean is over the elements of valid steps

    Returns a scalar. Raises ShapeError.

    >>> float(mse([[1.0], [3.0]], [[1.0], [1.0]]))
    2.0

    Source: notes, 1.3; for scalar outputs this is 1/m sum (a - y)².
    """
    prediction, target = _checked_target("mse", prediction, target)
    weight, target = _example_weights("mse", prediction, sample_weight), _reshaped(target, prediction)
    if lengths is not None:
        lengths = _lengths("mse", prediction, lengths)
        prediction, target, weight = pack(prediction, lengths), pack(target, lengths), _packed(weight, lengths)
    return noted("mse", prediction.shape, apply(_loss.mse, prediction, target, weight), weight)


@on_its_device
def binary_cross_entropy(
    logits: Any, target: Any, *, class_weight: Any = None, sample_weight: Any = None, label_smoothing: float = 0.0
) -> Tensor:
    """-1/m sum (y log a + (1 - y) log(1 - a)) with a = sigmoid(logits), finite for logits up to 1e30 in size.

    logits : (N, ...) float array — before the sigmoid
    target : array of the same shape with values in [0, 1]; (N,) goes with logits (N, 1)
    class_weight : (weight of 0, weight of 1); a target between takes a share of both
    sample_weight : (N,) weights of the examples, not negative
    label_smoothing : in [0, 1): targets move towards 1/2 by this share

    Returns a scalar. Raises ShapeError, and DataError for targets outside [0, 1].

    >>> round(float(binary_cross_entropy([[0.0]], [[1.0]])), 4)
    0.6931

    Source: notes, 1.3.
    """
    target = constant("binary_cross_entropy", "target", target, "logits")
    logits, target = _checked_target("binary_cross_entropy", logits, target)
    smoothing = _smoothing("binary_cross_entropy", label_smoothing)
    if on_host(target) and target.size and not (target.data.min() >= 0 and target.data.max() <= 1):
        raise DataError(
            f"binary_cross_entropy: targets span {target.data.min()} to {target.data.max()} but 0 to 1 is expected; "
            "map the two classes to 0 and 1, or use cross_entropy"
        )
    weight = _example_weights("binary_cross_entropy", logits, sample_weight)
    if class_weight is not None:
        low, high = (float(w) for w in _class_weights("binary_cross_entropy", class_weight, 2))
        target = _reshaped(target, logits)
        by_class = low + (high - low) * target.data
        weight = by_class if weight is None else weight * by_class
    loss = apply(_loss.binary_cross_entropy, logits, _reshaped(target, logits), weight, label_smoothing=smoothing)
    return noted("binary_cross_entropy", logits.shape, loss, weight)


@on_its_device
def cross_entropy(
    logits: Any,
    labels: Any,
    *,
    class_weight: Any = None,
    sample_weight: Any = None,
    label_smoothing: float = 0.0,
    lengths: Any = None,
) -> Tensor:
    """-1/m sum log softmax(logits)[label]: the cross-entropy of K classes, finite for logits up to 1e30 in size.

    logits : (..., K) float array — before the softmax
    labels : (...) integer array, each in [0, K); or (..., K) float array of class probabilities q, not negative and
        with the sum 1 (within 0.001) in each row, whose loss is -sum_k q_k log softmax(logits)_k. Both are checked
        where they are on the host
    class_weight : K weights, one a class
    sample_weight : (...) weights of the examples, not negative
    label_smoothing : in [0, 1): the labels' one-hot rows, or the probabilities, move towards 1/K by this share
    lengths : N integers on the host or Lengths, for logits (N, T, K) and labels (N, T) or (N, T, K). The loss is then
        that of sequences: the sum over a sequence's valid steps, averaged over the N sequences; without ``lengths`` it
        is the mean over all steps. ``sample_weight`` (N,) weighs sequences. Labels behind the end may be anything.

    With weights the loss is sum_i s_i w[label_i] l_i / sum_i s_i w[label_i], with s of the examples and w of the
    classes. Probabilities count as an example of each class k with the weight q_ik: sum_i s_i sum_k q_ik w_k l_ik /
    sum_i s_i sum_k q_ik w_k, where l_ik is the loss of example i with the label k. One-hot rows give the same loss as
    their labels. (PyTorch has the same numerator, but divides by the number of examples where there are
    probabilities.) The gradient of probabilities is given, except with ``class_weight``; a row of weight 0 may be
    anything.

    Returns a scalar. Raises ShapeError, and DataError for labels out of range and rows that are no probabilities.

    >>> round(float(cross_entropy([[0.0, 0.0]], [1])), 4)
    0.6931
    >>> round(float(cross_entropy([[2.0, 0.0]], [[0.75, 0.25]])), 4)
    0.6269
    >>> round(float(cross_entropy([[[0.0, 0.0]] * 3] * 2, [[1, 0, 0], [1, -1, -1]], lengths=[3, 1])), 4)
    1.3863

    Source: notes, 1.3, for more than two classes; 5, for sequences.
    """
    if not (isinstance(logits, Tensor) and logits.requires_grad):  # which only floats may
        logits = floats("cross_entropy", "logits", logits)
    shape = logits.data.shape
    if not isinstance(labels, Tensor | np.ndarray) or labels.ndim == len(shape):
        labels = tensor("cross_entropy", "labels", _exact(labels))
        if labels.ndim == len(shape) and isdtype(namespace_of(labels.data), labels.dtype, "real floating"):
            return _of_probabilities(logits, labels, class_weight, sample_weight, label_smoothing, lengths)
    labels = _integers("cross_entropy", "labels", labels)
    if len(shape) < 2 or labels.data.shape != shape[:-1]:
        refuse(
            "cross_entropy",
            f"logits have shape {tuple(shape)} and labels {tuple(labels.shape)}",
            "logits (..., K) and labels (...) are expected",
            "pass integer labels, one an example, or rows of probabilities (..., K) as floats",
        )
    if not logits.data.size:
        none_empty("cross_entropy", logits=("classes", shape[-1]))
        _some("cross_entropy", logits)
    smoothing = _smoothing("cross_entropy", label_smoothing)
    classes, per_sequence, sums, given = shape[-1], None, None, tuple(shape)
    if lengths is not None:
        lengths = _lengths("cross_entropy", labels, lengths, axes=2)
        per_sequence, sample_weight, sums = _steps_of_one(logits, lengths, sample_weight)
        logits, labels = pack(logits, lengths), pack(labels, lengths)
        shape = logits.data.shape
    if out_of_range(labels, classes):
        bad = labels.data[(labels.data < 0) | (labels.data >= classes)][0]
        raise DataError(
            f"cross_entropy: label {bad} is out of range, 0 to {classes - 1} expected for {classes} classes; "
            "check the labels or the units of the last layer"
        )
    weight = None if sample_weight is None else _example_weights("cross_entropy", labels, sample_weight, like=logits)
    if class_weight is not None:
        table = _beside(logits, _class_weights("cross_entropy", class_weight, classes))
        xp = namespace_of(table)
        by_class = xp.reshape(xp.take(table, xp.reshape(labels.data, (-1,)), axis=0), labels.data.shape)
        weight = by_class if weight is None else weight * by_class
    if len(shape) != 2:
        xp = namespace_of(logits.data)
        logits = logits.reshape(-1, classes)  # (N, T, K) -> (N T, K)
        labels = Tensor(xp.reshape(labels.data, (-1,)))
        weight = None if weight is None else xp.reshape(weight, (-1,))
    loss = apply(_loss.cross_entropy, logits, labels, weight, label_smoothing=smoothing)
    loss = loss if per_sequence is None else loss * per_sequence
    return noted("cross_entropy", given, loss, weight, sums)


def _of_probabilities(
    logits: Tensor, target: Tensor, class_weight: Any, sample_weight: Any, label_smoothing: float, lengths: Any
) -> Tensor:
    """:func:`cross_entropy` of rows of class probabilities."""
    given = tuple(logits.data.shape)
    if len(given) < 2 or tuple(target.data.shape) != given:
        refuse(
            "cross_entropy",
            f"logits have shape {given} and labels {tuple(target.shape)} of {target.data.dtype}",
            "integer labels (...) or probabilities (..., K) are expected",
            "give one probability a class, or convert labels to int64",
        )
    _some("cross_entropy", logits)
    smoothing = _smoothing("cross_entropy", label_smoothing)
    if target.requires_grad and (class_weight is not None or target.data.dtype != logits.data.dtype):
        refuse(
            "cross_entropy",
            f"the gradient of {target.data.dtype} probabilities is asked for"
            + (" with class_weight" if class_weight is not None else ""),
            f"it is given for {logits.data.dtype} ones without class_weight alone",
            "detach the probabilities",
        )
    if target.data.dtype != logits.data.dtype:
        target = Tensor(namespace_of(target.data).astype(target.data, logits.data.dtype))
    per_sequence = sums = None
    if lengths is not None:
        lengths = _lengths("cross_entropy", Tensor(logits.data[..., 0]), lengths, axes=2)
        per_sequence, sample_weight, sums = _steps_of_one(logits, lengths, sample_weight)
        logits, target = pack(logits, lengths), pack(target, lengths)
    examples = Tensor(logits.data[..., 0])
    weight = None if sample_weight is None else _example_weights("cross_entropy", examples, sample_weight, like=logits)
    _check_probabilities(target, weight)
    xp, classes = namespace_of(logits.data), given[-1]
    if class_weight is not None:
        rows = target.data * _beside(logits, _class_weights("cross_entropy", class_weight, classes))
        own = xp.sum(rows, axis=-1)
        target = Tensor(rows / xp.expand_dims(xp.maximum(own, float(xp.finfo(own.dtype).smallest_normal)), axis=-1))
        weight = own if weight is None else weight * own
    if len(logits.data.shape) != 2:  # (N, T, K) -> (N T, K)
        logits, target = logits.reshape(-1, classes), target.reshape(-1, classes)
        weight = None if weight is None else xp.reshape(weight, (-1,))
    loss = apply(_loss.soft_cross_entropy, logits, target, weight, label_smoothing=smoothing)
    return noted("cross_entropy", given, loss if per_sequence is None else loss * per_sequence, weight, sums)


def _check_probabilities(target: Tensor, weight: Any) -> None:
    """Raise DataError for a row on the host, of another weight than 0, that is no distribution."""
    if not on_host(target):
        return
    bad = not_probabilities(target.data)
    if weight is not None:
        bad = bad & (weight != 0)
    if bad.any():
        place = tuple(np.argwhere(bad)[0].tolist())
        row = target.data[place]
        raise DataError(
            f"cross_entropy: row {place[0] if len(place) == 1 else place} of the probabilities spans {row.min():g} to "
            f"{row.max():g} with the sum {row.sum():g}, but no negative entries and the sum 1 are expected; "
            "divide each row by its sum, or pass integer labels"
        )


# --- sequences


def _lengths(operation: str, x: Tensor, lengths: Any, axes: int | None = None) -> Lengths:
    if x.ndim < 2 or axes not in (None, x.ndim):
        refuse(
            operation, f"the targets have shape {tuple(x.shape)}", "lengths go with one target a step, (N, T)",
            "return sequences from the recurrent layer, or leave lengths out of the loss",
        )  # fmt: skip
    return Lengths.of(operation, lengths, x.shape[0], x.shape[1])


def _steps_of_one(logits: Tensor, lengths: Lengths, sample_weight: Any) -> tuple[Any, Any, tuple[Any, Any]]:
    """The (weighted) mean number of steps of a sequence, the weight of each valid step, and the two sums of the mean.

    A mean over steps times the mean number of steps is the mean over sequences of the sum over steps.
    """
    n = len(lengths)
    if sample_weight is None:
        return lengths.valid / n, None, (float(lengths.valid), float(n))
    ones = Tensor(_beside(logits, np.ones((n, lengths.steps))))
    weight = _example_weights("cross_entropy", ones, sample_weight, like=logits)  # (N, T)
    xp = namespace_of(weight)
    by_step = _packed(weight, lengths)
    least = float(xp.finfo(weight.dtype).smallest_normal)  # all 0: the loss is 0
    steps, sequences = xp.sum(by_step), xp.maximum(xp.sum(weight[:, 0]), least)
    return Tensor(xp.asarray(steps / sequences)), by_step, (steps, sequences)


def _packed(weight: Any, lengths: Lengths) -> Any:
    return None if weight is None else pack(Tensor(weight), lengths).data


def _some(operation: str, x: Tensor) -> None:
    if not x.data.size:
        raise DataError(
            f"{operation}: shape {tuple(x.shape)} holds no examples, at least one is expected; check the data"
        )


def _checked_target(operation: str, prediction: Any, target: Any) -> tuple[Tensor, Tensor]:
    """The two as tensors of one dtype; the target's shape may still lack the prediction's last axis of 1."""
    name = "prediction" if operation == "mse" else "logits"
    prediction, target = floats(operation, name, prediction), tensor(operation, "target", _exact(target))
    if target.data.dtype != prediction.data.dtype:
        xp = namespace_of(target.data)
        if target.requires_grad:
            constant(operation, "target", target, f"the {name}, which is {prediction.dtype} and not {target.dtype},")
        target = Tensor(xp.astype(target.data, prediction.data.dtype))
    if prediction.data.shape not in (target.data.shape, (*target.data.shape, 1)):
        refuse(
            operation,
            f"the prediction has shape {tuple(prediction.shape)} and the target {tuple(target.shape)}",
            "equal shapes are expected",
            "reshape the target, or check the units of the last layer",
        )
    _some(operation, prediction)
    return prediction, target


def _exact(target: Any) -> Any:
    """A list of targets in float64, from which it is rounded to the prediction's dtype once."""
    return from_list(target) if isinstance(target, list | tuple) else target


def _reshaped(target: Tensor, prediction: Tensor) -> Tensor:
    return target if target.data.shape == prediction.data.shape else target.reshape(prediction.data.shape)


def _smoothing(operation: str, share: float) -> float:
    if not 0 <= share < 1:
        raise ShapeError(f"{operation}: label_smoothing is {share} but 0 <= label_smoothing < 1 is expected")
    return float(share)


def _beside(x: Tensor, host: np.ndarray) -> Any:
    """A host array as an array of the dtype and on the device of ``x``."""
    xp = namespace_of(x.data)
    return host.astype(x.data.dtype) if xp is NUMPY else xp.asarray(host, dtype=x.data.dtype, device=x.data.device)


def _class_weights(operation: str, weights: Any, classes: int) -> np.ndarray:
    constant(operation, "class_weight", weights, "the logits")
    if isinstance(weights, Tensor):
        weights = weights.numpy()
    table = plain(operation, from_list(weights) if isinstance(weights, list | tuple) else weights).astype(np.float64)
    if table.shape != (classes,) or not ((table >= 0) & np.isfinite(table)).all() or not table.any():
        refuse(
            operation, f"class_weight is {weights!r:.80}",
            f"{classes} weights that are finite, not negative nor all 0 are expected", "give one weight a class",
        )  # fmt: skip
    return table


def _example_weights(operation: str, examples: Tensor, weights: Any, like: Tensor | None = None) -> Any:
    """Weights shaped as the examples' losses: one an example, repeated over its other axes."""
    if weights is None:
        return None
    like = examples if like is None else like
    constant(operation, "sample_weight", weights, "the prediction" if operation == "mse" else "the logits")
    if isinstance(weights, Tensor):
        weights = weights.data
    if isinstance(weights, list | tuple | np.ndarray):
        host = plain(operation, from_list(weights) if not hasattr(weights, "dtype") else weights).astype(np.float64)
        if not ((host >= 0) & np.isfinite(host)).all():
            refuse(
                operation, "sample_weight has negative weights, NaN or infinities", "finite weights >= 0 are expected",
                "mend them, or give 0 to the examples that shall not count",
            )  # fmt: skip
        weights = _beside(like, host)
    weights = as_tensor(weights).data
    if weights.dtype != like.data.dtype:
        weights = namespace_of(weights).astype(weights, like.data.dtype)
    shape = tuple(examples.data.shape)
    if tuple(weights.shape) != shape[: weights.ndim] or weights.ndim < 1:
        refuse(
            operation,
            f"sample_weight has shape {tuple(weights.shape)}",
            f"({shape[0]},) is expected",
            "give one weight an example",
        )
    xp = namespace_of(weights)
    return xp.broadcast_to(xp.reshape(weights, (*weights.shape, *(1,) * (len(shape) - weights.ndim))), shape)
