"""Convolution by 3×3 filters in steps of one pixel, 4 × 4 outputs at once: Winograd's algorithm F(4×4, 3×3).

:mod:`backends.cpu.conv.winograd_transforms` has the formulas. A task takes some sixteen tiles through all steps while
they lie in the cache: transforms, 36 products of matrices (tiles, channels) and (channels, filters), the transform
back, bias, ReLU and pooling. So what lies between is never stored, and for the gradient only the output is kept, or of
pooled outputs a byte each: which pixel of the window was the largest. The gradient of the image is the same computation
with the filters turned about and transposed. That of the filters adds the tiles' products up over fixed groups of
tiles, which are added in order: its bits do not depend on the number of threads.

The products add and subtract neighbouring pixels. Errors are some millionths of the largest output, about ten times
those of plain sums, so a number that is zero but for rounding may fall on the other side of a ReLU, and of a window's
equals another may win. NaN or infinity in a pixel or a gradient spreads as NaN over all 16 outputs of the tiles that
read it, instead of the 9 that it belongs to, and none is lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from backends.cpu import requirements
from backends.cpu.codegen.compile import part
from backends.cpu.codegen.gemm import COLUMNS, ROWS, add_tile, tile
from backends.cpu.codegen.simd import (
    LANES,
    at,
    greater,
    greater_or_nan,
    integers,
    larger,
    load,
    spread,
    store,
    store_bytes,
    transpose,
    where,
)
from backends.cpu.codegen.thread_pool import launch, reads, scratch, task, writes
from backends.cpu.conv.winograd_transforms import (
    NOWHERE,
    PLAIN,
    POINTS,
    READ,
    WHERE_IT_STOOD,
    WHERE_POSITIVE,
    WRITTEN,
    fetch,
    filter_gradient,
    filter_points,
    gradient_points,
    image_points,
    outputs,
)
from backends.reference import conv

_BLOCK = -(-16 // ROWS) * ROWS
"""Tiles of a task: the numbers between the transforms, 36 × _BLOCK × channels, stay in the second cache."""

_PAD = 16
"""Elements between rows, so that they are no power of two apart and do not push each other out of the first cache."""

_BETWEEN = POINTS * LANES
"""Room for the transform of one axis."""

_SLICE = 64
"""Channels and filters of which a task sums the gradient: 36 × 64 × 64 numbers stay in the second cache."""

_GROUPS = 8
"""Parts of the filters' gradient to be worked on at once, if the slices are fewer: as many as there are threads."""

_FIRST = np.int64(0)
_ZERO, _NOWHERE = np.float32(0.0), np.float32(NOWHERE)


