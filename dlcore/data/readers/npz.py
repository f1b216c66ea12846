"""NPZ, NumPy's own archive of arrays, read without trust in what it announces."""

from __future__ import annotations

import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from dlcore._core.configurable import did_you_mean
from dlcore.data.dataset import Dataset
from dlcore.data.readers.file import BLOCK, bytes_of, opened, shown
from dlcore.errors import DataError

__all__ = ["plain_inputs", "read_npz", "read_npz_inputs"]

_KEYS = ("x", "y", "lengths")
_HEADER = re.compile(
    rb"\{\s*'descr':\s*(.*?),\s*'fortran_order':\s*(True|False),\s*'shape':\s*\(([0-9L, ]*)\),?\s*\}\s*", re.DOTALL
)
_DAMAGES = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError, OverflowError, KeyError,
    IndexError,
)  # fmt: skip
"""What zipfile raises on archives that are damaged, encrypted or of a kind that it does not know."""


def read_npz(path: str | os.PathLike[str], limit: int = 1 << 32) -> Dataset:
    """Read a Dataset from an NPZ file with the arrays ``x``, ``y`` and, for sequences, ``lengths``.

    ``numpy.savez(path, x=x, y=y)`` and ``numpy.savez_compressed`` write such files. Nothing in the file is ever run:
    arrays of Python objects are refused.

    limit : bytes that the arrays may take together, 4 GiB unless given. The headers are held against it, and against
        what the archive can hold at all, before any memory is taken; an array in Fortran order takes twice its size
        while it is read.

    Raises DataError, naming the file and the key, where the file is missing, damaged or no NPZ, for a key that is
    missing, unknown or there twice, for anything but real numbers, for more than ``limit``, and for whatever
    :class:`~dlcore.data.Dataset` refuses.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "small.npz"
    >>> np.savez(file, x=np.zeros((3, 2)), y=np.array([0, 1, 1]))
    >>> read_npz(file)
    Dataset(x (3, 2) float64, y (3,) int64)

    Source: NumPy, "NEP 1: A simple file format for NumPy arrays", 2007.
    """
    arrays = _read(path, limit, ("x", "y"))
    try:
        return Dataset(arrays["x"], arrays["y"], arrays.get("lengths"))
    except DataError as error:
        raise DataError(f"{shown(path)}: {error}") from None


def read_npz_inputs(
    path: str | os.PathLike[str], shape: tuple[int, ...], *, sequences: bool = False, limit: int = 1 << 32
) -> tuple[np.ndarray, np.ndarray | None, dict[int, str]]:
    """The inputs alone of an NPZ file, as a model takes them that was trained on such a file.

    shape : of one example, without N; of sequences (T, ...)
    sequences : whether ``lengths`` go with ``x``

    Returns x (N, ...), lengths (N,) or None, and by row, from 0, what is wrong with it: NaN or infinity in x, and
    lengths outside 1 to T. Whole numbers of sequences, which are words, stay as they are; images of uint8 become
    float32 in [0, 1], and all other numbers floats of at least 32 bits, with every digit. Behind the end of a sequence
    x is 0.

    Raises DataError as :func:`read_npz` does, and where examples have another shape.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "new.npz"
    >>> np.savez(file, x=np.array([[1, 2], [np.nan, 2]]))
    >>> read_npz_inputs(file, (2,))[2]
    {1: 'x is nan at (0,), but a finite number is expected'}
    """
    name = shown(path)
    found = _read(path, limit, ("x", "lengths") if sequences else ("x",))
    return checked_inputs(found["x"], shape, name, found["lengths"] if sequences else None, sequences=sequences)


def checked_inputs(
    x: np.ndarray, shape: tuple[int, ...], name: str, lengths: Any = None, *, sequences: bool = False
) -> tuple[np.ndarray, np.ndarray | None, dict[int, str]]:
    """What :func:`read_npz_inputs` gives, of arrays in memory.

    name : what errors call them
    """
    x = np.atleast_1d(x)
    words = sequences and x.dtype.kind in "iub"
    if not words:
        x = plain_inputs(x, x.dtype if x.dtype in (np.float32, np.float64) else np.float64)
    if not len(x):
        raise DataError(f"{name}: x is empty, shape {x.shape}; at least one row is needed")
    if x.shape[1:] != shape:
        raise DataError(f"{name}: x has examples of shape {x.shape[1:]}, but the model was trained on {shape}")
    faults: dict[int, str] = {}
    if lengths is not None:
        faults = _short_or_long(lengths, x, name)
        x = np.where(_past_the_end(lengths, x), np.zeros((), x.dtype), x)
    if x.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(x.astype(np.float32))
        for row in np.flatnonzero(~finite.reshape(len(x), -1).all(axis=1)).tolist():
            place = tuple(np.argwhere(~finite[row])[0].tolist())
            faults.setdefault(row, f"x is {x[row][place]:g} at {place}, but a finite number is expected")
    return x, lengths, faults


def _short_or_long(lengths: np.ndarray, x: np.ndarray, name: str) -> dict[int, str]:
    """The rows whose length is none."""
    if lengths.dtype.kind not in "iu" or lengths.shape != x.shape[:1]:
        raise DataError(
            f"{name}: lengths are {lengths.dtype} of shape {lengths.shape}, expected integers of shape {x.shape[:1]}"
        )
    wrong = np.flatnonzero((lengths < 1) | (lengths > x.shape[1])).tolist()
    return {row: f"its length is {lengths[row]}, expected 1 to {x.shape[1]}, x's steps" for row in wrong}


