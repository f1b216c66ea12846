"""Filters of images: no image is extended, the pixels beyond the border are looked up where they are copied from."""

from __future__ import annotations

from math import prod
from typing import Any

from backends.array_ops import output_size
from backends.cuda import requirements
from backends.cuda.launch import THREADS, blocks, by_elements, compact, launch, real
from backends.reference import filter

_PIECES = 64
_ELEMENTS_A_PIECE = 8 * THREADS  # at least, before there is a second piece
_SHARED = 48 * 1024  # bytes that a block may have without asking
_TILE = 4, 128, 32  # rows, elements of a row, and channels of them


def _shape(shape, kernel, padding, stride) -> tuple[int, int, int, int]:
    """The shape of the output."""
    sizes = (output_size(shape[1 + i] + sum(padding[i]), kernel[i], stride[i]) for i in (0, 1))
    return (shape[0], *sizes, shape[3])  # type: ignore[reportReturnType]  two sizes


def _sizes(shape, kernel, padding, border, stride) -> tuple[int, ...]:
    """As the kernels take them."""
    _, rows, columns, _ = _shape(shape, kernel, padding, stride)
    start = padding[0][0], padding[1][0]
    return (*shape[1:], rows, columns, *kernel, *stride, *start, filter.BORDERS.index(border))


def _like(xp, x, h) -> Any:
    """The images in one piece, in the kernel's dtype."""
    return compact(xp, xp.astype(x, h.dtype, copy=False))


def _correlate(xp, x, h, **how):
    y = xp.empty(_shape(x.shape, h.shape, how["padding"], how["stride"]), dtype=h.dtype, device=x.device)
    by_elements("filter", "correlate2d", (x, h, y, y.size, *_sizes(x.shape, h.shape, **how)), y.size, y.dtype)
    return y


def _of_images(xp, dy, h, shape, *, padding, border, stride):
    """The gradient for images of ``shape``."""
    dx = xp.empty(shape, dtype=dy.dtype, device=dy.device)
    copies = (0, 0) if border == "zero" else (sum(padding[0]), sum(padding[1]))
    sizes = _sizes(shape, h.shape, padding, border, stride)
    by_elements("filter", "correlate2d_images", (dy, h, dx, dx.size, *copies, *sizes), dx.size, dx.dtype)
    return dx


def _of_kernel(xp, dy, x, kernel, **how):
    """The gradient for the kernel (kh, kw)."""
    taps, pieces = prod(kernel), min(_PIECES, blocks(dy.size, _ELEMENTS_A_PIECE))
    each = blocks(dy.size, pieces)
    pieces = blocks(dy.size, each)
    sums = xp.empty((pieces, taps), dtype=real(dy.dtype), device=dy.device)
    arguments = (x, dy, sums, dy.size, each, *_sizes(x.shape, kernel, **how))
    launch("filter", "correlate2d_kernel", arguments, (taps, pieces), (THREADS,), dy.dtype)
    dh = xp.empty(kernel, dtype=dy.dtype, device=dy.device)
    by_elements("filter", "sum_pieces", (sums, dh, taps, pieces), taps, dy.dtype)
    return dh


def _unsuited(x, kernel, *, padding, border, stride, **parts) -> str | None:
    """Images may be of integers as well; they are converted."""
    reason = requirements.unsuited("filter", **parts)
    if reason is not None:
        return reason
    size = prod(_shape(x.shape, kernel, padding, stride))
    return requirements.uncountable("x", x.size) or requirements.uncountable("the output", size)


@filter.correlate2d.alternative("cupy", unless=lambda x, h, **how: _unsuited(x, h.shape, h=h, **how))
class CorrelationByPixels:
    """Each element by itself."""

    @staticmethod
    def forward(xp, x, h, *, needed, **how):
        x, h = _like(xp, x, h), compact(xp, h)
        return _correlate(xp, x, h, **how), (x if needed[1] else None, h, x.shape)

    @staticmethod
    def backward(xp, dy, saved, *, needed, **how):
        x, h, shape = saved
        dy = compact(xp, dy)
        dx = _of_images(xp, dy, h, shape, **how) if needed[0] else None
        return dx, _of_kernel(xp, dy, x, h.shape, **how) if needed[1] else None


