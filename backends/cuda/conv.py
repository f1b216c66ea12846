"""Convolution: the windows of a block of outputs as rows, and a product; bias, ReLU and pooling in one launch.

A block is as many images, or a part of one, as :data:`COLUMNS` has room for. Only the images are kept for the gradient,
and the windows are laid out again. With a window so deep that not even a small block has room, the product reads the
windows where they are. Sums have one order: block after block, and each pixel gathers its gradient tap by tap.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from backends.array_ops import output_size
from backends.cuda import requirements
from backends.cuda.launch import blocks, by_elements, by_packs, compact, launch, real
from backends.cuda.products import HALF, add_product, exact_sums
from backends.cuda.sums import sum_columns
from backends.reference import conv

COLUMNS = 2**26
"""Bytes that the windows of a block take at most, 64 MiB. More makes the products larger, which no longer makes them
faster, and takes memory from the model."""

_LEAST = 256  # outputs of a block that is worth a product of its own
_TILE = 32  # see tiles.cuh


class _Windows(NamedTuple):
    """How the windows lie on the images: their number and, as the kernels take them, SIZES of conv.cu."""

    images: int
    height: int
    width: int
    channels: int
    rows: int
    columns: int
    kernel_rows: int
    kernel_columns: int
    down: int
    right: int
    top: int
    left: int
    spread_down: int
    spread_right: int

    @property
    def sizes(self) -> tuple[int, ...]:
        return self[1:]

    @property
    def an_image(self) -> int:
        """Outputs of an image."""
        return self.rows * self.columns

    @property
    def outputs(self) -> int:
        return self.images * self.an_image

    @property
    def depth(self) -> int:
        """Numbers in a window."""
        return self.kernel_rows * self.kernel_columns * self.channels

    def are_pixels(self) -> bool:
        """Whether each pixel is a window of its own, in the same order."""
        steps = (self.kernel_rows, self.kernel_columns, self.down, self.right)
        return steps == (1, 1, 1, 1) and (self.rows, self.columns) == (self.height, self.width)

    def most(self, itemsize: int) -> int:
        """Outputs of a block."""
        return max(1, min(self.outputs, COLUMNS // (self.depth * itemsize)))

    def blocks(self, itemsize: int) -> Iterator[tuple[int, int]]:
        """The first output of each block, and how many it has: whole images, or a part of one."""
        most = self.most(itemsize)
        whole = most // self.an_image * self.an_image
        for start in range(0, self.outputs, whole or self.an_image):
            stop = min(self.outputs, start + (whole or self.an_image))
            for first in range(start, stop, whole or most):
                yield first, min(whole or most, stop - first)

    def beneath(self, first: int, outputs: int) -> tuple[int, int]:
        """The rows of pixels, first and one past the last, counted through all images, that a block can touch."""
        image, row = divmod(first // self.columns, self.rows)
        last_image, last_row = divmod((first + outputs - 1) // self.columns, self.rows)
        if image != last_image or outputs == self.an_image:
            return image * self.height, (last_image + 1) * self.height
        above = row * self.down - self.top
        below = last_row * self.down - self.top + (self.kernel_rows - 1) * self.spread_down + 1
        inside = [min(max(place, 0), self.height) for place in (above, below)]
        return image * self.height + inside[0], image * self.height + inside[1]


def _windows(x, w, *, stride, padding, dilation) -> _Windows:
    n, h, width, c = x.shape
    kh, kw = w.shape[:2]
    rows = output_size(h + sum(padding[0]), kh, stride[0], dilation[0])
    columns = output_size(width + sum(padding[1]), kw, stride[1], dilation[1])
    steps = (stride[0], stride[1], padding[0][0], padding[1][0], dilation[0], dilation[1])
    return _Windows(n, h, width, c, rows, columns, kh, kw, *steps)


def _empty(xp, x, shape, dtype=None) -> Any:
    return xp.empty(shape, dtype=x.dtype if dtype is None else dtype, device=x.device)


# --- three products, in two ways: (outputs, K), the gradient for the images, and (depth, K) for the filters


class _ByColumns:
    """The windows of a block are laid out as rows of one array, which all blocks share."""

    @staticmethod
    def _gathered(xp, x, windows: _Windows) -> Iterator[tuple[slice, Any]]:
        """The outputs of each block, and their windows."""
        if windows.are_pixels():
            yield slice(None), xp.reshape(x, (-1, windows.depth))
            return
        room = _empty(xp, x, (windows.most(x.dtype.itemsize), windows.depth))
        for first, outputs in windows.blocks(x.dtype.itemsize):
            columns = room[:outputs, :]
            by_elements(
                "conv", "gather_columns", (x, columns, columns.size, first, *windows.sizes), columns.size, x.dtype
            )
            yield slice(first, first + outputs), columns

    @classmethod
    def convolve(cls, xp, x, filters, bias, windows: _Windows):
        y = _empty(xp, x, (windows.outputs, filters.shape[1]))
        exact_sums(xp, x.dtype)
        for some, columns in cls._gathered(xp, x, windows):
            xp.matmul(columns, filters, out=y[some, :])
        if bias is not None:
            y += bias  # a launch of its own: CuPy's product adds none
        return y

    @staticmethod
    def images(xp, dy, filters, windows: _Windows):
        exact_sums(xp, dy.dtype)
        turned, shape = xp.matrix_transpose(filters), (windows.images, windows.height, windows.width, windows.channels)
        if windows.are_pixels():
            return xp.reshape(xp.matmul(dy, turned), shape)
        itemsize = dy.dtype.itemsize
        begun = windows.most(itemsize) < windows.an_image  # parts of an image give to the same pixels
        dx = (xp.zeros if begun else xp.empty)(shape, dtype=dy.dtype, device=dy.device)
        room = _empty(xp, dy, (windows.most(itemsize), windows.depth))
        for first, outputs in windows.blocks(itemsize):
            given, rows = room[:outputs, :], windows.beneath(first, outputs)
            xp.matmul(dy[first : first + outputs, :], turned, out=given)
            start, n = (number * windows.width * windows.channels for number in (rows[0], rows[1] - rows[0]))
            if n:
                arguments = (given, dx, n, start, first, outputs, int(begun), *windows.sizes)
                by_elements("conv", "gather_gradient", arguments, n, dy.dtype)
        return dx

    @classmethod
    def filters(cls, xp, x, dy, windows: _Windows):
        exact_sums(xp, x.dtype)
        total = None
        for some, columns in cls._gathered(xp, x, windows):
            if some.start or (x.dtype == HALF and some.stop not in (None, windows.outputs)):
                total = cls._added(xp, total, columns, dy[some, :])
            else:
                total = xp.matmul(xp.matrix_transpose(columns), dy[some, :])
        return xp.astype(total, x.dtype, copy=False)

    @staticmethod
    def _added(xp, total, columns, dy):
        """The sum over the blocks so far, of float16 in float32: no block's share is rounded."""
        if dy.dtype != HALF:
            total += xp.matmul(xp.matrix_transpose(columns), dy)
            return total
        first = total is None
        if first:
            total = _empty(xp, dy, (columns.shape[1], dy.shape[1]), real(HALF))
        add_product(xp, total, columns, dy, first)
        return total


