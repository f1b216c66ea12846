"""What every reader does first: open a file, and find words for it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from dlcore.errors import DataError

__all__ = ["bytes_of", "opened", "shown"]

BLOCK = 1 << 20  # bytes read at a time


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """The file, open for reading, for a ``with`` statement.

    Raises DataError where it cannot be opened or read, and for anything but a regular file: a pipe or a terminal would
    wait for ever.
    """
    name = shown(path)
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # opening a folder says what it is
            raise DataError(f"{name}: cannot be read: it is a pipe or a device, and a file is expected")
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        if isinstance(error, DataError) or "null" not in str(error):
            raise
        raise DataError(f"{name}: cannot be read: a path holds no null byte") from error


def bytes_of(file: BinaryIO) -> int:
    """The size of an open file."""
    return os.fstat(file.fileno()).st_size


def shown(name: str | os.PathLike[str]) -> str:
    """A path or another name from outside as it can stand in a message of one line.

    >>> shown("two\\nlines")
    'two\\\\nlines'
    """
    text = os.fspath(name)
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
