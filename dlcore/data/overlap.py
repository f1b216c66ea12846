"""Examples that are equal: whether those of one part also stand in another, and which of a file were trained on.

A digest stands for an example: 40 bits of its inputs and below them 24 bits of its targets, in one uint64. It is made
of the values as a file holds them, of 13 digits, before any normalizer, so that it does not depend on the other
examples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.data.dataset import Targets

__all__ = ["digests_of", "equal_inputs", "in_training", "left"]

_TARGET = np.uint64((1 << 24) - 1)  # the bits of the targets
_DIGITS = 44  # binary ones of a number that count
_BLOCK = 256  # examples at a time


def digests_of(part: Any) -> np.ndarray:
    """The digest of each example, (n,) uint64.

    part : a Dataset or an ImageFolder, not normalised

    >>> from dlcore.data import Dataset
    >>> a, b, c = digests_of(Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([0, 0, 0]))).tolist()
    >>> a == b, a == c
    (True, False)
    """
    if hasattr(part, "digests"):  # of images, made as they were decoded
        inputs = part.digests()
    else:
        inputs = np.concatenate([_of_inputs(part, first) for first in range(0, len(part), _BLOCK)])
    return (inputs & ~_TARGET) | (_of_targets(part.y, len(part)) & _TARGET)


def equal_inputs(digests: np.ndarray) -> np.ndarray:
    """For each example the number of its group, (n,): those of equal inputs, whatever their targets are, are one.

    >>> equal_inputs(np.array([7 << 24, 5 << 24, (7 << 24) + 1], np.uint64)).tolist()
    [1, 0, 1]
    """
    return np.unique(digests & ~_TARGET, return_inverse=True)[1]


def in_training(digests: Mapping[str, np.ndarray], remedy: str = "") -> str:
    """A remark on examples of the dev and test set whose inputs also stand in the training set; empty without any.

    digests : by part
    remedy : what to do about it

    >>> rows = np.arange(10, dtype=np.uint64) << np.uint64(24)
    >>> in_training({"train": rows[:6], "dev": rows[6:8], "test": rows[4:8]})
    'equal inputs: 2 of 4 test rows also stand in the training set, so the figures are better than those of new rows'
    """
    learned = digests["train"] & ~_TARGET
    found = []
    for part in ("dev", "test"):
        rows = digests[part]
        count = int(np.isin(rows & ~_TARGET, learned).sum())
        if count:
            found.append(f"{count:,} of {len(rows):,} {part} rows")
    if not found:
        return ""
    return (
        f"equal inputs: {' and '.join(found)} also stand in the training set, so the figures are better than those of "
        f"new rows{remedy and f'; {remedy}'}"
    )


def left(digests: np.ndarray, seen: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """Which examples are not among those that were ``seen`` in one set or another, (n,) bool, and how many of each set
    are.

    As many equal examples count as seen as there were in the set: first those whose targets are equal too, then
    others of the same inputs, for a target that was mended since does not make a row new.

    >>> rows = np.array([1 << 24, 1 << 24, 2 << 24, 3 << 24], np.uint64)
    >>> mask, counts = left(rows, [rows[[0, 3]] + np.uint64(5), rows[:0]])
    >>> mask.tolist(), counts
    ([False, True, True, False], [2, 0])
    """
    new, counts = np.ones(len(digests), bool), []
    for known in seen:
        before = new.sum()
        rest = _taken(digests, known, new)
        _taken(digests & ~_TARGET, rest & ~_TARGET, new)
        counts.append(int(before - new.sum()))
    return new, counts


def _taken(digests: np.ndarray, known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Take from ``new`` (n,) one example for each of ``known``; those of ``known`` that found none."""
    places = np.flatnonzero(new)
    order = places[np.argsort(digests[places], kind="stable")]
    taken = _rank(digests[order]) < _count(known, digests[order])
    new[order[taken]] = False
    known = np.sort(known)
    return known[_rank(known) >= _count(digests[order], known)]


def _rank(ordered: np.ndarray) -> np.ndarray:
    """Of each value in sorted ones, how many equal ones stand before it."""
    return np.arange(len(ordered)) - np.searchsorted(ordered, ordered)


def _count(values: np.ndarray, of: np.ndarray) -> np.ndarray:
    """How often each of ``of`` is among ``values``."""
    values = np.sort(values)
    return np.searchsorted(values, of, "right") - np.searchsorted(values, of, "left")


def _of_inputs(part: Any, first: int) -> np.ndarray:
    rows = np.arange(first, min(first + _BLOCK, len(part)))
    x, _, *lengths = part.rows(rows)
    if x.dtype.kind == "f":
        x = _rounded(x)
    examples = (row[: lengths[0][i]] for i, row in enumerate(x)) if lengths else iter(x)
    return np.array([_hash(np.ascontiguousarray(example)) for example in examples], np.uint64)


def _rounded(x: np.ndarray) -> np.ndarray:
    """Numbers in float64 with 44 binary digits, 13 decimal ones: more than a float32 has, since two seconds of one
    minute are one float32; fewer than a float64 has, since other programs write its last digit otherwise.

    >>> seconds = 1.6e9 + np.arange(3.0)
    >>> np.diff(_rounded(seconds)).tolist(), _rounded(np.array([0.1 + 0.2]))[0] == _rounded(np.array([0.3]))[0]
    ([1.0, 1.0], np.True_)
    """
    fractions, exponents = np.frexp(x.astype(np.float64))
    return np.ldexp(np.rint(np.ldexp(fractions, _DIGITS)), exponents - _DIGITS) + 0.0  # -0.0 is 0.0


def _of_targets(y: Targets, n: int) -> np.ndarray:
    parts = [y[name] for name in sorted(y)] if isinstance(y, dict) else [y]
    columns = []
    for labels in parts:
        flat = labels.reshape(n, -1)
        columns.append(flat.astype(np.float32) + np.float32(0) if flat.dtype.kind == "f" else flat.astype(np.int64))
    whole = np.concatenate([np.ascontiguousarray(flat).view(np.uint8).reshape(n, -1) for flat in columns], axis=1)
    found, places = np.unique(whole, axis=0, return_inverse=True)
    return np.array([_hash(row) for row in found], np.uint64)[places.reshape(-1)]


def _hash(values: np.ndarray) -> int:
    return int.from_bytes(hashlib.blake2b(values.data, digest_size=8).digest(), "little")
