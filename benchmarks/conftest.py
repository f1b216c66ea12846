"""Benchmarks run with the BLAS as its library chose it: settings from outside would slow NumPy."""

from __future__ import annotations

import os

for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)  # read when NumPy loads its BLAS, so before NumPy is imported