def _past_the_end(lengths: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(N, T, 1, ...) bool, for x (N, T, ...)."""
    past = np.arange(x.shape[1]) >= lengths[:, None]
    return past.reshape(*past.shape, *(1,) * (x.ndim - 2))


def plain_inputs(x: np.ndarray, dtype: Any = np.float32) -> np.ndarray:
    """uint8 images (N, H, W) or (N, H, W, C) as float32 in [0, 1] with an axis C; other numbers as ``dtype``."""
    if x.dtype == np.uint8 and x.ndim in (3, 4):
        x = x.reshape(*x.shape[:3], -1).astype(np.float32)  # (N, H, W) -> (N, H, W, 1)
        x /= 255
        return x
    with np.errstate(over="ignore"):
        return x.reshape(len(x), -1).astype(dtype) if x.ndim == 1 else x.astype(dtype)


def _read(path: str | os.PathLike[str], limit: int, needed: tuple[str, ...]) -> Mapping[str, np.ndarray]:
    name = shown(path)
    with opened(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _arrays(archive, bytes_of(file), name, limit, needed)
        except _DAMAGES as error:
            if isinstance(error, DataError):
                raise
            reason = shown(str(error))
            raise DataError(
                f"{name}: the NPZ file is damaged, or none at all ({reason:.120}); write it again"
            ) from None


def _arrays(
    archive: zipfile.ZipFile, size: int, name: str, limit: int, needed: tuple[str, ...]
) -> Mapping[str, np.ndarray]:
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        key = member.filename.removesuffix(".npy")
        if key not in _KEYS:
            raise DataError(
                f"{name}: the key {key!r:.60} is unknown{did_you_mean(key[:60], _KEYS)}; the keys are x, y and, for "
                "sequences, lengths"
            )
        if key in members:
            raise DataError(f"{name}: the key {key!r} is there twice; write the file again")
        members[key] = member
    for key in needed:
        if key not in members:
            found = ", ".join(members) or "none"
            raise DataError(
                f"{name}: the key {key!r} is missing, the file has {found}; save {' and '.join(needed)}, one row per "
                "example"
            )
    arrays = {}
    for key in members:
        arrays[key] = _array(archive, members[key], size, f"{name}: {key}", limit)
        limit -= arrays[key].nbytes
    return arrays


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int, name: str, limit: int) -> np.ndarray:
    """One array; ``limit`` is what may still be taken."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{name} is packed by the method {member.compress_type}; write it by numpy.savez_compressed")
    with archive.open(member) as file:
        dtype, fortran, shape = _header(file, name)
        expected = math.prod(shape) * dtype.itemsize
        if expected > limit:
            raise DataError(
                f"{name} announces the shape {shape} of {dtype}, {expected:,} bytes, but only {limit:,} more are read; "
                "raise limit if the file is to be trusted"
            )
        packed = 1 if member.compress_type == zipfile.ZIP_STORED else 1032  # deflate's best: 258 bytes in two bits
        if expected > packed * size:
            raise DataError(
                f"{name} announces {expected:,} bytes, more than a file of {size:,} can hold; write it again"
            )
        flat = np.empty(math.prod(shape), dtype)
        target = flat.view(np.uint8)
        done = 0
        while done < expected and (block := file.read(min(BLOCK, expected - done))):
            target[done : done + len(block)] = np.frombuffer(block, np.uint8)
            done += len(block)
        if done < expected or file.read(1):
            what = f"ends after {done:,}" if done < expected else "has more"
            raise DataError(f"{name} announces {expected:,} bytes of values, but {what}; write the file again")
    if not dtype.isnative:
        flat = flat.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return np.ascontiguousarray(flat.reshape(shape, order="F")) if fortran else flat.reshape(shape)


def _header(file: IO[bytes], name: str) -> tuple[np.dtype, bool, tuple[int, ...]]:
    """dtype, order and shape. The header is a Python literal; it is matched, not evaluated."""
    start = file.read(8)
    if start[:6] != b"\x93NUMPY" or len(start) < 8 or start[6] not in (1, 2, 3):
        raise DataError(
            f"{name} is no NumPy array: it starts with {start.hex(' ') or 'nothing'}; write it by numpy.savez"
        )
    length = int.from_bytes(file.read(2 if start[6] == 1 else 4), "little")
    header = file.read(min(length, 1 << 16))
    match = _HEADER.fullmatch(header)
    lengths = re.findall(rb"\d+", match[3]) if match else []
    if match is None or len(lengths) > 64 or any(len(digits) > 19 for digits in lengths):
        raise DataError(f"{name} has a damaged header, {header!r:.80}; write the file again")
    kind = match[1].decode("latin-1")
    if kind == "'|O'":
        raise DataError(f"{name} holds Python objects, which are never loaded; save an array of numbers")
    if re.fullmatch(r"'[<>|=]?[US]\d+'", kind):
        raise DataError(f"{name} holds text, but numbers are expected; encode the labels as 0, 1, 2, ...")
    if not re.fullmatch(r"'[<>|=]?[biuf]\d{1,2}'", kind):
        raise DataError(f"{name} has the dtype {kind!r:.60}, expected real numbers; encode names, split fields")
    try:
        dtype = np.dtype(kind[1:-1])
    except TypeError:
        raise DataError(f"{name} has the dtype {kind}, which NumPy does not know; write the file again") from None
    return dtype, match[2] == b"True", tuple(map(int, lengths))