class _InPlace:
    """The product's own kernel, with windows that are read where they are."""

    @staticmethod
    def _run(kernel: str, arrays, windows: _Windows) -> None:
        out, filters = arrays[-1], arrays[1].shape[1]
        number = {"convolve": windows.outputs, "convolve_images": out.size // windows.channels}
        arguments = (*arrays, number.get(kernel, windows.outputs), filters, *windows.sizes)
        grid = blocks(out.size // out.shape[-1], _TILE), blocks(out.shape[-1], _TILE)
        launch("conv", kernel, arguments, grid, (256,), out.dtype)

    @classmethod
    def convolve(cls, xp, x, filters, bias, windows: _Windows):
        y = _empty(xp, x, (windows.outputs, filters.shape[1]))
        offset = (filters, 0) if bias is None else (compact(xp, bias), 1)  # with 0 the array is not looked at
        cls._run("convolve", (x, filters, *offset, y), windows)
        return y

    @classmethod
    def images(cls, xp, dy, filters, windows: _Windows):
        dx = _empty(xp, dy, (windows.images, windows.height, windows.width, windows.channels))
        cls._run("convolve_images", (dy, filters, dx), windows)
        return dx

    @classmethod
    def filters(cls, xp, x, dy, windows: _Windows):
        dw = _empty(xp, x, (windows.depth, dy.shape[1]))
        cls._run("convolve_filters", (x, dy, dw), windows)
        return dw


# --- the passes


class _Products:
    """What a convolution has of the products, in one of the ways."""

    way: type[_ByColumns] | type[_InPlace]

    @classmethod
    def sums(cls, xp, x, w, bias, windows: _Windows, needed):
        """(outputs, K), and what is kept."""
        x, filters = compact(xp, x), compact(xp, xp.reshape(w, (windows.depth, w.shape[3])))
        return cls.way.convolve(xp, x, filters, bias, windows), (x if needed[1] else None, filters, windows)

    @classmethod
    def gradients(cls, xp, dy, saved, shape, needed):
        """dx, dw and db from dy (outputs, K)."""
        x, filters, windows = saved
        dx = cls.way.images(xp, dy, filters, windows) if needed[0] else None
        dw = xp.reshape(cls.way.filters(xp, x, dy, windows), shape) if needed[1] else None
        return dx, dw, sum_columns(xp, dy) if needed[2] else None


class _Convolution(_Products):
    """conv2d by one of the ways."""

    @classmethod
    def forward(cls, xp, x, w, b, *, needed, **how):
        windows = _windows(x, w, **how)
        y, saved = cls.sums(xp, x, w, b, windows, needed)
        return xp.reshape(y, (windows.images, windows.rows, windows.columns, -1)), (saved, w.shape)

    @classmethod
    def backward(cls, xp, dy, saved, *, needed, **how):
        convolved, shape = saved
        return cls.gradients(xp, xp.reshape(compact(xp, dy), (-1, dy.shape[3])), convolved, shape, needed)


class _ConvolutionRelu(_Products):
    """conv2d_relu by one of the ways: a launch after the product, one before those of the gradient."""

    @classmethod
    def forward(cls, xp, x, w, b, *, needed, pool, **how):
        windows, k = _windows(x, w, **how), w.shape[3]
        sums, saved = cls.sums(xp, x, w, None, windows, needed)  # the bias is added by the launch behind it
        down, right = pool or (1, 1)
        shape = (windows.images, windows.rows // down, windows.columns // right, k)
        y = xp.reshape(sums, shape) if pool is None else _empty(xp, x, shape)
        winner = _empty(xp, x, 1 if pool is None else shape, xp.uint8)  # without a pool it is not looked at
        bias = (sums, 0) if b is None else (compact(xp, b), 1)
        sizes = (windows.rows, windows.columns, k, *shape[1:3], down, right)
        by_elements(
            "conv", "bias_relu_pool", (sums, *bias, y, winner, int(pool is not None), y.size, *sizes), y.size, y.dtype
        )
        return y, (saved, w.shape, y, winner) if any(needed) else None

    @classmethod
    def backward(cls, xp, dy, saved, *, needed, pool, **how):
        convolved, shape, y, winner = saved
        windows, dy = convolved[2], compact(xp, dy)
        inner = _empty(xp, dy, (windows.outputs, shape[3]))
        if pool is None:
            by_packs("elementwise", "relu_backward", (dy, y, inner, dy.size), dy.size, dy.dtype)
        else:
            sizes = (windows.rows, windows.columns, shape[3], *y.shape[1:3], *pool)
            by_elements("conv", "unpool", (dy, y, winner, inner, inner.size, *sizes), inner.size, inner.dtype)
        return cls.gradients(xp, inner, convolved, shape, needed)


# --- the alternatives


def _unsuited(x, w, b, *, pool=None, **how) -> str | None:
    reason = requirements.unsuited("conv", x=x, w=w, b=b)
    if reason is not None:
        return reason
    down, right = pool or (1, 1)
    if down * right > 256:
        return f"a pool of {down * right} pixels, whose numbers do not fit into a byte"
    windows = _windows(x, w, **how)
    if windows.rows < down or windows.columns < right:
        return "there is nothing to convolve"
    return requirements.uncountable("the output", windows.outputs * w.shape[3])


def _too_deep(x, w, b, **how) -> str | None:
    """Why the windows cannot be laid out as rows."""
    how.pop("pool", None)
    windows = _windows(x, w, **how)
    least = min(_LEAST, windows.outputs)
    if not windows.are_pixels() and windows.most(x.dtype.itemsize) < least:
        return f"{least} windows of {windows.depth} numbers take more than {COLUMNS} bytes"
    return None


@conv.conv2d.alternative("cupy", unless=_unsuited)
class ConvolutionInPlace(_Convolution):
    """For windows so deep that a block of them has no room."""

    way = _InPlace


@conv.conv2d.alternative("cupy", unless=lambda *arrays, **how: _unsuited(*arrays, **how) or _too_deep(*arrays, **how))
class ConvolutionByColumns(_Convolution):
    """A 1 × 1 kernel without stride and padding is a product of the images as they are."""

    way = _ByColumns


@conv.conv2d_relu.alternative("cupy", unless=_unsuited)
class ConvolutionReluInPlace(_ConvolutionRelu):
    """For windows so deep that a block of them has no room."""

    way = _InPlace


@conv.conv2d_relu.alternative(
    "cupy", unless=lambda *arrays, **how: _unsuited(*arrays, **how) or _too_deep(*arrays, **how)
)
class ConvolutionReluByColumns(_ConvolutionRelu):
    """Of what lies between, the pooled value and the number of its pixel are kept, a byte."""

    way = _ByColumns
