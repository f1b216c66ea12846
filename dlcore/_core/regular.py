"""The files of a run's folder, which may come from somebody else: opened only where they are regular files.

A link could lead out of the folder, to a file that is then read or emptied; a pipe or a device would never end. The
folder itself, and the folder of all runs, may be reached through links.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from dlcore.errors import CheckpointError

__all__ = ["is_regular", "open_regular", "read_regular", "refuse_link"]

_FLAGS = (
    getattr(os, "O_NOFOLLOW", 0)  # Windows has neither; links are looked for before
    | getattr(os, "O_NONBLOCK", 0)  # a pipe without a writer would be waited for
    | getattr(os, "O_BINARY", 0)  # Windows would change line ends
)

_KINDS = {
    stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


def open_regular(path: str | os.PathLike[str], flags: int = os.O_RDONLY, *, follow: bool = False) -> int:
    """A descriptor of a regular file, as :func:`os.open` gives it.

    follow : go through a link, for a file that the user has named

    Raises OSError, whose ``strerror`` says what else there is, before anything is read or written.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "link").symlink_to("file")
    >>> open_regular(folder / "link", os.O_RDWR | os.O_CREAT)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    OSError: [Errno ...] it is a link, not a regular file: ...
    """
    look = os.stat if follow else os.lstat
    try:
        _check(path, look(path).st_mode)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    descriptor = os.open(path, flags | (_FLAGS & ~getattr(os, "O_NOFOLLOW", 0) if follow else _FLAGS), 0o666)
    try:
        _check(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check(path: str | os.PathLike[str], mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", os.fspath(path))


def read_regular(path: str | os.PathLike[str], most: int | None = None, *, follow: bool = False) -> bytes:
    """The content of a regular file.

    most : bytes; a larger file is refused before it is read
    follow : as for :func:`open_regular`

    Raises OSError.
    """
    with open(open_regular(path, follow=follow), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise OSError(errno.EFBIG, f"{size:,} bytes, but at most {most:,} are expected", os.fspath(path))
        return file.read()


def is_regular(path: str | os.PathLike[str]) -> bool:
    """Whether a regular file is there, and no link to one."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def refuse_link(folder: Path) -> Path:
    """``folder`` again, one that a run's folder holds. Raises CheckpointError where it is a link.

    >>> refuse_link(Path("runs")).name
    'runs'
    """
    if folder.is_symlink():
        raise CheckpointError(f"{folder}: it is a link, but a folder of the run itself is expected; take it out")
    return folder
