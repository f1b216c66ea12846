"""Initial weights (notes 2.4, with their erratum: standard normal numbers are scaled, not uniform ones in [0, 1]).

An initialiser is called with a random key and a shape whose last two axes are inputs and outputs, such as (D, K) or
(kh, kw, C, K), and gives float32 numbers on the host. n_in counts the inputs of one output: D, or kh · kw · C.

>>> key = random.derive(0, "init", "0.w")
>>> rules = he_normal, he_uniform, xavier_normal, xavier_uniform, glorot_normal, glorot_uniform, orthogonal
>>> {rule.name: round(float(rule(key, (200, 50)).std()), 2) for rule in rules}
{'he_normal': 0.1, 'he_uniform': 0.1, 'xavier_normal': 0.07, 'xavier_uniform': 0.07, 'glorot_normal': 0.09, \
'glorot_uniform': 0.09, 'orthogonal': 0.07}
>>> zeros(key, (2, 2)).sum(), normal(1.0).name
(np.float32(0.0), 'normal')
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backends import random
from backends.random import Key
from dlcore._core.configurable import did_you_mean
from dlcore.errors import ConfigError, ShapeError

__all__ = [
    "Initializer",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "named",
    "normal",
    "ones",
    "orthogonal",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]


@dataclass(frozen=True)
class Initializer:
    """A named way to draw weights; ``initializer(key, shape)`` draws them.

    name : as a layer takes it, ``nn.Dense(10, init="he_normal")``
    draw : (key, shape) -> array of numbers on the host; those of this module are float32 numbers. A layer converts
        them to its model's dtype: a float64 model keeps float64 numbers as they are

    >>> he_normal(random.derive(0, "init", "0.w"), (1000, 50)).std().round(3)  # √(2 / 1000) = 0.0447
    np.float32(0.045)
    >>> def eye(key, shape):
    ...     return np.eye(*shape, dtype=np.float32)
    >>> from dlcore import nn
    >>> nn.Dense(2, init=Initializer("eye", eye)).build((2,)).w.numpy()
    array([[1., 0.],
           [0., 1.]], dtype=float32)

    Source: notes, 2.4.
    """

    name: str
    draw: Callable[[Key, tuple[int, ...]], np.ndarray] = field(repr=False, compare=False)
    arguments: tuple[tuple[str, float], ...] = ()

    def __call__(self, key: Key, shape: tuple[int, ...]) -> np.ndarray:
        return self.draw(key, shape)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(n_in, n_out) of weights of ``shape``; each at least 1."""
    if len(shape) < 2:
        return max(1, math.prod(shape)), max(1, math.prod(shape))
    receptive = math.prod(shape[:-2])
    return max(1, receptive * shape[-2]), max(1, receptive * shape[-1])


def _scaled(variance: Callable[[int, int], float], uniform_: bool, key: Key, shape: tuple[int, ...]) -> np.ndarray:
    std = math.sqrt(variance(*_fans(shape)))
    if uniform_:
        limit = math.sqrt(3.0) * std  # a uniform number in [-a, a] has the standard deviation a / sqrt(3)
        return random.uniform(key, shape, -limit, limit)
    return random.normal(key, shape, std)


def _by_variance(name: str, variance: Callable[[int, int], float]) -> Initializer:
    # Functions of this module rather than closures: a model is pickled with its initialisers.
    return Initializer(name, functools.partial(_scaled, variance, name.endswith("uniform")))


def _he(n_in: int, n_out: int) -> float:
    return 2.0 / n_in


def _xavier(n_in: int, n_out: int) -> float:
    return 1.0 / n_in


def _glorot(n_in: int, n_out: int) -> float:
    return 2.0 / (n_in + n_out)


def _zeros(key: Key, shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape, dtype=np.float32)


def _ones(key: Key, shape: tuple[int, ...]) -> np.ndarray:
    return np.ones(shape, dtype=np.float32)


