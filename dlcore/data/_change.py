"""What a forecaster that predicts changes must know of a series: how large they are in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlcore.data.dataset import Dataset
from dlcore.data.normalize import Normalizer

__all__ = ["Change"]

_NONE = 1e30  # a bound that is none
_DRIFT = 0.05  # of the late rows of training outside the range of those before, from which on a column drifts


@dataclass(frozen=True)
class Change:
    """The changes of a series in training, as :class:`dlcore.nn.FromLast` takes them.

    changes : features of x whose changes are learnt from
    spread : of each, the root mean square of x_t − x_T within a window
    levels : features of x that are learnt from as they are: flags, the calendar, and columns other than the target that
        keep within their range towards the end of training; what drifts is known by its changes alone
    bound : of what the model sees: twice the largest change, in spreads, at least 10; none without a normalizer
    mean, std : of the target's unit: outputs are (y − mean) / std, where std is the spread of y − x_T
    carry : the unit of x's first feature in units of the outputs
    """

    changes: tuple[int, ...]
    spread: tuple[float, ...]
    levels: tuple[int, ...]
    bound: float
    mean: float
    std: float
    carry: float

    @classmethod
    def of(
        cls, train: Dataset, late: np.ndarray, rows: np.ndarray, normalizer: Normalizer | None, columns: int
    ) -> Change:
        """Of training windows.

        train : x (N, window, D), normalised where there is a normalizer; y (N, H)
        late : (N,) bool, which of them are of the last fifth of their series
        rows : (n, D) those of the windows, before the normalizer
        columns : how many features are columns of the table, and not of the calendar

        >>> x = np.array([[[1.0], [2.0]], [[2.0], [3.0]]])
        >>> late = np.array([False, True])
        >>> found = Change.of(Dataset(x, np.array([[3.0], [4.0]])), late, x[:, 0], None, 1)
        >>> found.changes, found.std, found.carry
        ((0,), 1.0, 1.0)
        """
        shift, scale = (0.0, 1.0) if normalizer is None else (float(normalizer.mean[0]), float(normalizer.std[0]))
        features = train.x.shape[2]
        flags = ((rows == 0) | (rows == 1)).all(axis=0)
        squares, largest, count = np.zeros(features), np.zeros(features), 0
        size = max(1, (1 << 22) // max(1, train.x[0].size))
        for start in range(0, len(train.x), size):
            x = train.x[start : start + size].astype(np.float64)
            found = x[:, :-1] - x[:, -1:]
            squares += (found**2).sum(axis=(0, 1))
            largest = np.maximum(largest, np.abs(found).max(axis=(0, 1), initial=0.0))
            count += found.shape[0] * found.shape[1]
        spread = np.sqrt(squares / max(count, 1))
        moving = (spread > 0) & ~flags & (np.arange(features) < columns)
        if (rows[:, 0] == rows[0, 0]).all():  # a target that never moved: where it stands is not learnt from
            moving[0], spread[0] = True, 1.0
        last = train.x[:, -1, :1].astype(np.float64) * scale + shift
        std = float(np.sqrt(np.mean((np.asarray(train.y) - last) ** 2)))
        std = std if np.isfinite(std) and std > 0 else scale
        if normalizer is None:  # everything in its own unit
            spread, std = np.where(spread > 0, 1.0, 0.0), 1.0
        bound = max(10.0, 2 * float((largest[moving] / spread[moving]).max(initial=0.0)))
        bound = bound if normalizer is not None else _NONE
        changes = tuple(map(int, np.flatnonzero(moving)))
        levels = tuple(map(int, np.flatnonzero(~moving | _stays(train.x[:, -1], late))))
        return cls(changes, tuple(map(float, spread[moving])), levels, bound, shift, std, scale / std)


def _stays(last: np.ndarray, late: np.ndarray) -> np.ndarray:
    """(D,) bool, which features of windows' last rows (N, D) keep within the range of before in the ``late`` ones; not
    the first, which is the target's past."""
    if not late.any() or late.all():
        return np.zeros(last.shape[1], bool)
    before, after = last[~late], last[late]
    outside = (after < before.min(axis=0)) | (after > before.max(axis=0))
    found = outside.mean(axis=0) <= _DRIFT
    found[0] = False
    return found
