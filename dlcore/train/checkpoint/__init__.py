"""Weights, states and models in files."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlcore.train.checkpoint.arrays import (
        DamagedError,
        load_weights,
        metadata_of,
        read_arrays,
        read_weights,
        remove_leftovers,
        save_weights,
        set_weights,
        shapes_of,
        write_arrays,
        write_atomically,
    )

__all__ = [
    "DamagedError",
    "load_weights",
    "metadata_of",
    "read_arrays",
    "read_weights",
    "remove_leftovers",
    "save_weights",
    "set_weights",
    "shapes_of",
    "write_arrays",
    "write_atomically",
]

_HOME = {
    "DamagedError": "arrays",
    "load_weights": "arrays",
    "metadata_of": "arrays",
    "read_arrays": "arrays",
    "read_weights": "arrays",
    "remove_leftovers": "arrays",
    "save_weights": "arrays",
    "set_weights": "arrays",
    "shapes_of": "arrays",
    "write_arrays": "arrays",
    "write_atomically": "arrays",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"dlcore.train.checkpoint.{_HOME[name]}"), name)
    raise AttributeError(f"module 'dlcore.train.checkpoint' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
