"""Files that are written whole or not at all, and files that only grow: the one place where dlcore writes.

A file system that cannot sync folders, or files, is used all the same: after a power failure its newest files may be
missing there, which one warning a process says of it.
"""

from __future__ import annotations

import errno
import os
import secrets
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dlcore._core.regular import open_regular
from dlcore.errors import CheckpointError

__all__ = ["append", "copied", "remove_leftovers", "replacing", "sync_folder", "write_atomically"]

_BINARY = getattr(os, "O_BINARY", 0)  # Windows would change line ends

_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""How a file system says that it has no such thing as a sync."""

_NOT_OPENED = {errno.EPERM, errno.EACCES, errno.EISDIR}
"""How one says that a folder, in which a file was just written, is not opened to be synced."""

_warned: set[int] = set()
"""File systems of which the warning was given."""


def write_atomically(path: Path, content: Callable[[], bytes | str]) -> Path:
    """Write ``content()`` to ``path`` so that a reader, or a crash, sees the old file or the new one, never a part.

    Raises CheckpointError where it cannot be written.
    """
    data = content()
    data = data.encode() if isinstance(data, str) else data
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            _fill(temporary, data)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror}); nothing there was changed") from None
    return path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """An empty file beside ``path``, to be written by name: it takes the place of ``path`` where the block ends well,
    flushed to the disk, and vanishes where it does not. Its permissions are those of any new file.

    Raises OSError.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with replacing(file) as temporary:
    ...     _ = Path(temporary).write_text("whole")
    >>> file.read_text(), [entry.name for entry in file.parent.iterdir()]
    ('whole', ['a.txt'])
    """
    target = Path(path)
    temporary = _new_file(target)
    try:
        yield temporary
        descriptor = os.open(temporary, os.O_RDWR | _BINARY)
        try:
            _sync(descriptor, target.parent)
        finally:
            os.close(descriptor)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(target.parent)


def append(path: Path, text: str, durable: bool = False) -> None:
    """Add ``text`` at the end of a file, which is made where it is missing: all of it, or nothing where that fails.

    durable : wait until it is on the disk

    A process that is killed meanwhile may leave a part, a last line without an end. Raises CheckpointError.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "a.jsonl"
    >>> append(file, "1\\n"); append(file, "2\\n"); file.read_text()
    '1\\n2\\n'
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            size = os.fstat(descriptor).st_size
            try:
                _write(descriptor, text.encode())
            except OSError:
                os.ftruncate(descriptor, size)
                raise
            if durable:
                _sync(descriptor, path.parent)
        finally:
            os.close(descriptor)
        if durable and not size:
            sync_folder(path.parent)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror}); what it holds is kept") from None


def copied(source: Path, target: Path, link: bool = False) -> None:
    """Make ``target`` hold what ``source`` does: with ``link`` the same file by a second name, where the file system
    has such; it must then be replaced, never be written into. Raises OSError."""
    if link:
        with suppress(OSError, NotImplementedError):
            os.link(source, target)
            return
    with replacing(target) as temporary:
        _fill(temporary, source.read_bytes())


def remove_leftovers(folder: Path, names: Iterable[str]) -> None:
    """Remove what a process left that was killed while it wrote files of these names; hold the folder's lock."""
    for name in names:
        for file in folder.glob(f".{name}.*.tmp"):
            if file.is_file():
                file.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make what was renamed in a folder durable, as far as the system can; only POSIX lets a folder be opened."""
    if os.name != "posix":
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno not in _NO_SYNC | _NOT_OPENED:
            raise
        return _warn(folder, error)
    try:
        _sync(descriptor, folder)
    finally:
        os.close(descriptor)


def _new_file(target: Path) -> str:
    while True:
        name = str(target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp"))
        with suppress(FileExistsError):
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666))  # less the umask
            return name


def _fill(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | _BINARY)
    try:
        _write(descriptor, data)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest[: 1 << 30]) :]


def _sync(descriptor: int, folder: Path) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
        _warn(folder, error)


def _warn(folder: Path, error: OSError) -> None:
    device = os.stat(folder).st_dev
    if device not in _warned:
        _warned.add(device)
        warnings.warn(
            f"{folder}: the file system does not sync ({error.strerror}); files are written, but after a power failure "
            "the newest may be missing",
            stacklevel=2,
        )
