"""Other programs' models and interfaces. Each module is imported when it is first used, with what it needs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlcore.interop import pytorch, sklearn

__all__ = ["pytorch", "sklearn"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"dlcore.interop.{name}")
    raise AttributeError(f"module 'dlcore.interop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
