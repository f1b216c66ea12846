"""Cases of dense layers with the ReLU behind them. Tests only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from case import Case, case, normal, total

__all__ = ["dense_layers"]

Gradients = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def _product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x @ y of matrices, each element by a sum without rounding."""
    return np.array([[total(row * column) for column in y.T] for row in x]).reshape(x.shape[0], y.shape[1])


def _affine(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    y = _product(x.reshape(-1, x.shape[-1]), w)
    return y if b is None else y + b


def _linear_relu(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    return np.maximum(_affine(x, w, b), 0.0).reshape(*x.shape[:-1], w.shape[1])


def _gradient(dy: np.ndarray, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Gradients:
    """Those of the affine map, for dy where the map is above 0."""
    rows = x.reshape(-1, x.shape[-1])
    slopes = np.where(_affine(x, w, b) > 0, dy.reshape(-1, w.shape[1]), 0.0)
    db = None if b is None else np.array([total(column) for column in slopes.T])
    return _product(slopes, w.T).reshape(x.shape), _product(rows.T, slopes), db


def dense_layers() -> Iterator[Case]:
    for name, x, k in (
        ("a batch", (4, 3), 5),
        ("one example", (1, 3), 2),
        ("one feature, one unit", (4, 1), 1),
        ("sequences", (2, 3, 4), 2),
        ("four axes", (2, 1, 3, 4), 2),
        ("many rows", (150, 5), 35),
        ("no examples", (0, 3), 2),
    ):
        how = {"oracle": _linear_relu, "gradient": _gradient}
        yield case("linear_relu", name, normal(*x), normal(x[-1], k), normal(k), **how)
        yield case("linear_relu", f"{name}, no bias", normal(*x), normal(x[-1], k), None, **how)
