"""All that a run needs to go on: taken from a trainer, written, found again, and put back.

A snapshot holds the weights and running statistics, the optimiser's state and the loss scale, how far the epoch has
come with its sums and predictions, the history, and the state of every callback, such as the best weights so far.
Random numbers need none: they are named by seed, layer and step. What a fit is given again (model, data, settings) is
compared, not stored.

In a file the arrays stand by name, and all else is JSON in the metadata, where {"\\0array": name} stands for an array,
and {"\\0lines": [label, count]} for a list that grows with the epochs, whose elements stand in ``history.jsonl`` beside
the checkpoints (:mod:`dlcore.train.checkpoint.lines`).
"""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlcore._core.regular import refuse_link
from dlcore.errors import CheckpointError, ConfigError, in_one_line
from dlcore.train.checkpoint.arrays import (
    MODEL,
    SNAPSHOT,
    DamagedError,
    metadata_of,
    read_arrays,
    write_arrays,
)
from dlcore.train.checkpoint.kinds import (
    ARRAY,
    COUNT,
    FLAG,
    NUMBER,
    OBJECT,
    TEXT,
    by_name,
    each,
    either,
    kind,
    or_none,
    record,
)
from dlcore.train.checkpoint.lines import FILE as LINES
from dlcore.train.checkpoint.lines import EpochLog, Growing, read_lines
from dlcore.version import __version__

__all__ = [
    "FOLDER",
    "LINES",
    "Snapshot",
    "files",
    "log_of",
    "newest",
    "paths",
    "read",
    "write",
]

FORMAT = 2
"""Counts up when a reader of before could not read what is written: 2 has lists in ``history.jsonl``."""

FOLDER, WEIGHTS = "checkpoints", "model.safetensors"
"""In a run's folder: the checkpoints, and the weights at the end."""

_ARRAY, _LINES = "\0array", "\0lines"

_SWITCH = kind(
    lambda value: isinstance(value, list) and len(value) == 2 and not (FLAG(value[0], "") or NUMBER(value[1], "")),
    "[active, scale]",
)
_COUNTS = kind(lambda value: not each(COUNT)(value, "") and len(value) == 5, "a list of five whole numbers")
_SETTING = or_none(either("a text, a number or a truth value", TEXT, NUMBER, FLAG))
_DIGESTS = record({"python": TEXT, "same": by_name(TEXT), "near": by_name(TEXT)})
_MIXED = record({"counts": _COUNTS, "scale": NUMBER, "told": COUNT})
_HISTORY = record({"records": each(OBJECT), "best_epoch": or_none(COUNT), "stopped_epoch": or_none(COUNT)})
_PROGRESS = record({"batches": COUNT, "sums": each(NUMBER), "seconds": NUMBER, "measured": OBJECT})


def _rule(value: Any, where: str) -> str:
    return record({"steps": COUNT})(value, where) or by_name(either("an array or a number", ARRAY, NUMBER))(
        value, where
    )


_STATE = record(
    {
        "model": by_name(ARRAY), "optimizer": _rule,
        "mixed": or_none(_MIXED), "segments": by_name(_SWITCH), "fit": COUNT, "epoch": COUNT, "start": COUNT,
        "epochs": COUNT, "step": COUNT, "clock": COUNT, "lr": NUMBER, "lr_of_last_step": NUMBER,
        "lr_given": or_none(NUMBER), "stopping": FLAG, "history": _HISTORY, "progress": or_none(_PROGRESS),
        "callbacks": each(record({"type": TEXT, "state": OBJECT})), "settings": by_name(_SETTING),
        "examples": or_none(COUNT), "layers": by_name(TEXT), "may_differ": by_name(TEXT), "own_code": _DIGESTS,
    },
    optional=frozenset({"mixed", "lr_given", "examples", "own_code"}),
)  # fmt: skip
"""What a snapshot's tree holds at least; those of before lack what is optional."""


class LaterFormatError(CheckpointError):
    """A checkpoint of another format: intact, but not for this version."""


@dataclass(frozen=True)
class Snapshot:
    """One state of a run.

    plain : its tree of JSON values, with NumPy arrays among them
    path : where it was read from
    """

    plain: dict[str, Any]
    path: Path

    @property
    def step(self) -> int:
        return self.plain["step"]


