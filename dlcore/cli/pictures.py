"""Pictures for ``dlcore filter``: read whole, filtered in strips, written at once or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from backends.reference.filter import pixel_at
from dlcore._core.configurable import did_you_mean
from dlcore._core.files import replacing
from dlcore.errors import ConfigError, DataError

__all__ = [
    "CLIPPED",
    "check_channels",
    "check_target",
    "clipped",
    "largest",
    "read",
    "scaled",
    "side_by_side",
    "small",
    "strips",
    "write",
    "write_numbers",
]

STRIP = 1 << 26
"""Bytes that a strip may take while it is filtered, 64 MiB; one row with those that it depends on is the least."""

COPIES = 10
"""How many float arrays as large as a strip exist at a time: the extended one, both passes of both axes, products."""

PANEL = 320
"""Pixels: the longer side of a panel of a montage, at most; small pictures are enlarged up to it."""

CLIPPED = "rounded, and clipped to 0–255"

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


# --- in


def read(path: str) -> np.ndarray:
    """A picture as (H, W) or (H, W, 3) uint8, or the array of an NPY file, (H, W) or (H, W, C), not yet in memory.

    Raises DataError, naming the file, where it cannot be read.
    """
    from dlcore.data.readers import decode
    from dlcore.data.readers.images.decode import look

    if Path(path).suffix.lower() == ".npy":
        return _read_numbers(path)
    size, channels = look(path)
    pixels = decode(path, size, channels)
    return pixels[:, :, 0] if channels == 1 else pixels


def small(path: str) -> np.ndarray:
    """A picture scaled down to a panel of a montage; of an NPY file every n-th pixel is taken."""
    from dlcore.data.readers import decode
    from dlcore.data.readers.images.decode import look

    if Path(path).suffix.lower() == ".npy":
        image = _read_numbers(path)
        check_channels(path, image)
        step = -(-max(image.shape[:2]) // PANEL)
        return np.array(image[::step, ::step])
    size, channels = look(path)
    scale = min(1.0, PANEL / max(size))
    pixels = decode(path, (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))), channels)
    return pixels[:, :, 0] if channels == 1 else pixels


def _read_numbers(path: str) -> np.ndarray:
    from dlcore.data.readers.file import opened, shown

    name = shown(path)
    with opened(path):  # says what is wrong with a path
        pass
    try:
        image = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{name}: no NPY file, or damaged or cut short ({reason:.100}); write it by numpy.save"
        ) from None
    if not isinstance(image, np.ndarray):
        image.close()
        raise DataError(f"{name}: an archive of arrays came, but one array is expected; write it by numpy.save")
    if image.ndim not in (2, 3) or 0 in image.shape or image.dtype.kind not in "buif" or image.dtype == np.float16:
        raise DataError(
            f"{name}: it holds {image.dtype} of shape {image.shape} but (H, W) or (H, W, C) of integers, float32 or "
            "float64 is expected"
        )
    return image


def check_channels(path: str, image: np.ndarray) -> None:
    """A PNG or JPEG is grey or has three colours."""
    if image.ndim == 3 and image.shape[2] not in (1, 3):
        raise DataError(f"{path}: it has {image.shape[2]} channels but a picture has 1 or 3; write to an .npy file")


# --- strips


def strips(
    image: np.ndarray, run: Callable[[np.ndarray], np.ndarray], reach: tuple[int, int], border: str
) -> Iterator[np.ndarray]:
    """``run(image)``, strip by strip from the top; each strip is filtered with the rows around it that it depends on.

    image : (H, W) or (H, W, C) array on the host
    run : the filter, in mode "same", with the same ``border``
    reach : rows above and below that a row depends on

    A strip takes at most :data:`STRIP` bytes, or what one row and those around it take. The numbers are those of the
    whole image, to the bit.
    """
    height = len(image)
    wide = image.dtype if image.dtype in (np.float32, np.float64) else np.dtype(np.float32)
    row = image[:1].size * wide.itemsize * COPIES
    rows = max(1, STRIP // row - sum(reach))
    for first in range(0, height, rows):
        last = min(first + rows, height)
        places = range(first - reach[0], last + reach[1])
        part = np.zeros((len(places), *image.shape[1:]), image.dtype)
        for i, place in enumerate(places):
            if border != "zero" or 0 <= place < height:
                part[i] = image[place if 0 <= place < height else pixel_at(place, height, border)]
        yield run(part.astype(wide, copy=False))[reach[0] : reach[0] + last - first]


def clipped(shape: tuple[int, ...], parts: Iterable[np.ndarray]) -> np.ndarray:
    """Strips as one picture of uint8: rounded, and clipped to 0–255; NaN becomes 0."""
    return _filled(shape, parts, lambda y: y)


def scaled(shape: tuple[int, ...], parts: Iterable[np.ndarray], largest: float) -> np.ndarray:
    """Strips as one picture of uint8: 255 |y| / largest, rounded; black where the largest is 0."""
    factor = 255.0 / largest if largest > 0 else 0.0
    return _filled(shape, parts, lambda y: np.abs(y) * factor)


def largest(parts: Iterable[np.ndarray]) -> float:
    """The largest absolute value of all strips, infinities and NaN left out."""
    return max(float(np.max(np.abs(y), initial=0.0, where=np.isfinite(y))) for y in parts)


def _filled(
    shape: tuple[int, ...], parts: Iterable[np.ndarray], rule: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    pixels, first = np.empty(shape, np.uint8), 0
    for y in parts:
        numbers = np.clip(np.rint(rule(y)), 0.0, 255.0)
        pixels[first : first + len(y)] = np.nan_to_num(numbers, nan=0.0)
        first += len(y)
    return pixels


# --- out


def check_target(path: str) -> None:
    """Refuse a file that could not be written, before any work: an unknown suffix, a missing folder."""
    suffix, known = Path(path).suffix.lower(), (*_FORMATS, ".npy")
    if suffix not in known:
        raise ConfigError(
            f"filter: {path}: the suffix {suffix!r} is not known but one of {', '.join(known)} is expected"
            f"{did_you_mean(suffix, known)}"
        )
    if not Path(path).parent.is_dir():
        raise DataError(f"{path}: the folder {Path(path).parent} does not exist; make it first")


def write(path: str, pixels: np.ndarray) -> None:
    """Write (H, W), (H, W, 1) or (H, W, 3) uint8 as a PNG or JPEG (quality 95) picture."""
    from PIL import Image

    flat = pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    with _replaced(path) as temporary:
        Image.fromarray(np.ascontiguousarray(flat)).save(
            temporary, format=_FORMATS[Path(path).suffix.lower()], quality=95
        )


def write_numbers(path: str, image: np.ndarray, parts: Iterable[np.ndarray]) -> None:
    """Write strips as an NPY file of the image's shape; the array is never in memory as a whole."""
    dtype = np.float64 if image.dtype == np.float64 else np.float32
    with _replaced(path) as temporary:
        numbers = np.lib.format.open_memmap(temporary, "w+", dtype, image.shape)
        first = 0
        for y in parts:
            numbers[first : first + len(y)] = y
            first += len(y)
        numbers.flush()
        del numbers


