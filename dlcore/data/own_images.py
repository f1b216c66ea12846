"""A folder of images, one folder per class, in three parts and ready to train on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dlcore.data.dataset import Splits
from dlcore.data.inputs import Inputs
from dlcore.data.normalize import Normalizer
from dlcore.data.readers import ImageFolder, read_folder
from dlcore.data.readers._file import shown
from dlcore.data.readers.images import is_hidden
from dlcore.data.split import split_rows
from dlcore.errors import ConfigError, DataError

__all__ = ["images", "name_of_data"]

_FRACTIONS = (0.6, 0.2, 0.2)
_IMAGES = 10_000  # from which a normalizer of images takes its statistics
_MEMORY = 512 << 20  # bytes of decoded pixels, over all parts


def name_of_data(path: Path) -> str:
    whole = path.resolve()
    return shown((whole.name if whole.is_dir() else whole.stem) or "data")


def images(
    path: Path, normalize: bool, seed: int, size: Sequence[int] | None, color: str | None, corrupt: str
) -> Splits:
    if size is not None and len(size) not in (1, 2):
        raise ConfigError(f"image_size is {tuple(size)} but one or two numbers are expected, such as 64 or 48 64")
    wanted = None if size is None else (size[0], size[-1])
    train, dev, test = _parts(path, wanted, color, corrupt, seed)
    pictures = len(train) + len(dev) + len(test)
    inputs, classes = Inputs.images(train.shape[:2], train.shape[2]), train.classes
    normalizer = None
    if normalize:
        normalizer = _statistics(train)
        train, dev, test = (part.normalized(normalizer) for part in (train, dev, test))
    height, width, channels = train.shape
    colour = "grey" if channels == 1 else "in colour"
    return Splits(
        train=train,
        dev=dev,
        test=test,
        name=name_of_data(path),
        task="classification",
        classes=classes,
        source=f"{shown(path)}, {pictures:,} images, {height} × {width}, {colour}",
        normalizer=normalizer,
        inputs=inputs,
    )


def _parts(
    path: Path, size: tuple[int, int] | None, color: str | None, corrupt: str, seed: int
) -> tuple[ImageFolder, ImageFolder, ImageFolder]:
    if not (_has_folders(path / "train") and _has_folders(path / "test")):
        folder = read_folder(path, size=size, color=color, corrupt=corrupt, memory=_MEMORY)
        train, dev, test = (folder[rows] for rows in _rows(path, folder, seed))
        return train, dev, test
    given = [name for name in ("dev", "val") if (path / name).is_dir()]
    if len(given) == 2:
        raise DataError(f"{shown(path)}: there are the folders dev and val, but one of them is expected; take one out")
    train = read_folder(path / "train", size=size, color=color, corrupt=corrupt, memory=_MEMORY)
    others = []
    left = _MEMORY - train.memory
    for name in (*given, "test"):
        part = read_folder(
            path / name,
            size=(train.shape[0], train.shape[1]),
            color="grey" if train.shape[2] == 1 else "rgb",
            corrupt=corrupt,
            memory=left,
        )
        left -= part.memory
        if part.classes != train.classes:
            odd = sorted(set(part.classes) ^ set(train.classes))[0]
            where, lacks = (name, "train") if odd in part.classes else ("train", name)
            raise DataError(
                f"{shown(path)}: the class {shown(odd)} is in {where} but not in {lacks}; give both the same"
            )
        others.append(part)
    if given:
        return train, others[0], others[1]
    share = min(max(len(train) // 5, 1), 5000) / len(train)
    train_rows, dev_rows = split_rows(len(train), (1 - share, share), seed, train.y)
    return train[train_rows], train[dev_rows], others[0]


def _has_folders(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(entry.is_dir() and not is_hidden(entry.name) for entry in entries)
    except OSError:  # there is no such folder; that it cannot be read is said where it is
        return False


def _statistics(train: ImageFolder) -> Normalizer:
    """The Normalizer of at most 10,000 evenly spaced images, exact for these: counts of bytes, then float64."""
    n = len(train)
    chosen = np.linspace(0, n - 1, min(n, _IMAGES)).astype(np.int64)
    counts = np.zeros((train.shape[2], 256), np.int64)
    for first in range(0, len(chosen), 64):
        pixels = train.bytes_at(chosen[first : first + 64])
        for channel, count in enumerate(counts):
            count += np.bincount(pixels[..., channel].reshape(-1), minlength=256)
    values = np.arange(256) / 255
    mean = counts @ values / counts.sum(axis=1)
    variance = (counts * (values - mean[:, None]) ** 2).sum(axis=1) / counts.sum(axis=1)
    return Normalizer(mean, np.where(variance > 0, np.sqrt(variance), 1.0))


def _rows(path: Path, folder: ImageFolder, seed: int) -> list[np.ndarray]:
    """The positions of the three parts."""
    try:
        return split_rows(len(folder), _FRACTIONS, seed, folder.y)
    except DataError as error:
        raise DataError(f"{shown(path)}: {error}") from None
