"""A folder of images, one folder per class, in three parts and ready to train on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dlcore.data.dataset import Splits
from dlcore.data.labelled import Reading
from dlcore.data.normalize import Normalizer
from dlcore.data.overlap import digests_of, equal_inputs
from dlcore.data.parts import Parting, part_named, remarks
from dlcore.data.preprocess import Inputs
from dlcore.data.readers.file import shown
from dlcore.data.readers.images.folder import ImageFolder, read_parts
from dlcore.data.readers.images.paths import find, has_pictures, is_hidden
from dlcore.data.split import split_rows
from dlcore.errors import ConfigError, DataError

__all__ = ["folders_of_parts", "images", "name_of_data"]

_BY_CHANCE = Parting()
_IMAGES = 10_000  # from which a normalizer of images takes its statistics
_MEMORY = 512 << 20  # bytes of decoded pixels, over all parts
_NAMED = 20  # other folders that are named


def name_of_data(path: Path) -> str:
    whole = path.resolve()
    return shown((whole.name if whole.is_dir() else whole.stem) or "data")


def images(
    path: Path,
    normalize: bool,
    seed: int,
    size: Sequence[int] | None,
    color: str | None,
    corrupt: str,
    rules: int = 2,
    parting: Parting = _BY_CHANCE,
    test: str | os.PathLike[str] | None = None,
) -> Splits:
    """The pictures of a folder, one folder per class or one per part with one per class in each, as ``open_path`` says.

    parting, test : what says in which part a picture goes, and the folder of the test set where it has one of its own
    rules : 1 for those of version 0.1: parts by the names train, dev, val and test alone, pictures by their suffixes,
        size and colour by the first
    """
    if size is not None and len(size) not in (1, 2):
        raise ConfigError(f"image_size is {tuple(size)} but one or two numbers are expected, such as 64 or 48 64")
    wanted = None if size is None else (size[0], size[-1])
    folders, notes = folders_of_parts(path) if rules > 1 else (_earlier_folders(path), [])
    if len(folders) > 1 and (parting.equal or ("test" in folders and test is not None)):
        given = "keep_equal_together" if parting.equal else "test"
        raise ConfigError(f"{given} is given, but {shown(path)} has folders of its parts; leave it out")
    found = [find(folder, rules) for folder in folders.values()]
    names = {part: folder.name for part, folder in folders.items()}
    for part, one in zip(folders, found, strict=True):
        odd = sorted(set(one.classes) ^ set(found[0].classes))
        if odd:
            where, lacks = (part, "train") if odd[0] in one.classes else ("train", part)
            raise DataError(
                f"{shown(path)}: the class {shown(odd[0])} is in {shown(names[where])} but not in "
                f"{shown(names[lacks])}; give both the same"
            )
    read, said = read_parts(found, wanted, color, corrupt, _MEMORY, rules=rules)
    known = dict(zip(folders, read, strict=True))
    if test is not None:
        reading = Reading(
            shape=read[0].shape, task="classification", classes=read[0].classes, corrupt=corrupt,
            inputs=Inputs.images(read[0].shape[:2], read[0].shape[2], read[0].depth),
        )  # fmt: skip
        known["test"] = reading.read(test)[0]
        notes = [*notes, f"test set: {shown(test)}, {len(known['test']):,} images"]
    (train, dev, test_set), drawn = _dealt(path, known, names, seed, parting, rules)
    notes = [*said, *notes, *drawn] if rules > 1 else []
    y = np.concatenate([part.y for part in (train, dev, test_set)])
    inputs, classes = Inputs.images(train.shape[:2], train.shape[2], train.depth), train.classes
    digests = None
    if rules > 1:
        parts = {"train": train, "dev": dev, "test": test_set}
        digests = {name: digests_of(part) for name, part in parts.items()}
        notes += remarks(list(parts.values()), digests, classes, parting if len(folders) == 1 else None)
    normalizer = None
    if normalize:
        normalizer = _statistics(train, rules)
        train, dev, test_set = (part.normalized(normalizer) for part in (train, dev, test_set))
    height, width, channels = train.shape
    colour = "grey" if channels == 1 else "in colour"
    return Splits(
        train=train,
        dev=dev,
        test=test_set,
        name=name_of_data(path),
        task="classification",
        classes=classes,
        source=f"{shown(path)}, {len(y):,} images, {height} × {width}, {colour}",
        normalizer=normalizer,
        inputs=inputs,
        notes=tuple(notes),
        digests=digests,
    )


def _dealt(
    path: Path, parts: dict[str, ImageFolder], names: dict[str, str], seed: int, parting: Parting, rules: int
) -> tuple[tuple[ImageFolder, ...], list[str]]:
    """The training, dev and test images, and a line about what was drawn for a part that has no folder."""
    train = parts["train"]
    if len(names) == 1:
        places, lines = parting.rows(
            shown(path), len(train), seed, train.y, equal=lambda: equal_inputs(digests_of(train)), rules=rules
        )
        return (*(train[rows] for rows in places), *(parts[name] for name in parts if name == "test")), lines
    try:
        lacking = next((part for part in ("dev", "test") if part not in parts), None)
        if lacking is None:
            return (train, parts["dev"], parts["test"]), []
        share = min(max(len(train) // 5, 1), 5000) / len(train)
        rows, drawn = split_rows(len(train), (1 - share, share), seed, train.y, rules=rules)
    except DataError as error:
        raise DataError(f"{shown(path)}: {error}") from None
    parts = {**parts, "train": train[rows], lacking: train[drawn]}
    line = f"there is no folder of the {lacking} set: {len(drawn):,} images of {shown(names['train'])} are drawn for it"
    return tuple(parts[part] for part in ("train", "dev", "test")), [line]


# Folders of parts ----------------------------------------------------------------------------------------------------


def folders_of_parts(path: Path) -> tuple[dict[str, Path], list[str]]:
    """The folder of each part, ``path`` itself where all images are to be split, and lines about what is left out."""
    inner = {name: _folders_in(path / name) for name in _folders_in(path)}
    named: dict[str, list[str]] = {}
    for name in inner:
        if (part := part_named(name)) is not None:
            named.setdefault(part, []).append(name)
    if any(inner[name] for name in named.get("train", ())) and (len(named) > 1 or len(inner) == 1):
        for names in named.values():
            if len(names) > 1:
                raise DataError(
                    f"{shown(path)}: there are the folders {' and '.join(map(shown, names))}, but one of them is "
                    "expected; take one out"
                )
        folders = {part: path / named[part][0] for part in ("train", "dev", "test") if part in named}
        without = [part for part, folder in folders.items() if not inner[folder.name]]
        notes = [
            f"{shown(folders.pop(part).name)} has no folders of classes, and is left out; dlcore predict takes it"
            for part in without
        ]
        others = [shown(name) for name in inner if part_named(name) is None]
        if others:
            notes.append(f"left out beside the folders of the parts: {', '.join(others[:_NAMED])}")
        return folders, notes
    alike = {frozenset(folders) for folders in inner.values()}
    if len(inner) > 1 and len(alike) == 1 and len(min(alike)) > 1 and not any(has_pictures(path / f) for f in inner):
        raise DataError(
            f"{shown(path)}: the folders {_few(list(inner))} hold the same folders, {_few(inner[min(inner)])}, so that "
            "they look like parts and not like classes; call the parts train, dev and test, or put the images of each "
            "class into one folder"
        )
    if len(named) > 1 and all(map(part_named, inner)) and not any(inner.values()):
        return {"train": path}, [
            f"warning: the classes are called {_few(list(inner))}; if these are parts, make a folder for each class in "
            "each of them"
        ]
    return {"train": path}, []


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:3])) + (", ..." if len(names) > 3 else "")


def _earlier_folders(path: Path) -> dict[str, Path]:
    """The folder of each part by the rules of version 0.1."""
    if not (_folders_in(path / "train") and _folders_in(path / "test")):
        return {"train": path}
    given = [name for name in ("dev", "val") if (path / name).is_dir()]
    if len(given) == 2:
        raise DataError(f"{shown(path)}: there are the folders dev and val, but one of them is expected; take one out")
    dev = {"dev": path / given[0]} if given else {}
    return {"train": path / "train", **dev, "test": path / "test"}


def _folders_in(folder: Path) -> list[str]:
    """The names of the folders in a folder, sorted, without the hidden ones."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not is_hidden(entry.name))
    except OSError:  # there is no such folder; that it cannot be read is said where it is
        return []


# Statistics ----------------------------------------------------------------------------------------------------------


def _statistics(train: ImageFolder, rules: int) -> Normalizer:
    """The Normalizer of at most 10,000 evenly spaced images, exact for these: counts of bytes, then float64.

    A channel that never changes in them is 0 whatever comes later, except by the rules of version 0.1.
    """
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
    std = np.where(variance > 0, np.sqrt(variance), 1.0)
    low, high = (np.array([f(np.flatnonzero(count)) / 255 for count in counts]) for f in (min, max))
    if rules == 1 or (low < high).all():
        return Normalizer(mean, std)
    width = high - low
    return Normalizer(np.where(width > 0, mean, low), std, low - width, high + width)