@contextmanager
def _replaced(path: str) -> Iterator[str]:
    """A temporary file beside ``path``, which takes its place when the block ends well, and vanishes when not."""
    try:
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error}); nothing there was changed") from None


# --- several pictures in one


def side_by_side(panels: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """Pictures of one size in rows of four with their names below: (H, W) or (H, W, 3) uint8."""
    from PIL import Image, ImageDraw, ImageFont

    colour = panels[0][1].ndim == 3 and panels[0][1].shape[2] == 3
    height, width = panels[0][1].shape[:2]
    factor = max(1, PANEL // max(height, width))
    font, gap, label = ImageFont.load_default(16), 12, 26
    cell = max(width * factor, 170) + gap, height * factor + label + gap
    rows = -(-len(panels) // 4)
    sheet: Any = Image.new("RGB" if colour else "L", (4 * cell[0] + gap, rows * cell[1] + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (name, pixels) in enumerate(panels):
        left, top = gap + (i % 4) * cell[0], gap + (i // 4) * cell[1]
        large = pixels.reshape(height, width, -1).repeat(factor, axis=0).repeat(factor, axis=1)
        sheet.paste(Image.fromarray(large if colour else large[:, :, 0]), (left, top))
        draw.text((left, top + height * factor + 4), name, fill="black", font=font)
    return np.array(sheet)
