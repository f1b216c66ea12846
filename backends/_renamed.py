"""Modules under their names of version 0.1, which go on working in 0.2."""

from __future__ import annotations

import importlib
import sys
import warnings

__all__ = ["NAMES", "renamed"]

NAMES = {
    "backends.device": "backends.runtime.device",
    "backends.kernel": "backends.dispatch",
    "backends.memory": "backends.runtime.memory",
    "backends.standard": "backends.array_ops",
    "backends.threads": "backends.runtime.threads",
    "backends.transfer": "backends.runtime.copies",
}


def renamed(old: str) -> None:
    """Give importers of the module ``old`` the module of today, with a DeprecationWarning.

    Called by the module that stands at the old name: an import statement takes what ``sys.modules`` then holds.
    """
    new = NAMES[old]
    warnings.warn(f"{old} is called {new} since dlcore 0.2; 0.3 will not have the old name", DeprecationWarning, 3)
    sys.modules[old] = importlib.import_module(new)
