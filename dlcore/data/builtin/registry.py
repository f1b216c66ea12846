"""The data sets that come with the package, and where the full Fashion-MNIST is looked for."""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from dlcore.data.builtin.sequences import hamlet, vowels
from dlcore.data.dataset import Dataset, Splits, Task, check_labels
from dlcore.data.normalize import Normalizer
from dlcore.data.preprocess import Inputs
from dlcore.data.readers import read_idx
from dlcore.data.readers.idx import IDX_PARTS, idx_files
from dlcore.data.split import split_rows
from dlcore.errors import ConfigError, DataError

__all__ = ["cache", "has_fashion", "load", "names"]

_FILES = Path(__file__).parents[1] / "files"
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_FRACTIONS = (0.6, 0.2, 0.2)


def names() -> tuple[str, ...]:
    """The names that :func:`load` knows.

    >>> "digits" in names()
    True
    """
    return ("fashion", "fashion-subset", "digits", "cars", "penguins", "vowels", "hamlet")


def load(
    name: str,
    normalize: bool = False,
    *,
    target: str | Sequence[str] | None = None,
    seed: int = 0,
    path: str | os.PathLike[str] | None = None,
) -> Splits:
    """A data set by name, in its three parts, ready to train on.

    ==================  =======================================  =========================================
    name                x                                        y
    ==================  =======================================  =========================================
    ``fashion``         (N, 28, 28, 1) float32 in [0, 1]         (N,) int64, 10 kinds of clothing
    ``fashion-subset``  the same, always the 5,000 + 1,000       the same
                        images in the package
    ``digits``          (N, 8, 8, 1) float32 in [0, 1]           (N,) int64, 0 to 9
    ``cars``            (N, 6) float32, see ``.features``        (N, 1) float32, miles per US gallon
    ``penguins``        (N, 3) float32, bill and flipper in mm,  see ``target``
                        or (N, 4) with body mass in kg
    ``vowels``          (N, 29, 12) float32, sequences of 7      (N,) int64, 9 speakers
                        to 29 steps, with ``lengths``
    ``hamlet``          (N, 64) int64, the characters of a       (N, 64) int64, the characters that
                        text, see :class:`Text`                  follow
    ==================  =======================================  =========================================

    normalize : bring each feature of x (images: each channel) to mean 0 and standard deviation 1 by the statistics of
        the training set; y stays as it is, for regression too
    target : for penguins only. None: all three at once, a dict of "species" (N,) int64, "sex" (N, 1) float32 (0 female,
        1 male, NaN unknown) and "body_mass" (N, 1) float32 in kg. "sex" (binary, rows of unknown sex dropped) and
        "species" (classification) take body mass as the fourth input; "body_mass" is a regression. A list of them gives
        those in a dict, from the three inputs.
    seed : of the split. digits, cars and penguins are split 60-20-20, in proportion of digit, of species, or of sex
        where that is the target. Fashion's and vowels' test sets are always the official ones; the dev set, a tenth of
        the training examples but at most 5,000, is drawn in proportion. hamlet is split by position.
    path : for fashion only, a folder with the four IDX files, gzipped or not, or with a folder ``fashion-mnist`` of
        them

    ``fashion`` is looked for in ``path``, ``$DLCORE_DATA``, ``dlcore`` in the user's cache folder
    (``$XDG_CACHE_HOME`` or ``~/.cache``), the Debian package ``dataset-fashion-mnist``, and last in the package itself,
    as the subset. The first place that has all four files is taken, and ``.source`` says which. A ``path`` or
    ``$DLCORE_DATA`` that lacks them is an error: other data than the ones asked for would go unnoticed.

    Raises DataError for an unknown name and for files that are missing or damaged, ConfigError for an argument that
    the data set does not have.

    >>> data = load("digits", normalize=True)
    >>> len(data.train), len(data.dev), len(data.test)
    (1078, 360, 359)
    >>> load("penguins", target="sex").features
    ('bill_length', 'bill_depth', 'flipper_length', 'body_mass')
    """
    if name not in names():
        close = difflib.get_close_matches(str(name), names(), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise DataError(f"load: there is no data set {name!r}; {hint}known are {', '.join(names())}")
    if path is not None and name != "fashion":
        raise ConfigError(f"load: path is for 'fashion' only, {name!r} is in the package; leave path out")
    if target is not None and name != "penguins":
        raise ConfigError(f"load: target is for 'penguins' only, {name!r} has one target; leave target out")
    if name == "fashion":
        data = _fashion(name, *_fashion_folder(path), seed)
    elif name == "fashion-subset":
        data = _fashion(name, *_FASHION_SUBSET, seed)
    elif name == "digits":
        data = _digits(seed)
    elif name == "cars":
        data = _cars(seed)
    elif name == "vowels":
        data = vowels(seed)
    elif name == "hamlet":
        return hamlet()
    else:
        data = _penguins(target, seed)
    if not normalize:
        return data
    parts = [cast(Dataset, part) for part in (data.train, data.dev, data.test)]
    normalizer = Normalizer.fit(parts[0])
    train, dev, test = map(normalizer.apply, parts)
    return replace(data, train=train, dev=dev, test=test, normalizer=normalizer)


# Fashion-MNIST -------------------------------------------------------------------------------------------------------

_FASHION_SUBSET = (_FILES / "fashion", "the subset in the package")
_FASHION_FILES = tuple(
    f"{part}-{content}-ubyte.gz" for part in ("train", "t10k") for content in ("images-idx3", "labels-idx1")
)
_FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def _fashion(name: str, folder: Path, place: str, seed: int) -> Splits:
    files = idx_files(folder)
    images, labels, test_images, test_labels = (read_idx(files[part]) for part in IDX_PARTS)
    for part, x, y in (("train", images, labels), ("t10k", test_images, test_labels)):
        if x.dtype != np.uint8 or x.shape[1:] != (28, 28) or y.shape != x.shape[:1]:
            raise DataError(
                f"{folder}: the {part} files hold images {x.shape} of {x.dtype} and labels {y.shape}, "
                "expected (N, 28, 28) of uint8 and (N,)"
            )
    for part, y in (("train labels", labels), ("test labels", test_labels)):
        check_labels(y, len(_FASHION_CLASSES), f"{files[part]}: label")
    dev = min(max(len(labels) // 10, 1), 5000) / len(labels)
    train_rows, dev_rows = split_rows(len(labels), (1 - dev, dev), seed, labels)
    return Splits(
        train=_pictures(images[train_rows], labels[train_rows], 255),
        dev=_pictures(images[dev_rows], labels[dev_rows], 255),
        test=_pictures(test_images, test_labels, 255),
        name=name,
        task="classification",
        classes=_FASHION_CLASSES,
        source=f"Fashion-MNIST, {len(images):,} training + {len(test_images):,} test images, {place}",
        licence="MIT, Zalando SE",
        inputs=Inputs.images((28, 28), 1),
    )


def _fashion_folder(path: str | os.PathLike[str] | None) -> tuple[Path, str]:
    """The first folder with all four files, and how to tell people about it."""
    for origin, place in (("path", path), ("$DLCORE_DATA", os.environ.get("DLCORE_DATA"))):
        if place:
            folder = _complete(Path(os.path.expanduser(place)))
            if folder is None:
                raise DataError(
                    f"load: {origin} is {os.fspath(place)}, which lacks Fashion-MNIST's files "
                    f"({', '.join(_FASHION_FILES)}); point {origin} at their folder, or leave it out"
                )
            return folder, f"{origin}: {folder}"
    for place in (cache(), _DEBIAN):
        folder = _complete(place)
        if folder is not None:
            return folder, str(folder)
    return _FASHION_SUBSET


def has_fashion(place: str | os.PathLike[str]) -> bool:
    """Whether a folder is meant as ``path`` of :func:`load`: it has one of Fashion-MNIST's four files, if not all."""
    return any(idx_files(Path(place, folder)) for folder in ("", "fashion-mnist"))


def cache() -> Path:
    """The folder of what was downloaded, in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "dlcore")


def _complete(place: Path) -> Path | None:
    for folder in (place, place / "fashion-mnist"):
        if len(idx_files(folder)) == len(IDX_PARTS):
            return folder
    return None


def _pictures(images: np.ndarray, labels: np.ndarray, white: int) -> Dataset:
    x = images[..., None].astype(np.float32)  # (N, H, W) -> (N, H, W, 1)
    x /= white
    return Dataset(x, labels.astype(np.int64))


# Digits --------------------------------------------------------------------------------------------------------------


def _digits(seed: int) -> Splits:
    folder = _FILES / "digits"
    images, labels = read_idx(folder / "images-idx3-ubyte.gz"), read_idx(folder / "labels-idx1-ubyte.gz")
    parts = split_rows(len(labels), _FRACTIONS, seed, labels)
    train, dev, test = (_pictures(images[rows], labels[rows], 16) for rows in parts)
    return Splits(
        train=train,
        dev=dev,
        test=test,
        name="digits",
        task="classification",
        classes=tuple("0123456789"),
        source=f"Handwritten digits, {len(labels):,} images of 8 × 8, in the package",
        licence="BSD-3-Clause, the scikit-learn developers",
        inputs=Inputs.images((8, 8), 1),
    )


# Tables --------------------------------------------------------------------------------------------------------------


def _cars(seed: int) -> Splits:
    table = _table("cars")
    features = ("cylinders", "displacement", "horsepower", "weight", "acceleration", "model_year")
    data = Dataset(_matrix(table, features), _matrix(table, ("mpg",)))
    train, dev, test = (data[rows] for rows in split_rows(len(data), _FRACTIONS, seed))
    return Splits(
        train=train,
        dev=dev,
        test=test,
        name="cars",
        task="regression",
        features=features,
        source=f"Cars of 1970 to 1982, {len(data)} rows without gaps, in the package",
        licence="StatLib, for education and science; table from vega_datasets, MIT",
        inputs=Inputs.table(features),
    )


def _penguins(target: str | Sequence[str] | None, seed: int) -> Splits:
    tasks: dict[str, Task] = {"species": "classification", "sex": "binary", "body_mass": "regression"}
    several = tuple(tasks) if target is None else () if isinstance(target, str) else tuple(dict.fromkeys(target))
    for name in several or (target,):
        if name not in tasks:
            raise ConfigError(f"load: penguins have no target {name!r}; give species, sex, body_mass, or None for all")
    classes = {"species": ("Adelie", "Chinstrap", "Gentoo"), "sex": ("female", "male")}
    features = ("bill_length", "bill_depth", "flipper_length")

    table = _table("penguins")
    species = np.array([classes["species"].index(value) for value in table["species"]])
    sex = np.array([[classes["sex"].index(value) if value else np.nan] for value in table["sex"]], np.float32)
    mass = _matrix(table, ("body_mass",)) / np.float32(1000)  # g -> kg: of the same size as the other targets
    x = _matrix(table, features)
    keep = np.isfinite(mass[:, 0])  # no bird was measured in part
    if target == "sex":
        keep &= np.isfinite(sex[:, 0])
    if not several and target in classes:
        x, features = np.concatenate((x, mass), axis=1), (*features, "body_mass")

    y = {"species": species[keep], "sex": sex[keep], "body_mass": mass[keep]}
    strata = y["sex" if target == "sex" else "species"].reshape(-1)
    data = Dataset(x[keep], {name: y[name] for name in several} if several else y[str(target)])
    train, dev, test = (data[rows] for rows in split_rows(len(data), _FRACTIONS, seed, strata))
    return Splits(
        train=train,
        dev=dev,
        test=test,
        name="penguins",
        task="multitask" if several else tasks[str(target)],
        classes={name: classes[name] for name in several if name in classes} if several else classes.get(str(target)),
        features=features,
        source=f"Palmer penguins, {len(data)} of {len(keep)} birds, those with all that is needed, in the package",
        licence="CC0 1.0",
        inputs=Inputs.table(features),
    )


def _table(name: str) -> dict[str, list[str]]:
    """The columns of one of the package's own CSV files, as text."""
    with (_FILES / name / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))


def _matrix(table: dict[str, list[str]], columns: tuple[str, ...]) -> np.ndarray:
    """(N, columns) float32, NaN where the table has a gap."""
    return np.array([[float(value or "nan") for value in table[column]] for column in columns], np.float32).T.copy()
