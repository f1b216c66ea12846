"""Pooling: the gradients are gathered, so no two threads add to one pixel."""

from __future__ import annotations

from backends.array_ops import output_size
from backends.cuda import requirements
from backends.cuda.launch import by_elements, compact
from backends.reference import pool


def _size(shape, kernel, stride, padding) -> tuple[int, int, int, int]:
    """The shape of the output."""
    n, h, w, c = shape
    oh = output_size(h + sum(padding[0]), kernel[0], stride[0])
    ow = output_size(w + sum(padding[1]), kernel[1], stride[1])
    return n, oh, ow, c


def _run(kernel_name: str, arrays, out, shape, kernel, stride, padding) -> None:
    """Launch a kernel with a thread for each element of ``out``; ``shape`` is the image's."""
    _, oh, ow, _ = _size(shape, kernel, stride, padding)
    sizes = (out.size, *shape[1:], oh, ow, *kernel, *stride, padding[0][0], padding[1][0])
    by_elements("pool", kernel_name, (*arrays, *sizes), out.size, out.dtype)


def _unsuited_max(x, *, kernel, stride, padding) -> str | None:
    pixels = kernel[0] * kernel[1]
    if pixels > 256:
        return f"a window of {pixels} pixels, whose numbers do not fit into a byte"
    return requirements.unsuited("pool", x=x)


@pool.max_pool2d.alternative("cupy", unless=_unsuited_max)
class MaxPoolByPixels:
    """The number of the largest pixel, a byte, is all that the backward pass needs."""

    @staticmethod
    def forward(xp, x, *, kernel, stride, padding, needed):
        size = _size(x.shape, kernel, stride, padding)
        y = xp.empty(size, dtype=x.dtype, device=x.device)
        winner = xp.empty(size, dtype=xp.uint8, device=x.device)
        _run("max_pool", (compact(xp, x), y, winner), y, x.shape, kernel, stride, padding)
        return y, (winner, x.shape) if needed[0] else None

    @staticmethod
    def backward(xp, dy, saved, *, kernel, stride, padding, needed):
        winner, shape = saved
        dx = xp.empty(shape, dtype=dy.dtype, device=dy.device)
        _run("max_pool_backward", (compact(xp, dy), winner, dx), dx, shape, kernel, stride, padding)
        return (dx,)


@pool.avg_pool2d.alternative("cupy", unless=lambda x, **_: requirements.unsuited("pool", x=x))
class AvgPoolByPixels:
    """The mean over the pixels of a window that lie in the image."""

    @staticmethod
    def forward(xp, x, *, kernel, stride, padding, needed):
        y = xp.empty(_size(x.shape, kernel, stride, padding), dtype=x.dtype, device=x.device)
        _run("avg_pool", (compact(xp, x), y), y, x.shape, kernel, stride, padding)
        return y, x.shape

    @staticmethod
    def backward(xp, dy, shape, *, kernel, stride, padding, needed):
        dx = xp.empty(shape, dtype=dy.dtype, device=dy.device)
        _run("avg_pool_backward", (compact(xp, dy), dx), dx, shape, kernel, stride, padding)
        return (dx,)
