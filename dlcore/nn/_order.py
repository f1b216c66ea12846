"""Arguments in the order of another library, and images with their channels first: noticed where it is plain.

PyTorch's layers begin with the size of their input, ``Conv2d(in, out, kernel)``, ``Linear(in, out)``, ``LSTM(in,
hidden)``; here the size of the input is learnt from the data. Where such a call means something here too, the layer
says so when it first sees data: as an error where it cannot work, as a UserWarning where it is only unlikely.
"""

from __future__ import annotations

import warnings
from typing import Any

from dlcore.errors import ShapeError
from dlcore.nn._build import in_progress

__all__ = ["check_images", "check_recurrent"]

_LARGE = 8
"""Pixels: of a kernel that is rather a number of filters."""
_MANY = 8
"""Layers of a recurrent network that are rather a number of units."""
_WIDE = 16
"""Channels of an image that are rather its width."""


def check_images(path: str, x: Any, filters: int, geometry: dict[str, Any]) -> None:
    """What a convolution says about its arguments and its first images.

    path : of the layer
    geometry : its kernel_size, stride, padding and dilation

    Raises ShapeError where the kernel is larger than the images and the order explains it.
    """
    if x.ndim != 4:
        return
    _, h, w, c = x.shape
    place = f"{path}: " if path else ""
    (kh, kw), (top, bottom), (left, right) = geometry["kernel_size"], *geometry["padding"]
    (stride, across), dilation = geometry["stride"], geometry["dilation"]
    too_large = kh > h + top + bottom or kw > w + left + right
    build = in_progress()
    if build is not None and build.is_input(x) and _channels_first(h, w, c):
        said = (
            f"Conv2D: the images have shape {(h, w, c)}, height, width and channels, but this looks like channels, "
            "height and width; images come as (N, H, W, C): give x.transpose(0, 2, 3, 1)"
        )
        if too_large:
            raise ShapeError(said)
        warnings.warn(place + said, UserWarning, stacklevel=2)
    elif kh == kw and filters == c and (too_large or (kh >= _LARGE and kh % 2 == 0)) and kh > 1:
        if stride != across or not (too_large or stride > 1 or kh >= 2 * _LARGE):
            return
        if stride >= kh or dilation != (1, 1):
            return  # windows side by side, such as patches
        said = (
            f"Conv2D({c}, {kh}, {stride}) makes filters of {kh} x {kw}, {c} of them, with stride {stride} here; the "
            f"channels of the input are learnt from the data: for {kh} filters of {stride} x {stride} write "
            f"Conv2D({kh}, {stride})"
        )
        if too_large:
            raise ShapeError(f"{said}; the kernel is larger than the images of {h} x {w}")
        warnings.warn(place + said, UserWarning, stacklevel=2)


def _channels_first(h: int, w: int, c: int) -> bool:
    return h in (1, 3, 4) and w > 4 and c > 4 and (w == c or c >= _WIDE)


def check_recurrent(name: str, path: str, x: Any, hidden: int, layers: int) -> None:
    """A UserWarning where a recurrent layer seems to have been given the size of its input first."""
    if layers >= _MANY and hidden == x.shape[-1]:
        place = f"{path}: " if path else ""
        warnings.warn(
            f"{place}{name}({hidden}, {layers}) makes {layers} layers of {hidden} units here; "
            f"the size of the input is learnt from the data: for {layers} units write {name}({layers})",
            UserWarning,
            stacklevel=2,
        )
