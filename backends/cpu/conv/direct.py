"""Convolution of images with few channels, such as a first layer's: straight from the image, nothing is laid out.

A task has a band of the outputs of one image. It copies the rows that the band's windows reach into its own memory,
zeros around them; from there the taps of every window stand at the same offsets, which a table holds. So tiles of a
product read the windows where they are. Bias, ReLU and pooling follow while a row is in the cache; the pooled value
and the number of its pixel are all that the backward pass needs. The gradient for the filters is summed over fixed
groups of bands, which are then added in their order.
"""

from __future__ import annotations

import numpy as np

from backends.cpu.codegen.compile import part
from backends.cpu.codegen.gemm import COLUMNS, ROWS, TAPS, add_tile_of_taps, tile_over_taps
from backends.cpu.codegen.simd import (
    LANES,
    at,
    greater,
    greater_or_nan,
    integers,
    integers_at,
    larger,
    load,
    load_bytes,
    spread,
    store,
    store_bytes,
    where,
    where_equal,
)
from backends.cpu.codegen.thread_pool import launch, reads, scratch, task, writes
from backends.cpu.conv import im2col
from backends.reference import conv

_ZERO = np.float32(0.0)
_CHANNELS = 4  # with more, rows of windows cost less than they save
_BAND = 16_384  # elements of an image that a task copies
_TASKS = 16


@part
def _copy_band(x, image, shape, first, count, left, line, target):
    """``count`` rows of an image from row ``first`` on, ``line`` elements apart, ``left`` zeros before each."""
    h, w, c = shape
    for r in range(count):
        for e in range(0, line, LANES):  # what a vector has too much, the next row writes over
            store(target, r * line + e, spread(_ZERO), LANES)
        if 0 <= first + r < h:
            source = (image * h + first + r) * w * c
            for e in range(0, w * c, LANES):
                store(target, r * line + left * c + e, load(x, source + e, w * c - e), LANES)


@task(
    x=reads("n h w c"), offsets=reads("depth", "int64"), panels=reads("panels depth lanes"), bias=reads("k"),
    y=writes("n oh ow k"), winner=writes("winners", "uint8"), room=scratch(),
)  # fmt: skip
def _convolve_band(number, arguments):
    """Some rows of one image's outputs."""
    x, offsets, panels, bias, y, winner, room, _, h, w, c, depth, _, _, k, oh, ow = integers(arguments, 0, 17)
    down, right, top, left, pool_height, pool_width, line, reach, rows, bands = integers(arguments, 18, 10)
    size, biased, relu, pooled = integers(arguments, 28, 4)
    image, begin = number // bands, number % bands * rows
    end = min(oh, begin + rows)
    count = ((end - begin) * pool_height - 1) * down + reach
    _copy_band(x, image, (h, w, c), begin * pool_height * down - top, count, left, line, room)
    sums, pixels, zero = at(room, size), ow * pool_width, spread(_ZERO)
    full = (pixels + ROWS - 1) // ROWS * ROWS * COLUMNS
    for i in range(begin, end):
        for f in range(0, k, COLUMNS):
            for above in range(pool_height):
                source = ((i - begin) * pool_height + above) * down * line
                for p in range(0, pixels, ROWS):
                    window, place = at(room, source + p * right * c), at(sums, above * full + p * COLUMNS)
                    tile_over_taps(depth, window, right * c, offsets, at(panels, f * depth), COLUMNS, place, COLUMNS)
            for v in range(f, min(k, f + COLUMNS), LANES):
                shift = zero
                if biased:
                    shift = load(bias, v, k - v)
                for j in range(ow):
                    source = j * pool_width * COLUMNS + v - f
                    value, which, t = load(sums, source, LANES), zero, 0
                    for above in range(pool_height):
                        for beside in range(pool_width):
                            if t > 0:
                                other = load(sums, source + above * full + beside * COLUMNS, LANES)
                                better = greater_or_nan(other, value)
                                value = where(better, other, value)
                                which = where(better, spread(np.float32(t)), which)
                            t += 1
                    value += shift
                    if relu:
                        value = larger(value, zero)
                    place = ((image * oh + i) * ow + j) * k + v
                    store(y, place, value, k - v)
                    if pooled:
                        store_bytes(winner, place, which, k - v)


