"""Benchmarks run with the BLAS as its library chose it: settings from outside would slow NumPy."""

from __future__ import annotations

from benchmarks import forget_settings_from_outside

forget_settings_from_outside()