def write(path: Path, state: dict[str, Any], log: EpochLog | None = None) -> Path:
    """Write what :func:`take` gave: complete, or not at all.

    log : of the checkpoints' folder, takes what is new of the lists that grow; without it they stand in the file

    Raises CheckpointError where it cannot be written, ConfigError for a callback's state that no file can hold.
    """
    arrays: dict[str, np.ndarray] = {}
    growing: list[tuple[Growing, dict[str, Any]]] = []

    def plain(value: Any, where: str) -> Any:
        if log is not None and isinstance(value, Growing):
            growing.append((value, {}))
            return growing[-1][1]
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
            name = where if where.startswith(MODEL) else str(len(arrays))
            arrays[name] = value.astype(value.dtype.newbyteorder("="), copy=False)
            return {_ARRAY: name}
        if isinstance(value, dict) and all(isinstance(key, str) and key not in (_ARRAY, _LINES) for key in value):
            return {key: plain(item, f"{where}/{key}" if where else key) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item, f"{where}/{i}{_kind(item)}") for i, item in enumerate(value)]
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise ConfigError(
            f"a checkpoint cannot hold {where}, {value!r:.60}; a state_dict is made of dicts by name, lists, numbers, "
            "text, None and arrays of numbers"
        )

    tree, metadata = plain(state, ""), {"format": SNAPSHOT, "version": str(FORMAT)}
    if log is not None:
        labels = log.add(values for values, _ in growing)
        for label, (values, node) in zip(labels, growing, strict=True):
            node[_LINES] = [label, len(values)]
        metadata["lines"] = log.mark
    return write_arrays(path, arrays, {**metadata, "state": json.dumps(tree)})


def _kind(item: Any) -> str:
    return f" ({item['type']})" if isinstance(item, dict) and "type" in item else ""


def read(path: Path, *, follow: bool = False) -> Snapshot:
    """The snapshot in a file; ``follow`` goes through a link that the user has named.

    Raises CheckpointError where it is damaged, foreign, or of a later format.
    """
    arrays, metadata = read_arrays(path, follow=follow)
    if metadata.get("format") != SNAPSHOT:
        raise CheckpointError(
            f"{path}: a safetensors file, but no checkpoint of a run; give one from the {FOLDER} of a run's folder"
        )
    if metadata.get("version") not in ("1", str(FORMAT)):
        raise LaterFormatError(
            f"{path}: written in format {metadata.get('version')} by another version of dlcore; this one "
            f"({__version__}) reads format 1 to {FORMAT}: update dlcore"
        )
    lines: dict[str, list[Any]] = {}

    def damaged(why: str) -> DamagedError:
        return DamagedError(f"{path}: damaged: its state cannot be read ({why}); use another")

    def with_arrays(value: Any, where: str = "") -> Any:
        if isinstance(value, list):
            return [with_arrays(item, where) for item in value]
        if not isinstance(value, dict):
            return value
        try:
            match value:
                case {"\0array": name, **rest} if not rest:
                    return arrays[name]
                case {"\0lines": [label, count], **rest} if not rest:
                    return Growing(lines[label][:count] if count else ())
        except (KeyError, ValueError, TypeError):
            raise damaged(f"{where[1:]} stands for an array or lines that are not there") from None
        return {key: with_arrays(item, f"{where}.{key}") for key, item in value.items()}

    try:
        if "lines" in metadata:
            lines = read_lines(path.with_name(LINES), metadata["lines"])
        state = with_arrays(json.loads(metadata["state"]))
        if wrong := _STATE(state, ""):
            raise damaged(wrong)
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise damaged(in_one_line(error)) from None
    return Snapshot(state, path)


def paths(folder: Path) -> dict[int, Path]:
    """The checkpoints in a run's folder by step, the newest last."""
    found = {}
    with_step = re.compile(r"step-([0-9]{8,})\.safetensors")
    if refuse_link(folder / FOLDER).is_dir():
        for path in (folder / FOLDER).iterdir():
            if (match := with_step.fullmatch(path.name)) and not path.is_dir():
                found[int(match[1])] = path  # a link or a pipe is refused by whoever reads it
    return dict(sorted(found.items()))


def files(folder: Path) -> list[Path]:
    """All that a run's folder has of its checkpoints: those that are there, the newest last, and their lines."""
    lines = folder / FOLDER / LINES
    return [*paths(folder).values(), *([lines] if lines.is_file() else [])]


def log_of(folder: Path, upto: int) -> EpochLog:
    """What the checkpoints of a run's folder, up to a step, append their growing lists to."""
    kept = [metadata_of(path).get("lines", "0") for step, path in paths(folder).items() if step <= upto]
    return EpochLog(folder / FOLDER / LINES, max((int(mark.split(" ")[0]) for mark in kept), default=0))


def newest(folder: Path) -> Snapshot | None:
    """The newest good checkpoint of a run's folder; None where there is none at all.

    A damaged one is passed over with a warning. Raises CheckpointError where every one is damaged, and where one cannot
    be read for another reason: it may be good.
    """
    there = list(paths(folder).values())
    for path in reversed(there):
        try:
            return read(path)
        except DamagedError as error:
            if path == there[0]:
                raise CheckpointError(f"{folder}: no checkpoint can be read; of the last: {error}") from None
            warnings.warn(f"{error}; falling back to the checkpoint before", stacklevel=2)
    return None
