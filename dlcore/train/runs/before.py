"""A run that another takes the place of, or that goes on: it is kept until the new one is whole.

``.before`` in a run's folder holds the files of the run that was there: moved by ``--overwrite``, and where a finished
run goes on for more epochs the same files by second names. It is deleted when the new run has its result.json. Until
then :func:`settle` says what a folder's state is, after every end of a command and at the beginning of the next, so
that a process may be killed between any two file operations:

=====================  ===============================================================================================
in the folder          what it means, and what is done
=====================  ===============================================================================================
``.before.copy``       copies of a run that was about to go on: removed
``.before.moving``     a run on its way into ``.before`` or out of it; the folder holds no file of another: moved back
``.before.gone``       what is not needed any more: removed
``.before``            with a result.json beside it: the new run is finished, the old one is removed
                       without, and without a checkpoint of its own: the new run came to nothing, the old one comes back
                       without, but with a checkpoint: the new run goes on; an old one that is not finished is removed
=====================  ===============================================================================================

An overwritten run that was not finished and has kept another in its own ``.before`` takes that with it.
"""

from __future__ import annotations

import filecmp
import json
import os
import shutil
from pathlib import Path

from dlcore._core.files import copied, remove_leftovers, sync_folder
from dlcore._core.lock import Lock
from dlcore._core.regular import read_regular, refuse_link
from dlcore.errors import ConfigError
from dlcore.train.checkpoint import snapshot
from dlcore.train.config import config

__all__ = ["BEFORE", "FILES", "bring_back", "check_run", "empty", "forget", "is_free", "keep", "put_aside", "recover",
           "settle"]  # fmt: skip

FILES = (
    "config.toml", "model.json", "model.py", "metrics.jsonl", "timing.jsonl", "health.jsonl", "rows.safetensors",
    "model.safetensors", "curves.png", "report.html", "result.json",
)  # fmt: skip
"""The files of a run besides its checkpoints, in the order in which they are written."""

BEFORE = ".before"
_MOVING, _COPY, _GONE = ".before.moving", ".before.copy", ".before.gone"


def recover(folder: Path) -> None:
    """:func:`settle` a folder, whose lock is free, where a command that was killed has left something to do.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> recover(folder)  # nothing is left to do
    >>> list(folder.iterdir())
    []
    """
    if any(os.path.lexists(folder / name) for name in (BEFORE, _MOVING, _COPY, _GONE)):
        with Lock(folder):
            settle(folder)


def settle(folder: Path) -> None:
    """Bring a run's folder into one of the states that a command may leave; its lock is held.

    Raises ConfigError where one of the names is a link, OSError.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> settle(folder)
    >>> list(folder.iterdir())
    []
    """
    before, moving, copy, gone = (folder / name for name in (BEFORE, _MOVING, _COPY, _GONE))
    for path in (before, moving, copy, gone):
        if path.is_symlink():
            raise ConfigError(f"{path} is a link, but a folder of dlcore's own is expected; take it out")
    if gone.is_dir():
        _take_nested(gone, before)
        shutil.rmtree(gone)
    if copy.is_dir():
        shutil.rmtree(copy)
    if moving.is_dir():
        _move_back(folder)
    if not (before / "config.toml").is_file():
        return
    if (folder / "result.json").exists():
        forget(folder)
    elif not _has_progressed(folder):
        bring_back(folder)
    elif not (before / "result.json").exists():
        os.rename(before, gone)
        _take_nested(gone, before)
        shutil.rmtree(gone)


def _take_nested(gone: Path, before: Path) -> None:
    if (gone / BEFORE).is_dir() and not before.exists():
        os.rename(gone / BEFORE, before)


def _has_progressed(folder: Path) -> bool:
    """Whether there is a checkpoint that the run before does not have too."""
    old = snapshot.paths(folder / BEFORE)
    return any(
        step not in old or not (os.path.samefile(path, old[step]) or filecmp.cmp(path, old[step], shallow=False))
        for step, path in snapshot.paths(folder).items()
    )


