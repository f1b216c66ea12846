"""float16 on array-api-strict, whose standard does not have it: it can be stored, moved and converted there.

Its functions of one array stay as strict as they are, so that what computes in float16 instead of float32 shows.
"""

from __future__ import annotations

import sys
from typing import Any

import array_api_strict
from array_api_strict import _dtypes

__all__ = ["add_float16"]


def add_float16() -> None:
    """Make float16 one of the real floating dtypes of the library; several calls are as good as one."""
    xp: Any = array_api_strict
    if hasattr(xp, "float16"):
        return
    half = xp.float16 = _dtypes.DType("float16")
    for name in [name for name in sys.modules if name.startswith("array_api_strict.")]:
        for variable, value in list(vars(sys.modules[name]).items()):
            if variable.endswith("_dtypes") and isinstance(value, tuple) and xp.float32 in value:
                setattr(sys.modules[name], variable, (*value, half))
    for category, dtypes in _dtypes._dtype_categories.items():
        if xp.float32 in dtypes:
            _dtypes._dtype_categories[category] = (*dtypes, half)
    _dtypes._promotion_table[half, half] = half
    for wider in (xp.float32, xp.float64):
        _dtypes._promotion_table[half, wider] = _dtypes._promotion_table[wider, half] = wider