# --- separable


def _tile(channels: int, taps: int, step: int, itemsize: int) -> tuple[tuple[int, int, int], int]:
    """The outputs of a block, (rows, columns, channels), and the bytes of shared memory that it needs."""
    rows, deep = _TILE[0], min(channels, _TILE[2])
    columns = max(1, _TILE[1] // deep)
    needs = lambda: rows * ((columns - 1) * step + taps) * deep * itemsize  # noqa: E731
    while needs() > _SHARED and rows * columns * deep > 1:
        if columns > 1:
            columns //= 2
        elif rows > 1:
            rows //= 2
        else:
            deep //= 2
    return (rows, columns, deep), needs()


def _halved(padding, border, stride) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of the way down, and of the way across."""
    down = {"padding": (padding[0], (0, 0)), "border": border, "stride": (stride[0], 1)}
    return down, {"padding": ((0, 0), padding[1]), "border": border, "stride": (1, stride[1])}


def _unsuited_separable(x, column, row, *, padding, border, stride) -> str | None:
    kernel = column.size, row.size
    reason = _unsuited(x, kernel, padding=padding, border=border, stride=stride, column=column, row=row)
    if reason is not None:
        return reason
    needs = _tile(x.shape[3], row.size, stride[1], real(row.dtype).itemsize)[1]
    return f"a row of {row.size} taps needs {needs} bytes of shared memory" if needs > _SHARED else None


@filter.correlate_separable.alternative("cupy", unless=_unsuited_separable)
class CorrelationByTiles:
    """Down and across in one launch, with what lies between in shared memory; the gradients take one way at a time."""

    @staticmethod
    def forward(xp, x, column, row, *, padding, border, stride, needed):
        x, column, row = _like(xp, x, column), compact(xp, column), compact(xp, row)
        kernel = column.size, row.size
        y = xp.empty(_shape(x.shape, kernel, padding, stride), dtype=x.dtype, device=x.device)
        n, rows, columns, channels = y.shape
        tile, shared = _tile(channels, row.size, stride[1], real(x.dtype).itemsize)
        grid = n * blocks(rows, tile[0]) * blocks(columns, tile[1]), blocks(channels, tile[2])
        arguments = (x, column, row, y, *tile, *_sizes(x.shape, kernel, padding, border, stride))
        launch("filter", "correlate_separable", arguments, grid, (THREADS,), x.dtype, shared_memory=shared)
        return y, (x if needed[1] or needed[2] else None, column, row, x.shape)

    @staticmethod
    def backward(xp, dy, saved, *, padding, border, stride, needed):
        x, column, row, shape = saved
        dtype, number = dy.dtype, real(dy.dtype)  # what lies between is not rounded to float16
        dy, column, row = (compact(xp, xp.astype(array, number, copy=False)) for array in (dy, column, row))
        x = None if x is None else xp.astype(x, number, copy=False)
        column, row = xp.reshape(column, (-1, 1)), xp.reshape(row, (1, -1))
        down, across = _halved(padding, border, stride)
        dx = dcolumn = drow = None
        if needed[2]:
            half = _correlate(xp, x, column, **down)
            drow = xp.reshape(_of_kernel(xp, dy, half, row.shape, **across), (-1,))
        if needed[0] or needed[1]:
            dhalf = _of_images(xp, dy, row, (*dy.shape[:2], *shape[2:]), **across)
            if needed[1]:
                dcolumn = xp.reshape(_of_kernel(xp, dhalf, x, column.shape, **down), (-1,))
            if needed[0]:
                dx = _of_images(xp, dhalf, column, shape, **down)
        return tuple(dx if dx is None else xp.astype(dx, dtype, copy=False) for dx in (dx, dcolumn, drow))
