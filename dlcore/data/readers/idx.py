"""IDX, the format of MNIST and its relatives."""

from __future__ import annotations

import gzip
import math
import os
import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dlcore.data.readers.file import BLOCK, bytes_of, opened, shown
from dlcore.errors import DataError

__all__ = ["IDX_PARTS", "idx_files", "read_idx"]

IDX_PARTS = ("train images", "train labels", "test images", "test labels")

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


_NAME = re.compile(r"(.*?)[-_.]?(train|t10k|test)[-_.](images|labels)[-_.]idx\d[-_.]ubyte(\.gz)?", re.IGNORECASE)


def idx_files(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """By its part, one of ``IDX_PARTS``, each IDX file of a folder that holds MNIST or one of its relatives.

    They are known by names such as ``train-images-idx3-ubyte.gz``, with or without ``.gz`` and what stands in front of
    ``train``, and with a dot in the place of a hyphen; also where each lies in a folder of its own name, as some
    programs unpack them. Nothing is found where there is no such folder.

    Raises DataError where the files are those of several data sets.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "t10k-labels.idx1-ubyte").touch()
    >>> {part: file.name for part, file in idx_files(folder).items()}
    {'test labels': 't10k-labels.idx1-ubyte'}
    """
    folder, found, sets = Path(folder), dict[str, Path](), dict[str, str]()
    try:
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError:  # a folder that cannot be listed; what is looked for in it is said where it is needed
        entries = []
    for entry in entries:
        match = _NAME.fullmatch(entry.name)
        file = entry / entry.name if entry.is_dir() else entry
        if match is None or not file.is_file():
            continue
        sets.setdefault(match[1].lower(), entry.name)
        found.setdefault(f"{'train' if match[2].lower() == 'train' else 'test'} {match[3].lower()}", file)
    if len(sets) > 1:
        raise DataError(
            f"{shown(folder)}: {' and '.join(map(shown, list(sets.values())[:2]))} are of different data sets, but one "
            "is expected; give each a folder of its own"
        )
    return found


def read_idx(path: str | os.PathLike[str], limit: int = 1 << 32) -> np.ndarray:
    """Read an IDX file, the format of MNIST and its relatives, plain or gzipped.

    path : of the file

    The format: two zero bytes, a type code, the number of axes, the length of each axis as a 32-bit integer, then the
    values, row by row; all of it big-endian. Gzip is told by the content, not by the file's name.

    limit : bytes that the values may take, 4 GiB unless given. The header is held against it before any memory is
        taken, and no more is unpacked than the header announces; reading takes an eighth more than the array.

    Returns an array of the file's shape and type (uint8, int8, int16, int32, float32 or float64) in native byte order.

    Raises DataError, naming the file, where it is missing or unreadable, is no IDX file, is a damaged gzip, or holds
    fewer or more values than its header announces, none at all, or more than ``limit``.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "pair.idx"
    >>> _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
    >>> read_idx(file)
    array([7, 9], dtype=uint8)

    Source: Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits", 1998.
    """
    name = shown(path)
    with opened(path) as file:
        gzipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not gzipped:
            return _read(file, name, limit, bytes_of(file))
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read(unpacked, name, limit, None)  # type: ignore[arg-type]  # it reads as a file does
        except (EOFError, OSError, zlib.error) as error:
            raise DataError(f"{name}: the gzip file is damaged or cut short ({error}); get it again") from error


def _read(file: BinaryIO, name: str, limit: int, size: int | None) -> np.ndarray:
    """The array in ``file``, whose size is known where it is not packed."""
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES or not 1 <= head[3] <= 64:
        raise DataError(
            f"{name}: not an IDX file: it starts with {head.hex(' ') or 'nothing'}, "
            "expected 00 00, a type code (08 to 0e) and the number of axes (NumPy allows 64)"
        )
    dtype, axes = np.dtype(_TYPES[head[2]]), head[3]
    lengths = file.read(4 * axes)
    start = 4 + 4 * axes
    if len(lengths) < 4 * axes:
        ends = 4 + len(lengths)
        raise DataError(f"{name}: the IDX header announces {axes} axes, but the file ends after {ends} bytes")
    shape = struct.unpack(f">{axes}I", lengths)
    if 0 in shape:
        raise DataError(f"{name}: the IDX file is empty: its shape is {shape}")
    expected = math.prod(shape) * dtype.itemsize
    if size is not None:
        _check_size(name, shape, expected, size - start)
    if expected > limit:
        raise DataError(
            f"{name}: the IDX header announces the shape {shape}, {expected:,} bytes, but at most {limit:,} are read; "
            "raise limit if the file is to be trusted"
        )
    content = bytearray()
    while len(content) <= expected and (block := file.read(min(BLOCK, expected + 1 - len(content)))):
        content += block
    _check_size(name, shape, expected, len(content))
    array = np.frombuffer(content, dtype).reshape(shape)
    return array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))


def _check_size(name: str, shape: tuple[int, ...], expected: int, found: int) -> None:
    if found != expected:
        what = "is cut short" if found < expected else "has extra bytes"
        raise DataError(f"{name}: the IDX file {what}: shape {shape} needs {expected:,} bytes of values, got {found:,}")
