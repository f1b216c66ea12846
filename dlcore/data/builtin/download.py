"""The full Fashion-MNIST from the network: checked by SHA-256, each file complete or not there at all."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlcore._core.configurable import did_you_mean
from dlcore.data.builtin import registry
from dlcore.errors import DataError

__all__ = ["FILES", "check_name", "fetch"]

FILES = {
    "train-images-idx3-ubyte.gz": (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    "train-labels-idx1-ubyte.gz": (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    "t10k-images-idx3-ubyte.gz": (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    "t10k-labels-idx1-ubyte.gz": (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
}
"""Bytes and SHA-256 of the files as Zalando published them.

The Debian package holds the same compressed images, but without the name and the time in the gzip headers: its files
are 23 or 24 bytes shorter, and have other sums.
"""

_SERVERS: tuple[str, ...] = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
_TIMEOUT = (10.0, 30.0)
"""Seconds to connect, and to wait for the next bytes."""

_CHUNK = 2**16

Progress = Callable[[str, int, int], None]


def fetch(name: str, to: str | os.PathLike[str] | None = None, progress: Progress | None = None) -> Path:
    """Download a data set that is too large for the package, and return the folder of its files.

    name : "fashion", the full Fashion-MNIST: 70,000 images in four files, 30.9 MB
    to : folder for the files; by default the one in the user's cache folder where :func:`dlcore.data.load` looks
    progress : called with a file's name, the bytes that are there, and all its bytes; the two are equal once the file
        is complete and checked

    A file that is there already and right is kept. One with another content is replaced in the cache, once the new
    one is complete; in a folder of your own it is an error, for the files of other data sets have the same names.
    The servers are tried in turn.

    Raises DataError for another name, where no server can be reached, where a download breaks off or comes with
    another SHA-256, and where the folder cannot be written; a file is then there as it was before.

    >>> fetch("digits")
    Traceback (most recent call last):
    ...
    dlcore.errors.DataError: fetch: 'digits' is in the package; dl.data.load('digits') reads it without a download
    """
    check_name(name)
    folder = registry.cache() / "fashion-mnist" if to is None else Path(to).expanduser()
    servers = list(_SERVERS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, (size, sha256) in FILES.items():
            target = folder / file
            there = _sha256(target) if target.exists() else None
            if there not in (None, sha256) and to is not None:
                raise DataError(
                    f"fetch: {target} is there already with another content (SHA-256 {there:.8}..., not "
                    f"{sha256:.8}...); move it away, or choose another folder"
                )
            if there != sha256:
                _download(target, servers, progress)
            if progress is not None:
                progress(file, size, size)
    except OSError as error:
        raise DataError(
            f"fetch: {error.filename or folder}: {error.strerror or error}; make room or give another folder"
        ) from None
    return folder


def check_name(name: str) -> None:
    """Raise a DataError where :func:`fetch` does not know ``name``."""
    if name == "fashion":
        return
    if name in registry.names():
        raise DataError(f"fetch: {name!r} is in the package; dl.data.load({name!r}) reads it without a download")
    raise DataError(
        f"fetch: there is no data set {name!r}{did_you_mean(name, registry.names())}; fashion can be fetched"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _OtherContent(Exception):  # noqa: N818
    """A file came whole, but with another SHA-256 or another length."""


def _download(target: Path, servers: list[str], progress: Progress | None) -> None:
    """One file from the first server that has it; that server then comes first."""
    import requests

    failures: dict[type, list[str]] = {}
    for server in list(servers):
        received = _Received(target.name, progress)
        try:
            _retrieve(server, target, received)
        except _OtherContent as error:
            failures.setdefault(_OtherContent, []).append(f"{target.name} from {server} {error}")
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "no status"
            failures.setdefault(requests.HTTPError, []).append(f"{server} answers {status} for {target.name}")
        except requests.RequestException as error:
            kind = requests.ConnectionError if received.bytes == 0 and not _broke_off(error) else EOFError
            failures.setdefault(kind, []).append(f"{type(error).__name__} from {server}")
        else:
            servers.remove(server)
            servers.insert(0, server)
            return
    raise DataError(_explain(target, {kind: "; ".join(texts) for kind, texts in failures.items()}))


def _broke_off(error: Exception) -> bool:
    """Whether the server had begun to answer."""
    import requests

    return isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError)


def _explain(target: Path, failures: dict[type, str]) -> str:
    """What went wrong and what to do; of several servers' failures, the one that says most."""
    import requests

    if _OtherContent in failures:
        return f"fetch: {failures[_OtherContent]}; it was removed: try again later, or {_elsewhere(target)}"
    if EOFError in failures:
        return (
            f"fetch: the download of {target.name} broke off ({failures[EOFError]}); nothing of it was kept, try again"
        )
    if requests.HTTPError in failures:
        return f"fetch: {failures[requests.HTTPError]}; try again later, or {_elsewhere(target)}"
    reason = "; ".join(failures.values())
    return f"fetch: no server can be reached ({reason}); go online and try again, or {_elsewhere(target)}"


def _elsewhere(target: Path) -> str:
    return (
        f"put the four files into {target.parent}, install the Debian package dataset-fashion-mnist, or point "
        "$DLCORE_DATA at a folder that has them"
    )


def _retrieve(server: str, target: Path, received: _Received) -> None:
    """One file from one server, by way of a temporary file that is checked and then renamed."""
    import pooch

    sha256 = FILES[target.name][1]
    # As it lies: a server that packs the .gz once more would have it unpacked twice.
    headers = {"Accept-Encoding": "identity"}
    download = pooch.HTTPDownloader(progressbar=received, chunk_size=_CHUNK, timeout=_TIMEOUT, headers=headers)  # pyright: ignore[reportArgumentType]

    def checked(url: str, file: Any, manager: Any) -> None:
        os.unlink(file)  # pooch makes it for the owner alone
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # less the umask
        download(url, file, manager)
        came = _sha256(Path(file))
        if came != sha256:
            raise _OtherContent(f"has the SHA-256 {came:.8}... but {sha256:.8}... is expected")

    downloader: Any = checked  # pooch's types ask for a processor's arguments here
    with _quiet(pooch.get_logger()):
        pooch.retrieve(server + target.name, sha256, target.name, target.parent, downloader=downloader)


class _Received:
    """What has come of one file; in pooch's eyes a progress bar."""

    def __init__(self, file: str, progress: Progress | None) -> None:
        self.file, self.progress = file, progress
        self.bytes = 0
        self.total = 0  # set by pooch

    def update(self, count: int) -> None:
        size = FILES[self.file][0]
        self.bytes += count
        if self.bytes > size + _CHUNK:
            raise _OtherContent(f"has more than the {size:,} bytes that are expected")
        if self.progress is not None and self.bytes < size:
            self.progress(self.file, self.bytes, size)

    def reset(self) -> None:
        self.bytes = 0

    def close(self) -> None:
        pass


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """What pooch would log is in the errors, or in the progress."""
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