ones = Initializer("ones", _ones)
"""Ones: of scales, such as gamma."""

zeros = Initializer("zeros", _zeros)
"""All 0: right for biases; for weights it fails to break symmetry."""

he_normal = _by_variance("he_normal", _he)
"""Normal with variance 2 / n_in, for ReLU (He et al., 2015; notes 2.4)."""

he_uniform = _by_variance("he_uniform", _he)
"""Uniform with variance 2 / n_in."""

xavier_normal = _by_variance("xavier_normal", _xavier)
"""Normal with variance 1 / n_in, as the notes write Xavier's rule (2.4)."""

xavier_uniform = _by_variance("xavier_uniform", _xavier)
"""Uniform with variance 1 / n_in."""

glorot_normal = _by_variance("glorot_normal", _glorot)
"""Normal with variance 2 / (n_in + n_out) (Glorot and Bengio, 2010)."""

glorot_uniform = _by_variance("glorot_uniform", _glorot)
"""Uniform with variance 2 / (n_in + n_out)."""


def normal(scale: float = 0.01) -> Initializer:
    """Normal with standard deviation ``scale``: the notes' small random values, or large ones to see what they do.

    >>> normal(2.0)((0, 0), (3, 2)).shape
    (3, 2)
    """
    return Initializer("normal", functools.partial(_normal, scale=scale), (("scale", scale),))


def _normal(key: Key, shape: tuple[int, ...], scale: float) -> np.ndarray:
    return random.normal(key, shape, scale)


def uniform(low: float = -0.05, high: float = 0.05) -> Initializer:
    """Uniform in [low, high).

    >>> bool((uniform(0.0, 1.0)((0, 0), (100,)) < 1).all())
    True

    Source: notes, 2.4.
    """
    return Initializer("uniform", functools.partial(random.uniform, low=low, high=high), (("low", low), ("high", high)))


def _orthogonal(key: Key, shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = math.prod(shape[:-1]), shape[-1]
    draws = random.normal(key, (max(rows, columns), min(rows, columns))).astype(np.float64)
    q, r = np.linalg.qr(draws)
    q = q * np.sign(np.diag(r))  # makes the factorisation unique
    return (q if rows >= columns else q.T).astype(np.float32).reshape(shape)


orthogonal = Initializer("orthogonal", _orthogonal)
"""Orthonormal columns (or rows, where there are fewer): recurrent weights that keep norms (Saxe et al., 2014)."""

_NAMED: dict[str, Any] = {
    i.name: i
    for i in (
        zeros, ones, he_normal, he_uniform, xavier_normal, xavier_uniform, glorot_normal, glorot_uniform, orthogonal,
        normal(), uniform(),
    )
}  # fmt: skip


def drawn(init: Any, key: Key, shape: tuple[int, ...]) -> np.ndarray:
    """The numbers of an initialiser, or of its name, on the host.

    Raises ConfigError where they are no real numbers, ShapeError where they have another shape.

    >>> drawn("ones", random.derive(0, "init", "b"), (2,))
    array([1., 1.], dtype=float32)
    """
    rule = named(init)
    values = np.asarray(rule(key, shape))
    name = getattr(rule, "name", None) or getattr(rule, "__name__", repr(rule))
    if values.dtype.kind not in "fiub":
        raise ConfigError(f"init: {name} gave {values.dtype} but real numbers are expected; change {name}")
    if values.shape != tuple(shape):
        raise ShapeError(f"init: {name} gave the shape {values.shape} but {tuple(shape)} is expected; change {name}")
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def named(init: str | Initializer) -> Initializer:
    """The initialiser of a name, or the initialiser itself.

    >>> named("he_normal") is he_normal
    True
    """
    if callable(init):
        return init
    if init not in _NAMED:
        raise ConfigError(f"init: {init!r} is not known{did_you_mean(init, _NAMED)}; known are {', '.join(_NAMED)}")
    return _NAMED[init]
