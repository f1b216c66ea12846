"""Every error that dlcore raises on purpose; all derive from :class:`DlcoreError`."""

from __future__ import annotations

from backends.errors import DeviceError, DlcoreError, ShapeError

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DeviceError",
    "DlcoreError",
    "GraphError",
    "ShapeError",
    "TrainingError",
]


class DataError(DlcoreError, ValueError):
    """Data that cannot be learnt from: a missing or damaged file, labels out of range, NaN, an empty set."""


class ConfigError(DlcoreError, ValueError):
    """A setting that is unknown, of the wrong type or out of its range."""


class CheckpointError(DlcoreError):
    """Weights that cannot be written, or do not fit the model that they are loaded into."""


class GraphError(DlcoreError):
    """A backward pass that would be wrong: the graph is used up, or an update has overtaken it."""


class TrainingError(DlcoreError):
    """Training cannot go on: a loss that is not finite, with its epoch and step."""
