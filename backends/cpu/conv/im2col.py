"""Convolution of any kind: windows laid out as rows, block by block, and a product while a block is in the cache.

The reference lays out all windows at once, which takes kh kw times the memory of the images. Here a task has a block
of outputs. Piece by piece of the depth kh kw C it copies their windows into its own memory and multiplies them by
packed panels of the filters; bias, ReLU and pooling follow before the block leaves the cache.

The gradient for the images is a convolution as well. Pixels of the images that agree in row and column modulo the
stride lie under the same taps, so each such class is a convolution of dy with stride 1, by the filters at these taps,
channels and filters exchanged. The gradient for the filters is a sum over all outputs: it is taken over fixed groups
of them, which are then added in their order.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from backends.array_ops import output_size
from backends.cpu import requirements
from backends.cpu.codegen.compile import part
from backends.cpu.codegen.gemm import COLUMNS, ROWS, add_tile, copy_panel, product, tile
from backends.cpu.codegen.simd import (
    LANES,
    at,
    greater,
    greater_or_nan,
    integers,
    larger,
    load,
    load_bytes,
    load_integer,
    spread,
    store,
    store_bytes,
    where,
    where_equal,
)
from backends.cpu.codegen.thread_pool import launch, reads, scratch, task, writes
from backends.reference import conv

__all__ = ["NOTHING", "backward", "forward", "input_gradient", "output_shape", "pack", "unpooled", "unsuited"]

_ZERO = np.float32(0.0)
_DEPTH = 256  # of a piece of the windows
_PIXELS = 128  # of a block
_FILTERS = 256  # of a stripe
_PAD = 16  # elements between rows in a task's memory, so that they are no power of two apart
_TASKS = 8  # that are enough for the most threads that there are
_LEAST = 2_000_000  # multiplications; with fewer the reference is as fast


# --- convolution


@part
def _copy_windows(x, shape, taps, piece, first, pixels, cut, target, line):
    """Of each pixel its window's taps and channels that are the piece, as a row of ``target``.

    Pixels are counted from ``first`` on: through the images, through their pool windows, and within these.
    """
    h, w, c = shape
    tap, some, channel, channels = piece
    rows, columns, down, right, pool_height, pool_width = cut
    pool = pool_height * pool_width
    output = first // pool
    column, row, image = output % columns, output // columns % rows, output // (columns * rows)
    above, beside = 0, 0
    for pixel in range(pixels):
        top, left = (row * pool_height + above) * down, (column * pool_width + beside) * right
        for t in range(some):
            i, j = top + load_integer(taps, 2 * (tap + t)), left + load_integer(taps, 2 * (tap + t) + 1)
            place = pixel * line + t * channels
            if 0 <= i < h and 0 <= j < w:
                source = ((image * h + i) * w + j) * c + channel
                for k in range(0, channels, LANES):  # what a vector has too much, the next tap writes over
                    store(target, place + k, load(x, source + k, channels - k), LANES)
            else:
                for k in range(0, channels, LANES):
                    store(target, place + k, spread(_ZERO), LANES)
        beside += 1
        if beside == pool_width:
            beside = 0
            above += 1
        if above == pool_height:
            above = 0
            column += 1
        if column == columns:
            column = 0
            row += 1
        if row == rows:
            row = 0
            image += 1


@task(
    x=reads("n h w c"), taps=reads("taps two", "int64"), panels=reads("panels depth lanes"), bias=reads("k"),
    y=writes("n oh ow k"), winner=writes("winners", "uint8"), room=scratch(),
)  # fmt: skip
def _convolve(number, arguments):
    """One block of the outputs, and a stripe of the filters."""
    x, taps, panels, bias, y, winner, room, n, h, w, c, count = integers(arguments, 0, 12)
    depth_all, _, k, oh, ow = integers(arguments, 14, 5)
    rows, columns, down, right, pool_height, pool_width = integers(arguments, 20, 6)
    taps_a_piece, channels_a_piece, outputs_a_block, filters_a_stripe, stripes = integers(arguments, 26, 5)
    row_first, row_step, column_first, column_step, biased, relu, pooled = integers(arguments, 31, 7)
    pool = pool_height * pool_width
    first, start_filter = number // stripes * outputs_a_block, number % stripes * filters_a_stripe
    outputs, filters = min(outputs_a_block, n * rows * columns - first), min(filters_a_stripe, k - start_filter)
    pixels, wide = outputs * pool, (filters + COLUMNS - 1) // COLUMNS
    line, sums_row = taps_a_piece * channels_a_piece + _PAD, wide * COLUMNS + _PAD
    sums = at(room, (outputs_a_block * pool + ROWS) * line)
    cut = rows, columns, down, right, pool_height, pool_width
    start = 0
    for t in range(0, count, taps_a_piece):
        some = min(taps_a_piece, count - t)
        for channel in range(0, c, channels_a_piece):
            channels = min(channels_a_piece, c - channel)
            piece = t, some, channel, channels
            _copy_windows(x, (h, w, c), taps, piece, first * pool, pixels, cut, room, line)
            for p in range(wide):
                panel = at(panels, ((start_filter // COLUMNS + p) * depth_all + start) * COLUMNS)
                for r in range(0, pixels, ROWS):
                    place = at(sums, r * sums_row + p * COLUMNS)
                    if start == 0:
                        tile(some * channels, at(room, r * line), line, 1, panel, COLUMNS, place, sums_row)
                    else:
                        add_tile(some * channels, at(room, r * line), line, 1, panel, COLUMNS, place, sums_row)
            start += some * channels
    zero = spread(_ZERO)
    for output in range(outputs):
        place = first + output
        i, j = place // columns % rows * row_step + row_first, place % columns * column_step + column_first
        place = ((place // (columns * rows) * oh + i) * ow + j) * k + start_filter
        for f in range(0, filters, LANES):
            source = output * pool * sums_row + f
            value, which = load(sums, source, LANES), zero
            for t in range(1, pool):
                other = load(sums, source + t * sums_row, LANES)
                better = greater_or_nan(other, value)
                value = where(better, other, value)
                which = where(better, spread(np.float32(t)), which)
            if biased:
                value += load(bias, start_filter + f, filters - f)
            if relu:
                value = larger(value, zero)
            store(y, place + f, value, filters - f)
            if pooled:
                store_bytes(winner, place + f, which, filters - f)


@task(
    x=reads("n h w c"), taps=reads("taps two", "int64"), dy=reads("n oh ow k"),
    shares=writes("groups pieces depth lanes"), sums=writes("groups k"), room=scratch(),
)  # fmt: skip
def _filter_share(number, arguments):
    """What a group of outputs gives to a piece of the filters' gradient, and to the bias's."""
    x, taps, dy, shares, sums, room, n, h, w, c, count, _, oh, ow, k, _, pieces, depth, lanes = integers(
        arguments, 0, 19
    )
    down, right, taps_a_piece, channels_a_piece, outputs_a_group, filters_a_stripe, stripes = integers(arguments, 19, 7)
    group, piece = number // (pieces * stripes), number // stripes % pieces
    start_filter = number % stripes * filters_a_stripe
    filters = min(filters_a_stripe, k - start_filter)
    across = (c + channels_a_piece - 1) // channels_a_piece
    tap, channel = piece // across * taps_a_piece, piece % across * channels_a_piece
    some, channels = min(taps_a_piece, count - tap), min(channels_a_piece, c - channel)
    line = taps_a_piece * channels_a_piece + ROWS + _PAD
    panel, zero = at(room, _PIXELS * line), spread(_ZERO)
    begin, end = group * outputs_a_group, min(n * oh * ow, (group + 1) * outputs_a_group)
    if piece == 0:
        for f in range(start_filter, start_filter + filters, LANES):
            store(sums, group * k + f, zero, k - f)
    for first in range(begin, end, _PIXELS):
        pixels = min(_PIXELS, end - first)
        cut = oh, ow, down, right, 1, 1
        _copy_windows(x, (h, w, c), taps, (tap, some, channel, channels), first, pixels, cut, room, line)
        for f in range(start_filter, start_filter + filters, COLUMNS):
            copy_panel(dy, k, first, pixels, f, k - f, panel)
            if piece == 0:
                for v in range(0, min(COLUMNS, k - f), LANES):
                    value = zero  # of this piece alone, so that the error does not grow with their number
                    for pixel in range(pixels):
                        value += load(panel, pixel * COLUMNS + v, LANES)
                    store(sums, group * k + f + v, load(sums, group * k + f + v, k - f - v) + value, k - f - v)
            for r in range(0, some * channels, ROWS):
                place = at(shares, ((group * pieces + piece) * depth + r) * lanes + f)
                if first == begin:
                    tile(pixels, at(room, r), 1, line, panel, COLUMNS, place, lanes)
                else:
                    add_tile(pixels, at(room, r), 1, line, panel, COLUMNS, place, lanes)


@task(dy=reads("n oh ow k"), y=reads("n oh ow k"), winner=reads("winners", "uint8"), dx=writes("n h w k"))
def _unpool(line, arguments):
    """One row of the gradient for what ReLU and pooling were given: dy where y > 0, at the window's largest pixel."""
    dy, y, winner, dx, _, oh, ow, k, _, h, w = integers(arguments, 0, 11)
    pool_height, pool_width, pooled = integers(arguments, 11, 3)
    image, row, zero = line // h, line % h, spread(_ZERO)
    for column in range(w):
        i, j = row // pool_height, column // pool_width
        inside = spread(np.float32(row % pool_height * pool_width + column % pool_width))
        for f in range(0, k, LANES):
            value = zero
            if i < oh and j < ow:
                place = ((image * oh + i) * ow + j) * k + f
                value = where(greater(load(y, place, k - f), zero), load(dy, place, k - f), zero)
                if pooled:
                    value = where_equal(load_bytes(winner, place, k - f), inside, value, zero)
            store(dx, (line * w + column) * k + f, value, k - f)


