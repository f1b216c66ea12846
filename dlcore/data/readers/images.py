"""Folders of pictures, one folder per class: decoded once, kept as bytes as far as memory is given, else read again."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, overload

import numpy as np

from dlcore.data.normalize import Normalizer
from dlcore.data.readers._decode import SUFFIXES, decode, look
from dlcore.data.readers._file import shown
from dlcore.errors import ConfigError, DataError

__all__ = ["ImageFolder", "decode", "is_hidden", "read_folder"]

_AT_ONCE = 1024  # pictures handed to the threads at a time
_WARNINGS = 10  # corrupt files that are named one by one
_LARGEST = 1 << 20  # pixels of a size that nobody asked for


def read_folder(
    path: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] | None = None,
    color: str | None = None,
    corrupt: str = "stop",
    workers: int = 2,
    memory: int = 512 << 20,
) -> ImageFolder:
    """The pictures of a folder with one folder per class, whose names in sorted order are the classes.

    path : of the folder
    size : H and W in pixels, or one number for both; None takes those of the first picture
    color : "grey" or "rgb"; None takes grey where the first picture of each class is
    corrupt : "stop" raises an error for a file that cannot be read; "skip" leaves it out with a warning
    workers : threads that decode
    memory : bytes of decoded pixels to keep, 512 MiB unless given. Pictures beyond it are decoded again whenever they
        are asked for, a batch at a time.

    Files that end in .png, .jpg, .jpeg, .bmp, .gif or .webp are taken, from folders inside a class's folder too; others
    are left alone, and so is what is hidden or was left by a system, such as __MACOSX. A link to a folder is followed
    where it stands for a class, and not below. Each picture becomes ``size`` as :func:`decode` says. All are decoded
    once here, which finds the files that cannot be read.

    Raises DataError, naming the folder or the file, where there is no folder, no picture, a class without any, or one
    class alone, and for the first file that cannot be read; ConfigError for an argument that is none of the above.

    >>> import tempfile
    >>> from PIL import Image
    >>> root = Path(tempfile.mkdtemp())
    >>> for shade, name in enumerate(["black", "white"]):
    ...     (root / name).mkdir()
    ...     Image.new("L", (6, 4), 255 * shade).save(root / name / "1.png")
    >>> folder = read_folder(root)
    >>> folder.classes, folder.shape, folder.y.tolist()
    (('black', 'white'), (4, 6, 1), [0, 1])
    >>> folder.rows([1])[0].max()
    np.float32(1.0)
    """
    _check_choice("color", color, (None, "grey", "rgb"))
    _check_choice("corrupt", corrupt, ("stop", "skip"))
    for name, value, least in (("workers", workers, 1), ("memory", memory, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(f"read_folder: {name} is {value!r} but a whole number of at least {least} is expected")
    given = None if size is None else _checked_size(size)
    root = Path(path)
    found = _find(root)
    faults = _Faults(corrupt)
    channels = {"grey": 1, "rgb": 3}.get(color or "") or _channels(found, faults)
    shape = given or _size_of_first(found, faults)
    classes = tuple(found)
    paths = tuple(file for name in classes for file in found[name])
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(found[name]) for name in classes])
    pixels = _Pixels(root, paths, labels, classes, shape, channels, workers, memory)
    good = pixels.read(faults)
    faults.tell(root)
    for label, name in enumerate(classes):
        if not (labels[good] == label).any():
            raise DataError(f"{shown(root / name)}: no picture of this class can be read; replace them, or take it out")
    return ImageFolder(pixels, good)


class ImageFolder:
    """Pictures on disk as a :class:`~dlcore.data.source.Source`; made by :func:`read_folder`.

    pixels, places, normalizer : as :func:`read_folder` gives them
    shape, dtype : of one example, (H, W, C) float32
    y : (N,) int64, the labels
    classes : their names
    paths : of the files
    lazy : True: x is made batch by batch, values in [0, 1] unless a normalizer is applied

    ``folder[3]`` is one example as (x, y); a slice, an array of positions or a boolean mask gives an ImageFolder of
    those rows, which shares the pixels in memory.

    >>> import tempfile
    >>> from PIL import Image
    >>> root = Path(tempfile.mkdtemp())
    >>> for shade, name in enumerate(["black", "white"]):
    ...     (root / name).mkdir()
    ...     Image.new("L", (6, 4), 255 * shade).save(root / name / "1.png")
    >>> folder = read_folder(root)
    >>> folder
    ImageFolder(2 pictures (4, 6, 1), 2 classes)
    >>> folder.classes, [path.name for path in folder.paths], folder.memory
    (('black', 'white'), ['1.png', '1.png'], 48)
    >>> x, y = folder.rows([1])
    >>> x.shape, x.max(), y.tolist(), folder.bytes_at([1]).max()
    ((1, 4, 6, 1), np.float32(1.0), [1], np.uint8(255))
    >>> folder.normalized(Normalizer([0.5], [0.5])).rows([0])[0].min()
    np.float32(-1.0)
    >>> folder.fingerprint() == folder[[0, 1]].fingerprint(), folder.fingerprint() == folder[:1].fingerprint()
    (True, False)
    """

    lazy = True
    dtype = np.dtype(np.float32)

    def __init__(self, pixels: _Pixels, places: np.ndarray, normalizer: Normalizer | None = None) -> None:
        self._pixels = pixels
        self._places = places
        self._normalizer = normalizer
        self.y: np.ndarray = pixels.labels[places]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example, (H, W, C)."""
        return self._pixels.shape

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in the order of their labels."""
        return self._pixels.classes

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, in the order of the examples."""
        return tuple(self._pixels.paths[place] for place in self._places)

    @property
    def memory(self) -> int:
        """Bytes of pixels that the whole folder keeps."""
        return self._pixels.kept.nbytes

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int | np.integer) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, index: slice | list[int] | np.ndarray) -> ImageFolder: ...
    def __getitem__(self, index: Any) -> tuple[Any, ...] | ImageFolder:
        if isinstance(index, int | np.integer):
            return self.rows(index)
        places = self._places[_positions(index)]
        if not len(places):
            raise DataError(f"{shown(self._pixels.root)}: no picture is chosen; at least one is needed")
        return ImageFolder(self._pixels, places, self._normalizer)

    def rows(self, index: Any) -> tuple[np.ndarray, np.ndarray]:
        """x (n, H, W, C) float32 and y (n,) int64 at ``index``. Raises DataError where a file has gone or changed."""
        index = _positions(index)
        x = self.bytes_at(index).astype(np.float32)
        x /= 255
        return (x if self._normalizer is None else self._normalizer.transform(x)), self.y[index]

    def bytes_at(self, index: Any) -> np.ndarray:
        """The pixels (n, H, W, C) uint8 at ``index``, before anything is applied."""
        return self._pixels.at(self._places[_positions(index)])

    def normalized(self, normalizer: Normalizer) -> ImageFolder:
        """The same pictures with ``normalizer`` applied to x: float32, in the arithmetic of its ``transform``."""
        return ImageFolder(self._pixels, self._places, normalizer)

    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 of all names, below the folder, with file sizes and labels."""
        digest = hashlib.sha256()
        for place, label in zip(self._places, self.y, strict=True):
            digest.update(os.fsencode(self._pixels.paths[place].relative_to(self._pixels.root).as_posix()))
            digest.update(f"\0{self._pixels.sizes[place]}\0{label}\0".encode())
        return digest.hexdigest()[:16]

    def __repr__(self) -> str:
        return f"ImageFolder({len(self)} pictures {self.shape}, {len(self.classes)} classes)"


class _Pixels:
    """All pictures of a folder: the first of them in memory, the others on disk."""

    def __init__(
        self,
        root: Path,
        paths: tuple[Path, ...],
        labels: np.ndarray,
        classes: tuple[str, ...],
        size: tuple[int, int],
        channels: int,
        workers: int,
        memory: int,
    ) -> None:
        self.root, self.paths, self.labels, self.classes = root, paths, labels, classes
        self.shape = (*size, channels)
        self.workers = workers
        self.sizes = [_size(path) for path in paths]
        each = size[0] * size[1] * channels
        self.kept = np.zeros((min(len(paths), memory // each), *self.shape), np.uint8)

    def read(self, faults: _Faults) -> np.ndarray:
        """Decode every picture once; the positions of those that can be read."""
        good = np.ones(len(self.paths), bool)
        with ThreadPoolExecutor(self.workers) as pool:
            for first in range(0, len(self.paths), _AT_ONCE):
                places = range(first, min(first + _AT_ONCE, len(self.paths)))
                pictures = [pool.submit(self._keep, place) for place in places]
                try:
                    for place, picture in zip(places, pictures, strict=True):
                        try:
                            picture.result()
                        except DataError as error:
                            faults.add(self.paths[place], error)
                            good[place] = False
                finally:
                    for picture in pictures:
                        picture.cancel()
        return np.flatnonzero(good)

    def _keep(self, place: int) -> None:
        pixels = self._decode(place)
        if place < len(self.kept):
            self.kept[place] = pixels

    def _decode(self, place: int) -> np.ndarray:
        return decode(self.paths[place], self.shape[:2], self.shape[2])

    def at(self, places: Any) -> np.ndarray:
        """Pictures (n, H, W, C) uint8, or one (H, W, C) for a single position."""
        wanted = np.atleast_1d(places)
        out = np.empty((len(wanted), *self.shape), np.uint8)
        held = wanted < len(self.kept)
        out[held] = self.kept[wanted[held]]
        away = np.flatnonzero(~held)
        if len(away):

            def fetch(i: int) -> None:
                out[i] = self._decode(wanted[i])

            with ThreadPoolExecutor(min(self.workers, len(away))) as pool:
                list(pool.map(fetch, away.tolist()))
        return out if np.ndim(places) else out[0]


class _Faults:
    """Files that cannot be read, and what is done about them."""

    def __init__(self, corrupt: str) -> None:
        self._stop = corrupt == "stop"
        self._errors: dict[Path, str] = {}

    def add(self, path: Path, error: DataError) -> None:
        if self._stop:
            raise error
        self._errors.setdefault(path, str(error))

    def tell(self, root: Path) -> None:
        """One warning per file, of ten at most, and then their number."""
        for line in list(self._errors.values())[:_WARNINGS]:
            warnings.warn(f"left out: {line}", UserWarning, stacklevel=3)
        more = len(self._errors) - _WARNINGS
        if more > 0:
            warnings.warn(f"{shown(root)}: {more:,} more pictures are left out", UserWarning, stacklevel=3)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's: hidden, or left behind by a system."""
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _find(root: Path) -> dict[str, list[Path]]:
    """By class, the files of its pictures, sorted."""
    name = shown(root)
    try:
        entries = sorted(entry for entry in os.listdir(root) if not is_hidden(entry))
        classes = [entry for entry in entries if (root / entry).is_dir()]
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: the folder cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not classes:
        loose = sum(entry.lower().endswith(SUFFIXES) for entry in entries)
        what = (
            f"{_count(loose, 'picture')} {'lies' if loose == 1 else 'lie'} in the folder itself"
            if loose
            else "there is no folder in it"
        )
        raise DataError(f"{name}: {what}, but one folder of pictures per class is expected")
    found, others = {}, {}
    for entry in classes:
        found[entry], others[entry] = _pictures_below(root / entry)
    if not any(found.values()):
        count = sum(others.values())
        raise DataError(
            f"{name}: no picture in the folders {', '.join(map(shown, classes[:5]))}"
            f"{', ...' if len(classes) > 5 else ''}, but {_count(count, 'other file')}; expected {', '.join(SUFFIXES)}"
        )
    for entry, files in found.items():
        if not files:
            raise DataError(
                f"{shown(root / entry)}: no picture of this class, but {_count(others[entry], 'other file')}; add some "
                f"({', '.join(SUFFIXES)}), or take the folder out"
            )
    if len(classes) == 1:
        raise DataError(f"{name}: {shown(classes[0])} is the only class, but at least two folders are expected")
    return found


