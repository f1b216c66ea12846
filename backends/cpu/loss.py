"""Softmax cross-entropy: each row of logits is read once in the forward pass and once in the backward pass."""

from __future__ import annotations

import numpy as np

from backends.cpu import requirements
from backends.cpu.codegen.math import exp
from backends.cpu.codegen.simd import (
    LANES,
    element,
    first,
    integers,
    larger,
    largest,
    load,
    load_integer,
    load_number,
    numbers,
    spread,
    store,
    store_number,
    total,
)
from backends.cpu.codegen.thread_pool import launch, reads, task, writes
from backends.reference import loss

_PIECE = 16_384  # logits a task
_LEAST = 32_768  # logits; with fewer the reference is as fast
_LOWEST = np.float32(-np.inf)
_ZERO = np.float32(0.0)


def _rows(classes: int) -> int:
    """Rows of logits a task."""
    return max(1, _PIECE // max(1, classes))


@task(
    logits=reads("rows classes"),
    labels=reads("rows", "int64"),
    highest=writes("rows"),
    sums=writes("rows"),
    own=writes("rows"),
    shifted=writes("rows"),
)
def _softmax_sums(piece, arguments):
    """Of each row z: max z, the sum of exp(z - max z), z - max z at the label, and the sum of z - max z."""
    logits, labels, highest, sums, own, shifted, rows, classes, rows_a_piece = integers(arguments, 0, 9)
    zero, lowest = spread(_ZERO), spread(_LOWEST)
    for row in range(piece * rows_a_piece, min(rows, (piece + 1) * rows_a_piece)):
        start = row * classes
        most = lowest
        for k in range(0, classes, LANES):
            most = larger(most, first(load(logits, start + k, classes - k), classes - k, lowest))
        most = spread(largest(most))
        exponentials, differences = zero, zero
        for k in range(0, classes, LANES):
            difference = load(logits, start + k, classes - k) - most
            exponentials += first(exp(difference), classes - k, zero)
            differences += first(difference, classes - k, zero)
        store_number(highest, row, element(most))
        store_number(sums, row, total(exponentials))
        store_number(shifted, row, total(differences))
        label = load_integer(labels, row)
        difference = zero  # as in the reference, a label of no class has no loss of its own
        if 0 <= label < classes:
            difference = load_number(logits, start + label) - most
        store_number(own, row, element(difference))


@task(
    logits=reads("rows classes"),
    labels=reads("rows", "int64"),
    highest=reads("rows"),
    scale=reads("rows"),
    share=reads("rows"),
    dlogits=writes("rows classes"),
)
def _softmax_minus_target(piece, arguments):
    """share exp(z - max z) - scale target, with share = scale / sum of exp(z - max z)."""
    logits, labels, highest, scale, share, dlogits, rows, classes, rows_a_piece = integers(arguments, 0, 9)
    right, other = numbers(arguments, 9, 2)
    for row in range(piece * rows_a_piece, min(rows, (piece + 1) * rows_a_piece)):
        start = row * classes
        most, factor, weight = load_number(highest, row), load_number(share, row), load_number(scale, row)
        rest = weight * other
        for k in range(0, classes, LANES):
            z = load(logits, start + k, classes - k)
            store(dlogits, start + k, exp(z - most) * factor - rest, classes - k)
        label = load_integer(labels, row)
        if 0 <= label < classes:
            store_number(dlogits, start + label, element(load_number(dlogits, start + label) + weight * right))


def _unsuited(logits, labels, weight, *, label_smoothing) -> str | None:
    return requirements.not_float32(logits=logits, weight=weight) or requirements.too_few(logits, _LEAST)


@loss.cross_entropy.alternative("numpy", unless=_unsuited)
class CrossEntropyByRows:
    """log sum exp(z - max z) - (z - max z) · target, with the exponentials computed anew for the gradient."""

    @staticmethod
    def forward(xp, logits, labels, weight, *, label_smoothing, needed):
        rows, classes = logits.shape
        logits = np.ascontiguousarray(logits)
        labels = np.ascontiguousarray(labels, np.int64)
        highest, sums, own, shifted = (np.empty(rows, np.float32) for _ in range(4))
        at_once = _rows(classes)
        launch(_softmax_sums, -(-rows // at_once), (logits, labels, highest, sums, own, shifted), (at_once,))
        losses = np.log(sums) - (1.0 - label_smoothing) * own
        if label_smoothing:
            losses -= label_smoothing / classes * shifted
        value, share = loss._mean(xp, losses, weight)
        return value, (logits, labels, highest, sums, share) if needed[0] else None

    @staticmethod
    def backward(xp, dy, saved, *, label_smoothing, needed):
        if saved is None:
            return None, None, None
        logits, labels, highest, sums, share = saved
        rows, classes = logits.shape
        scale = np.ascontiguousarray(np.broadcast_to(dy * share, (rows,)), np.float32)
        dlogits = np.empty_like(logits)
        at_once = _rows(classes)
        launch(
            _softmax_minus_target,
            -(-rows // at_once),
            (logits, labels, highest, scale, scale / sums, dlogits),
            (at_once,),
            (label_smoothing - 1.0, label_smoothing / classes),
        )
        if isinstance(share, np.ndarray):
            dlogits[share == 0] = 0.0  # whatever the logits of these rows are
        return dlogits, None, None
