"""Arrays in files: safetensors with a checksum, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlcore._core.files import remove_leftovers, write_atomically
from dlcore._core.regular import open_regular, read_regular
from dlcore.errors import CheckpointError, in_one_line
from dlcore.nn.module import Module

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

WEIGHTS, SNAPSHOT = "dlcore", "dlcore-snapshot"
"""What a file says it holds: weights alone, or all that a run needs to go on."""

METADATA = "dlcore"
"""The one entry of a file's metadata: JSON."""

MODEL = "model/"
"""Before the names of the model's own arrays in a snapshot."""


_LARGEST_HEADER = 100 * 10**6
"""Bytes of a file's header, as safetensors itself limits it."""


class DamagedError(CheckpointError):
    """A file whose content is not what was written."""


def save_weights(model: Module, path: str | Path, metadata: dict[str, str] | None = None) -> Path:
    """Write every parameter and buffer of ``model`` to a safetensors file.

    The file appears complete or not at all: it is written beside its place, flushed to the disk and renamed. Raises
    CheckpointError where the folder cannot be written.

    metadata : words by name, kept in the file; :func:`read_arrays` gives them back

    Returns the path.

    >>> import tempfile
    >>> from dlcore import nn
    >>> model = nn.Dense(2).build((3,), seed=1)
    >>> file = save_weights(model, f"{tempfile.mkdtemp()}/dense.safetensors")
    >>> again = nn.Dense(2).build((3,), seed=2)
    >>> load_weights(again, file)
    >>> bool((again.w.numpy() == model.w.numpy()).all())
    True
    """
    return write_arrays(Path(path), model.state_dict(), {"format": WEIGHTS, **(metadata or {})})


def load_weights(model: Module, path: str | Path) -> None:
    """Set every parameter and buffer of a built ``model`` from a file that :func:`save_weights` wrote.

    path : of the safetensors file

    A checkpoint of a run serves too: its weights are taken. Raises CheckpointError where the file is missing or
    damaged, or does not fit; the model is then unchanged.

    >>> import tempfile
    >>> from dlcore import nn
    >>> file = save_weights(nn.Dense(2).build((3,)), f"{tempfile.mkdtemp()}/dense.safetensors")
    >>> load_weights(nn.Dense(2).build((3,)), file)
    >>> load_weights(nn.Dense(2).build((4,)), file)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    dlcore.errors.CheckpointError: ...dense.safetensors: weights do not fit the model: w has shape (3, 2) but (4, 2) ...
    """
    set_weights(model, read_weights(path), path)


def set_weights(model: Module, arrays: Mapping[str, Any], path: str | Path) -> None:
    """``model.load_state_dict``, whose error names the file."""
    try:
        model.load_state_dict(dict(arrays))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """A model's arrays by name, from a file of weights or from a checkpoint."""
    arrays, metadata = read_arrays(path)
    if metadata.get("format") != SNAPSHOT:
        return arrays
    return {name.removeprefix(MODEL): array for name, array in arrays.items() if name.startswith(MODEL)}


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> Path:
    """Write arrays by name, and a checksum of them and of ``metadata``, to a safetensors file."""
    from safetensors.numpy import save

    # safetensors stores the memory of an array as it lies, so a transposed view would come back scrambled.
    ordered = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    # One entry, because safetensors writes several in another order each time.
    packed = {METADATA: json.dumps({**metadata, "checksum": _checksum(ordered, metadata)})}
    return write_atomically(path, lambda: save(ordered, packed))


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's arrays by name, from the header of a file of weights or a checkpoint in a run's folder.

    Raises DamagedError where it is damaged, or announces more than the file holds.
    """
    try:
        with open(open_regular(path), "rb") as file:
            size, held = int.from_bytes(file.read(8), "little"), os.fstat(file.fileno()).st_size
            if size > min(held, _LARGEST_HEADER):
                raise ValueError(f"a header of {size:,} bytes")
            header = json.loads(file.read(size))
        format_ = json.loads((header.pop("__metadata__", None) or {}).get(METADATA, "{}")).get("format")
        shapes = {}
        for name, entry in header.items():
            shape, (first, last) = tuple(entry["shape"]), entry["data_offsets"]
            if not 0 <= first <= last <= held - size - 8 or math.prod(shape) > 8 * (last - first):
                raise ValueError(f"{name:.80} of shape {shape!r:.80} is not in the file")
            shapes[name] = shape
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedError(
            f"{path}: not a readable safetensors file ({in_one_line(error)}); use another copy"
        ) from None
    if format_ != SNAPSHOT:
        return shapes
    return {name.removeprefix(MODEL): shape for name, shape in shapes.items() if name.startswith(MODEL)}


def read_arrays(path: str | Path, *, follow: bool = True) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a safetensors file by name, and its metadata if we wrote it; a checksum that is there is compared.

    follow : go through a link; not for a file that a run's folder holds

    Raises DamagedError where the file is damaged, another CheckpointError where it is missing or cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = Path(path)
    try:
        content = read_regular(path, follow=follow)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; check the path, or train and save first") from None
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}); check the path and its permissions"
        ) from None
    try:
        arrays = load(content)
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size]).get("__metadata__") or {}
        metadata = dict(json.loads(metadata.get(METADATA, "{}")))
    except KeyError as error:  # of a table of NumPy's types
        raise CheckpointError(
            f"{path}: it holds numbers of the type {error.args[0]}, which NumPy does not have; write them as float32"
        ) from None
    except (SafetensorError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(
            f"{path}: not a readable safetensors file ({in_one_line(error)}); use another copy"
        ) from None
    checksum = metadata.pop("checksum", None)
    if checksum is not None and checksum != _checksum(arrays, metadata):
        raise DamagedError(f"{path}: damaged: its content does not match its checksum; use another copy")
    return arrays, metadata


def metadata_of(path: Path) -> dict[str, str]:
    """The metadata alone, of the file's first bytes, which nothing vouches for; empty where it cannot be read."""
    try:
        with open(open_regular(path), "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, _LARGEST_HEADER)))
        return {key: value for key, value in json.loads(header["__metadata__"][METADATA]).items() if type(value) is str}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _checksum(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    digest = hashlib.blake2b(json.dumps(sorted(metadata.items())).encode(), digest_size=16)
    for name, array in sorted(arrays.items()):
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
        digest.update(np.ravel(array).view(np.uint8).data)
    return digest.hexdigest()
