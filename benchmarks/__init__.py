"""How fast dlcore is: by itself (pytest-benchmark) and beside other frameworks (``python -m benchmarks.peers``)."""

from __future__ import annotations

import os

__all__ = ["FROM_OUTSIDE", "forget_settings_from_outside"]

FROM_OUTSIDE = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Settings that would slow NumPy's BLAS, which else chooses for itself."""


def forget_settings_from_outside() -> None:
    """Remove them for this process and those that it starts; to be called before NumPy, and its BLAS, is imported."""
    for name in FROM_OUTSIDE:
        os.environ.pop(name, None)