def _up(n: int, step: int) -> int:
    """The next multiple."""
    return -(-n // step) * step


# --- filters


@task(w=reads("kh kw c k"), u=writes("panels points depth columns"), room=scratch())
def _transform_filters(block, arguments):
    """G w Gᵀ of 16 channels and 16 filters, to panels (depth, COLUMNS); of the gradient's filters where ``across``."""
    w, u, room, _, _, c, k, panels, _, depth, _, across = integers(arguments, 0, 12)
    stripes = panels * COLUMNS // LANES
    inner, outer = block // stripes * LANES, block % stripes * LANES
    first, stripe = (outer, inner) if across else (inner, outer)
    taps, between = room, at(room, 9 * LANES)
    points = at(between, _BETWEEN)
    for channel in range(first, first + LANES):
        for t in range(9):
            tap = 8 - t if across else t
            left = k - stripe if channel < c else 0
            store(taps, t * LANES, load(w, (tap * c + channel) * k + stripe, left), LANES)
        target = at(points, (channel - first) * LANES)
        filter_points(taps, 3 * LANES, LANES, between, target, LANES * LANES)
    for p in range(POINTS):
        source = at(points, p * LANES * LANES)
        target = at(u, ((outer // COLUMNS * POINTS + p) * depth + inner) * COLUMNS + outer % COLUMNS)
        if across:
            transpose(source, LANES, target, COLUMNS)
        else:
            for i in range(LANES):
                store(target, i * COLUMNS, load(source, i * LANES, LANES), LANES)


def _transformed(w: np.ndarray, *, across: bool) -> np.ndarray:
    """(3, 3, C, K) -> (panels, 36, C, COLUMNS): of each point of the transform the filters, COLUMNS a panel.

    ``across`` takes the filters of the image's gradient: turned by 180 degrees, with C and K exchanged.
    """
    c, k = w.shape[2:]
    depth, width = (k, c) if across else (c, k)
    panels = -(-width // COLUMNS)
    u = np.empty((panels, POINTS, _up(depth, LANES), COLUMNS), np.float32)
    blocks = u.shape[2] // LANES * (panels * COLUMNS // LANES)
    launch(_transform_filters, blocks, (w, u, 9 * LANES + _BETWEEN + POINTS * LANES**2), (across,))
    return u


# --- outputs, and the gradient of the image


@part
def _locate(number, down, across):
    """A tile's image, row and column of tiles."""
    image, rest = number // (down * across), number % (down * across)
    return image, rest // across, rest % across


@part
def _write(sums, bias, relu, y, size, image, row, column, channel):
    """16 channels of 4 × 4 outputs, as far as there are so many."""
    h, w, k = size
    shift, lowest = load(bias, channel, k - channel), spread(_ZERO)
    for i in range(min(4, h - row)):
        place = ((image * h + row + i) * w + column) * k + channel
        for j in range(min(4, w - column)):
            value = load(sums, (4 * i + j) * LANES, LANES) + shift
            if relu:
                value = larger(value, lowest)
            store(y, place + j * k, value, k - channel)


@part
def _write_pooled(sums, bias, y, winner, size, image, row, column, channel):
    """As :func:`_write`, of each window of 2 × 2 the largest output, or 0, and which one it is."""
    h, w, k = size
    shift, lowest = load(bias, channel, k - channel), spread(_ZERO)
    for i in range(min(2, h - row)):
        for j in range(min(2, w - column)):
            corner = at(sums, (8 * i + 2 * j) * LANES)
            best, number = load(corner, 0, LANES) + shift, lowest
            for t in range(1, 4):
                value = load(corner, (t // 2 * 4 + t % 2) * LANES, LANES) + shift
                better = greater_or_nan(value, best)
                best, number = where(better, value, best), where(better, spread(np.float32(t)), number)
            place = ((image * h + row + i) * w + column + j) * k + channel
            store(y, place, larger(best, lowest), k - channel)
            store_bytes(winner, place, where(greater(best, lowest), number, spread(_NOWHERE)), k - channel)


@task(
    x=reads("n h w c"), mask=reads("n h w c"), stood=reads("places", "uint8"),
    u=reads("panels points depth columns"), bias=reads("k"),
    y=writes("n oh ow k"), winner=writes("numbers", "uint8"), room=scratch(),
)  # fmt: skip
def _convolve(block, arguments):
    """One block of tiles of y: Aᵀ [U ⊙ (Bᵀ d B)] A + bias, and perhaps its positive part, and that pooled."""
    x, mask, stood, u, bias, y, winner, room, _, h, w, c, _, panels, _, depth, _, k, oh, ow, _ = integers(
        arguments, 0, 21
    )
    kind, top, left, relu, pooled, down, across, tiles = integers(arguments, 21, 8)
    first = block * _BLOCK
    count, row = min(_BLOCK, tiles - first), depth + _PAD
    v_point, m_point = _BLOCK * row + _PAD, _BLOCK * COLUMNS + _PAD
    between, sums = room, at(room, _BETWEEN)
    pixels = at(sums, 16 * LANES)
    v = at(pixels, POINTS * row)
    m = at(v, POINTS * v_point)
    for t in range(count):
        image, i, j = _locate(first + t, down, across)
        fetch(x, mask, stood, kind, (h, w, c), image, 4 * i - top, 4 * j - left, READ, _FIRST, c, pixels, row)
        for channel in range(0, c, LANES):
            target = at(v, t * row + channel)
            image_points(at(pixels, channel), 6 * row, row, between, target, v_point)
    for panel in range(panels):
        for p in range(POINTS):
            b = at(u, (panel * POINTS + p) * depth * COLUMNS)
            for t in range(0, count, ROWS):
                tile(c, at(v, p * v_point + t * row), row, 1, b, COLUMNS, at(m, p * m_point + t * COLUMNS), COLUMNS)
        for t in range(count):
            image, i, j = _locate(first + t, down, across)
            for channel in range(panel * COLUMNS, min(k, (panel + 1) * COLUMNS), LANES):
                source = at(m, t * COLUMNS + channel % COLUMNS)
                outputs(source, 6 * m_point, m_point, between, sums, LANES)
                if pooled:
                    _write_pooled(sums, bias, y, winner, (oh, ow, k), image, 2 * i, 2 * j, channel)
                else:
                    _write(sums, bias, relu, y, (oh, ow, k), image, 4 * i, 4 * j, channel)


_NONE = np.zeros(0, np.uint8)
"""In the place of the numbers of the largest pixels where nothing is pooled."""


def _run(x, u, bias, y, padding, *, relu=False, winner=None, kind=PLAIN, mask=None, stood=_NONE) -> None:
    """Fill y, and the numbers of the largest pixels ``winner``, from x as :func:`fetch` reads it."""
    n, oh, ow, k = y.shape
    edge = 4 if winner is None else 2
    down, across = -(-oh // edge), -(-ow // edge)
    tiles, row = n * down * across, u.shape[2] + _PAD
    room = _BETWEEN + 16 * LANES + POINTS * (row + _BLOCK * row + _PAD + _BLOCK * COLUMNS + _PAD)
    bias = np.zeros(k, np.float32) if bias is None else np.ascontiguousarray(bias)
    flat = _NONE if winner is None else winner.reshape(-1)
    arrays = (x, x if mask is None else mask, stood.reshape(-1), u, bias, y, flat, room)
    how = (int(kind), padding[0][0], padding[1][0], relu, winner is not None, down, across, tiles)
    launch(_convolve, -(-tiles // _BLOCK), arrays, how)


def _image_gradient(dy, w, shape, padding, **masked: Any) -> np.ndarray:
    """Of an image of ``shape``: the gradient of each pixel is a convolution of dy with the filters turned about."""
    dx = np.empty(shape, np.float32)
    (top, bottom), (left, right) = padding
    _run(dy, _transformed(w, across=True), None, dx, ((2 - top, 2 - bottom), (2 - left, 2 - right)), **masked)
    return dx


# --- the gradient of the filters


@task(
    x=reads("n h w c"), dy=reads("n oh ow k"), mask=reads("n oh ow k"), stood=reads("places", "uint8"),
    sums=writes("slots points rows columns"), totals=writes("groups width"), room=scratch(),
)  # fmt: skip
def _sum_products(slot, arguments):
    """Σ (Bᵀ d B) ⊙ (A dy Aᵀ) over a group of tiles, for a slice of the channels and one of the filters; and Σ dy."""
    x, dy, mask, stood, sums, totals, room = integers(arguments, 0, 7)
    _, h, w, c, oh, ow, k, _, _, _, rows, columns, _, width = integers(arguments, 7, 14)
    kind, top, left, slice_c, slice_k, down, across, tiles, at_once = integers(arguments, 21, 9)
    slices_c, slices_k = (c + slice_c - 1) // slice_c, (k + slice_k - 1) // slice_k
    group, part_c, part_k = slot // (slices_c * slices_k), slot // slices_k % slices_c, slot % slices_k
    c_first, k_first = part_c * slice_c, part_k * slice_k
    c_last, k_last = min(c, c_first + slice_c), min(k, k_first + slice_k)
    v_row, y_row = rows + _PAD, columns + _PAD
    v_point, y_point = _BLOCK * v_row + _PAD, _BLOCK * y_row + _PAD
    between, pixels = room, at(room, _BETWEEN)
    v = at(pixels, POINTS * max(v_row, y_row))
    y = at(v, POINTS * v_point)
    sums, totals = at(sums, slot * POINTS * rows * columns), at(totals, group * width + k_first)
    start, stop = group * at_once, min(tiles, (group + 1) * at_once)
    for first in range(start, stop, _BLOCK):
        count = min(_BLOCK, stop - first)
        for t in range(count):
            image, i, j = _locate(first + t, down, across)
            fetch(x, x, stood, PLAIN, (h, w, c), image, 4 * i - top, 4 * j - left, READ, c_first, c_last, pixels, v_row)
            for channel in range(0, c_last - c_first, LANES):
                target = at(v, t * v_row + channel)
                image_points(at(pixels, channel), 6 * v_row, v_row, between, target, v_point)
            fetch(dy, mask, stood, kind, (oh, ow, k), image, 4 * i, 4 * j, WRITTEN, k_first, k_last, pixels, y_row)
            for channel in range(0, k_last - k_first, LANES):
                target = at(y, t * y_row + channel)
                gradient_points(at(pixels, channel), 4 * y_row, y_row, between, target, y_point)
        for p in range(POINTS):
            for channel in range(0, k_last - k_first, COLUMNS):
                b = at(y, p * y_point + channel)
                for r in range(0, c_last - c_first, ROWS):
                    a, place = at(v, p * v_point + r), at(sums, (p * rows + r) * columns + channel)
                    if first == start:
                        tile(count, a, 1, v_row, b, y_row, place, columns)
                    else:
                        add_tile(count, a, 1, v_row, b, y_row, place, columns)
        if part_c == 0:
            _add_rows(at(y, 7 * y_point), y_row, count, k_last - k_first, totals, first == start)


@part
def _add_rows(y, row, count, k, totals, anew):
    """Add the tiles' sums of dy, which stand at the point (1, 1): there all coefficients of A are 1."""
    for channel in range(0, k, LANES):
        total = spread(_ZERO)
        for t in range(count):
            total += load(y, t * row + channel, LANES)
        store(totals, channel, total if anew else load(totals, channel, LANES) + total, LANES)


@task(sums=reads("slots points rows columns"), dw=writes("kh kw c k"), room=scratch())
def _finish_filters(channel, arguments):
    """Gᵀ sums G of one channel, over all groups in their order."""
    sums, dw, room, slots, _, rows, columns, _, _, c, k, slice_c, slice_k = integers(arguments, 0, 13)
    slices_c, slices_k = (c + slice_c - 1) // slice_c, (k + slice_k - 1) // slice_k
    between, taps = room, at(room, _BETWEEN)
    total = at(taps, 9 * LANES)
    slot_size, point_size = POINTS * rows * columns, rows * columns
    for stripe in range(0, k, LANES):
        slot = channel // slice_c * slices_k + stripe // slice_k
        place = slot * slot_size + channel % slice_c * columns + stripe % slice_k
        for p in range(POINTS):
            value = load(sums, place + p * point_size, LANES)
            for group in range(1, slots // (slices_c * slices_k)):
                value += load(sums, place + p * point_size + group * slices_c * slices_k * slot_size, LANES)
            store(total, p * LANES, value, LANES)
        filter_gradient(total, 6 * LANES, LANES, between, taps, LANES)
        for t in range(9):
            store(dw, (t * c + channel) * k + stripe, load(taps, t * LANES, LANES), k - stripe)


def _slice(n: int) -> int:
    """Channels of a slice: at most _SLICE, a multiple of LANES, all slices alike."""
    return _up(-(-n // -(-n // _SLICE)), LANES)


def _filter_gradient(x, dy, padding, size, *, kind=PLAIN, mask=None, stood=_NONE) -> tuple[np.ndarray, np.ndarray]:
    """(3, 3, C, K) and (K,): the gradients of filters and bias.

    size : (height, width) of the outputs before pooling
    """
    n, c, k = x.shape[0], x.shape[3], dy.shape[3]
    down, across = -(-size[0] // 4), -(-size[1] // 4)
    tiles, slice_c, slice_k = n * down * across, _slice(c), _slice(k)
    slices = -(-c // slice_c) * -(-k // slice_k)
    at_once = _up(-(-tiles // -(-_GROUPS // slices)), _BLOCK)
    groups = -(-tiles // at_once)
    rows, columns = _up(slice_c, ROWS), _up(slice_k, COLUMNS)
    sums = np.empty((groups * slices, POINTS, rows, columns), np.float32)
    totals = np.empty((groups, _up(k, slice_k)), np.float32)
    v_row, y_row = rows + _PAD, columns + _PAD
    room = _BETWEEN + POINTS * (max(v_row, y_row) + _BLOCK * (v_row + y_row) + 2 * _PAD)
    how = (int(kind), padding[0][0], padding[1][0], slice_c, slice_k, down, across, tiles, at_once)
    arrays = (x, dy, dy if mask is None else mask, stood.reshape(-1), sums, totals, room)
    launch(_sum_products, groups * slices, arrays, how)
    dw = np.empty((3, 3, c, k), np.float32)
    launch(_finish_filters, c, (sums, dw, _BETWEEN + (9 + POINTS) * LANES), (slice_c, slice_k))
    return dw, totals[:, :k].sum(axis=0)  # what is beyond is undefined


# --- the kernels


_CHANNELS = 16
"""With fewer, of images or filters, vectors are mostly empty."""

_PIXELS = 512
"""With fewer, in all images, it does not pay to transform the filters, whose numbers become four times as many."""

_FILLED = 1 / 3
"""The part of the tiles' outputs that must exist: of images of 2 × 2 it is a quarter, and plain sums are faster."""


def _unsuited(x, w, b, *, stride, padding, dilation, pool=None) -> str | None:
    if w.shape[:2] != (3, 3):
        return f"filters of {w.shape[0]}×{w.shape[1]}, not 3×3"
    if tuple(stride) != (1, 1) or tuple(dilation) != (1, 1):
        return f"stride {stride} and dilation {dilation}, not 1"
    if pool not in (None, (2, 2)):
        return f"a pool of {pool}, not 2×2"
    c, k = w.shape[2:]
    if min(c, k) < _CHANNELS:
        return f"{c} channels and {k} filters, one of them fewer than {_CHANNELS}"
    height, width = _size(x.shape, padding)
    if 0 in (len(x), *_pooled((height, width), pool)):
        return "there is no output"
    if height * width < _FILLED * _up(height, 4) * _up(width, 4):
        return f"outputs of {height}×{width}, which leave most of the tiles of 4×4 empty"
    return requirements.not_float32(x=x, w=w, b=b) or requirements.too_few(x, _PIXELS * c)


def _size(shape, padding) -> tuple[int, int]:
    """Height and width of the outputs for images of a shape."""
    return shape[1] + sum(padding[0]) - 2, shape[2] + sum(padding[1]) - 2


def _pooled(size, pool) -> tuple[int, int]:
    return size if pool is None else (size[0] // pool[0], size[1] // pool[1])


def _forward(x, w, b, padding, needed, pool=None, relu=False) -> tuple[np.ndarray, np.ndarray | None, Any]:
    """Outputs, where the largest of each window stood, and what :func:`_backward` needs."""
    x, w = np.ascontiguousarray(x), np.ascontiguousarray(w)
    y = np.empty((len(x), *_pooled(_size(x.shape, padding), pool), w.shape[3]), np.float32)
    winner = None if pool is None else np.empty(y.shape, np.uint8)
    _run(x, _transformed(w, across=False), b, y, padding, relu=relu, winner=winner)
    return y, winner, (x if needed[1] or needed[2] else None, w if needed[0] else None, x.shape)


def _backward(dy, saved, padding, needed, **masked) -> tuple[np.ndarray | None, ...]:
    x, w, shape = saved
    dy, dx, dw, db = np.ascontiguousarray(dy, np.float32), None, None, None
    if needed[0]:
        dx = _image_gradient(dy, w, shape, padding, **masked)
    if needed[1] or needed[2]:
        dw, db = _filter_gradient(x, dy, padding, _size(shape, padding), **masked)
    return dx, dw if needed[1] else None, db if needed[2] else None


@conv.conv2d.alternative("numpy", unless=_unsuited)
class Conv2dByWinograd:
    """Images and filters are kept, and transformed anew for the gradients."""

    @staticmethod
    def forward(xp, x, w, b, *, stride, padding, dilation, needed):
        y, _, saved = _forward(x, w, b, padding, needed)
        return y, saved

    @staticmethod
    def backward(xp, dy, saved, *, stride, padding, dilation, needed):
        return _backward(dy, saved, padding, needed)


@conv.conv2d_relu.alternative("numpy", unless=_unsuited)
class Conv2dReluByWinograd:
    """Of the outputs are kept: all, or where the largest of each window stood."""

    @staticmethod
    def forward(xp, x, w, b, *, stride, padding, dilation, pool, needed):
        y, winner, saved = _forward(x, w, b, padding, needed, pool, relu=True)
        return y, (saved, y if winner is None else winner) if any(needed) else None

    @staticmethod
    def backward(xp, dy, saved, *, stride, padding, dilation, pool, needed):
        saved, kept = saved
        masked = {"kind": WHERE_POSITIVE, "mask": kept} if pool is None else {"kind": WHERE_IT_STOOD, "stood": kept}
        return _backward(dy, saved, padding, needed, **masked)
