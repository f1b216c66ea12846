"""Folders of pictures, one folder per class: decoded once, kept as bytes as far as memory is given, else read again."""

from __future__ import annotations

import copy
import hashlib
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, overload

import numpy as np

from dlcore.data.normalize import Normalizer
from dlcore.data.readers.file import shown
from dlcore.data.readers.images.common_form import Form, form_of
from dlcore.data.readers.images.decode import decode, examine, look
from dlcore.data.readers.images.paths import Found, find, left_out
from dlcore.errors import ConfigError, DataError

__all__ = ["ImageFolder", "decode", "read_folder", "read_parts"]

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
    size : H and W in pixels, or one number for both. None takes the size that more than half of the pictures have;
        where there is none, or it has more than 2^20 pixels, the median height and width, scaled so that the shorter
        side has at most 64 pixels.
    color : "grey" or "rgb"; None takes grey where no picture has a coloured pixel
    corrupt : "stop" raises an error for a file that cannot be read; "skip" leaves it out with a warning
    workers : threads that decode
    memory : bytes of decoded pixels to keep, 512 MiB unless given. Pictures beyond it are decoded again whenever they
        are asked for, a batch at a time.

    PNG, JPEG, BMP, GIF, WEBP, TIFF and PNM are taken, from folders inside a class's folder too, whatever the files are
    called; others are left alone, and so is what is hidden or was left by a system, such as __MACOSX. A file that has
    the suffix of a picture and is none is one that cannot be read. A link to a folder is followed where it stands for
    a class, and not below. Each picture becomes ``size`` as :func:`decode` says; 16-bit grey is scaled by the bits that
    the largest value of all pictures needs. All are decoded once here, which finds the files that cannot be read.

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
    folders, _ = read_parts([find(Path(path))], given, color, corrupt, memory, workers=workers)
    return folders[0]


def read_parts(
    parts: Sequence[Found],
    size: tuple[int, int] | None,
    color: str | None,
    corrupt: str,
    memory: int,
    *,
    workers: int = 2,
    rules: int = 2,
    form: Form | None = None,
) -> tuple[list[ImageFolder], tuple[str, ...]]:
    """The pictures of several folders, which become alike, and what there is to know of them, a line each.

    parts : the files of each folder
    memory : bytes of decoded pixels to keep, of all folders
    rules : 1 for those of version 0.1, by which the first pictures of the first folder decide size and colour
    form : what the pictures become, where it is known already

    The other arguments and the errors are those of :func:`read_folder`.
    """
    faults = _Faults(corrupt)
    if form is None and rules == 1:
        form = _form_of_first(parts[0], size, color, faults)
    elif form is None:
        with ThreadPoolExecutor(workers) as pool:
            form = _form(parts, size, color, faults, pool)
    pixels, good = [], []
    for part in parts:
        classes = tuple(part.classes)
        labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(part.classes[name]) for name in classes])
        pixels.append(_Pixels(part.root, part.files, labels, classes, form, workers, memory))
        memory -= pixels[-1].kept.nbytes
        good.append(pixels[-1].read(faults))
        for label, name in enumerate(classes):
            if not (labels[good[-1]] == label).any():
                faults.tell(part.root)
                raise DataError(
                    f"{shown(part.root / name)}: no picture of this class can be read; replace them, or take it out"
                )
    faults.tell(parts[0].root)
    words = list(form.words)
    if form.undecided:
        coloured, count = sum(one.coloured for one in pixels), sum(map(len, good))
        if not coloured:
            for one in pixels:
                one.make_grey()
        elif coloured < count:
            words.append(f"{coloured:,} of {count:,} pictures have colours; --color grey reads all of them as grey")
    lines = [*words, *([left] if (left := left_out(list(parts), faults.count)) and rules > 1 else [])]
    return [ImageFolder(one, places) for one, places in zip(pixels, good, strict=True)], tuple(lines)


