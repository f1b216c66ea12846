"""Modules under their names of version 0.1, which go on working in 0.2."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Mapping

__all__ = ["NAMES", "renamed"]

NAMES = {
    "backends.device": "backends.runtime.device",
    "backends.kernel": "backends.dispatch",
    "backends.memory": "backends.runtime.memory",
    "backends.standard": "backends.array_ops",
    "backends.threads": "backends.runtime.threads",
    "backends.transfer": "backends.runtime.copies",
}


def renamed(old: str, names: Mapping[str, str] = NAMES) -> None:
    """Give importers of the module ``old`` the module of today, with a DeprecationWarning at the line that imports it.

    Called by the module that stands at the old name: an import statement takes what ``sys.modules`` then holds.

    >>> with warnings.catch_warnings(record=True) as seen:
    ...     warnings.simplefilter("always")
    ...     from backends.kernel import kernels
    >>> kernels.__module__
    'backends.dispatch'
    """
    new, frame = names[old], sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("backends", "dlcore", "importlib"):
        frame = frame.f_back
    words = f"{old} is called {new} since dlcore 0.2; 0.3 will not have the old name"
    module = frame.f_globals.get("__name__", "")
    warnings.warn_explicit(words, DeprecationWarning, frame.f_code.co_filename, frame.f_lineno, module)
    sys.modules[old] = importlib.import_module(new)
