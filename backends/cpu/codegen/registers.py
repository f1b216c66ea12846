"""Sums for several rows and vectors at once, which stay in the processor's registers while they are added to.

:data:`no_sums` begins, :data:`add_taps` adds, :data:`store_sums` or :data:`stream_sums` ends. The sums are those of
some rows, each of as many vectors; how many, and which rows, must be known when a function is compiled.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from backends.cpu.codegen.simd import (
    LANES,
    _constant,
    _everywhere,
    _fma,
    _operation,
    _pointer,
    _store,
    vector,
)

__all__ = ["add_taps", "before_line", "finish_streams", "no_sums", "store_sums", "stream_sums"]

_FLOAT, _LONG = ir.FloatType(), ir.IntType(64)
_FLOATS = ir.VectorType(_FLOAT, LANES)
_intrinsic: Any = intrinsic  # what it makes is called without the typing context, which its annotations do not say


@_intrinsic(prefer_literal=True)
def no_sums(typing: Any, count: Any) -> Any:
    """no_sums(count): ``count`` vectors of zeros. They are the sums of some rows, each of as many vectors."""

    def generate(context: Any, builder: Any, types_: Any, values: Any) -> Any:
        return cgutils.pack_array(builder, [_constant(0.0)] * count.literal_value)

    return types.UniTuple(vector, count.literal_value)(count), generate


@_intrinsic(prefer_literal=True)
def add_taps(typing: Any, sums: Any, vectors: Any, first: Any, last: Any, x: Any, i: Any, h: Any, j: Any) -> Any:
    """add_taps(sums, vectors, first, last, x, i, h, j): the sums, with h[j - m] x[i : ] added to those of the row m.

    So the same pixels take part in the rows from ``first`` to ``last - 1``, each time under another tap. All vectors
    are read whole.
    """

    def generate(context: Any, builder: Any, types_: Any, values: Any) -> Any:
        across, (x, i, h, j) = vectors.literal_value, values[4:]
        new = cgutils.unpack_tuple(builder, values[0])
        step = lambda base, n: builder.add(base, ir.Constant(_LONG, n))  # noqa: E731
        pixels = [
            builder.load(_pointer(builder, x, step(i, LANES * v), _FLOAT, _FLOATS), align=4) for v in range(across)
        ]
        for m in range(first.literal_value, last.literal_value):
            weight = _everywhere(builder, builder.load(_pointer(builder, h, step(j, -m), _FLOAT, _FLOAT), align=4))
            for v in range(across):
                new[m * across + v] = _fma(builder, weight, pixels[v], new[m * across + v])
        return cgutils.pack_array(builder, new)

    return sums(sums, vectors, first, last, *[types.intp] * 4), generate


@_intrinsic(prefer_literal=True)
def store_sums(typing: Any, sums: Any, vectors: Any, y: Any, i: Any, row: Any, count: Any, left: Any) -> Any:
    """store_sums(sums, vectors, y, i, row, count, left): y[i + m row : ] = those of the row m, of ``count`` rows.

    Of each row ``left`` numbers are written.
    """

    def generate(context: Any, builder: Any, types_: Any, values: Any) -> Any:
        across, (y, i, row, count, left) = vectors.literal_value, values[2:]
        for k, value in enumerate(cgutils.unpack_tuple(builder, values[0])):
            m, lane = k // across, ir.Constant(_LONG, LANES * (k % across))
            place = builder.add(builder.add(i, builder.mul(row, ir.Constant(_LONG, m))), lane)
            with builder.if_then(builder.icmp_signed("<", ir.Constant(_LONG, m), count), likely=True):
                _store(builder, y, place, value, builder.sub(left, lane))
        return context.get_dummy_value()

    return types.void(sums, vectors, *[types.intp] * 5), generate


@_intrinsic(prefer_literal=True)
def stream_sums(typing: Any, sums: Any, vectors: Any, y: Any, i: Any, row: Any) -> Any:
    """As :func:`store_sums`, but all sums whole, at the beginning of a cache line each, and past the caches.

    A result larger than the caches need not be read before it is written so. Call :func:`finish_streams` at the end.
    """

    def generate(context: Any, builder: Any, types_: Any, values: Any) -> Any:
        across, (y, i, row) = vectors.literal_value, values[2:]
        for k, value in enumerate(cgutils.unpack_tuple(builder, values[0])):
            m, lane = ir.Constant(_LONG, k // across), ir.Constant(_LONG, LANES * (k % across))
            place = builder.add(builder.add(i, builder.mul(row, m)), lane)
            stored = builder.store(value, _pointer(builder, y, place, _FLOAT, _FLOATS), align=4 * LANES)
            stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.void(sums, vectors, *[types.intp] * 3), generate


@_operation(types.void)
def finish_streams(builder: Any) -> None:
    """Make what was streamed visible to the other threads before anything that follows."""
    builder.fence("seq_cst")


@_operation(types.intp, types.intp)
def before_line(builder: Any, y: Any) -> Any:
    """How many numbers stand before the first one of y that begins a cache line of 64 bytes."""
    quarter = builder.lshr(builder.neg(y), ir.Constant(_LONG, 2))
    return builder.and_(quarter, ir.Constant(_LONG, LANES - 1))
