"""The folder of a run: made, numbered, and taken over."""

from __future__ import annotations

import re
from pathlib import Path

from dlcore._core.lock import Lock
from dlcore.errors import CheckpointError, ConfigError
from dlcore.train.checkpoint.arrays import write_atomically
from dlcore.train.config import config
from dlcore.train.runs.before import (
    check_run,
    is_free,
    put_aside,
    settle,
)

__all__ = ["create", "write_settings"]


def create(runs: str | Path, stem: str, name: str | None = None, overwrite: bool = False) -> Lock:
    """Make a folder that no other run has: ``runs/name``, or without a name ``runs/stem-001``, counting up.

    overwrite : take the place of an earlier run of that name: its files are put into the folder ``.before`` until the
        new run is finished (:func:`settle`); other files stay

    Returns the folder's lock, held. Raises ConfigError where a folder of that name is in use or is no run,
    CheckpointError where none can be made.

    >>> import tempfile
    >>> runs = tempfile.mkdtemp()
    >>> [create(runs, "digits-mlp").folder.name for _ in range(2)]
    ['digits-mlp-001', 'digits-mlp-002']
    """
    runs = Path(runs).expanduser()
    try:
        runs.mkdir(parents=True, exist_ok=True)
        folder = _numbered(runs, re.sub(r"[^\w.+=-]", "_", stem)) if name is None else runs / name
        folder.mkdir(exist_ok=True)
        known = (folder / ".lock").is_file()
        lock = Lock(folder).acquire()
        try:
            if name is not None:
                _make_room(folder, overwrite, known)
        except BaseException:
            lock.release()
            raise
    except OSError as error:
        place = error.filename or runs
        raise CheckpointError(
            f"the run's folder cannot be made: {place}: {error.strerror}; choose another place with runs"
        ) from None
    return lock


def _make_room(folder: Path, overwrite: bool, known: bool) -> None:
    settle(folder)
    if is_free(folder):
        return
    if not overwrite:
        raise ConfigError(
            f"name is {folder.name!r}, but {folder} is there already; choose another, go on with it by --resume, or "
            "--overwrite it"
        )
    check_run(folder, known)
    try:
        put_aside(folder)
    except BaseException:
        settle(folder)
        raise


def _numbered(runs: Path, stem: str) -> Path:
    taken = (re.fullmatch(rf"{re.escape(stem)}-([0-9]+)", entry.name) for entry in runs.iterdir())
    number = max((int(match[1]) for match in taken if match), default=0)
    while True:
        number += 1
        folder = runs / f"{stem}-{number:03}"
        try:
            folder.mkdir()
        except FileExistsError:  # another run was faster
            continue
        return folder


def write_settings(folder: Path, settings: config.Config) -> None:
    """Write config.toml, where it does not say the same already; a former result is void.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_settings(folder, config.Config.of(data="digits", name="first"))
    >>> config.load(folder / "config.toml").run.name is None  # --config repeats it under another name
    True
    """
    file = folder / "config.toml"
    nameless = config.Config.of(**{**settings.flat(), "name": None})  # so that --config repeats it elsewhere
    (folder / "result.json").unlink(missing_ok=True)
    if not file.exists() or config.load(file, rules=1, follow=False) != nameless:
        write_atomically(file, lambda: config.dump(nameless))
