"""Dropout whose mask is drawn where it is used, and drawn again for the gradient instead of being kept."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from backends import random
from backends.cpu import requirements
from backends.cpu.codegen.simd import LANES, _everywhere, greater, integers, load, numbers, spread, store, vector, where
from backends.cpu.codegen.thread_pool import launch, reads, task, writes
from backends.reference import dropout

_PIECE = 8192  # elements a task
_LEAST = 1024  # elements; with fewer a launch costs as much as the reference
_ZERO = np.float32(0.0)
_INT = ir.IntType(32)
_INTS, _FLOATS = ir.VectorType(_INT, LANES), ir.VectorType(ir.FloatType(), LANES)


def _threefry(builder: Any, keys: list[Any], x0: Any, x1: Any) -> tuple[Any, Any]:
    """Sixteen counters encrypted, as :func:`backends.random.threefry2x32` does."""
    x0, x1 = builder.add(x0, keys[0]), builder.add(x1, keys[1])
    for injection in range(1, 6):
        for r in random.ROTATIONS[(injection - 1) % 2]:
            left, right = (ir.Constant(_INTS, [bits] * LANES) for bits in (r, 32 - r))
            x0 = builder.add(x0, x1)
            x1 = builder.xor(builder.or_(builder.shl(x1, left), builder.lshr(x1, right)), x0)
        x0 = builder.add(x0, keys[injection % 3])
        x1 = builder.add(x1, builder.add(keys[(injection + 1) % 3], ir.Constant(_INTS, [injection] * LANES)))
    return x0, x1


def _mask_definition(typing: Any, key0: Any, key1: Any, row: Any, block: Any, threshold: Any, scale: Any) -> Any:
    """Of a row, 32 elements from ``2 block`` on: ``scale`` where the random word is at least ``threshold``, else 0."""
    result = types.UniTuple(vector, 2)

    def generate(context: Any, builder: Any, types_: Any, values: Any) -> Any:
        *words, scale = values
        key0, key1, row, block, least = (_everywhere(builder, builder.trunc(word, _INT)) for word in words)
        parity = builder.xor(builder.xor(key0, key1), ir.Constant(_INTS, [random.PARITY] * LANES))
        blocks = builder.add(block, ir.Constant(_INTS, list(range(LANES))))
        drawn = _threefry(builder, [key0, key1, parity], row, blocks)
        zero = ir.Constant(_FLOATS, [ir.Constant(ir.FloatType(), 0.0)] * LANES)
        even, odd = (builder.select(builder.icmp_unsigned(">=", word, least), scale, zero) for word in drawn)
        halves = []
        for start in (0, LANES // 2):  # each block gives two neighbours
            order = [lane // 2 + start + LANES * (lane % 2) for lane in range(LANES)]
            halves.append(builder.shuffle_vector(even, odd, ir.Constant(_INTS, order)))
        return context.make_tuple(builder, result, halves)

    return result(*[types.int64] * 5, vector), generate


_mask: Any = intrinsic(_mask_definition)


@task(x=reads("rows d"), y=writes("rows d"))
def _drop(piece, arguments):
    """x where it is kept, times the scale; of some rows."""
    x, y, rows, d = integers(arguments, 0, 4)
    key0, key1, first_row, threshold, rows_a_piece = integers(arguments, 4, 5)
    scale, zero = numbers(arguments, 9, 1)[0], spread(_ZERO)
    for row in range(piece * rows_a_piece, min(rows, (piece + 1) * rows_a_piece)):
        for column in range(0, d, 2 * LANES):
            low, high = _mask(key0, key1, first_row + row, column // 2, threshold, scale)
            place, left = row * d + column, d - column
            store(y, place, where(greater(low, zero), load(x, place, left) * low, zero), left)
            if left > LANES:
                value = load(x, place + LANES, left - LANES) * high
                store(y, place + LANES, where(greater(high, zero), value, zero), left - LANES)


def _run(x: Any, *, rate: float, key: random.Key, first_row: int) -> np.ndarray:
    y = np.empty(x.shape, np.float32)
    rows, d = x.shape[0], prod(x.shape[1:])
    flat = np.ascontiguousarray(x, np.float32).reshape(rows, d)
    at_once = max(1, _PIECE // d)
    how = (*key, first_row, int(rate * 2**32), at_once)
    launch(_drop, -(-rows // at_once), (flat, y.reshape(rows, d)), how, (1.0 / (1.0 - rate),))
    return y


def _unsuited(x, *, rate, key, first_row) -> str | None:
    return (
        requirements.not_float32(x=x)
        or requirements.too_few(x, _LEAST)
        or (None if x.size else "there is nothing to drop")
    )


@dropout.dropout.alternative("numpy", unless=_unsuited)
class DropoutByRows:
    """Nothing is kept for the gradient: the mask is named by the key."""

    @staticmethod
    def forward(xp, x, *, rate, key, first_row, needed):
        return _run(x, rate=rate, key=key, first_row=first_row), None

    @staticmethod
    def backward(xp, dy, saved, *, rate, key, first_row, needed):
        return (_run(dy, rate=rate, key=key, first_row=first_row),)
