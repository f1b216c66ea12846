"""One picture from a file: whatever its size and mode, bytes of one size come out.

Everything that a damaged file can do to a decoder ends here, in a DataError that names the file. Pillow's own limit on
pixels is a global setting that warns; the files are opened by its readers of each format instead, which do not look at
it, and their size is checked before anything is decoded.
"""

from __future__ import annotations

import math
import os
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from dlcore.data.readers.file import BLOCK, bytes_of, opened, shown
from dlcore.errors import DataError

__all__ = ["DEPTH", "FORMATS", "PIXELS", "START", "Look", "decode", "examine", "look", "reader_of"]

PIXELS = 120_000_000  # of one picture
FORMATS = "PNG, JPEG, GIF, BMP, WEBP, TIFF or PNM"
START = 18  # bytes by which a format is known
DEPTH = 16  # bits of a 16-bit picture that uses its whole range

_MARKS: tuple[tuple[re.Pattern[bytes], type[ImageFile]], ...] = tuple(
    (re.compile(mark, re.DOTALL), reader)
    for mark, reader in (
        (rb"\x89PNG\r\n\x1a\n", PngImageFile),
        (rb"\xff\xd8\xff", JpegImageFile),
        (rb"GIF8", GifImageFile),
        (rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", BmpImageFile),  # the sizes of its second header
        (rb"RIFF.{4}WEBP", WebPImageFile),
        (rb"II[*+]\0|MM\0[*+]", TiffImageFile),
        (rb"P[1-6]\s+[#\d]", PpmImageFile),
    )
)
_LARGE = 16_000_000  # pixels; of pictures above it one is decoded at a time, by whichever thread
_SCANS = 50  # of a progressive JPEG of so many pixels; encoders write about ten
_ONE_LARGE = threading.Lock()
_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _unlocked() -> None:
    """In the child of a fork: a thread that has stayed behind may have held the lock."""
    global _ONE_LARGE
    _ONE_LARGE = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlocked)


def decode(
    path: str | os.PathLike[str],
    size: tuple[int, int],
    channels: int,
    *,
    pixels: int = PIXELS,
    depth: int = DEPTH,
) -> np.ndarray:
    """One picture as bytes: (H, W, C) uint8, H × W being ``size`` and C ``channels``, 1 for grey and 3 for colour.

    pixels : the most that a picture may have, 120 million unless given
    depth : bits that a picture of 16-bit grey uses, 9 to 16: its values from 0 to 2^depth − 1 become 0 to 255

    PNG, JPEG, BMP, GIF and TIFF (their first frame), WEBP and PNM are known by their content, not by the file's name.
    The picture is turned as its EXIF orientation says, cut in the middle to the proportions of ``size``, and scaled
    (bilinear, averaged over the pixels that one pixel replaces). Transparent pixels are laid on white, 16-bit grey is
    scaled to 8 bits, and colour becomes grey by 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601). A JPEG of more than four
    times the size is decoded at a half, a quarter or an eighth of its own.

    A picture takes up to 8 bytes a pixel while it is decoded, a WEBP 16 and a JPEG as a rule far fewer; of pictures
    above 16 million pixels one is decoded at a time.

    Raises DataError, naming the file, where it is missing, no picture, damaged, cut short, or has too many pixels; and
    for a progressive JPEG that is written as so many scans that decoding would not end.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "grey.png"
    >>> Image.new("L", (40, 20), 7).save(file)
    >>> decode(file, (4, 4), 3).shape
    (4, 4, 3)
    """
    with _picture(path, pixels) as image, _ONE_LARGE if _pixels(image) > _LARGE else nullcontext():
        height, width = size
        orientation = _orientation(image)
        if orientation >= 5:  # turned by a quarter at the end
            height, width = width, height
        scale = max(height / image.height, width / image.width)
        if isinstance(image, JpegImageFile):
            wanted = (math.ceil(2 * scale * image.width), math.ceil(2 * scale * image.height))
            image.draft("L" if channels == 1 else "RGB", wanted)
        small = _scaled(_plain(image, depth), height, width)
        if orientation in _TURNS:
            small = small.transpose(_TURNS[orientation])
        flat = small.convert("L" if channels == 1 else "RGB")
        return np.array(flat, np.uint8).reshape(*size, channels)


class Look(NamedTuple):
    """What is known of a picture before its pixels are scaled.

    size : H and W as it stands upright
    channels : 1 for a file of grey pixels, 3 for one that can hold colour, whether it does or not
    white : the largest value of 16-bit grey; 0 for other pictures
    """

    size: tuple[int, int]
    channels: int
    white: int


def examine(path: str | os.PathLike[str], *, pixels: int = PIXELS) -> Look:
    """The :class:`Look` of a picture; the pixels are decoded only where they are 16-bit grey.

    Raises DataError as :func:`decode`.
    """
    with _picture(path, pixels) as image:
        size = (image.height, image.width) if _orientation(image) < 5 else (image.width, image.height)
        white = 0
        if _is_deep(image):
            with _ONE_LARGE if _pixels(image) > _LARGE else nullcontext():
                white = int(np.asarray(image).max())
        return Look(size, 1 if image.mode in ("1", "L", "LA") or _is_deep(image) else 3, white)


def look(path: str | os.PathLike[str], *, pixels: int = PIXELS) -> tuple[tuple[int, int], int]:
    """The size (H, W) of a picture as it stands upright and its channels, 1 for grey and 3 for colour."""
    with _picture(path, pixels) as image:
        size = (image.height, image.width) if _orientation(image) < 5 else (image.width, image.height)
        return size, 1 if image.mode in ("1", "L", "LA") or _is_deep(image) else 3


