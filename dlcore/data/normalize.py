"""Inputs of mean 0 and standard deviation 1, by the statistics of the training set alone."""

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
    """Shift and scale each feature: z = (x − μ) / σ.

    μ and σ are taken over all axes but the last: per column of a table (N, D), per channel of images (N, H, W, C). σ
    divides by the number of values; a feature that never changes gets σ = 1 and so becomes 0. Targets are left as they
    are.

    mean, std : (features,) float64

    Fit it on the training set only and apply it to every set (notes 3.1): statistics of the dev or test set would tell
    the model about data that it must not have seen.

    >>> train = Dataset(np.array([[0.0, 5.0], [2.0, 5.0]]), np.array([0, 1]))
    >>> normalizer = Normalizer.fit(train)
    >>> normalizer.apply(train).x.tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    >>> normalizer.transform(np.array([[4.0, 6.0]])).tolist()
    [[3.0, 1.0]]
    """

    mean: np.ndarray
    std: np.ndarray

    def __post_init__(self) -> None:
        mean, std = (np.asarray(values, np.float64) for values in (self.mean, self.std))
        if mean.ndim != 1 or mean.shape != std.shape:
            raise DataError(f"Normalizer: mean {mean.shape} and std {std.shape}, expected both of shape (features,)")
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise DataError("Normalizer: mean and std must be finite and std positive; fit it on finite data")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)

    @classmethod
    def fit(cls, train: Dataset) -> Normalizer:
        """Take the statistics of ``train.x``, in float64; padded steps of sequences do not count.

        Raises DataError for x of one axis, which has no features.
        """
        x = train.x
        if x.ndim < 2:
            raise DataError(f"Normalizer: x has shape {x.shape}, expected (N, ..., features); use x[:, None] for one")
        if train.lengths is not None:
            x = x[np.arange(x.shape[1]) < train.lengths[:, None]]  # (N, T, D) -> (valid steps, D)
        values = x.reshape(-1, x.shape[-1])
        low, high = values.min(axis=0), values.max(axis=0)
        mean = sum(block.sum(axis=0, dtype=np.float64) for block in _blocks(values)) / len(values)
        variance = sum(((block - mean) ** 2).sum(axis=0) for block in _blocks(values)) / len(values)
        constant = low == high
        return cls(np.where(constant, low, mean), np.where(constant, 1.0, np.sqrt(variance)))

    def apply(self, data: Dataset) -> Dataset:
        """``data`` with x normalised, float32; y and lengths are the same arrays."""
        return replace(data, x=self.transform(data.x))

    def transform(self, x: np.ndarray) -> np.ndarray:
        """z = (x − μ) / σ, float32, of x's shape (..., features).

        Raises DataError where x has another number of features.
        """
        return self._map(x, lambda block: (block - self.mean) / self.std)

    def inverse(self, z: np.ndarray) -> np.ndarray:
        """x = z σ + μ, float32: takes :meth:`transform` back, up to rounding.

        >>> normalizer = Normalizer([10.0], [2.0])
        >>> normalizer.inverse(normalizer.transform(np.array([[13.0]]))).tolist()
        [[13.0]]
        """
        return self._map(z, lambda block: block * self.std + self.mean)

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists for a JSON file; :meth:`from_dict` reads them, to the bit.

        >>> saved = Normalizer([10.0], [2.0]).to_dict()
        >>> saved, Normalizer.from_dict(saved).std.tolist()
        ({'mean': [10.0], 'std': [2.0]}, [2.0])
        """
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Normalizer:
        """The Normalizer that :meth:`to_dict` wrote. Raises DataError where an entry is missing or damaged.

        saved : a dict
        """
        try:
            return cls(np.asarray(saved["mean"], np.float64), np.asarray(saved["std"], np.float64))
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"Normalizer: expected lists 'mean' and 'std' of numbers, got {saved!r}") from error

    def _map(self, x: np.ndarray, formula: Any) -> np.ndarray:
        x = np.asarray(x)
        if x.shape[-1:] != self.mean.shape:
            raise DataError(
                f"Normalizer: x has shape {x.shape}, but was fitted on {len(self.mean)} features in the last axis"
            )
        out = np.empty(x.shape, np.float32)
        sources, targets = (_blocks(array.reshape(-1, x.shape[-1])) for array in (x, out))
        for source, target in zip(sources, targets, strict=True):
            target[:] = formula(source)
        return out


def _blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    return (values[first : first + _BLOCK] for first in range(0, len(values), _BLOCK))
