"""Filters of images: a task copies the pixels that a piece of the result depends on, and slides the kernel over them.

What is copied is extended by the border, so the rest knows of no border, no batch and no bytes. Pixels lie interleaved:
a kernel of c channels slides by c numbers, and a line of w pixels is one of w c numbers.

Every number of the result is one chain of multiply-adds, tap after tap down the columns and then across, wherever its
piece begins. So its bits depend neither on the number of threads nor on how an image is cut into strips. A tap is never
multiplied with a pixel outside its window, because 0 times infinity is NaN.
"""

from __future__ import annotations

import functools

import numpy as np

from backends.array_ops import Padding, output_size
from backends.cpu import requirements
from backends.cpu.codegen.compile import part
from backends.cpu.codegen.gemm import COLUMNS
from backends.cpu.codegen.registers import add_taps, before_line, finish_streams, no_sums, store_sums, stream_sums
from backends.cpu.codegen.simd import (
    LANES,
    at,
    element,
    integers,
    load,
    load_bytes,
    load_integer,
    load_number,
    spread,
    store,
    store_number,
)
from backends.cpu.codegen.thread_pool import launch, reads, scratch, task, writes
from backends.reference import filter

_ROWS = 4
_VECTORS = COLUMNS // LANES  # 2, or 1 where a processor has fewer registers
_ALONG = _ROWS * _VECTORS  # vectors of a single row, which fill the same registers
_REACH = _ALONG * LANES  # numbers that the vectors of a row may reach beyond its end
_ZERO = np.float32(0.0)
_ONE_TAP = np.ones((1, 1), np.float32)  # extends an image and changes nothing

_PIECE_ROWS, _PIECE_WIDTH = 32, 8192
_TALL = 8
"""Rows of a kernel from which on all pixels are copied: rows a power of two apart push each other out of the cache."""

_LARGE = 2**21
"""Numbers of a result that is written past the caches, 8 MiB."""

_MOST = 2**22
"""Numbers that a thread may take for what it copies, 16 MiB."""


# --- what a task is made of


@part
def _gather(x, of_bytes, image, height, w, c, lines, columns, left, line, count, first, last, room, row):
    """Copy ``count`` rows of the extended image, from the pixel ``first`` up to ``last`` of each."""
    width = last - first
    inner = min(max(left - first, 0), width)  # of them, those from here
    outer = min(max(left + w - first, 0), width)  # up to here lie in the image
    for r in range(count):
        pixel, target = load_integer(lines, line + r), at(room, r * row)
        if pixel < 0:
            for k in range(0, width * c, LANES):
                store(target, k, spread(_ZERO), width * c - k)
            continue
        source = (image * height + pixel) * w
        start, size = (source + first + inner - left) * c, (outer - inner) * c
        for k in range(0, size, LANES):
            value = load_bytes(x, start + k, size - k) if of_bytes else load(x, start + k, size - k)
            store(target, inner * c + k, value, size - k)
        for j in range(inner + width - outer):
            beyond = j if j < inner else j - inner + outer
            pixel = load_integer(columns, first + beyond)
            for k in range(c):
                value = spread(_ZERO)
                if pixel >= 0:
                    place = (source + pixel) * c + k
                    value = load_bytes(x, place, 1) if of_bytes else load_number(x, place)
                store_number(target, beyond * c + k, element(value))


