"""The folder of a run, ``runs/NAME``: what is in it, and how it is written."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcore.errors import CheckpointError, ConfigError
from dlcore.train.callbacks import Callback
from dlcore.train.checkpoint import write_atomically

if TYPE_CHECKING:
    from dlcore.train.trainer import Trainer

__all__ = ["MetricsFile", "create"]

_FILES = ("config.toml", "metrics.jsonl", "model.json", "model.py", "model.safetensors", "report.txt")
"""What a run writes, and all that overwriting one may remove."""


def create(runs: str | Path, stem: str, name: str | None = None, overwrite: bool = False) -> Path:
    """Make a folder that no other run has: ``runs/name``, or without a name ``runs/stem-001``, counting up.

    overwrite : take the place of an earlier run of that name, whose files are removed; other files stay

    Raises ConfigError where a folder of that name is in use, CheckpointError where none can be made.

    >>> import tempfile
    >>> runs = tempfile.mkdtemp()
    >>> [create(runs, "digits-mlp").name for _ in range(2)]
    ['digits-mlp-001', 'digits-mlp-002']
    """
    runs = Path(runs).expanduser()
    try:
        runs.mkdir(parents=True, exist_ok=True)
        if name is None:
            return _numbered(runs, re.sub(r"[^\w.+=-]", "_", stem))
        folder = runs / name
        if folder.is_dir() and any(folder.iterdir()):
            if not overwrite:
                raise ConfigError(f"name is {name!r}, but {folder} is in use; choose another, or overwrite it")
            for file in _FILES:
                (folder / file).unlink(missing_ok=True)
        folder.mkdir(exist_ok=True)
    except OSError as error:
        place = error.filename or runs
        raise CheckpointError(
            f"the run's folder cannot be made: {place}: {error.strerror}; choose another place with runs"
        ) from None
    return folder


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


class MetricsFile(Callback):
    """Write the history to a file after each epoch, one JSON record a line.

    JSON has no NaN and no infinity: such a figure is null.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        lines = [json.dumps({name: _plain(value) for name, value in r.items()}) + "\n" for r in trainer.history]
        write_atomically(self.path, lambda: "".join(lines))


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