@contextmanager
def _picture(path: str | os.PathLike[str], pixels: int) -> Iterator[ImageFile]:
    """An open picture for a ``with`` statement, inside which every failure of the decoder becomes a DataError."""
    name = shown(path)
    with opened(path) as file:
        try:
            with _reader(file, name) as image:
                if not 0 < _pixels(image) <= pixels:
                    raise DataError(
                        f"{name}: the picture has {image.width:,} × {image.height:,} pixels, but 1 to {pixels:,} are "
                        "read; scale it down, or leave it out"
                    )
                if isinstance(image, TiffImageFile) and image.mode in ("I", "F"):
                    raise DataError(
                        f"{name}: the TIFF holds signed, 32-bit or floating-point values, whose white is not known; "
                        "save it with 8 or 16 unsigned bits"
                    )
                if "progressive" in image.info:
                    _check_scans(file, _pixels(image), name)
                yield image
        except DataError:
            raise
        except (
            Exception
        ) as error:  # Pillow raises a score of kinds on damaged files, struct.error and KeyError among them
            internal = isinstance(error.__cause__ or error, struct.error | KeyError | IndexError)
            reason = "" if internal else shown(" ".join(str(error).split()))
            detail = f" ({reason:.120})" if reason else ""
            raise DataError(f"{name}: the picture is damaged or cut short{detail}; replace the file") from error


def _reader(file: BinaryIO, name: str) -> ImageFile:
    start = file.read(START)
    file.seek(0)
    reader = reader_of(start)
    if reader is None:
        what = f"it starts with {start[:8].hex(' ')}" if start else "the file is empty"
        raise DataError(f"{name}: no picture: {what}, expected {FORMATS}")
    return reader(_Bounded(file))  # type: ignore[arg-type]  # it reads as a file does


def reader_of(start: bytes) -> type[ImageFile] | None:
    """Pillow's reader of the format that a file's first bytes show; None where they show no picture.

    >>> reader_of(b"GIF89a").__name__, reader_of(b"BMW and other makes")
    ('GifImageFile', None)
    """
    return next((reader for mark, reader in _MARKS if mark.match(start)), None)


def _check_scans(file: BinaryIO, pixels: int, name: str) -> None:
    """Refuse a progressive JPEG of very many scans: each costs the time of a whole picture and may be a few bytes long.

    Source: the libjpeg-turbo project, "Two Issues with the JPEG Standard".
    """
    place = file.tell()
    file.seek(0)
    scans, last = 0, b""
    while block := file.read(BLOCK):
        scans += (last + block).count(b"\xff\xda")  # a scan's own bytes never hold this pair
        last = block[-1:]
    file.seek(place)
    if scans > _SCANS and scans * pixels > _SCANS * _LARGE:
        raise DataError(
            f"{name}: the JPEG has {scans:,} scans, each over the whole picture; save it anew, or leave it out"
        )


class _Bounded:
    """A file that is never asked for more bytes than it has: Python takes the memory for all that are asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = bytes_of(file)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, self._size))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _pixels(image: ImageFile) -> int:
    return image.width * image.height


def _orientation(image: ImageFile) -> int:
    """The EXIF orientation, 1 to 8; 1, upright, where the EXIF data is missing or damaged: the pixels may be sound.

    Pillow turns a TIFF itself.
    """
    if isinstance(image, TiffImageFile):
        return 1
    if isinstance(image, PngImageFile) and _text_behind(image.fp):
        image.load()  # the EXIF data may stand behind the pixels
    try:
        value = Image.Image.getexif(image).get(_ORIENTATION, 1)  # that of a PNG would decode it, and hide its damage
    except Exception:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _text_behind(file: Any) -> bool:
    """Whether a PNG that is open may have EXIF data behind its pixels, by the names of its chunks."""
    if file is None:  # all is loaded
        return False
    place, pixels = file.tell(), False
    file.seek(8)
    while len(head := file.read(8)) == 8:
        kind = head[4:]
        pixels |= kind == b"IDAT"
        if pixels and kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
            break
        file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
    file.seek(place)
    return len(head) == 8


def _is_deep(image: Image.Image) -> bool:
    """Whether it is 16-bit grey."""
    return image.mode == "I" or image.mode.startswith("I;")


def _plain(image: Image.Image, depth: int) -> Image.Image:
    """The picture in a mode that can be scaled: palettes resolved, 16 bits made 8."""
    image.load()
    if _is_deep(image):
        return Image.fromarray(_eight_bits(np.asarray(image), (1 << depth) - 1))
    if image.mode == "PA" or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert({"1": "L", "P": "RGB"}[image.mode]) if image.mode in ("1", "P") else image


def _eight_bits(grey: np.ndarray, white: int) -> np.ndarray:
    """16-bit grey (H, W) as uint8, scaled and rounded, block by block: an index takes 8 bytes."""
    table = ((np.arange(white + 1) * 255 + white // 2) // white).astype(np.uint8)
    out = np.empty(grey.shape, np.uint8)
    flat, source = out.reshape(-1), grey.reshape(-1)
    for first in range(0, len(flat), 1 << 20):
        flat[first : first + (1 << 20)] = table[np.clip(source[first : first + (1 << 20)], 0, white)]
    return out


def _scaled(image: Image.Image, height: int, width: int) -> Image.Image:
    """The middle of the picture, of the proportions asked for, in the size asked for, on white."""
    scale = max(height / image.height, width / image.width)
    left, top = (image.width - width / scale) / 2, (image.height - height / scale) / 2
    box = (
        max(left, 0.0),
        max(top, 0.0),
        min(left + width / scale, image.width),
        min(top + height / scale, image.height),
    )
    small = image.resize((width, height), Image.Resampling.BILINEAR, box)
    if small.mode in ("LA", "La", "RGBA", "RGBa"):
        small = small.convert("RGBA")
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small)
    return small
