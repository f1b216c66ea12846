"""Whose code a run brings along: ``model.py``, and the modules that its ``model.json`` names beside dlcore's own.

Whoever trains a model of their own, or saves one, has run its code: its digest is kept in the user's state folder, one
small file each. A run with other code comes from somebody else, or from another machine. Its code is refused before it
runs, until the user says once that it may: by ``--trust``, ``trust=True`` or the environment variable DLCORE_TRUST=1.

What is covered is the file that is run or imported, not what it imports in turn.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from dlcore.errors import CheckpointError

__all__ = [
    "Code", "UnknownCodeError", "allow", "is_known", "is_trusting", "of_file", "of_modules", "require", "state_folder",
    "trusting",
]  # fmt: skip

_given: ContextVar[bool] = ContextVar("trust", default=False)

_unwritten: set[Path] = set()
"""What a state folder could not take; known to this process alone."""


class UnknownCodeError(CheckpointError):
    """A run brings code along that was neither trained nor trusted here."""


class Code(NamedTuple):
    """Code that a run brings along.

    what : it is, for messages
    digest : of all that decides what runs
    """

    what: str
    digest: str


def of_file(what: str, source: bytes, function: str, folder: str) -> Code:
    """A file with the function that builds the model.

    folder : where the file's own imports are found
    """
    return Code(what, _digest("file", source, function.encode(), folder.encode(errors="surrogatepass")))


def of_modules(name: str, sources: Mapping[str, bytes]) -> Code:
    """A module, with the sources of its packages and its own by full name."""
    parts = (part for module, source in sources.items() for part in (module.encode(), source))
    return Code(f"the module {name}", _digest("module", name.encode(), *parts))


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


@contextmanager
def trusting(trust: bool = True) -> Iterator[None]:
    """Within, code that nobody has trusted before is recorded and runs; with False, nothing changes."""
    token = _given.set(_given.get() or trust)
    try:
        yield
    finally:
        _given.reset(token)


def allow(trust: bool) -> None:
    """As :func:`trusting`, to the end of the command that was called with ``--trust``."""
    if trust:
        _given.set(True)


def require(code: Code) -> None:
    """Raise UnknownCodeError, in one line, for code that is neither known nor trusted now; what is trusted is recorded.

    >>> require(of_file("model.py", b"print(1)", "build", "/nowhere"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    dlcore.train.checkpoint.trust.UnknownCodeError: model.py is code that was ... give --trust, trust=True ...
    """
    if is_known(code):
        return
    if not is_trusting():
        raise UnknownCodeError(
            f"{code.what} is code that was neither trained nor trusted on this machine by you; read it, and where you "
            "would run it give --trust, trust=True in Python or DLCORE_TRUST=1 in the environment, once"
        )
    _record(code)


def is_trusting() -> bool:
    """Whether code runs that nobody has trusted before."""
    return _given.get() or os.environ.get("DLCORE_TRUST") == "1"


def is_known(code: Code) -> bool:
    """Whether the code was trained with or trusted before."""
    file = _file(code)
    return (file or Path(code.digest)) in _unwritten or (file is not None and file.is_file())


def state_folder() -> Path | None:
    """Where dlcore keeps what it knows of this user: DLCORE_STATE, else the system's folder for it; None for a user
    without a home."""
    given = os.environ.get("DLCORE_STATE")
    if given:
        return Path(given).expanduser().absolute()
    with suppress(RuntimeError, ImportError, OSError):
        from platformdirs import user_state_path

        folder = user_state_path("dlcore", appauthor=False)
        return folder if folder.is_absolute() else None
    return None


def _file(code: Code) -> Path | None:
    folder = state_folder()
    return None if folder is None else folder / "trusted" / code.digest


def _record(code: Code) -> None:
    file = _file(code)
    try:
        if file is None:
            raise OSError(0, "this user has no home folder")
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "x", encoding="utf-8", errors="replace") as text:
            text.write(f"{code.what}\n")
    except FileExistsError:  # another process was faster
        return
    except OSError as error:
        if not _unwritten:
            warnings.warn(
                f"{file or 'the state folder'}: cannot be written ({error.strerror}), so your own runs with code will "
                "ask for --trust; set DLCORE_STATE to a folder that can be written",
                stacklevel=2,
            )
        _unwritten.add(file or Path(code.digest))
