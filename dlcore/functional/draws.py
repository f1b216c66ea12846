"""Random numbers in a layer's forward: a pure function of a key, so the same bits on every device and in every process.

A number depends on the key, on its row in the whole batch and on its place in the row, as an element of a dropout mask
does: a batch that is split draws what the whole one does.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from backends import random
from backends.float16 import is_half
from backends.random import Key
from backends.runtime import copies
from backends.runtime.device import Device
from dlcore.functional.checks import check_key, floats
from dlcore.tensor import Tensor

__all__ = ["normal", "uniform"]


def uniform(x: Any, *, key: Key, first_row: int = 0) -> Tensor:
    """Uniform numbers in [0, 1), as many as x has elements.

    x : (N, ...) float array, of which shape, dtype and device count
    key : names the numbers: equal keys give equal ones; :meth:`dlcore.nn.Module.draw` makes one
    first_row : position of the first row in the whole batch, where a batch is split

    Returns an array like x, without a gradient; multiples of 2**-24, of float16 of 2**-11. Raises ShapeError.

    >>> uniform([[0.0, 0.0]], key=(0, 1)).numpy()
    array([[0.11815023, 0.4314747 ]], dtype=float32)
    """
    x = floats("uniform", "x", x)
    check_key("uniform", key)
    device = Device.of(x.data)
    with device.active():
        xp, taken = device.xp, 11 if is_half(device.xp, x.data) else 24
        rows, columns = _rows(x)
        words = random.bits(xp, key, rows, columns, first_row=first_row, device=device.native)
        unit = xp.astype(words >> (32 - taken), xp.float32) * 2.0**-taken  # exact
        return Tensor(xp.astype(xp.reshape(unit, x.shape), x.data.dtype, copy=False))


def normal(x: Any, *, key: Key, first_row: int = 0) -> Tensor:
    """Normal numbers of mean 0 and standard deviation 1, as many as x has elements.

    x, key, first_row : as for :func:`uniform`

    They are made on the host in float64 and rounded to float32, since logarithms differ between devices; to a GPU they
    are copied. Returns an array like x, without a gradient. Raises ShapeError.

    >>> normal([[0.0, 0.0]], key=(0, 1)).numpy()
    array([[-1.8781557,  1.2526344]], dtype=float32)

    Source: Box and Muller (1958).
    """
    x = floats("normal", "x", x)
    check_key("normal", key)
    rows, columns = _rows(x)
    words = random.bits(np, key, rows, 2 * columns, first_row=first_row).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((words[:, ::2] + 1.0) * 2.0**-32))  # (0, 1], so that the logarithm is finite
    numbers = radius * np.cos(words[:, 1::2] * (2.0 * np.pi * 2.0**-32))
    device = Device.of(x.data)
    single = copies.to_device(numbers.astype(np.float32).reshape(x.shape), device)
    with device.active():
        return Tensor(device.xp.astype(single, x.data.dtype, copy=False))


def _rows(x: Tensor) -> tuple[int, int]:
    """Rows, and numbers in each; of one axis each element is a row."""
    return (x.shape[0], prod(x.shape[1:])) if x.ndim else (1, 1)