class ImageFolder:
    """Pictures on disk as a :class:`~dlcore.data.source.Source`; made by :func:`read_folder`.

    pixels, places, normalizer : as :func:`read_folder` gives them
    shape, dtype : of one example, (H, W, C) float32
    y : (N,) int64, the labels
    classes : their names
    paths : of the files
    depth : bits of 16-bit grey that were scaled to 8; 16 where there is none
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
    >>> folder.name_of(1).endswith("/white/1.png")
    True
    >>> x, y = folder.rows([1])
    >>> x.shape, x.max(), y.tolist(), folder.bytes_at([1]).max()
    ((1, 4, 6, 1), np.float32(1.0), [1], np.uint8(255))
    >>> folder.normalized(Normalizer([0.5], [0.5])).rows([0])[0].min()
    np.float32(-1.0)
    >>> folder.fingerprint() == folder[[0, 1]].fingerprint(), folder.fingerprint() == folder[:1].fingerprint()
    (True, False)
    >>> folder.depth, len(set(folder.digests())), folder.relabelled(("black", "grey", "white")).y.tolist()
    (16, 2, [0, 2])
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

    def name_of(self, position: int) -> str:
        """The name of an example's file from the folder on, such as "photos/cat/1.png"."""
        path, root = self._pixels.paths[self._places[position]], self._pixels.root
        return shown((Path(root.absolute().name) / path.relative_to(root)).as_posix())

    @property
    def depth(self) -> int:
        """Bits that 16-bit grey uses, as :func:`decode` takes them."""
        return self._pixels.form.depth

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

    def digests(self) -> np.ndarray:
        """What tells the pixels of each picture from others, (n,) uint64."""
        return self._pixels.digests[self._places]

    def normalized(self, normalizer: Normalizer) -> ImageFolder:
        """The same pictures with ``normalizer`` applied to x: float32, in the arithmetic of its ``transform``."""
        return ImageFolder(self._pixels, self._places, normalizer)

    def relabelled(self, classes: tuple[str, ...]) -> ImageFolder:
        """The same pictures with labels by their place in ``classes``, among which those of the folder are."""
        return ImageFolder(self._pixels.relabelled(classes), self._places, self._normalizer)

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
        form: Form,
        workers: int,
        memory: int,
    ) -> None:
        self.root, self.paths, self.labels, self.classes = root, paths, labels, classes
        self.form = form
        self.shape = (*form.size, form.channels)
        self.workers = workers
        self.sizes = [_size(path) for path in paths]
        self.digests = np.zeros(len(paths), np.uint64)  # of the pixels of each
        self.coloured = 0  # pictures in which a pixel has a colour, known where the form is undecided
        self.kept = np.zeros((min(len(paths), memory // math.prod(self.shape)), *self.shape), np.uint8)

    def relabelled(self, classes: tuple[str, ...]) -> _Pixels:
        """The same with other labels."""
        other = copy.copy(self)
        places = np.array([classes.index(name) for name in self.classes], np.int64)
        other.classes, other.labels = classes, places[self.labels]
        return other

    def read(self, faults: _Faults) -> np.ndarray:
        """Decode every picture once; the positions of those that can be read."""
        good = np.ones(len(self.paths), bool)
        with ThreadPoolExecutor(self.workers) as pool:
            for place, coloured in _in_turn(pool, self._keep, range(len(self.paths)), self.paths, faults):
                good[place] = coloured is not None
                self.coloured += bool(coloured)
        return np.flatnonzero(good)

    def _keep(self, place: int) -> bool:
        """Decode a picture and keep it where there is room; whether it has colours that decide something."""
        pixels = self._decode(place)
        if place < len(self.kept):
            self.kept[place] = pixels
        coloured = pixels.shape[2] > 1 and bool((pixels != pixels[..., :1]).any())
        grey_or_not = np.ascontiguousarray(pixels if coloured else pixels[..., :1])
        self.digests[place] = int.from_bytes(hashlib.blake2b(grey_or_not.data, digest_size=8).digest(), "little")
        return self.form.undecided and coloured

    def make_grey(self) -> None:
        """One channel in the place of three that are equal in every picture."""
        self.shape = (*self.form.size, 1)
        self.kept = self.kept[..., :1].copy()

    def _decode(self, place: int) -> np.ndarray:
        return decode(self.paths[place], self.form.size, self.shape[2], depth=self.form.depth)

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
            raise DataError(f"{error}; --corrupt skip leaves such files out") from error
        self._errors.setdefault(path, str(error))

    @property
    def count(self) -> int:
        """Of the files."""
        return len(self._errors)

    def tell(self, root: Path) -> None:
        """One warning per file, of ten at most, and then their number."""
        for line in list(self._errors.values())[:_WARNINGS]:
            warnings.warn(f"left out: {line}", UserWarning, stacklevel=3)
        more = len(self._errors) - _WARNINGS
        if more > 0:
            warnings.warn(f"{shown(root)}: {more:,} more pictures are left out", UserWarning, stacklevel=3)


def _in_turn(
    pool: ThreadPoolExecutor, work: Callable[[Any], Any], places: Sequence[Any], paths: Sequence[Path], faults: _Faults
) -> Iterator[tuple[int, Any]]:
    """What ``work`` makes of each place, in their order; None where the file of that place cannot be read."""
    for first in range(0, len(places), _AT_ONCE):
        block = range(first, min(first + _AT_ONCE, len(places)))
        results = [pool.submit(work, places[i]) for i in block]
        try:
            for i, result in zip(block, results, strict=True):
                try:
                    yield i, result.result()
                except DataError as error:
                    faults.add(paths[i], error)
                    yield i, None
        finally:
            for result in results:
                result.cancel()


def _form(
    parts: Sequence[Found], size: tuple[int, int] | None, color: str | None, faults: _Faults, pool: ThreadPoolExecutor
) -> Form:
    files = [file for part in parts for file in part.files]
    looks = [look for _, look in _in_turn(pool, examine, files, files, faults) if look is not None]
    if not looks:
        raise DataError(f"{shown(parts[0].root)}: not one picture can be read; check the files")
    return form_of(looks, size, color)


def _form_of_first(found: Found, size: tuple[int, int] | None, color: str | None, faults: _Faults) -> Form:
    channels = {"grey": 1, "rgb": 3}.get(color or "") or _channels(found.classes, faults)
    return Form(size or _size_of_first(found.classes, faults), channels)


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


def _size(path: Path) -> int:
    """Bytes of a file; −1 where it has gone, which decoding will say."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
