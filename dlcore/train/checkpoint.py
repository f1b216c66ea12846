"""Weights in files: safetensors, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dlcore.errors import CheckpointError
from dlcore.nn.module import Module

__all__ = ["load_weights", "read_weights", "save_weights", "write_atomically"]


def save_weights(model: Module, path: str | Path, metadata: dict[str, str] | None = None) -> Path:
    """Write every parameter and buffer of ``model`` to a safetensors file.

    The file appears complete or not at all: it is written beside its place, flushed to the disk and renamed. Raises
    CheckpointError where the folder cannot be written.
    """
    from safetensors.numpy import save

    # safetensors stores the memory of an array as it lies, so a transposed view would come back scrambled.
    state = {name: np.ascontiguousarray(value) for name, value in model.state_dict().items()}
    return write_atomically(Path(path), lambda: save(state, metadata={"format": "dlcore", **(metadata or {})}))


def load_weights(model: Module, path: str | Path) -> None:
    """Set every parameter and buffer of a built ``model`` from a file that :func:`save_weights` wrote.

    Raises CheckpointError where the file is missing or damaged, or does not fit; the model is then unchanged.
    """
    model.load_state_dict(read_weights(path))


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, by name."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = Path(path)
    try:
        return load(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; check the path, or train and save first") from None
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}); check the path and its permissions"
        ) from None
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error}); use another copy") from None


def write_atomically(path: Path, content: Callable[[], bytes | str]) -> Path:
    """Write ``content()`` to ``path`` so that a reader, or a crash, sees the old file or the new one, never a part."""
    data: Any = content()
    data = data.encode() if isinstance(data, str) else data
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise CheckpointError(f"{path}: cannot be written ({error.strerror}); nothing there was changed") from None
    _sync_folder(path.parent)
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; only POSIX lets a folder be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
