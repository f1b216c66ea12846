"""A forecaster that learns how a series changes, and not where it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlcore.errors import ConfigError, ShapeError
from dlcore.nn.container import _check_module
from dlcore.nn.module import Module
from dlcore.nn.parameter import Buffer
from dlcore.tensor import Tensor, as_tensor, concat, where

__all__ = ["FromLast"]


class FromLast(Module):
    """The last value of a window and the change that ``inner`` predicts: y = carry · x_T + inner(z).

    x (N, T, D) holds windows whose first feature is the past of what is predicted; z (N, T, F) is what ``inner`` sees:
    of the columns in ``changes`` (x_t − x_T) / spread, of those in ``levels`` x_t itself, within ±bound. Where only
    changes go in, a constant added to a series is added to its forecast: a level that was never seen in training does
    no harm.

    inner : a module with outputs (N, H), the changes of the next H values
    changes : columns of x
    spread : positive, for each of ``changes``: the size of its changes
    levels : columns of x
    carry : the unit of x's first feature in units of the output
    bound : of z: what training never saw is not multiplied into nonsense

    >>> from dlcore import nn
    >>> still = nn.Sequential(nn.Flatten(), nn.Dense(2, init="zeros"))  # predicts no change
    >>> FromLast(still)([[[1.0], [3.0]], [[5.0], [4.0]]]).numpy().tolist()
    [[3.0, 3.0], [4.0, 4.0]]

    Raises ConfigError for arguments that do not go together, ShapeError for x without one of the columns.

    Source: the subtraction of the last value is that of NLinear; A. Zeng et al., Are Transformers effective for time
    series forecasting? (2023).
    """

    def __init__(
        self,
        inner: Module,
        changes: Sequence[int] = (0,),
        spread: Sequence[float] = (1.0,),
        levels: Sequence[int] = (),
        carry: float = 1.0,
        bound: float = 1e3,
    ) -> None:
        _check_module("FromLast", "inner", inner)
        if not changes and not levels:
            raise ConfigError("FromLast: neither changes nor levels came; name at least one column")
        if len(spread) != len(changes) or not all(size > 0 for size in spread) or not bound > 0:
            raise ConfigError(
                f"FromLast: {len(spread)} spreads for {len(changes)} changes and bound {bound}; a positive spread for "
                "each, and a positive bound, are expected"
            )
        self.inner, self.carry, self.bound = inner, float(carry), float(bound)
        self.changes, self.levels = tuple(changes), tuple(levels)
        self.spread = tuple(map(float, spread))

    def setup(self, x: Tensor) -> None:
        if x.ndim != 3 or x.shape[2] <= max(self.changes + self.levels):
            raise ShapeError(
                f"FromLast: x has shape {tuple(x.shape)} but (N, T, D) with D > {max(self.changes + self.levels)} is "
                "expected; give windows of a series"
            )
        self.rate = Buffer(np.asarray([1.0 / size for size in self.spread], np.float32))

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        parts = []
        if self.changes:
            change = _columns(x, self.changes)
            parts.append((change - change[:, -1:]) * Tensor(self.rate.data))  # (N, T, C)
        if self.levels:
            parts.append(_columns(x, self.levels))
        z = parts[0] if len(parts) == 1 else concat(parts, axis=2)
        z = where(z > self.bound, self.bound, z)
        y = self.inner(where(z < -self.bound, -self.bound, z))
        return y + x[:, -1, :1] * self.carry  # (N, H) + (N, 1)


def _columns(x: Tensor, columns: Sequence[int]) -> Tensor:
    """Columns of x's last axis, in their order; neighbours are taken together."""
    runs: list[slice] = []
    for column in columns:
        if runs and runs[-1].stop == column:
            runs[-1] = slice(runs[-1].start, column + 1)
        else:
            runs.append(slice(column, column + 1))
    parts = [x[:, :, run] for run in runs]
    return parts[0] if len(parts) == 1 else concat(parts, axis=2)
