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
    "in_one_line",
]


def in_one_line(error: BaseException) -> str:
    """What an exception says, without line breaks, of bounded length, never empty; our own errors without their type.

    >>> in_one_line(ValueError("two\\n  lines"))
    'ValueError: two lines'
    """
    text = " ".join(str(error).split())
    text = f"{text[:400]} ..." if len(text) > 404 else text
    return text if isinstance(error, DlcoreError) else f"{type(error).__name__}: {text}".strip(": ")


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
