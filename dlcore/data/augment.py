"""Augmentation: a random modification of each image of a training batch, so that no image is seen twice (notes 2.3).

>>> x = np.arange(6.0).reshape(1, 2, 3, 1)
>>> Flip(p=1.0)(x)[0, :, :, 0].tolist()
[[2.0, 1.0, 0.0], [5.0, 4.0, 3.0]]

An augmentation is called on a batch (N, H, W, C) of floats and gives a batch of the same shape and dtype, on the same
device. What happens to an image depends on the seed, the step, the augmentation's name and its place in a
:class:`Compose`, and on the image's position in the whole batch, on nothing else: a batch is augmented in the same way
on every device and after every interruption, and two parts of a batch, augmented apart, are the parts of the batch
augmented at once.

The few random numbers an image are drawn on the host, where whole numbers, angles and factors are the same bits
whatever the device, and go to it in one upload of some kilobytes for each augmentation. Nothing comes back or waits.

Images that are moved leave a place behind: ``fill`` says what stands there, with NumPy's words (:data:`FILLS`).
"constant" is ``value``, in the unit of x: in normalised data 0 is the mean, and not black. The usual "nearest" repeats
the pixels of the edge, so that the background stays what it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from backends import random
from backends.namespace import isdtype, namespace_of
from backends.reference.elementwise import add, where
from backends.reference.resample import move_pixels, resample
from backends.runtime.copies import to_device
from backends.runtime.device import Device
from dlcore._core.configurable import Recorded, did_you_mean
from dlcore._core.validation import is_number, is_whole, number
from dlcore.errors import ConfigError, DataError, ShapeError

__all__ = ["FILLS", "Augmentation", "Brightness", "Compose", "Crop", "Cutout", "Flip", "Rotate", "Shift", "Zoom"]

FILLS = ("constant", "nearest", "reflect", "symmetric", "wrap")
"""How an image goes on beyond its edges: v v | a b c | v v, a a | a b c | c c, c b | a b c | b a, b a | a b c | c b,
b c | a b c | a b."""


class Augmentation(Recorded):
    """Base of the augmentations. One of your own defines ``words``, how many random words an image takes, and
    ``apply(x, words)``.

    >>> class Invert(Augmentation):
    ...     words = 1
    ...     def apply(self, x, words):
    ...         return np.where(words[:, :, None, None] % 2 == 1, 1 - x, x)  # every second image
    >>> batch = Compose([Invert(), Flip()])(np.zeros((100, 2, 2, 1)), seed=0, step=3)
    >>> batch.shape, 0.3 < batch.mean() < 0.7
    ((100, 2, 2, 1), np.True_)
    """

    words: int = 0

    def apply(self, x: Any, words: np.ndarray) -> Any:
        """The batch that x (N, H, W, C) becomes with these random words, (N, ``words``) uint32 on the host."""
        raise NotImplementedError(f"{type(self).__name__} defines no apply")

    def __call__(self, x: Any, seed: int = 0, step: int = 0, *, first_row: int = 0, place: str = "") -> Any:
        """The augmented batch: a new array of x's shape, dtype and device.

        x : (N, H, W, C) float array — batch of images
        seed, step : name the random numbers; a trainer passes the run's
        first_row : position of the first image in the whole batch, where a batch is split
        place : where this stands in a Compose

        Raises ShapeError where x is no batch of images, or too small for the augmentation, and DataError where x does
        not hold floats.
        """
        device = Device.of(x)
        if x.ndim != 4:
            raise ShapeError(f"{self._name}: x has shape {tuple(x.shape)} but images (N, H, W, C) are expected")
        if not isdtype(device.xp, x.dtype, "real floating"):
            raise DataError(f"{self._name}: x holds {x.dtype} but floats are expected; convert it, x / 255 for bytes")
        key = random.derive(seed, "augment", place + self._name, step)
        with device.active():
            return self.apply(x, random.bits(np, key, x.shape[0], self.words, first_row=first_row))

    @property
    def _name(self) -> str:
        return type(self).__name__


class Compose(Augmentation):
    """One augmentation after the other.

    transforms : augmentations, in their order; each draws numbers of its own, also where two are of one kind

    >>> x = np.ones((4, 8, 8, 1), dtype=np.float32)
    >>> Compose([Flip(), Shift(1)])(x, seed=0, step=7).shape
    (4, 8, 8, 1)

    Source: notes, 2.3.
    """

    def __init__(self, transforms: Sequence[Augmentation]) -> None:
        listed = isinstance(transforms, list | tuple) and len(transforms) > 0
        if not listed or not all(isinstance(transform, Augmentation) for transform in transforms):
            raise ConfigError(
                f"Compose: transforms is {transforms!r:.80} but a list of augmentations is expected, such as "
                "[Flip(), Rotate(10)]"
            )
        self.transforms = tuple(transforms)

    def __call__(self, x: Any, seed: int = 0, step: int = 0, *, first_row: int = 0, place: str = "") -> Any:
        for i, transform in enumerate(self.transforms):
            x = transform(x, seed, step, first_row=first_row, place=f"{place}{i}.")
        return x


# Whole pixels --------------------------------------------------------------------------------------------------------


class Flip(Augmentation):
    """Mirror an image, left and right, with probability ``p``: y[i, j] = x[i, W - 1 - j].

    >>> Flip(p=1)(np.array([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1)).ravel().tolist()
    [3.0, 2.0, 1.0]

    Source: notes, 2.3.
    """

    words = 1

    def __init__(self, p: float = 0.5) -> None:
        self.p = number("Flip", "p", p, 0.0, 1.0, "[]")

    def apply(self, x: Any, words: np.ndarray) -> Any:
        _, h, w, _ = x.shape
        columns = np.arange(w)
        flipped = words < int(self.p * 2**32)  # (N, 1)
        return _moved(x, np.arange(h) + np.zeros_like(words, np.int64), np.where(flipped, columns[::-1], columns))


class Shift(Augmentation):
    """Move an image by up to ``by`` whole pixels, up or down and to the left or right: y[i, j] = x[i - a, j - b] with a
    and b uniform among -d ... d.

    by : d, in pixels; or as a share in (0, 1) of the height, and of the width, rounded to pixels
    fill, value : what comes in at the other side

    >>> Shift(0.1).apply(np.ones((1, 28, 28, 1)), np.zeros((1, 2), np.uint32)).shape
    (1, 28, 28, 1)

    Source: notes, 2.3.
    """

    words = 2

    def __init__(self, by: float, fill: str = "nearest", value: float = 0.0) -> None:
        self.by = _amount("Shift", "by", by, 0)
        self.fill, self.value = _filled("Shift", fill, value)

    def apply(self, x: Any, words: np.ndarray) -> Any:
        return _shifted(x, words, self.by, self.fill, self.value)


class Crop(Augmentation):
    """Cut a window out of an image at a random place; exactly one of the arguments is given.

    padding : pixels, or a share in (0, 1) of the height and the width, by which the image is first continued on every
        side; the window is as large as the image, so this moves it, as ``Shift(padding)`` does
    size : height and width of a window inside the image, in pixels or as a share; it is enlarged to the size of the
        image by bilinear interpolation, continued by its own edge
    fill, value : what the padding holds

    Raises ShapeError where ``size`` is larger than the images.

    >>> Crop(size=0.75)(np.ones((2, 8, 8, 1))).shape
    (2, 8, 8, 1)

    Source: notes, 2.3; padding as in He, Zhang, Ren and Sun (2016).
    """

    words = 2
    rules: int = 2
    """1 in the runs of version 0.1, whose means took in the pixels beside the window."""

    def __init__(
        self, padding: float | None = None, size: float | None = None, fill: str = "nearest", value: float = 0.0
    ) -> None:
        if (padding is None) == (size is None):
            raise ConfigError(f"Crop: padding is {padding!r} and size {size!r} but exactly one of them is expected")
        self.padding = None if padding is None else _amount("Crop", "padding", padding, 0)
        self.size = None if size is None else _amount("Crop", "size", size, 1)
        self.fill, self.value = _filled("Crop", fill, value)

    def apply(self, x: Any, words: np.ndarray) -> Any:
        if self.padding is not None:
            return _shifted(x, words, self.padding, self.fill, self.value)
        h, w = x.shape[1:3]
        window = [max(1, _pixels(self.size, n)) for n in (h, w)]
        if window[0] > h or window[1] > w:
            raise ShapeError(f"Crop: size is {self.size} but the images are {h} x {w}; take a smaller size or a share")
        maps = np.zeros((len(words), 2, 3))
        places = []
        for axis, n in enumerate((h, w)):
            scale, start = window[axis] / n, _whole(words[:, axis], n - window[axis] + 1)
            maps[:, axis, axis] = scale
            maps[:, axis, 2] = 0.5 * scale - 0.5 + (start if self.rules == 1 else 0)
            places.append(start[:, None] + np.minimum(np.arange(n), window[axis] - 1))  # (N, n)
        if self.rules == 1:
            return _resampled(x, maps, self.fill, self.value)
        # The window in the corner, continued by its own edge: what lies beside it in the image is in no mean.
        # Places and maps are uploaded as one array.
        dtype = np.result_type(_dtype(x), np.float32)
        packed = np.concatenate((*places, maps.reshape(-1, 6)), axis=1).astype(dtype)
        packed, xp = to_device(packed, Device.of(x)), namespace_of(x)
        places = xp.astype(packed[:, : h + w], xp.int64)
        maps = xp.reshape(packed[:, h + w :], (-1, 2, 3))
        window = move_pixels(x, places[:, :h], places[:, h:], fill="nearest", value=0.0)
        return resample(window, maps, fill="nearest", value=0.0, interpolation="bilinear")


# Between the pixels --------------------------------------------------------------------------------------------------


class Rotate(Augmentation):
    """Turn an image around its middle by an angle uniform in [-degrees, degrees), interpolated bilinearly.

    degrees : largest angle, 0 to 180; what is seen turns clockwise where the angle is positive
    fill, value : what the corners hold

    >>> x = np.eye(3)[None, :, :, None]
    >>> bool((Rotate(0)(x) == x).all())
    True

    Source: notes, 2.3.
    """

    words = 1

    def __init__(self, degrees: float, fill: str = "nearest", value: float = 0.0) -> None:
        self.degrees = number("Rotate", "degrees", degrees, 0.0, 180.0, "[]")
        self.fill, self.value = _filled("Rotate", fill, value)

    def apply(self, x: Any, words: np.ndarray) -> Any:
        angle = np.radians(_uniform(words[:, 0], -self.degrees, self.degrees))
        turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=-1).reshape(-1, 2, 2)
        return _resampled(x, _around_the_middle(turn, x.shape), self.fill, self.value)


class Zoom(Augmentation):
    """Enlarge an image around its middle by a factor uniform in [low, high), interpolated bilinearly.

    low, high : 0.01 to 100; below 1 the image becomes smaller
    fill, value : what stands around a smaller image

    >>> Zoom(0.5, 0.5, "constant")(np.ones((1, 4, 4, 1)))[0, :, :, 0].sum().item()  # a quarter of the area
    4.0

    Source: notes, 2.3.
    """

    words = 1

    def __init__(self, low: float, high: float, fill: str = "nearest", value: float = 0.0) -> None:
        self.low = number("Zoom", "low", low, 0.01, 100.0, "[]")
        self.high = number("Zoom", "high", high, 0.01, 100.0, "[]")
        if self.low > self.high:
            raise ConfigError(f"Zoom: low is {low!r} and high {high!r} but low <= high is expected")
        self.fill, self.value = _filled("Zoom", fill, value)

    def apply(self, x: Any, words: np.ndarray) -> Any:
        factor = _uniform(words[:, 0], self.low, self.high)
        return _resampled(x, _around_the_middle(np.eye(2) / factor[:, None, None], x.shape), self.fill, self.value)


# Values --------------------------------------------------------------------------------------------------------------


class Brightness(Augmentation):
    """Add one number to all pixels of an image: y = x + b with b uniform in [-amount, amount).

    amount : in the unit of x; in normalised data 1 is a standard deviation

    >>> y = Brightness(0.2)(np.zeros((1, 2, 2, 1)))
    >>> bool((y == y[0, 0, 0, 0]).all() and abs(y).max() <= 0.2)
    True
    """

    words = 1

    def __init__(self, amount: float) -> None:
        self.amount = number("Brightness", "amount", amount, 0.0, math.inf)

    def apply(self, x: Any, words: np.ndarray) -> Any:
        added = _uniform(words, -self.amount, self.amount)[:, :, None, None]  # (N, 1, 1, 1)
        return add(x, to_device(added.astype(_dtype(x)), Device.of(x)))


class Cutout(Augmentation):
    """Cover a square of an image, whose middle is a pixel at random, so that no single part decides.

    size : side of the square, in pixels; or as a share in (0, 1) of the height, and of the width, rounded to pixels.
        What reaches over the edge is lost
    value : what the square holds, in the unit of x: in normalised data 0 is the mean

    >>> Cutout(1)(np.ones((1, 3, 3, 1))).sum().item()
    8.0

    Source: DeVries and Taylor (2017).
    """

    words = 2

    def __init__(self, size: float, value: float = 0.0) -> None:
        self.size = _amount("Cutout", "size", size, 1)
        self.value = _finite("Cutout", value)

    def apply(self, x: Any, words: np.ndarray) -> Any:
        h, w = x.shape[1:3]
        covered = []
        for axis, n in enumerate((h, w)):
            size = _pixels(self.size, n)
            from_start = np.arange(n) - (_whole(words[:, axis, None], n) - size // 2)
            covered.append((from_start >= 0) & (from_start < size))  # (N, n)
        both = to_device(np.concatenate(covered, axis=1), Device.of(x))
        return where(both[:, :h, None, None] & both[:, None, h:, None], self.value, x)


# From random words to numbers, and from numbers to the device --------------------------------------------------------


def _whole(words: np.ndarray, n: int) -> np.ndarray:
    """Uniform whole numbers among 0 ... n - 1, int64."""
    return ((words.astype(np.uint64) * n) >> 32).astype(np.int64)


def _uniform(words: np.ndarray, low: float, high: float) -> np.ndarray:
    """Uniform numbers in [low, high), float64."""
    return low + (high - low) * (words * 2.0**-32)


def _dtype(x: Any) -> np.dtype[Any]:
    return np.dtype(str(x.dtype).split(".")[-1])


def _moved(x: Any, rows: np.ndarray, columns: np.ndarray, fill: str = "nearest", value: float = 0.0) -> Any:
    """Each image with its rows (N, H) and columns (N, W) at those places."""
    both = to_device(np.concatenate((rows, columns), axis=1), Device.of(x))
    h = rows.shape[1]
    return move_pixels(x, both[:, :h], both[:, h:], fill=fill, value=value)


def _shifted(x: Any, words: np.ndarray, by: Any, fill: str, value: float) -> Any:
    """Each image moved by up to ``by`` pixels along both axes."""
    indices = []
    for axis, n in enumerate(x.shape[1:3]):
        d = _pixels(by, n)
        indices.append(np.arange(n) - (_whole(words[:, axis, None], 2 * d + 1) - d))  # (N, n)
    return _moved(x, indices[0], indices[1], fill, value)


def _around_the_middle(turn: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(N, 2, 2) -> (N, 2, 3): middle + turn @ (place - middle)."""
    middle = (np.array(shape[1:3]) - 1) / 2
    return np.concatenate((turn, (middle - turn @ middle)[:, :, None]), axis=2)


def _resampled(x: Any, maps: np.ndarray, fill: str, value: float) -> Any:
    """Each image sampled where its map (N, 2, 3) says; float16 would not tell the places apart."""
    maps = maps.astype(np.result_type(_dtype(x), np.float32))
    return resample(x, to_device(maps, Device.of(x)), fill=fill, value=value, interpolation="bilinear")


def _pixels(amount: Any, n: int) -> int:
    """An amount of an axis of n pixels, in pixels."""
    return amount if isinstance(amount, int) else round(amount * n)


# Arguments -----------------------------------------------------------------------------------------------------------


def _amount(owner: str, name: str, value: Any, low: int) -> Any:
    """A number of pixels as an int, or a share as a float."""
    if is_whole(value) and low <= value < 2**30:
        return int(value)
    if is_number(value) and 0.0 < value < 1.0:
        return float(value)
    raise ConfigError(
        f"{owner}: {name} is {value!r} but a whole number of pixels from {low} on, or a share between 0 and 1, is "
        "expected"
    )


def _filled(owner: str, fill: Any, value: Any) -> tuple[str, float]:
    if fill not in FILLS:
        raise ConfigError(
            f"{owner}: fill is {fill!r} but one of {', '.join(FILLS)} is expected{did_you_mean(fill, FILLS)}"
        )
    return fill, _finite(owner, value)


def _finite(owner: str, value: Any) -> float:
    if not is_number(value) or not math.isfinite(value):
        raise ConfigError(f"{owner}: value is {value!r} but a finite number is expected")
    return float(value)
