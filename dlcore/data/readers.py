"""Readers of files from elsewhere: everything in them is checked, and what is wrong is said with the file's name."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from dlcore.errors import DataError

__all__ = ["read_idx"]

_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an IDX file, the format of MNIST and its relatives, plain or gzipped.

    The format: two zero bytes, a type code, the number of axes, the length of each axis as a 32-bit integer, then the
    values, row by row; all of it big-endian. Gzip is told by the content, not by the file's name.

    Returns an array of the file's shape and type (uint8, int8, int16, int32, float32 or float64) in native byte order.

    Raises DataError, naming the file, where it is missing or unreadable, is no IDX file, is a damaged gzip, or holds
    fewer or more values than its header announces, or none at all.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "pair.idx"
    >>> _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
    >>> read_idx(file)
    array([7, 9], dtype=uint8)

    Source: Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits", 1998.
    """
    path = Path(path)
    content = _read(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES or not 1 <= content[3] <= 64:
        raise DataError(
            f"{path}: not an IDX file: it starts with {content[:4].hex(' ') or 'nothing'}, "
            "expected 00 00, a type code (08 to 0e) and the number of axes (NumPy allows 64)"
        )
    dtype, axes = np.dtype(_IDX_TYPES[content[2]]), content[3]
    start = 4 + 4 * axes
    if len(content) < start:
        raise DataError(f"{path}: the IDX header announces {axes} axes, but the file ends after {len(content)} bytes")
    shape = struct.unpack(f">{axes}I", content[4:start])
    if 0 in shape:
        raise DataError(f"{path}: the IDX file is empty: its shape is {shape}")
    expected, found = math.prod(shape) * dtype.itemsize, len(content) - start
    if found != expected:
        what = "is cut short" if found < expected else "has extra bytes"
        raise DataError(f"{path}: the IDX file {what}: shape {shape} needs {expected:,} bytes of values, got {found:,}")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _read(path: Path) -> bytes:
    """The content of a file, unpacked if it is gzipped."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: the gzip file is damaged or cut short ({error}); get it again") from error
