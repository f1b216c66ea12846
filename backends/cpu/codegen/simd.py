"""Vectors of sixteen float32 numbers, for functions that Numba compiles.

Numba leaves it to LLVM to find out which loops may use vector instructions; with a possible exception, or arrays that
might overlap, it does not. Here each operation is one vector instruction of LLVM, which splits the sixteen lanes on
machines with narrower registers. A function reads as for one number::

    for i in range(first, last, LANES):
        store(y, i, load(x, i, last - i) * load(x, i, last - i), last - i)

``x`` and ``y`` are what :func:`backends.cpu.codegen.thread_pool.launch` hands a task for its arrays. An offset counts
elements, and the last argument of ``load`` and ``store`` how many are left: of a vector that hangs over, the rest is
neither read nor written, and 0 after reading.

No operation is contracted or reordered, so elements get the same bits as from NumPy's loops; only :func:`fma` rounds
once where two operations round twice.
"""

from __future__ import annotations

import inspect
import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

__all__ = [
    "LANES",
    "at",
    "element",
    "first",
    "fma",
    "greater",
    "greater_or_nan",
    "integers",
    "integers_at",
    "larger",
    "largest",
    "linear",
    "load",
    "load_bytes",
    "load_integer",
    "load_number",
    "number",
    "numbers",
    "spread",
    "sqrt",
    "store",
    "store_bytes",
    "store_number",
    "total",
    "transpose",
    "where",
    "where_equal",
]

LANES = 16

_FLOAT, _BYTE, _INT, _LONG, _BIT = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.IntType(1)
_FLOATS, _BYTES, _INTS, _BITS = (ir.VectorType(kind, LANES) for kind in (_FLOAT, _BYTE, _INT, _BIT))


class Vector(types.Type):
    """Numba's type of sixteen float32 numbers."""

    def __init__(self) -> None:
        super().__init__(name="Vector16")


class Mask(types.Type):
    """Numba's type of sixteen answers."""

    def __init__(self) -> None:
        super().__init__(name="Mask16")


vector, mask = Vector(), Mask()


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _FLOATS)


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _BITS)


# --- what the operations are made of


def _operation(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Any]:
    """An operation for compiled functions, of a function that writes LLVM's code: (builder, *values) -> value."""

    def make(emit: Callable[..., Any]) -> Any:
        def definition(typing: Any, *_: Any) -> Any:
            def generate(context: Any, builder: Any, types_: Any, values: Any) -> Any:
                value = emit(builder, *values)
                return context.get_dummy_value() if result is types.void else value

            return result(*arguments), generate

        definition.__name__, definition.__doc__ = emit.__name__, emit.__doc__
        definition.__signature__ = inspect.signature(emit)  # Numba counts the parameters, the builder as the typing
        return intrinsic(definition)

    return make


def _arithmetic(name: str, *operators: Any) -> None:
    class Template(ConcreteTemplate):
        cases = [signature(vector, vector, vector)]  # noqa: RUF012

    for symbol in operators:
        register: Any = infer_global(symbol)
        register(Template)
        lower_builtin(symbol, vector, vector)(
            lambda context, builder, types_, values: getattr(builder, name)(*values),
        )


_arithmetic("fadd", operator.add, operator.iadd)
_arithmetic("fsub", operator.sub, operator.isub)
_arithmetic("fmul", operator.mul, operator.imul)
_arithmetic("fdiv", operator.truediv, operator.itruediv)  # without Numba's test for a zero


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_FLOATS, [ir.Constant(_FLOAT, float(np.float32(value)))] * LANES)


def _pointer(builder: Any, base: Any, offset: Any, element: Any, target: Any) -> Any:
    address = builder.add(base, builder.mul(offset, ir.Constant(_LONG, element.width // 8 if element != _FLOAT else 4)))
    return builder.inttoptr(address, target.as_pointer())


def _everywhere(builder: Any, value: Any) -> Any:
    kind = ir.VectorType(value.type, LANES)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), ir.Constant(_INTS, [0] * LANES))


def _call(builder: Any, name: str, result: Any, *values: Any) -> Any:
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)


def _first_lanes(builder: Any, count: Any) -> Any:
    """A mask of the first ``count`` lanes, for a count below 16."""
    return builder.icmp_signed(
        "<", ir.Constant(_INTS, list(range(LANES))), _everywhere(builder, builder.trunc(count, _INT))
    )


