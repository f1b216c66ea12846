"""``cupy._core._routines_linalg``: in which precision matrix products are computed. The stand-in's are always exact."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from standin.cuda import Device

COMPUTE_TYPE_TBD = 0
COMPUTE_TYPE_DEFAULT = 1
COMPUTE_TYPE_PEDANTIC = 2
COMPUTE_TYPE_FP16 = 3
COMPUTE_TYPE_FP32 = 4
COMPUTE_TYPE_FP64 = 5
COMPUTE_TYPE_BF16 = 6
COMPUTE_TYPE_TF32 = 7

_types: dict[str, int] = {}


def to_compute_type_index(dtype: Any) -> int:
    """0, 1 or 2 for numbers of 16, 32 or 64 bits, complex ones by their parts."""
    return {"e": 0, "f": 1, "F": 1, "d": 2, "D": 2}[np.dtype(dtype).char]


def get_compute_type(dtype: Any) -> int:
    """How products of a dtype are computed; where nobody has said so, ``CUPY_TF32`` decides, once."""
    index = str(to_compute_type_index(dtype))
    if index not in _types:
        tf32 = index == "1" and int(os.environ.get("CUPY_TF32", "0")) > 0
        set_compute_type(dtype, COMPUTE_TYPE_TF32 if tf32 else COMPUTE_TYPE_DEFAULT)
    return _types[index]


def set_compute_type(dtype: Any, compute_type: int) -> None:
    """Compute the products of a dtype in this way from now on, on all devices and in all threads."""
    if compute_type in (COMPUTE_TYPE_BF16, COMPUTE_TYPE_TF32):
        assert int(Device().compute_capability) >= 80, "CuPy would warn, and compute as usual"
    _types[str(to_compute_type_index(dtype))] = compute_type