@task(
    x=reads("n h w c"), offsets=reads("padded", "int64"), dy=reads("n oh ow k"), y=reads("n oh ow k"),
    winner=reads("winners", "uint8"), shares=writes("groups padded lanes"), sums=writes("groups k"), room=scratch(),
)  # fmt: skip
def _filter_share(group, arguments):
    """What a group of bands gives to the gradients for the filters and the bias."""
    x, offsets, dy, y, winner, shares, sums, room, n, h, w, c, padded, oh, ow, k = integers(arguments, 0, 16)
    lanes = integers(arguments, 18, 1)[0]
    down, right, top, left, pool_height, pool_width, line, reach, rows, bands = integers(arguments, 19, 10)
    size, relu, pooled, bands_a_group = integers(arguments, 29, 4)
    slopes, pixels, zero = at(room, size), ow * pool_width, spread(_ZERO)
    for e in range(0, padded * lanes, LANES):
        store(shares, group * padded * lanes + e, zero, LANES)
    for f in range(0, k, LANES):
        store(sums, group * k + f, zero, k - f)
    for number in range(group * bands_a_group, min(n * bands, (group + 1) * bands_a_group)):
        image, begin = number // bands, number % bands * rows
        end = min(oh, begin + rows)
        count = ((end - begin) * pool_height - 1) * down + reach
        _copy_band(x, image, (h, w, c), begin * pool_height * down - top, count, left, line, room)
        for i in range(begin, end):
            for f in range(0, k, COLUMNS):
                for v in range(f, min(k, f + COLUMNS), LANES):
                    sum_ = zero  # of this row alone, so that the error does not grow with their number
                    for j in range(ow):
                        place = ((image * oh + i) * ow + j) * k + v
                        value, which, t = load(dy, place, k - v), zero, np.float32(0.0)
                        if relu:
                            value = where(greater(load(y, place, k - v), zero), value, zero)
                        if pooled:
                            which = load_bytes(winner, place, k - v)
                        sum_ += value
                        for above in range(pool_height):
                            for beside in range(pool_width):
                                target = (above * pixels + j * pool_width + beside) * COLUMNS + v - f
                                store(slopes, target, where_equal(which, spread(t), value, zero), LANES)
                                t += np.float32(1.0)
                    store(sums, group * k + v, load(sums, group * k + v, k - v) + sum_, k - v)
                for above in range(pool_height):
                    source = ((i - begin) * pool_height + above) * down * line
                    slope = at(slopes, above * pixels * COLUMNS)
                    for q in range(0, padded, TAPS):
                        place = at(shares, (group * padded + q) * lanes + f)
                        taps = integers_at(offsets, q)
                        add_tile_of_taps(pixels, at(room, source), right * c, taps, slope, COLUMNS, place, lanes)


# --- the passes