def _if_whole(builder: Any, count: Any, whole: Callable[[], Any], part: Callable[[], Any]) -> Any:
    """``whole()`` where all sixteen lanes are there, else ``part()``: on older machines masks are slow."""
    with builder.if_else(builder.icmp_signed(">=", count, ir.Constant(_LONG, LANES)), likely=True) as (then, otherwise):
        with then:
            value, from_whole = whole(), builder.block
        with otherwise:
            other, from_part = part(), builder.block
    if value is None:
        return None
    chosen = builder.phi(value.type)
    chosen.add_incoming(value, from_whole)
    chosen.add_incoming(other, from_part)
    return chosen


# --- memory


@_operation(types.intp, types.intp, types.intp)
def at(builder: Any, x: Any, i: Any) -> Any:
    """Where element i of x stands: what follows it is used as an array of its own."""
    return builder.add(x, builder.mul(i, ir.Constant(_LONG, 4)))


@_operation(vector, types.intp, types.intp, types.intp)
def load(builder: Any, x: Any, i: Any, left: Any) -> Any:
    """x[i : i + 16], of which ``left`` are read."""
    pointer = _pointer(builder, x, i, _FLOAT, _FLOATS)

    def part() -> Any:
        lanes, name = _first_lanes(builder, left), "llvm.masked.load.v16f32.p0"
        return _call(builder, name, _FLOATS, pointer, ir.Constant(_INT, 4), lanes, _constant(0.0))

    return _if_whole(builder, left, lambda: builder.load(pointer, align=4), part)


@_operation(types.void, types.intp, types.intp, vector, types.intp)
def store(builder: Any, y: Any, i: Any, value: Any, left: Any) -> None:
    """y[i : i + 16] = value, of which ``left`` are written."""
    _store(builder, y, i, value, left)


def _store(builder: Any, y: Any, i: Any, value: Any, left: Any) -> None:
    pointer = _pointer(builder, y, i, _FLOAT, _FLOATS)

    def whole() -> None:
        builder.store(value, pointer, align=4)

    def part() -> None:
        lanes, name = _first_lanes(builder, left), "llvm.masked.store.v16f32.p0"
        _call(builder, name, ir.VoidType(), value, pointer, ir.Constant(_INT, 4), lanes)

    _if_whole(builder, left, whole, part)


@_operation(vector, types.intp, types.intp, types.intp)
def load_bytes(builder: Any, x: Any, i: Any, left: Any) -> Any:
    """Sixteen bytes of x from element i on, as numbers, of which ``left`` are read."""
    pointer = _pointer(builder, x, i, _BYTE, _BYTES)

    def part() -> Any:
        lanes, name = _first_lanes(builder, left), "llvm.masked.load.v16i8.p0"
        zeros = ir.Constant(_BYTES, [0] * LANES)
        return _call(builder, name, _BYTES, pointer, ir.Constant(_INT, 1), lanes, zeros)

    return builder.uitofp(_if_whole(builder, left, lambda: builder.load(pointer, align=1), part), _FLOATS)


@_operation(types.void, types.intp, types.intp, vector, types.intp)
def store_bytes(builder: Any, y: Any, i: Any, value: Any, left: Any) -> Any:
    """As :func:`store`, into an array of bytes; the numbers are whole and below 256."""
    pointer = _pointer(builder, y, i, _BYTE, _BYTES)
    value = builder.fptoui(value, _BYTES)

    def whole() -> None:
        builder.store(value, pointer, align=1)

    def part() -> None:
        lanes, name = _first_lanes(builder, left), "llvm.masked.store.v16i8.p0"
        _call(builder, name, ir.VoidType(), value, pointer, ir.Constant(_INT, 1), lanes)

    return _if_whole(builder, left, whole, part)


@_operation(vector, types.intp, types.intp)
def load_number(builder: Any, x: Any, i: Any) -> Any:
    """The number x[i] in all lanes."""
    return _everywhere(builder, builder.load(_pointer(builder, x, i, _FLOAT, _FLOAT), align=4))


@_operation(types.void, types.intp, types.intp, types.float32)
def store_number(builder: Any, y: Any, i: Any, value: Any) -> Any:
    """y[i] = value, a single number."""
    builder.store(value, _pointer(builder, y, i, _FLOAT, _FLOAT), align=4)


