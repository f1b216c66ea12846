"""The sequences that come with the package: utterances of several lengths, and a play."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np

from dlcore.data.dataset import Dataset, Splits
from dlcore.data.split import split_rows
from dlcore.data.text import open_text

__all__ = ["hamlet", "vowels"]

_FILES = Path(__file__).parents[1] / "files"
_STEPS, _SPEAKERS = 29, 9
_FEATURES = tuple(f"c{i}" for i in range(1, 13))


def vowels(seed: int = 0) -> Splits:
    """Japanese Vowels: who of nine speakers says /ae/, told from 7 to 29 steps of 12 coefficients.

    seed : of the development set, a tenth of the published training set; the test set is the published one

    >>> data = vowels()
    >>> data.train.x.shape, int(data.train.lengths.max()), len(data.dev), len(data.test)
    ((243, 29, 12), 26, 27, 370)
    """
    published, test = _utterances("train"), _utterances("test")
    train_rows, dev_rows = split_rows(len(published), (0.9, 0.1), seed, published.y)  # type: ignore[arg-type]
    return Splits(
        train=published[train_rows],
        dev=published[dev_rows],
        test=test,
        name="vowels",
        task="classification",
        classes=tuple(str(speaker) for speaker in range(1, _SPEAKERS + 1)),
        features=_FEATURES,
        source=f"Japanese Vowels, {len(published)} training + {len(test)} test utterances, in the package",
        licence="CC BY 4.0, M. Kudo, J. Toyama and M. Shimbo",
    )


def _utterances(part: str) -> Dataset:
    """One of the two files: x (N, 29, 12) float32, zeros behind each end, y the speaker from 0."""
    with gzip.open(_FILES / "vowels" / f"{part}.csv.gz", "rt", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    utterance, speaker = (np.array([row[header.index(name)] for row in rows], np.int64) for name in header[:2])
    steps = np.array([row[2:] for row in rows], np.float32)
    starts = np.flatnonzero(np.diff(utterance, prepend=-1))
    lengths = np.diff(starts, append=len(rows))
    x = np.zeros((len(starts), _STEPS, len(_FEATURES)), np.float32)
    x[utterance, np.arange(len(rows)) - starts[utterance]] = steps
    return Dataset(x, speaker[starts] - 1, lengths)


def hamlet(window: int | None = None, unknown: str | None = None) -> Splits:
    """The play, as :func:`~dlcore.data.open_text` splits a text.

    >>> data = hamlet()
    >>> data.train.vocabulary.decode(data.train.ids[:6]), len(data.classes)
    ('HAMLET', 66)
    """
    return open_text(
        _FILES / "hamlet" / "hamlet.txt",
        window=window,
        unknown=unknown,
        name="hamlet",
        source="Shakespeare's Hamlet, in the package",
        licence="public domain",
    )
