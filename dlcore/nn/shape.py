"""Layers without parameters that change the shape: pooling and flattening."""

from __future__ import annotations

from math import prod
from typing import Any

from backends.array_ops import Padding
from dlcore import functional as F
from dlcore._core.configurable import settings
from dlcore.errors import ShapeError
from dlcore.functional.checks import padding_of, pair
from dlcore.nn.module import Module
from dlcore.tensor import Tensor, as_tensor

__all__ = ["AvgPool2D", "Flatten", "GlobalAvgPool2D", "MaxPool2D"]


class MaxPool2D(Module):
    """The largest pixel of each window of (N, H, W, C); see :func:`dlcore.functional.max_pool2d`.

    kernel_size : height and width of the window, in pixels
    stride : its step; the kernel's size by default
    padding : "valid", "same" or ((top, bottom), (left, right))

    >>> MaxPool2D(2)([[[[1.0], [2.0]], [[3.0], [4.0]]]]).numpy().ravel()
    array([4.], dtype=float32)

    Source: notes, 4.3.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int] = 2,
        stride: int | tuple[int, int] | None = None,
        padding: str | Padding = "valid",
    ) -> None:
        name = type(self).__name__
        with settings():
            self.kernel_size = pair(name, "kernel_size", kernel_size)
            self.stride = self.kernel_size if stride is None else pair(name, "stride", stride)
            self.padding = padding_of(name, padding, self.kernel_size)

    def forward(self, x: Any) -> Tensor:
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2D(MaxPool2D):
    """The mean of each window of (N, H, W, C); see :func:`dlcore.functional.avg_pool2d`.

    Arguments as for :class:`MaxPool2D`; padded places do not count in the mean.

    >>> AvgPool2D(2)([[[[1.0], [2.0]], [[3.0], [4.0]]]]).numpy().ravel()
    array([2.5], dtype=float32)

    Source: notes, 4.3.
    """

    def forward(self, x: Any) -> Tensor:
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class GlobalAvgPool2D(Module):
    """The mean over height and width: (N, H, W, C) -> (N, C).

    >>> GlobalAvgPool2D()([[[[1.0], [2.0]], [[3.0], [4.0]]]]).numpy()
    array([[2.5]], dtype=float32)

    Source: Lin, Chen and Yan (2014).
    """

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if x.ndim != 4:
            raise ShapeError(
                f"GlobalAvgPool2D: x has shape {tuple(x.shape)} but (N, H, W, C) is expected; reshape to four axes"
            )
        return x.mean(axis=(1, 2))


class Flatten(Module):
    """All axes but the first joined: (N, ...) -> (N, D), in row-major order (notes, 4.4).

    >>> Flatten()([[[1.0, 2.0], [3.0, 4.0]]]).numpy()
    array([[1., 2., 3., 4.]], dtype=float32)
    """

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        return x.reshape(x.shape[0], prod(x.shape[1:]))