@part
def _slide(x, x_row, c, h, kh, kw, y, y_row, rows, width, streamed):
    """At most four rows of ``width`` numbers: y[i, j] = sum over u, v of h[v, u] x[i + u, j + v c]; h is (kw, kh).

    Where they are written past the caches, the first numbers up to the beginning of a cache line are done before.
    """
    together = 1 if kh < 3 else _ROWS
    streamed = streamed if together == 1 or (rows == _ROWS and y_row % LANES == 0) else 0
    for first in range(0, rows, together):
        pixels, target = at(x, first * x_row), at(y, first * y_row)
        start = before_line(target) if streamed else 0
        k = 0
        while k < width:
            stop = min(start, width) if k < start else width
            if together == 1:
                sums = no_sums(_ALONG)
                for v in range(kw):
                    for u in range(kh):
                        sums = add_taps(sums, _ALONG, 0, 1, pixels, k + v * c + u * x_row, h, v * kh + u)
                if streamed and k + _REACH <= stop:
                    stream_sums(sums, _ALONG, target, k, 0)
                else:
                    store_sums(sums, _ALONG, target, k, 0, 1, stop - k)
                k = min(k + _REACH, stop)
                continue
            # A row of pixels is loaded once for the four rows of the result; the first and the last ones are not under
            # the kernel of all of them.
            sums = no_sums(_ALONG)
            for v in range(kw):
                i, j = k + v * c, v * kh
                sums = add_taps(sums, _VECTORS, 0, 1, pixels, i, h, j)
                sums = add_taps(sums, _VECTORS, 0, 2, pixels, i + x_row, h, j + 1)
                sums = add_taps(sums, _VECTORS, 0, 3, pixels, i + 2 * x_row, h, j + 2)
                for u in range(3, kh):
                    sums = add_taps(sums, _VECTORS, 0, 4, pixels, i + u * x_row, h, j + u)
                i, j = i + kh * x_row, j + kh
                sums = add_taps(sums, _VECTORS, 1, 4, pixels, i, h, j)
                sums = add_taps(sums, _VECTORS, 2, 4, pixels, i + x_row, h, j + 1)
                sums = add_taps(sums, _VECTORS, 3, 4, pixels, i + 2 * x_row, h, j + 2)
            if streamed and k + _VECTORS * LANES <= stop:
                stream_sums(sums, _VECTORS, target, k, y_row)
            else:
                store_sums(sums, _VECTORS, target, k, y_row, rows, stop - k)
            k = min(k + _VECTORS * LANES, stop)


# --- the task: a piece of the result, some rows by some columns


def _correlate(piece, arguments):
    """y = x correlated with h (kw, kh), and, in two passes, what comes of that with the taps of a row.

    The columns of y, or of what comes of the first pass, from ``inner`` up to ``outer`` are read from the image itself:
    where all rows lie in the image, and so far from the end of the batch that no vector reaches beyond it.
    """
    x, h, taps, lines, columns, y, room, n, height, w, c, kw, kh, size, _, _, oh, ow = integers(arguments, 0, 18)
    of_bytes, twice, streamed, copied, top, left, piece_rows, piece_width, down, across = integers(arguments, 18, 10)
    image, line, first = piece // (down * across), piece // across % down * piece_rows, piece % across * piece_width
    rows, width = min(piece_rows, oh - line), min(piece_width, ow - first)
    wide = width + size - 1 if twice else width
    count, row = rows + kh - 1, (wide + kw - 1) * c + _REACH
    inner = outer = wide
    end = (image * height + line - top + count + _ROWS) * w * c + _REACH
    if not copied and line >= top and line - top + count <= height and end <= n * height * w * c:
        inner = min(max(left - first, 0), wide)
        outer = max(inner, min(wide, left + w - first - kw + 1))
    if inner > 0:
        stop = first + inner + kw - 1
        _gather(x, of_bytes, image, height, w, c, lines, columns, left, line, count, first, stop, room, row)
    if outer < wide:
        start, stop, place = first + outer, first + wide + kw - 1, at(room, outer * c)
        _gather(x, of_bytes, image, height, w, c, lines, columns, left, line, count, start, stop, place, row)
    pixels = at(x, ((image * height + line - top) * w + first - left) * c)
    target, half = at(y, ((image * oh + line) * ow + first) * c), at(room, (count + _ROWS) * row)
    for i in range(0, rows, _ROWS):
        some, result = min(_ROWS, rows - i), at(target, i * ow * c)
        to, to_row, past = (half, row, 0) if twice else (result, ow * c, streamed)
        for part_ in range(3):
            start, stop, source, source_row = 0, inner, at(room, i * row), row
            if part_ == 1:
                start, stop, source, source_row = inner, outer, at(pixels, i * w * c), w * c
            elif part_ == 2:
                start, stop = outer, wide
            start, across_ = start * c, (stop - start) * c
            _slide(at(source, start), source_row, c, h, kh, kw, at(to, start), to_row, some, across_, past)
        if twice:
            _slide(half, row, c, taps, 1, size, result, ow * c, some, width * c, streamed)
    finish_streams()