def _pictures_below(folder: Path) -> tuple[list[Path], int]:
    """The pictures in a folder and the folders in it, and the number of other files. Links to folders end here."""
    pictures: list[Path] = []
    others = 0
    places = [folder]
    while places:
        place = places.pop()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        continue
                    if entry.is_dir():
                        if not entry.is_symlink():
                            places.append(place / entry.name)
                    elif entry.name.lower().endswith(SUFFIXES):
                        pictures.append(place / entry.name)
                    else:
                        others += 1
        except OSError as error:
            raise DataError(f"{shown(place)}: the folder cannot be read: {error.strerror or error}") from error
    return sorted(pictures), others


def _channels(found: dict[str, list[Path]], faults: _Faults) -> int:
    """1 where the first picture of each class that can be read is grey, else 3."""
    for files in found.values():
        for file in files:
            try:
                channels = look(file)[1]
            except DataError as error:
                faults.add(file, error)
                continue
            if channels == 3:
                return 3
            break
    return 1


def _size_of_first(found: dict[str, list[Path]], faults: _Faults) -> tuple[int, int]:
    for file in (file for files in found.values() for file in files):
        try:
            height, width = look(file)[0]
        except DataError as error:
            faults.add(file, error)
            continue
        if height * width > _LARGEST:
            raise DataError(
                f"{shown(file)}: the first picture has {width:,} × {height:,} pixels, too many to learn "
                "from by default; give the size that all pictures are to have, such as 64"
            )
        return height, width
    raise DataError(
        f"{shown(next(iter(found.values()))[0].parent.parent)}: not one picture can be read; check the files"
    )


def _checked_size(size: Any) -> tuple[int, int]:
    values = (size, size) if isinstance(size, int) else size
    if (
        not isinstance(values, Sequence)
        or len(values) != 2
        or not all(isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 4096 for value in values)
    ):
        raise ConfigError(f"read_folder: size is {size!r} but one or two whole numbers from 1 to 4,096 are expected")
    return values[0], values[1]


def _check_choice(name: str, value: Any, words: tuple[str | None, ...]) -> None:
    if value not in words:
        raise ConfigError(f"read_folder: {name} is {value!r} but one of {', '.join(map(str, words))} is expected")


def _positions(index: Any) -> Any:
    return np.asarray(index) if isinstance(index, list | tuple | range) else index


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _size(path: Path) -> int:
    """Bytes of a file; −1 where it has gone, which decoding will say."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
