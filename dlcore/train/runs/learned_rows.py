"""Which examples a run has learned from, in a file of the run, 8 bytes each: so they are known in a changed file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dlcore.errors import CheckpointError
from dlcore.train.checkpoint.arrays import read_arrays, write_arrays

__all__ = ["FILE", "read_rows", "write_rows"]

FILE = "rows.safetensors"
_FORMAT = "dlcore-rows"


def write_rows(folder: Path, digests: Mapping[str, np.ndarray] | None) -> None:
    """Write what :mod:`dlcore.data.overlap` makes of the examples of the training set, and of those that training was
    watched by: the dev and the train-dev set. Nothing is written, and an earlier file removed, where none is known.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_rows(folder, {"train": np.array([3, 1], np.uint64), "dev": np.array([2], np.uint64)})
    >>> {part: rows.tolist() for part, rows in (read_rows(folder) or {}).items()}
    {'train': [1, 3], 'dev': [2]}
    """
    if digests is None:
        (folder / FILE).unlink(missing_ok=True)
        return
    dev = np.concatenate([rows for part, rows in digests.items() if part in ("dev", "train_dev")])
    write_arrays(folder / FILE, {"train": np.sort(digests["train"]), "dev": np.sort(dev)}, {"format": _FORMAT})


def read_rows(folder: Path) -> dict[str, np.ndarray] | None:
    """By part, train and dev, the digests of its examples, sorted; None where the run has recorded none.

    Raises CheckpointError where the file is damaged.
    """
    file = folder / FILE
    if not os.path.lexists(file):
        return None
    arrays = read_arrays(file, follow=False)[0]
    if any(arrays.get(part) is None or arrays[part].dtype != np.uint64 for part in ("train", "dev")):
        raise CheckpointError(f"{file}: it does not hold the rows of a run; take it out to evaluate without them")
    return {part: arrays[part] for part in ("train", "dev")}
