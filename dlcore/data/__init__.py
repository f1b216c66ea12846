"""Data sets, splits, normalisation, batches and readers: NumPy arrays on the host.

>>> from dlcore.data import batches, load
>>> data = load("digits", normalize=True)
>>> x, y = next(iter(batches(data.train, 64, seed=0, epoch=0)))
>>> x.shape, y.shape
((64, 8, 8, 1), (64,))
"""

from dlcore.data import augment
from dlcore.data._open_path import open_path
from dlcore.data._open_series import open_series
from dlcore.data.builtin.download import fetch
from dlcore.data.builtin.registry import load, names
from dlcore.data.dataset import Dataset, Splits
from dlcore.data.loader import batches
from dlcore.data.normalize import Normalizer
from dlcore.data.preprocess import Inputs
from dlcore.data.readers import ImageFolder, Table, read_csv, read_folder, read_idx, read_npz
from dlcore.data.source import Source, Stream
from dlcore.data.split import hold_out, split
from dlcore.data.text import Text, Vocabulary, open_text

__all__ = [
    "Dataset",
    "ImageFolder",
    "Inputs",
    "Normalizer",
    "Source",
    "Splits",
    "Stream",
    "Table",
    "Text",
    "Vocabulary",
    "augment",
    "batches",
    "fetch",
    "hold_out",
    "load",
    "names",
    "open_path",
    "open_series",
    "open_text",
    "read_csv",
    "read_folder",
    "read_idx",
    "read_npz",
    "split",
]


def __dir__() -> list[str]:
    return sorted(__all__)
