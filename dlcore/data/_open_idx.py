"""A folder of IDX files that is not Fashion-MNIST: MNIST, KMNIST, EMNIST or one's own, in three parts."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from dlcore.data.dataset import Dataset, Splits
from dlcore.data.normalize import Normalizer
from dlcore.data.preprocess import Inputs
from dlcore.data.readers.file import shown
from dlcore.data.readers.idx import IDX_PARTS, idx_files, read_idx
from dlcore.data.split import split_rows
from dlcore.errors import DataError

__all__ = ["is_fashion", "open_idx"]

_FIRST = ((9, 0, 0, 3, 0, 2, 7, 2, 5, 5), (7, 0, 8, 1, 5, 7, 9, 8, 5, 8))
"""The first training labels of Fashion-MNIST, and of its subset in the package."""


def is_fashion(path: str | os.PathLike[str]) -> bool:
    """Whether IDX files are those of Fashion-MNIST: MNIST's have the same names, so that the folder's name or the first
    labels tell."""
    path = Path(os.path.abspath(path))
    files = idx_files(path)
    if "fashion" in path.name.lower() or not files:  # they lie in a folder fashion-mnist
        return True
    if len(files) < len(IDX_PARTS):
        return False
    return tuple(read_idx(files["train labels"]).reshape(-1)[:10].tolist()) in _FIRST


def open_idx(path: str | os.PathLike[str], normalize: bool = False, seed: int = 0) -> Splits:
    """The images and labels in a folder's four IDX files; the dev set is a tenth of the training images, 5,000 at most.

    normalize, seed : as in :func:`~dlcore.data.load`

    The classes are the labels that the training set has. Raises DataError where a file is missing or damaged, where
    images and labels do not go together, and for a test label that the training set does not have.
    """
    folder = Path(os.path.expanduser(path))
    name, files = shown(folder), idx_files(folder)
    missing = [part for part in IDX_PARTS if part not in files]
    if missing:
        raise DataError(
            f"{name}: there is no IDX file of the {missing[0]}, such as "
            f"{missing[0].replace('test', 't10k').replace(' ', '-')}-idx{3 if 'images' in missing[0] else 1}-ubyte.gz; "
            "put it beside the others"
        )
    images, labels, test_images, test_labels = (read_idx(files[part]) for part in IDX_PARTS)
    for part, x, y in (("train", images, labels), ("test", test_images, test_labels)):
        if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != images.shape[1:] or y.shape != x.shape[:1]:
            raise DataError(
                f"{name}: the {part} files hold images {x.shape} of {x.dtype} and labels {y.shape}, expected "
                f"(N, {images.shape[1]}, {images.shape[-1]}) of uint8 and (N,)"
            )
    classes = np.unique(labels)
    for part, y in (("train labels", labels), ("test labels", test_labels)):
        odd = np.flatnonzero(~np.isin(y, classes) | (y != np.floor(y)))
        if len(odd):
            raise DataError(
                f"{shown(files[part])}: label[{odd[0]}] is {y[odd[0]]}, but the training labels are whole numbers from "
                f"{classes[0]} to {classes[-1]}"
            )
    if len(classes) < 2:
        raise DataError(f"{name}: every label is {classes[0]}, but at least two classes are expected")
    dev = min(max(len(labels) // 10, 1), 5000) / len(labels)
    try:
        rows = split_rows(len(labels), (1 - dev, dev), seed, labels)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None

    def dataset(x: np.ndarray, y: np.ndarray) -> Dataset:
        return Dataset(x[..., None].astype(np.float32) / np.float32(255), np.searchsorted(classes, y).astype(np.int64))

    height, width = images.shape[1:]
    data = Splits(
        train=dataset(images[rows[0]], labels[rows[0]]),
        dev=dataset(images[rows[1]], labels[rows[1]]),
        test=dataset(test_images, test_labels),
        name=shown(folder.resolve().name or "data"),
        task="classification",
        classes=tuple(str(int(label)) for label in classes),
        source=f"{name}, {len(images):,} training + {len(test_images):,} test images of {height} × {width}, IDX files",
        inputs=Inputs.images((height, width), 1),
    )
    if not normalize:
        return data
    normalizer = Normalizer.fit(data.train)  # type: ignore[arg-type]  # a Dataset
    parts = {name: normalizer.apply(getattr(data, name)) for name in ("train", "dev", "test")}
    return replace(data, normalizer=normalizer, **parts)