def _cut(x, w, oh, ow, window, stride, padding, dilation):
    """How images are cut into bands: the integers that both tasks take first; and the number of bands of all images."""
    n, _, width, c = x.shape
    kh, kw = w.shape[:2]
    line = (width + sum(padding[1])) * c
    reach = (kh - 1) * dilation[0] + 1
    rows = min(oh, max(1, (_BAND // line - reach) // (window[0] * stride[0])))
    while n * -(-oh // rows) < _TASKS and rows > 1:
        rows = -(-rows // 2)
    bands = -(-oh // rows)
    # Beyond the last row the tile of its last pixels reads on, and a vector is written on.
    size = ((rows * window[0] - 1) * stride[0] + reach) * line + ROWS * stride[1] * c + kw * dilation[1] * c + LANES
    return (*stride, padding[0][0], padding[1][0], *window, line, reach, rows, bands, size), n * bands


def _offsets(w, line: int, dilation, unit: int) -> np.ndarray:
    """Where the taps of a window stand, in elements from its first; filled up with zeros to a multiple of ``unit``."""
    kh, kw, c, _ = w.shape
    i, j, channel = np.ix_(np.arange(kh), np.arange(kw), np.arange(c))
    taps = (i * dilation[0] * line + j * dilation[1] * c + channel).ravel()
    return np.concatenate([taps, np.zeros(-len(taps) % unit, taps.dtype)]).astype(np.int64)


def _forward(x, w, b, *, stride, padding, dilation, pool=None, relu=False, winners=False):
    n, oh, ow, k = im2col.output_shape(x, w, stride=stride, padding=padding, dilation=dilation)
    window = pool or (1, 1)
    oh, ow = oh // window[0], ow // window[1]
    how, tasks = _cut(x, w, oh, ow, window, stride, padding, dilation)
    y = np.empty((n, oh, ow, k), np.float32)
    winner = np.empty(y.size if winners and pool is not None else 0, np.uint8)
    bias = y.reshape(-1)[:k] if b is None else np.ascontiguousarray(b)
    arrays = (x, _offsets(w, how[6], dilation, 1), im2col.pack(w.reshape(-1, k)), bias, y, winner)
    room = how[-1] + window[0] * (ow * window[1] + ROWS) * COLUMNS
    launch(_convolve_band, tasks, (*arrays, room), (*how, b is not None, relu, winner.size > 0))
    return y, winner


def _backward(dy, x, w, y=None, winner=None, *, stride, padding, dilation, pool=None, needed):
    """The gradients; that for the images, which a first layer does not need, by rows of windows."""
    (_, oh, ow, k), window = dy.shape, pool or (1, 1)
    dx = dw = db = None
    if needed[0]:
        shape = im2col.output_shape(x, w, stride=stride, padding=padding, dilation=dilation)
        before = dy if y is None else im2col.unpooled(dy, y, winner, pool, shape)
        dx = im2col.input_gradient(before, w, x.shape, stride=stride, padding=padding, dilation=dilation)
    if needed[1] or needed[2]:
        how, tasks = _cut(x, w, oh, ow, window, stride, padding, dilation)
        offsets = _offsets(w, how[6], dilation, TAPS)
        bands_a_group = -(-tasks // _TASKS)
        groups = -(-tasks // bands_a_group)
        shares = np.empty((groups, len(offsets), -(-k // COLUMNS) * COLUMNS), np.float32)
        sums = np.empty((groups, k), np.float32)
        winner = im2col.NOTHING if winner is None else winner
        arrays = (x, offsets, dy, dy if y is None else y, winner, shares, sums)
        room = how[-1] + window[0] * ow * window[1] * COLUMNS
        launch(_filter_share, groups, (*arrays, room), (*how, y is not None, pool is not None, bands_a_group))
        if needed[1]:
            dw = shares[:, : w.size // k, :k].sum(axis=0).reshape(w.shape)  # what is beyond is undefined
        if needed[2]:
            db = sums.sum(axis=0)
    return dx, dw, db


# --- the alternatives


def _unsuited(x, w, b, **how) -> str | None:
    if x.shape[3] > _CHANNELS:
        return f"{x.shape[3]} channels are more than {_CHANNELS}"
    return im2col.unsuited(x, w, b, **how)


@conv.conv2d.alternative("numpy", unless=_unsuited)
class Conv2dOfFewChannels:
    """Images and filters are all that the backward pass needs."""

    @staticmethod
    def forward(xp, x, w, b, *, needed, **how):
        x = np.ascontiguousarray(x)
        return _forward(x, w, b, **how)[0], (x, w)

    @staticmethod
    def backward(xp, dy, saved, *, needed, **how):
        return _backward(np.ascontiguousarray(dy, np.float32), *saved, needed=needed, **how)


@conv.conv2d_relu.alternative("numpy", unless=_unsuited)
class Conv2dReluOfFewChannels:
    """Of what lies between, the pooled value and the number of its pixel are kept, a byte."""

    @staticmethod
    def forward(xp, x, w, b, *, needed, **how):
        x = np.ascontiguousarray(x)
        y, winner = _forward(x, w, b, relu=True, winners=any(needed), **how)
        return y, (x, w, y, winner)

    @staticmethod
    def backward(xp, dy, saved, *, needed, **how):
        return _backward(np.ascontiguousarray(dy, np.float32), *saved, needed=needed, **how)