_TASKS = {
    dtype: task(
        x=reads("n h w c", dtype), h=reads("kw kh"), taps=reads("size"), lines=reads("lines", "int64"),
        columns=reads("columns", "int64"), y=writes("n oh ow c"), room=scratch(),
    )(_correlate)
    for dtype in ("float32", "uint8")
}  # fmt: skip
"""For an image of numbers, and for one of bytes; they share what is compiled."""


# --- a whole image


@functools.lru_cache(maxsize=64)
def _places(n: int, sides: tuple[int, int], border: str) -> np.ndarray:
    """Which of n pixels stands at each place of the extended axis; -1 for a zero."""
    places = np.arange(-sides[0], n + sides[1])
    for i in (*range(-sides[0], 0), *range(n, n + sides[1])):
        places[sides[0] + i] = -1 if border == "zero" else filter.pixel_at(i, n, border)
    places.flags.writeable = False
    return places


def _cut(n: int, oh: int, ow: int, c: int, kernel: tuple[int, int]) -> tuple[int, int, int]:
    """Rows and columns of a piece, and how much room a thread needs for it."""
    (kh, kw), rows = kernel, _PIECE_ROWS
    width, least = max(1, _PIECE_WIDTH // c), 2 * kw  # narrower pieces would copy more than they compute
    while width > least and (rows + kh) * (width + kw) * c > _MOST // 2:
        width //= 2
    width = min(max(width, least), ow)
    while rows > 8 and n * -(-oh // rows) * -(-ow // width) < 8:  # enough for every thread
        rows //= 2
    return rows, width, (rows + kh + 2 * _ROWS) * ((width + kw - 1) * c + _REACH)


def _size(x, kernel: tuple[int, int], padding: Padding) -> tuple[int, int]:
    _, h, w, _ = x.shape
    return output_size(h + sum(padding[0]), kernel[0], 1), output_size(w + sum(padding[1]), kernel[1], 1)


def _correlated(x, h, taps, kernel: tuple[int, int], padding: Padding, border: str) -> np.ndarray:
    """x correlated with h (kw, kh), and then with the taps of a row where they are not None."""
    n, height, w, c = x.shape
    oh, ow = _size(x, kernel, padding)
    y = np.empty((n, oh, ow, c), np.float32)
    if not y.size:
        return y
    if x.dtype == np.bool_:
        x = x.view(np.uint8)
    of_bytes = x.dtype == np.uint8
    x = np.ascontiguousarray(x, None if of_bytes else np.float32)
    rows, width, room = _cut(n, oh, ow, c, kernel)
    down, across = -(-oh // rows), -(-ow // width)
    twice, taps = taps is not None, h[0] if taps is None else taps
    arrays = (x, h, taps, _places(height, padding[0], border), _places(w, padding[1], border), y, room)
    copied = of_bytes or kernel[0] >= _TALL
    how = (of_bytes, twice, y.size >= _LARGE, copied, padding[0][0], padding[1][0], rows, width, down, across)
    launch(_TASKS[x.dtype.name], n * down * across, arrays, how)
    return y


def _directly(x, h, padding: Padding, border: str) -> np.ndarray:
    return _correlated(x, np.ascontiguousarray(h.T), None, h.shape, padding, border)


def _in_two_passes(x, column, row, padding: Padding, border: str) -> np.ndarray:
    column, row = np.ascontiguousarray(column)[None], np.ascontiguousarray(row)
    return _correlated(x, column, row, (column.size, row.size), padding, border)


def _adjoint(correlate, dy, taps, kernel: tuple[int, int], padding: Padding, border: str) -> np.ndarray:
    """The gradient for the image: dy correlated with the kernel flipped, and what lies beyond the image folded back."""
    (kh, kw), ((top, bottom), (left, right)) = kernel, padding
    flipped = [np.flip(x) for x in taps]
    around = ((kh - 1 - top, kh - 1 - bottom), (kw - 1 - left, kw - 1 - right))
    if border == "zero" and min(*around[0], *around[1]) >= 0:
        return correlate(dy, *flipped, around, "zero")
    return filter.fold(correlate(dy, *flipped, ((kh - 1, kh - 1), (kw - 1, kw - 1)), "zero"), padding, border)


def _unsuited(x, kernel: tuple[int, int], padding: Padding, stride: tuple[int, int], **taps) -> str | None:
    if stride != (1, 1):
        return f"a stride of {stride}, and only (1, 1) is compiled"
    if x.dtype.kind not in "bui":
        taps["x"] = x
    room = _cut(x.shape[0], *_size(x, kernel, padding), max(1, x.shape[3]), kernel)[2]
    if room > _MOST:
        return f"a kernel of {kernel[0]} × {kernel[1]}, for which each thread would copy {room:,} numbers"
    return requirements.not_float32(**taps)


def _unsuited_direct(x, h, *, padding, border, stride) -> str | None:
    return _unsuited(x, h.shape, padding, stride, h=h)


def _unsuited_separable(x, column, row, *, padding, border, stride) -> str | None:
    return _unsuited(x, (column.size, row.size), padding, stride, column=column, row=row)


@filter.correlate2d.alternative("numpy", unless=_unsuited_direct)
class CorrelationByPieces:
    """The image's gradient is a correlation too; that for the kernel is the reference's, a sum for each tap."""

    @staticmethod
    def forward(xp, x, h, *, padding, border, stride, needed):
        return _directly(x, h, padding, border), (x if needed[1] else None, h)

    @staticmethod
    def backward(xp, dy, saved, *, padding, border, stride, needed):
        x, h = saved
        dx = dh = None
        if needed[0]:
            dx = _adjoint(_directly, dy, (h,), h.shape, padding, border)
        if needed[1]:
            wide = _directly(x, _ONE_TAP, padding, border)
            dh = filter.kernel_gradient(xp, dy, wide, h.shape, stride)
        return dx, dh


@filter.correlate_separable.alternative("numpy", unless=_unsuited_separable)
class SeparableByPieces:
    """A piece goes down four rows at a time and across while they lie in the cache."""

    @staticmethod
    def forward(xp, x, column, row, *, padding, border, stride, needed):
        return _in_two_passes(x, column, row, padding, border), (x if True in needed[1:] else None, column, row)

    @staticmethod
    def backward(xp, dy, saved, *, padding, border, stride, needed):
        x, column, row = saved
        dx = dcolumn = drow = None
        if needed[0]:
            dx = _adjoint(_in_two_passes, dy, (column, row), (column.size, row.size), padding, border)
        if needed[1]:
            wide = _directly(x, _ONE_TAP, padding, border)
            dhalf = _directly(dy, np.flip(row)[None], ((0, 0), (row.size - 1, row.size - 1)), "zero")
            dcolumn = filter.kernel_gradient(xp, dhalf, wide, (column.size, 1), stride)[:, 0]
        if needed[2]:
            half = _directly(x, column[:, None], padding, border)
            drow = filter.kernel_gradient(xp, dy, half, (1, row.size), stride)[0]
        return dx, dcolumn, drow