def check_run(folder: Path, known: bool) -> None:
    """Raise ConfigError where a folder that is to be overwritten holds something else than a run.

    known : whether a run has begun there before, as its lock shows; it may have been killed before it said more
    """
    try:
        if not known or (folder / "model.json").exists():
            json.loads(read_regular(folder / "model.json", 2**24))["dlcore"]
        config.load(folder / "config.toml", follow=False)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise ConfigError(f"{folder} is not overwritten: it holds no run; choose another name, or empty it") from None


def is_free(folder: Path) -> bool:
    """Whether nothing is in a folder but what a process may leave that was killed before its run began; that is
    removed. The lock is held."""
    remove_leftovers(folder, FILES)
    remove_leftovers(folder / snapshot.FOLDER, ["step-*.safetensors"])
    there = {entry.name for entry in folder.iterdir()} - {".lock"}
    if there == {snapshot.FOLDER} and (folder / snapshot.FOLDER).is_dir():
        if snapshot.paths(folder) or {entry.name for entry in (folder / snapshot.FOLDER).iterdir()} - {snapshot.LINES}:
            return False
        shutil.rmtree(folder / snapshot.FOLDER)
        return True
    return not there


def put_aside(folder: Path) -> None:
    """Move a run's files into ``.before``; the folder is settled. Raises OSError, and all is then as it was."""
    moving = folder / _MOVING
    (moving / snapshot.FOLDER).mkdir(parents=True)
    for path in snapshot.files(folder):
        os.rename(path, moving / snapshot.FOLDER / path.name)
    for name in (BEFORE, *reversed(FILES)):
        if (folder / name).exists():
            os.rename(folder / name, moving / name)
    os.rename(moving, folder / BEFORE)
    sync_folder(folder)


def keep(folder: Path) -> None:
    """Give the files of a finished run, which is to go on, second names in ``.before``. Raises OSError.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "result.json").write_text("{}")
    >>> keep(folder)
    >>> (folder / ".before" / "result.json").read_text()
    '{}'
    """
    copy = folder / _COPY
    (copy / snapshot.FOLDER).mkdir(parents=True)
    for path in (*snapshot.files(folder), *(folder / name for name in FILES)):
        if path.exists():
            copied(path, copy / path.relative_to(folder), link=path.suffix != ".jsonl")  # those are added to
    os.rename(copy, folder / BEFORE)
    sync_folder(folder)


def bring_back(folder: Path) -> None:
    """Undo an overwriting that came to nothing.

    folder : of the run, as :func:`dlcore.train.runs.creation.create` made it with ``overwrite``

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / ".before" / "checkpoints").mkdir(parents=True)
    >>> _ = (folder / ".before" / "result.json").write_text("{}")
    >>> bring_back(folder)
    >>> sorted(path.name for path in folder.iterdir())
    ['result.json']
    """
    if refuse_link(folder / BEFORE).is_dir():
        for path in (*(folder / name for name in reversed(FILES)), *snapshot.files(folder)):
            path.unlink(missing_ok=True)
        os.rename(folder / BEFORE, folder / _MOVING)
        _move_back(folder)


def _move_back(folder: Path) -> None:
    moving = folder / _MOVING
    for name in (*FILES, BEFORE):
        if (moving / name).exists():
            os.rename(moving / name, folder / name)
    for path in snapshot.files(moving):
        (folder / snapshot.FOLDER).mkdir(exist_ok=True)
        os.rename(path, folder / snapshot.FOLDER / path.name)
    shutil.rmtree(moving)
    sync_folder(folder)


def empty(folder: Path) -> None:
    """Remove the files of a run in which nothing was trained, and its folder where it holds nothing else.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "run"
    >>> folder.mkdir()
    >>> _ = (folder / "config.toml").write_text("")
    >>> empty(folder)
    >>> folder.exists()
    False
    """
    for file in reversed(FILES):
        (folder / file).unlink(missing_ok=True)
    if folder.is_dir() and is_free(folder):
        shutil.rmtree(folder)


def forget(folder: Path) -> None:
    """Remove what was put aside, for the new run is whole.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / ".before").mkdir()
    >>> forget(folder)
    >>> list(folder.iterdir())
    []
    """
    if refuse_link(folder / BEFORE).is_dir():
        os.rename(folder / BEFORE, folder / _GONE)
        shutil.rmtree(folder / _GONE)
