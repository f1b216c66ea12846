"""Inputs of mean 0 and standard deviation 1, within what training has seen: by the training set alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dlcore.data.dataset import Dataset
from dlcore.errors import DataError

__all__ = ["Normalizer"]

_BLOCK = 1 << 16  # rows of features at a time, so that float64 copies stay small


@dataclass(frozen=True, eq=False)
class Normalizer:
    """Shift and scale each feature, within bounds: z = (min(max(x, low), high) − μ) / σ.

    μ and σ are taken over all axes but the last: per column of a table (N, D), per channel of images (N, H, W, C). σ
    divides by the number of values. Targets are left as they are.

    mean, std : (features,) float64
    low, high : (features,) float64, or None for no bounds

    :meth:`fit` makes them so that a model never sees what training could not teach it:

    =========================  =========================================================================================
    a feature in training      becomes
    =========================  =========================================================================================
    the same in every row      0, whatever it is later: no weight of it was ever learnt
    0 and 1, and nothing else  0 and 1: one-hot columns and flags stay what they are, however rare. Not in images
    anything else              mean 0 and standard deviation 1; values that lie further outside the training range
                               than the range is wide are taken for the nearest one that does not
    =========================  =========================================================================================

    Fit it on the training set only and apply it to every set (notes 3.1): statistics of the dev or test set would tell
    the model about data that it must not have seen.

    >>> train = Dataset(np.array([[0.0, 5.0, 1.0], [4.0, 5.0, 0.0]]), np.array([0, 1]))
    >>> normalizer = Normalizer.fit(train)
    >>> normalizer.apply(train).x.tolist()
    [[-1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    >>> normalizer.transform(np.array([[6.0, 6.0, 1.0], [1e6, 5.0, 0.0]])).tolist()
    [[2.0, 0.0, 1.0], [3.0, 0.0, 0.0]]
    """

    mean: np.ndarray
    std: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def __post_init__(self) -> None:
        mean, std = (np.asarray(values, np.float64) for values in (self.mean, self.std))
        if mean.ndim != 1 or mean.shape != std.shape:
            raise DataError(f"Normalizer: mean {mean.shape} and std {std.shape}, expected both of shape (features,)")
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise DataError("Normalizer: mean and std must be finite and std positive; fit it on finite data")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)
        if self.low is None and self.high is None:
            return
        low, high = (np.asarray(values, np.float64) for values in (self.low, self.high))
        if (
            not low.shape == high.shape == mean.shape
            or not (np.isfinite(low) & np.isfinite(high) & (low <= high)).all()
        ):
            raise DataError(
                f"Normalizer: low and high must be finite, low at most high, and both of shape {mean.shape}; fit it on "
                "finite data"
            )
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    @classmethod
    def fit(cls, train: Dataset, *, bounded: bool = True) -> Normalizer:
        """Take the statistics of ``train.x``, in float64; padded steps of sequences do not count.

        bounded : False for z = (x − μ) / σ and nothing else, where only σ = 1 of a feature that never changes differs

        Raises DataError for x of one axis, which has no features.
        """
        x = train.x
        if x.ndim < 2:
            raise DataError(f"Normalizer: x has shape {x.shape}, expected (N, ..., features); use x[:, None] for one")
        if train.lengths is not None:
            x = x[np.arange(x.shape[1]) < train.lengths[:, None]]  # (N, T, D) -> (valid steps, D)
        return cls.of(x.reshape(-1, x.shape[-1]), bounded=bounded, images=train.x.ndim > 3)

    @classmethod
    def of(
        cls, values: np.ndarray, weights: np.ndarray | None = None, *, bounded: bool = True, images: bool = False
    ) -> Normalizer:
        """The same for rows of features (n, D), each of which may count with a weight (n,) of its own.

        images : the rows are pixels, whose range is that of all pictures: 0 and 1 are nothing special among them, and
            they need no bounds unless a channel never changes

        >>> Normalizer.of(np.array([[0.0], [4.0]]), np.array([3.0, 1.0])).mean.tolist()
        [1.0]
        """
        low, high = (values.min(axis=0).astype(np.float64), values.max(axis=0).astype(np.float64))
        total = len(values) if weights is None else float(weights.sum())
        if weights is None:
            mean = sum(block.sum(axis=0, dtype=np.float64) for block in _blocks(values)) / total
            variance = sum(((block - mean) ** 2).sum(axis=0) for block in _blocks(values)) / total
        else:
            mean = weights @ values / total
            variance = weights @ (values - mean) ** 2 / total
        constant = low == high
        mean, std = np.where(constant, low, mean), np.where(constant | (variance <= 0), 1.0, np.sqrt(variance))
        if not bounded or (images and not constant.any()):
            return cls(mean, std)
        flags = np.zeros(len(mean), bool)
        if not images:
            flags = ~constant & (low == 0) & (high == 1)
            flags[flags] = _only_0_and_1(values, np.flatnonzero(flags))
        width = np.where(flags, 0.0, high - low)
        return cls(np.where(flags, 0.0, mean), np.where(flags, 1.0, std), low - width, high + width)

    @property
    def constant(self) -> np.ndarray:
        """(features,) bool: those that were the same in every training row, and so are always 0.

        >>> Normalizer.of(np.array([[1.0, 2.0], [1.0, 3.0]])).constant.tolist()
        [True, False]
        """
        if self.low is None or self.high is None:
            return np.zeros(len(self.mean), bool)
        return self.low == self.high

    def bounds(self, x: np.ndarray) -> np.ndarray:
        """Where x (..., features) lies beyond the bounds of a feature that did change in training: bool, of x's shape.

        >>> Normalizer.of(np.array([[1.0, 0.0], [1.0, 5.0]])).bounds(np.array([[7.0, 7.0], [1.0, 11.0]])).tolist()
        [[False, False], [False, True]]
        """
        if self.low is None or self.high is None:
            return np.zeros(np.shape(x), bool)
        return ((x < self.low) | (x > self.high)) & ~self.constant

    def apply(self, data: Dataset) -> Dataset:
        """``data`` with x normalised, float32; y and lengths are the same arrays."""
        return replace(data, x=self.transform(data.x))

    def transform(self, x: np.ndarray, dtype: Any = np.float32) -> np.ndarray:
        """z of x's shape (..., features), computed in float64 and then rounded to ``dtype``.

        Raises DataError where x has another number of features.
        """
        if self.low is None:
            return self._map(x, lambda block: (block - self.mean) / self.std, dtype)
        return self._map(x, lambda block: (np.clip(block, self.low, self.high) - self.mean) / self.std, dtype)

    def inverse(self, z: np.ndarray) -> np.ndarray:
        """x = z σ + μ, float32: takes :meth:`transform` back, up to rounding, within the bounds.

        >>> normalizer = Normalizer([10.0], [2.0])
        >>> normalizer.inverse(normalizer.transform(np.array([[13.0]]))).tolist()
        [[13.0]]
        """
        return self._map(z, lambda block: block * self.std + self.mean, np.float32)

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists for a JSON file; :meth:`from_dict` reads them, to the bit.

        >>> saved = Normalizer([10.0], [2.0]).to_dict()
        >>> saved, Normalizer.from_dict(saved).std.tolist()
        ({'mean': [10.0], 'std': [2.0]}, [2.0])
        """
        named = {"mean": self.mean, "std": self.std, "low": self.low, "high": self.high}
        return {name: values.tolist() for name, values in named.items() if values is not None}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Normalizer:
        """The Normalizer that :meth:`to_dict` wrote. Raises DataError where an entry is missing or damaged.

        saved : a dict
        """
        try:
            parts = {name: np.asarray(saved[name], np.float64) for name in ("mean", "std")}
            parts |= {name: np.asarray(saved[name], np.float64) for name in ("low", "high") if name in saved}
            return cls(**parts)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"Normalizer: expected lists 'mean' and 'std' of numbers, got {saved!r}") from error

    def _map(self, x: np.ndarray, formula: Any, dtype: Any) -> np.ndarray:
        x = np.asarray(x)
        if x.shape[-1:] != self.mean.shape:
            raise DataError(
                f"Normalizer: x has shape {x.shape}, but was fitted on {len(self.mean)} features in the last axis"
            )
        out = np.empty(x.shape, dtype)
        sources, targets = (_blocks(array.reshape(-1, x.shape[-1])) for array in (x, out))
        for source, target in zip(sources, targets, strict=True):
            target[:] = formula(source)
        return out


def _only_0_and_1(values: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Which of the ``columns`` hold 0 and 1 throughout."""
    found = np.ones(len(columns), bool)
    for block in _blocks(values):
        chosen = block[:, columns]
        found &= ((chosen == 0) | (chosen == 1)).all(axis=0)
    return found


def _blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    return (values[first : first + _BLOCK] for first in range(0, len(values), _BLOCK))