@_operation(types.void, types.intp, types.intp, types.intp, types.intp)
def transpose(builder: Any, x: Any, row: Any, y: Any, y_row: Any) -> None:
    """y[j y_row + i] = x[i row + j] for i and j below 16: blocks of half the size change places, and so on in them."""
    at_row = lambda base, step, i: _pointer(  # noqa: E731
        builder, base, builder.mul(step, ir.Constant(_LONG, i)), _FLOAT, _FLOATS
    )
    rows = [builder.load(at_row(x, row, i), align=4) for i in range(LANES)]
    half = LANES // 2
    while half:
        kept = [lane if not lane & half else LANES + lane - half for lane in range(LANES)]
        moved = [lane + half if not lane & half else LANES + lane for lane in range(LANES)]
        for i in range(LANES):
            if not i & half:
                a, b = rows[i], rows[i + half]
                rows[i] = builder.shuffle_vector(a, b, ir.Constant(_INTS, kept))
                rows[i + half] = builder.shuffle_vector(a, b, ir.Constant(_INTS, moved))
        half //= 2
    for j, value in enumerate(rows):
        builder.store(value, at_row(y, y_row, j), align=4)


@_operation(types.intp, types.intp, types.intp)
def integers_at(builder: Any, x: Any, i: Any) -> Any:
    """As :func:`at`, of an array of int64."""
    return builder.add(x, builder.mul(i, ir.Constant(_LONG, 8)))


@_operation(types.float32, types.intp, types.intp)
def number(builder: Any, x: Any, i: Any) -> Any:
    """The number x[i]."""
    return builder.load(_pointer(builder, x, i, _FLOAT, _FLOAT), align=4)


@_operation(types.int64, types.intp, types.intp)
def load_integer(builder: Any, x: Any, i: Any) -> Any:
    """x[i] of an array of int64."""
    return builder.load(_pointer(builder, x, i, _LONG, _LONG), align=8)


# --- what a task was launched with


def _tuple(kind: Any, emit: Callable[[Any, Any], Any]) -> Any:
    """An operation (arguments, start, count) -> a tuple of the words from ``start`` on, as ``emit`` makes them."""

    def definition(typing: Any, arguments: Any, start: Any, count: Any) -> Any:
        result = types.UniTuple(kind, count.literal_value)

        def generate(context: Any, builder: Any, types_: Any, values: Any) -> Any:
            words = [
                builder.load(
                    _pointer(builder, values[0], ir.Constant(_LONG, start.literal_value + k), _LONG, _LONG), align=8
                )
                for k in range(count.literal_value)
            ]
            return context.make_tuple(builder, result, [emit(builder, word) for word in words])

        return result(arguments, start, count), generate

    return intrinsic(prefer_literal=True)(definition)


integers = _tuple(types.int64, lambda builder, word: word)
"""integers(arguments, start, count): arrays, sizes and whole numbers that a task was launched with."""

numbers = _tuple(
    vector,
    lambda builder, word: _everywhere(builder, builder.fptrunc(builder.bitcast(word, ir.DoubleType()), _FLOAT)),
)
"""numbers(arguments, start, count): numbers that a task was launched with, each rounded to float32 in all lanes."""


# --- arithmetic


@_operation(vector, types.float32)
def spread(builder: Any, value: Any) -> Any:
    """One number in all lanes."""
    return _everywhere(builder, value)


@_operation(vector, vector, vector, vector)
def fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once."""
    return _fma(builder, a, b, c)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return _call(builder, "llvm.fma.v16f32", _FLOATS, a, b, c)


@_operation(vector, vector)
def sqrt(builder: Any, x: Any) -> Any:
    """The square root, correctly rounded."""
    return _call(builder, "llvm.sqrt.v16f32", _FLOATS, x)


@_operation(vector, vector, types.intp, vector)
def first(builder: Any, x: Any, left: Any, other: Any) -> Any:
    """The first ``left`` lanes of x, then those of other."""

    def part() -> Any:
        return builder.select(_first_lanes(builder, left), x, other)

    return _if_whole(builder, left, lambda: x, part)


@_operation(types.float32, vector)
def element(builder: Any, x: Any) -> Any:
    """The number in the first lane."""
    return builder.extract_element(x, ir.Constant(_INT, 0))


@_operation(vector, vector, vector)
def larger(builder: Any, a: Any, b: Any) -> Any:
    """The larger of a and b; a where one of them is NaN."""
    return builder.select(builder.fcmp_ordered(">", b, a), b, a)


@_operation(mask, vector, vector)
def greater(builder: Any, a: Any, b: Any) -> Any:
    """Whether a > b; not where one of them is NaN."""
    return builder.fcmp_ordered(">", a, b)


@_operation(mask, vector, vector)
def greater_or_nan(builder: Any, a: Any, b: Any) -> Any:
    """Whether a > b, or a is NaN and b is not: so the first NaN stays."""
    return builder.and_(builder.fcmp_unordered(">", a, b), builder.fcmp_ordered("ord", b, b))


@_operation(vector, mask, vector, vector)
def where(builder: Any, condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, else y."""
    return builder.select(condition, x, y)


