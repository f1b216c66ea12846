"""The errors that reach a user: each says what came, what was expected and what to do."""

from __future__ import annotations

__all__ = ["DeviceError", "DlcoreError", "ShapeError"]


class DlcoreError(Exception):
    """Base of every error that the library raises on purpose."""


class DeviceError(DlcoreError):
    """A device cannot be used, or an array is on another device than the operation.

    ``cause`` says what is wrong with the device and ``fix`` what to do about it; both are part of the message.
    """

    def __init__(self, message: str, *, cause: str = "", fix: str = "") -> None:
        parts = [message]
        if cause:
            parts.append(f"cause: {cause}")
        if fix:
            parts.append(f"fix: {fix}")
        super().__init__("; ".join(parts))
        self.cause = cause
        self.fix = fix


class ShapeError(DlcoreError, ValueError):
    """An array has a shape, a dtype or a parameter that the operation does not take.

    ``layer`` is the path of the layer in which it was raised, with which the message then begins; empty outside of one.
    """

    layer: str = ""
