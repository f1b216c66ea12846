"""Readers of files from elsewhere: everything in them is checked, and what is wrong is said with the file's name.

A reader ends in one of two ways: it gives arrays, or it raises a DataError of one line that names the file and the
place in it. Each states how much memory it may take, and refuses a file that announces more before it takes any.
"""

from dlcore.data.readers.csv.table import Table, read_csv
from dlcore.data.readers.idx import read_idx
from dlcore.data.readers.images.folder import ImageFolder, decode, read_folder
from dlcore.data.readers.images.paths import pictures_below
from dlcore.data.readers.npz import checked_inputs, plain_inputs, read_npz, read_npz_inputs

__all__ = [
    "ImageFolder",
    "Table",
    "checked_inputs",
    "decode",
    "pictures_below",
    "plain_inputs",
    "read_csv",
    "read_folder",
    "read_idx",
    "read_npz",
    "read_npz_inputs",
]