@_operation(vector, vector, vector, vector, vector)
def where_equal(builder: Any, a: Any, b: Any, x: Any, y: Any) -> Any:
    """x where a == b, else y."""
    return builder.select(builder.fcmp_ordered("==", a, b), x, y)


def linear(matrix: Sequence[Sequence[float]]) -> Any:
    """An operation (x, step, y, y_step): y = matrix x, of vectors that lie ``step`` and ``y_step`` elements apart.

    Where two columns differ in signs alone, the sum and the difference of their vectors are computed once; of two such
    rows what they share, and what they do not. Terms without a factor come first, the others are fused.
    """

    @_operation(types.void, *[types.intp] * 4)
    def transform(builder: Any, x: Any, step: Any, y: Any, y_step: Any) -> None:
        place = lambda base, step, i: _pointer(  # noqa: E731
            builder, base, builder.mul(step, ir.Constant(_LONG, i)), _FLOAT, _FLOATS
        )
        values = [builder.load(place(x, step, j), align=4) for j in range(len(matrix[0]))]
        rows, at_once = [list(row) for row in matrix], {}
        for j, k in _alike([list(column) for column in zip(*matrix, strict=True)]):
            values[j], values[k] = builder.fadd(values[j], values[k]), builder.fsub(values[j], values[k])
            for row in rows:
                row[j], row[k] = (row[j], 0) if row[j] == row[k] else (0, row[j])
        for i, k in _alike(rows):
            same = _weighted(builder, [a if a == b else 0 for a, b in zip(rows[i], rows[k], strict=True)], values)
            other = _weighted(builder, [a if a != b else 0 for a, b in zip(rows[i], rows[k], strict=True)], values)
            at_once |= {i: builder.fadd(same, other), k: builder.fsub(same, other)}
        for i, row in enumerate(rows):
            value = at_once[i] if i in at_once else _weighted(builder, row, values)
            builder.store(value, place(y, y_step, i), align=4)

    return transform


def _alike(rows: list[list[float]]) -> Iterator[tuple[int, int]]:
    """Neighbours that differ in the signs of some elements, and are more than one number."""
    for i, (a, b) in enumerate(itertools.pairwise(rows)):
        if a != b and list(map(abs, a)) == list(map(abs, b)) and sum(map(bool, a)) > 1:
            yield i, i + 1


def _weighted(builder: Any, weights: Sequence[float], values: Sequence[Any]) -> Any:
    """The sum of weights times vectors."""
    terms = sorted((pair for pair in zip(weights, values, strict=True) if pair[0]), key=lambda pair: pair[0] != 1)
    weight, total = terms[0]
    if weight != 1:
        total = builder.fmul(_constant(weight), total)
    for weight, value in terms[1:]:
        if abs(weight) == 1:
            total = (builder.fadd if weight == 1 else builder.fsub)(total, value)
        else:
            total = _fma(builder, _constant(weight), value, total)
    return total


def _folded(builder: Any, x: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """All lanes combined, always as the same tree."""
    width = LANES
    while width > 1:
        width //= 2
        halves = [ir.Constant(ir.VectorType(_INT, width), list(range(start, start + width))) for start in (0, width)]
        nothing = ir.Constant(x.type, ir.Undefined)
        x = combine(*(builder.shuffle_vector(x, nothing, half) for half in halves))
    return builder.extract_element(x, ir.Constant(_INT, 0))


@_operation(types.float32, vector)
def total(builder: Any, x: Any) -> Any:
    """The sum of all lanes, always in the same order."""
    return _folded(builder, x, builder.fadd)


@_operation(types.float32, vector)
def largest(builder: Any, x: Any) -> Any:
    """The largest lane; NaN may or may not win."""
    return _folded(builder, x, lambda a, b: builder.select(builder.fcmp_ordered(">", b, a), b, a))