# --- how the work is cut


class _Pieces(NamedTuple):
    """The depth of the windows in pieces of whole taps, or of a part of one tap's channels."""

    taps: int
    channels: int

    @property
    def depth(self) -> int:
        return self.taps * self.channels


def _pieces(taps: int, channels: int) -> _Pieces:
    if channels > _DEPTH:
        return _Pieces(1, _even(channels, _DEPTH))
    return _Pieces(_even(taps, _DEPTH // channels), channels)


def _even(n: int, most: int) -> int:
    """The size of pieces that n is cut into, as equal as may be and none larger than ``most``."""
    return -(-n // -(-n // most))


def _whole(n: int, unit: int) -> int:
    return -(-n // unit) * unit


def pack(w: np.ndarray) -> np.ndarray:
    """(depth, K) -> (panels, depth, COLUMNS): filters side by side as tiles take them, beyond the last one zeros."""
    depth, k = w.shape
    wide = np.zeros((depth, _whole(k, COLUMNS)), np.float32)
    wide[:, :k] = w
    return np.ascontiguousarray(wide.reshape(depth, -1, COLUMNS).swapaxes(0, 1))


# --- the passes


NOTHING = np.empty(0, np.uint8)
"""In the place of the winners where nothing is pooled."""


def _launch(x, taps, panels, bias, y, winner, *, counts, step, pool, first, apart, relu) -> None:
    """Convolve: of each image ``counts`` outputs, which go to every ``apart``-th pixel of y from ``first`` on."""
    n, k = y.shape[0], y.shape[3]
    pixels = pool[0] * pool[1]
    pieces, stripe = _pieces(len(taps), x.shape[3]), min(_FILTERS, _whole(k, COLUMNS))
    stripes, outputs = -(-k // stripe), n * counts[0] * counts[1]
    block = max(1, _PIXELS // pixels)
    while -(-outputs // block) * stripes < _TASKS and block > 1 and block * pixels > 4 * ROWS:
        block = -(-block // 2)
    full = block * pixels + ROWS
    room = full * (pieces.depth + _PAD) + full * (stripe + _PAD)
    how = (*counts, *step, *pool, *pieces, block, stripe, stripes, first[0], apart[0], first[1], apart[1])
    arrays = (x, taps, panels, y.reshape(-1)[:k] if bias is None else bias, y, winner, room)
    launch(_convolve, -(-outputs // block) * stripes, arrays, (*how, bias is not None, relu, winner.size > 0))


def _taps(kernel: tuple[int, int], padding: Any, dilation: tuple[int, int]) -> np.ndarray:
    """Where the taps of the first window stand in the image, row and column: (taps, 2)."""
    places = ([i * dilation[axis] - padding[axis][0] for i in range(kernel[axis])] for axis in (0, 1))
    return np.array(list(itertools.product(*places)), np.int64)


def _is_product(w: np.ndarray, stride: Any, padding: Any) -> bool:
    return w.shape[:2] == (1, 1) and stride == (1, 1) and padding == ((0, 0), (0, 0))


def forward(x, w, b, *, stride, padding, dilation, pool=None, relu=False, winners=False):
    """Convolution, bias, ReLU and pooling -> y, and which pixel of its window each element was, where asked for."""
    kh, kw, c, k = w.shape
    n, oh, ow, _ = output_shape(x, w, stride=stride, padding=padding, dilation=dilation)
    x, b = np.ascontiguousarray(x), None if b is None else np.ascontiguousarray(b)
    if pool is None and _is_product(w, stride, padding):
        rows = product(x.reshape(-1, c), np.ascontiguousarray(w).reshape(c, k), b, relu=relu)
        return rows.reshape(n, oh, ow, k), NOTHING
    window = pool or (1, 1)
    oh, ow = oh // window[0], ow // window[1]
    y = np.empty((n, oh, ow, k), np.float32)
    winner = np.empty(y.size if winners and pool is not None else 0, np.uint8)
    panels, taps = pack(w.reshape(-1, k)), _taps((kh, kw), padding, dilation)
    _launch(
        x, taps, panels, b, y, winner,
        counts=(oh, ow), step=stride, pool=window, first=(0, 0), apart=(1, 1), relu=relu,
    )  # fmt: skip
    return y, winner


def output_shape(x, w, *, stride, padding, dilation) -> tuple[int, int, int, int]:
    """(N, OH, OW, K) of the convolution before pooling."""
    oh, ow = (
        output_size(x.shape[1 + axis] + sum(padding[axis]), w.shape[axis], stride[axis], dilation[axis])
        for axis in (0, 1)
    )
    return x.shape[0], oh, ow, w.shape[3]


def unpooled(dy, y, winner, pool, shape) -> np.ndarray:
    """The gradient for what ReLU and pooling were given, of ``shape`` (N, OH, OW, K)."""
    window = pool or (1, 1)
    dx = np.empty(shape, np.float32)
    launch(_unpool, shape[0] * shape[1], (dy, y, winner, dx), (*window, pool is not None))
    return dx


def input_gradient(dy, w, shape, *, stride, padding, dilation) -> np.ndarray:
    """The gradient for images of ``shape``: a convolution of dy for each class of pixels modulo the stride."""
    kh, kw, c, k = w.shape
    if _is_product(w, stride, padding):
        return product(dy.reshape(-1, k), np.ascontiguousarray(w).reshape(c, k), across=(False, True)).reshape(shape)
    dx = np.empty(shape, np.float32)
    under = [
        [_above(first, axis, (kh, kw)[axis], stride, padding, dilation) for first in range(min(stride[axis], n))]
        for axis, n in enumerate(shape[1:3])
    ]
    for (i, rows), (j, columns) in itertools.product(enumerate(under[0]), enumerate(under[1])):
        taps = np.array([(row, column) for _, row in rows for _, column in columns], np.int64)
        if not taps.size:
            dx[:, i :: stride[0], j :: stride[1]] = 0.0
            continue
        some = w[np.ix_([u for u, _ in rows], [v for v, _ in columns])]
        panels = pack(some.swapaxes(2, 3).reshape(-1, c))  # (taps K, C)
        counts = len(range(i, shape[1], stride[0])), len(range(j, shape[2], stride[1]))
        _launch(
            dy, taps, panels, None, dx, NOTHING,
            counts=counts, step=(1, 1), pool=(1, 1), first=(i, j), apart=stride, relu=False,
        )  # fmt: skip
    return dx


def _above(first, axis, kernel, stride, padding, dilation) -> list[tuple[int, int]]:
    """The taps that touch pixel ``first``, and the output whose window each belongs to, which may lie outside."""
    places = [(u, first + padding[axis][0] - u * dilation[axis]) for u in range(kernel)]
    return [(u, place // stride[axis]) for u, place in places if place % stride[axis] == 0]


def filter_gradient(x, dy, shape, *, stride, padding, dilation) -> tuple[np.ndarray, np.ndarray]:
    """The gradients for filters of ``shape`` and for the bias."""
    kh, kw, c, k = shape
    taps, pieces = _taps((kh, kw), padding, dilation), _pieces(kh * kw, c)
    parts = -(-len(taps) // pieces.taps), -(-c // pieces.channels)
    stripe, lanes = min(_FILTERS, _whole(k, COLUMNS)), _whole(k, COLUMNS)
    outputs, tasks = dy.size // k, parts[0] * parts[1] * -(-k // stripe)
    group = _whole(-(-outputs // -(-2 * _TASKS // tasks)), _PIXELS)
    groups = -(-outputs // group)
    depth = _whole(pieces.depth, ROWS)
    shares = np.empty((groups, parts[0] * parts[1], depth, lanes), np.float32)
    sums = np.empty((groups, k), np.float32)
    room = _PIXELS * (pieces.depth + ROWS + _PAD + COLUMNS)
    how = (*stride, *pieces, group, stripe, -(-k // stripe))
    launch(_filter_share, groups * tasks, (x, taps, dy, shares, sums, room), how)
    dw = np.empty((kh * kw, c, k), np.float32)
    for piece, (tap, channel) in enumerate(np.ndindex(parts)):
        some = dw[tap * pieces.taps :, channel * pieces.channels :][: pieces.taps, : pieces.channels]
        share = shares[:, piece, : some.shape[0] * some.shape[1], :k]
        some[...] = share.sum(axis=0).reshape(some.shape)
    return dw.reshape(shape), sums.sum(axis=0)


def backward(dy, x, w, *, needed, stride, padding, dilation):
    """The gradients for images, filters and bias of the convolution alone."""
    how = {"stride": stride, "padding": padding, "dilation": dilation}
    dw = db = None
    if needed[1] or needed[2]:
        dw, db = filter_gradient(x, dy, w.shape, **how)
    dx = input_gradient(dy, w, x.shape, **how) if needed[0] else None
    return dx, dw if needed[1] else None, db if needed[2] else None


# --- the alternatives


def unsuited(x, w, b, *, stride, padding, dilation, pool=None) -> str | None:
    """Why a convolution is declined."""
    n, oh, ow, _ = output_shape(x, w, stride=stride, padding=padding, dilation=dilation)
    down, right = pool or (1, 1)
    if down * right > 256:
        return f"a pool of {down * right} pixels, whose numbers do not fit into a byte"
    if not n * (oh // down) * (ow // right) * w.size:
        return "there is nothing to convolve"
    return requirements.not_float32(x=x, w=w, b=b) or requirements.too_little(n * oh * ow * w.size, _LEAST)


@conv.conv2d.alternative("numpy", unless=unsuited)
class Conv2dByColumns:
    """Images and filters are all that the backward pass needs."""

    @staticmethod
    def forward(xp, x, w, b, *, needed, **how):
        x = np.ascontiguousarray(x)
        return forward(x, w, b, **how)[0], (x, w)

    @staticmethod
    def backward(xp, dy, saved, *, needed, **how):
        return backward(np.ascontiguousarray(dy, np.float32), *saved, needed=needed, **how)


@conv.conv2d_relu.alternative("numpy", unless=unsuited)
class Conv2dReluByColumns:
    """Of what lies between, the pooled value and the number of its pixel are kept, a byte."""

    @staticmethod
    def forward(xp, x, w, b, *, needed, pool, **how):
        x = np.ascontiguousarray(x)
        y, winner = forward(x, w, b, pool=pool, relu=True, winners=any(needed), **how)
        return y, (x, w, y, winner)

    @staticmethod
    def backward(xp, dy, saved, *, needed, pool, **how):
        x, w, y, winner = saved
        dy = unpooled(np.ascontiguousarray(dy, np.float32), y, winner, pool, output_shape(x, w, **how))
        return backward(dy, x, w, needed=needed, **how)
