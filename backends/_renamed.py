"""Modules under their names of version 0.1, which go on working in 0.2."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Mapping
from typing import Any

__all__ = ["NAMES", "renamed"]

NAMES: dict[str, tuple[str, ...]] = {
    "backends.device": ("backends.runtime.device",),
    "backends.kernel": ("backends.dispatch",),
    "backends.memory": ("backends.runtime.memory",),
    "backends.standard": ("backends.array_ops",),
    "backends.threads": ("backends.runtime.threads",),
    "backends.transfer": ("backends.runtime.copies",),
}
"""By old name, the modules in which its content is today; the first takes its place."""


def renamed(old: str, names: Mapping[str, tuple[str, ...]] = NAMES) -> None:
    """Let the module ``old`` give what the modules of today hold; a DeprecationWarning names the line that imports it.

    Called by the module that stands at the old name.

    >>> with warnings.catch_warnings(record=True) as seen:
    ...     warnings.simplefilter("always")
    ...     from backends.kernel import kernels
    >>> kernels.__module__
    'backends.dispatch'
    """
    new, frame = names[old], sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("backends", "dlcore", "importlib"):
        frame = frame.f_back
    words = f"{old} is called {new[0]} since dlcore 0.2; 0.3 will not have the old name"
    module = frame.f_globals.get("__name__", "")
    warnings.warn_explicit(words, DeprecationWarning, frame.f_code.co_filename, frame.f_lineno, module)
    modules = [importlib.import_module(name) for name in new]

    def lookup(name: str) -> Any:
        for module in modules:
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(f"module {old!r} has no attribute {name!r}")

    vars(sys.modules[old])["__getattr__"] = lookup
