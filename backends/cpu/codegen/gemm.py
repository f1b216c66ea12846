"""Products of float32 matrices, from tiles that stay in the processor's registers.

:func:`tile` is the innermost piece: some rows by two vectors of the result, summed over the whole depth in registers,
by one fused multiply-add a vector. How many rows a processor has registers for is :data:`ROWS`; it changes no result,
because each element is the same chain of multiply-adds in the order of the depth.

:func:`product` cuts a result into blocks of rows and stripes of columns, a task each. A task copies what it needs of
both matrices into its own memory, panel by panel, because rows that lie a power of two apart would push each other out
of the cache. The cut depends on the shapes alone, so the bits do not depend on the number of threads.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic

from backends.cpu.codegen.compile import part
from backends.cpu.codegen.simd import LANES, at, integers, larger, load, number, spread, store, store_number, transpose
from backends.cpu.codegen.thread_pool import launch, reads, scratch, task, writes

__all__ = [
    "COLUMNS",
    "ROWS",
    "TAPS",
    "add_tile",
    "add_tile_of_taps",
    "copy_panel",
    "product",
    "tile",
    "tile_over_taps",
    "transpose_panel",
]


def _registers() -> int:
    """How many vector registers the processor has that code is compiled for."""
    asked: str | None = getattr(config, "CPU_FEATURES", None)  # the environment's NUMBA_CPU_FEATURES
    if asked is not None:
        return 32 if "+avx512f" in asked else 16
    try:
        return 32 if binding.get_host_cpu_features().get("avx512f") else 16
    except RuntimeError:  # LLVM does not know the features of this processor
        return 16


ROWS, VECTORS = (8, 2) if _registers() == 32 else (6, 1)
"""The tile: 8 × 32 numbers with registers of 512 bits, 6 × 16 where two or four registers make a vector."""

COLUMNS = VECTORS * LANES

TAPS = 9 if ROWS == 8 else ROWS
"""Rows of a tile whose rows are the taps of a window; windows of three by three are common."""

_ZERO = np.float32(0.0)
_DEPTH = 256
_PAD = 16  # elements between the rows of what is copied, so that they are no power of two apart


# --- the tile

_FLOAT, _LONG = ir.FloatType(), ir.IntType(64)
_FLOATS = ir.VectorType(_FLOAT, LANES)


def _tile(name: str, height: int, *, adding: bool, table: str = "") -> Any:
    """An operation on addresses; it is written out for LLVM because no compiler would keep the tile in registers.

    table : "depth" or "rows" where offsets from a table take the place of a's ``column`` or ``row``
    """
    steps = {"": ("row", "column"), "depth": ("row", "offsets"), "rows": ("column", "offsets")}[table]
    parameters = ("depth", "a", *steps, "b", "b_row", "c", "c_row")

    def definition(typing: Any, *_: Any) -> Any:
        def generate(context: Any, builder: Any, types_: Any, values: Any) -> Any:
            given = dict(zip(parameters, values, strict=True))
            in_bytes = lambda elements: builder.mul(elements, ir.Constant(_LONG, 4))  # noqa: E731
            times = lambda step, m: builder.mul(step, ir.Constant(_LONG, m))  # noqa: E731
            offset = lambda k: in_bytes(_integer(builder, given["offsets"], k))  # noqa: E731
            if table == "rows":
                rows = [offset(ir.Constant(_LONG, m)) for m in range(height)]
            else:
                rows = [times(in_bytes(given["row"]), m) for m in range(height)]
            start = given["a"]
            if table == "depth":
                a_at = lambda k: builder.add(start, offset(k))  # noqa: E731
            else:
                step = in_bytes(given["column"])
                a_at = lambda k: builder.add(start, builder.mul(k, step))  # noqa: E731
            places = [
                [
                    builder.add(given["c"], builder.add(times(in_bytes(given["c_row"]), m), _vectors(v)))
                    for v in range(VECTORS)
                ]
                for m in range(height)
            ]
            nothing = ir.Constant(_FLOATS, [ir.Constant(_FLOAT, 0.0)] * LANES)
            sums = [[_read(builder, place) if adding else nothing for place in line] for line in places]
            sums = _over_depth(builder, given["depth"], (a_at, rows), (given["b"], in_bytes(given["b_row"])), sums)
            for line, values in zip(places, sums, strict=True):
                for place, value in zip(line, values, strict=True):
                    builder.store(value, builder.inttoptr(place, _FLOATS.as_pointer()), align=4)
            return context.get_dummy_value()

        return types.void(*[types.intp] * len(parameters)), generate

    definition.__name__ = name
    empty = inspect.Parameter.POSITIONAL_OR_KEYWORD
    definition.__signature__ = inspect.Signature([inspect.Parameter(p, empty) for p in ("typing", *parameters)])
    made: Any = intrinsic(definition)
    return made


def _integer(builder: Any, base: Any, k: Any) -> Any:
    place = builder.add(base, builder.mul(k, ir.Constant(_LONG, 8)))
    return builder.load(builder.inttoptr(place, _LONG.as_pointer()), align=8)


def _vectors(n: int) -> Any:
    return ir.Constant(_LONG, 4 * LANES * n)


def _read(builder: Any, place: Any) -> Any:
    return builder.load(builder.inttoptr(place, _FLOATS.as_pointer()), align=4)


def _over_depth(builder: Any, depth: Any, a: Any, b: Any, sums: list[list[Any]]) -> list[list[Any]]:
    """The loop: at each depth a row of b, and each row's number of a in all lanes."""
    (a_at, rows), (b, b_step) = a, b
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_FLOATS, [_FLOATS] * 3), "llvm.fma.v16f32")
    before, loop, after = builder.block, builder.append_basic_block("depth"), builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed(">", depth, ir.Constant(_LONG, 0)), loop, after)

    builder.position_at_end(loop)
    count, b_now = builder.phi(_LONG), builder.phi(_LONG)
    now = [[builder.phi(_FLOATS) for _ in line] for line in sums]
    from_b = [_read(builder, builder.add(b_now, _vectors(v))) for v in range(VECTORS)]
    a_now, then = a_at(count), []
    for m in range(len(rows)):
        number = builder.load(builder.inttoptr(builder.add(a_now, rows[m]), _FLOAT.as_pointer()), align=4)
        first = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        from_a = builder.shuffle_vector(first, ir.Constant(_FLOATS, ir.Undefined), lanes)
        then.append([builder.call(fma, [from_a, from_b[v], now[m][v]]) for v in range(VECTORS)])
    steps = [(count, ir.Constant(_LONG, 0), ir.Constant(_LONG, 1)), (b_now, b, b_step)]
    for moving, start, step in steps:
        moving.add_incoming(start, before)
        moving.add_incoming(builder.add(moving, step), loop)
    for phi, start, value in _flat(now, sums, then):
        phi.add_incoming(start, before)
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", builder.add(count, ir.Constant(_LONG, 1)), depth), loop, after)

    builder.position_at_end(after)
    result = [[builder.phi(_FLOATS) for _ in line] for line in sums]
    for phi, start, value in _flat(result, sums, then):
        phi.add_incoming(start, before)
        phi.add_incoming(value, loop)
    return result


def _flat(*tables: list[list[Any]]) -> Any:
    return zip(*([cell for line in table for cell in line] for table in tables), strict=True)


tile: Any = _tile("tile", ROWS, adding=False)
"""tile(depth, a, row, column, b, b_row, c, c_row): c = a b, for ROWS rows and COLUMNS columns of c.

Element (m, k) of a stands ``m row + k column`` elements from a, row k of b at ``k b_row``, row m of c at ``m c_row``.
All of the tile is read and written, so matrices that are smaller are padded by who calls.
"""

add_tile: Any = _tile("add_tile", ROWS, adding=True)
"""As :data:`tile`, but c += a b."""

tile_over_taps: Any = _tile("tile_over_taps", ROWS, adding=False, table="depth")
"""tile_over_taps(depth, a, row, offsets, b, b_row, c, c_row): as :data:`tile`, with element (m, k) of a
``m row + offsets[k]`` elements from a; ``offsets`` is an array of int64.
"""

add_tile_of_taps: Any = _tile("add_tile_of_taps", TAPS, adding=True, table="rows")
"""add_tile_of_taps(depth, a, column, offsets, b, b_row, c, c_row): as :data:`add_tile` for :data:`TAPS` rows, with
element (m, k) of a ``offsets[m] + k column`` elements from a.
"""


# --- a whole product


@part
def _copy_rows(source, row, first, count, depth_first, depth, target, target_row):
    """Rows of a matrix, a piece of their depth, to rows that lie ``target_row`` apart."""
    for m in range(count):
        for k in range(0, depth, LANES):
            value = load(source, (first + m) * row + depth_first + k, depth - k)
            store(target, m * target_row + k, value, depth - k)


@part
def copy_panel(source, row, depth_first, depth, first, count, target):
    """Columns of a matrix (depth, columns) to a panel (depth, COLUMNS), beyond the last one zeros."""
    for k in range(depth):
        for v in range(0, COLUMNS, LANES):
            left = max(0, count - v)
            store(target, k * COLUMNS + v, load(source, (depth_first + k) * row + first + v, left), LANES)


@part
def transpose_panel(source, row, depth_first, depth, first, count, target):
    """As :func:`copy_panel`, of a matrix (columns, depth)."""
    for j in range(0, COLUMNS, LANES):
        for k in range(0, depth, LANES):
            place = (first + j) * row + depth_first + k
            if j + LANES <= count and k + LANES <= depth:
                transpose(at(source, place), row, at(target, k * COLUMNS + j), COLUMNS)
                continue
            for i in range(LANES):
                for d in range(min(LANES, depth - k)):
                    value = _ZERO
                    if j + i < count:
                        value = number(source, place + i * row + d)
                    store_number(target, (k + d) * COLUMNS + j + i, value)


@task(a=reads("ar ac"), b=reads("br bc"), bias=reads("n"), y=writes("m n"), room=scratch())
def _block(block, arguments):
    """One block of the rows and stripe of the columns of y."""
    a, b, bias, y, room, ar, ac, _, bc, n, m = integers(arguments, 0, 11)
    a_across, b_across, biased, relu, rows, columns, stripes, from_column = integers(arguments, 11, 8)
    depth_all = ar if a_across else ac
    row, column = block // stripes * rows, block % stripes * columns
    rows, columns = min(rows, m - row), min(columns, n - column)
    full_rows, panels = (rows + ROWS - 1) // ROWS * ROWS, (columns + COLUMNS - 1) // COLUMNS
    a_row, a_column = (1, full_rows + _PAD) if a_across else (_DEPTH + _PAD, 1)
    sums_row = panels * COLUMNS + _PAD
    from_a = room
    from_b = at(from_a, (full_rows + _PAD) * (_DEPTH + _PAD))
    sums = at(from_b, panels * _DEPTH * COLUMNS)
    for start in range(0, depth_all, _DEPTH):
        depth = min(_DEPTH, depth_all - start)
        if a_across:
            _copy_rows(a, ac, start, depth, row, rows, from_a, a_column)
        else:
            _copy_rows(a, ac, row, rows, start, depth, from_a, a_row)
        for p in range(panels):
            first = column + p * COLUMNS
            panel = at(from_b, p * _DEPTH * COLUMNS)
            if b_across:
                transpose_panel(b, bc, start, depth, first, n - first, panel)
            else:
                copy_panel(b, bc, start, depth, from_column + first, n - first, panel)
            for r in range(0, full_rows, ROWS):
                place = at(sums, r * sums_row + p * COLUMNS)
                if start == 0:
                    tile(depth, at(from_a, r * a_row), a_row, a_column, panel, COLUMNS, place, sums_row)
                else:
                    add_tile(depth, at(from_a, r * a_row), a_row, a_column, panel, COLUMNS, place, sums_row)
    lowest = spread(_ZERO)
    for r in range(rows):
        for c in range(0, columns, LANES):
            value = load(sums, r * sums_row + c, LANES)
            if biased:
                value += load(bias, column + c, columns - c)
            if relu:
                value = larger(value, lowest)
            store(y, (row + r) * n + column + c, value, columns - c)


def product(
    a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None, *, across: tuple[bool, bool] = (False, False),
    relu: bool = False, out: np.ndarray | None = None, columns: tuple[int, int] | None = None,
) -> np.ndarray:  # fmt: skip
    """a b + bias, and its positive part where ``relu``.

    a : (M, D) float32 array in one piece, or (D, M) where it is taken ``across``: as its transpose
    b : (D, N), or (N, D)
    bias : (N,), or None
    out : (M, N), by default a new array
    columns : of b, which is not taken across, those from the first to before the last; all by default

    >>> product(np.ones((2, 3), np.float32), np.ones((3, 1), np.float32)).tolist()
    [[3.0], [3.0]]
    """
    m, n = a.shape[across[0]], b.shape[not across[1]]
    from_column, end = columns or (0, n)
    if not 0 <= from_column <= end <= n or (columns and across[1]):
        raise TypeError(f"product: b {b.shape}, taken across {across[1]}, has no columns {columns}")
    n = end - from_column
    y = np.empty((m, n), np.float32) if out is None else out
    depth = a.shape[not across[0]]
    if depth != b.shape[across[1]]:
        raise TypeError(f"product: a {a.shape} and b {b.shape}, taken across {across}, do not fit")
    if not y.size:
        return y
    if not depth:
        y[...] = 0.0 if bias is None else bias
        return np.maximum(y, _ZERO, out=y) if relu else y
    rows, wide = _cut(m, n, depth)
    stripes = -(-n // wide)
    full_rows, full_columns = -(-min(rows, m) // ROWS) * ROWS, -(-min(wide, n) // COLUMNS) * COLUMNS
    room = (full_rows + _PAD) * (_DEPTH + _PAD) + _DEPTH * full_columns + full_rows * (full_columns + _PAD)
    how = (*across, bias is not None, relu, rows, wide, stripes, from_column)
    launch(_block, -(-m // rows) * stripes, (a, b, y[0] if bias is None else bias, y, room), how)
    return y


_WORK = 2**22
"""Multiplications that make a task worth its copies; eight tasks are enough for the most threads that there are."""


def _cut(m: int, n: int, depth: int) -> tuple[int, int]:
    """Rows of a block and columns of a stripe: large enough to use what is copied often, small enough for the cache."""
    rows, columns = min(128, -(-m // ROWS) * ROWS), min(256, -(-n // COLUMNS) * COLUMNS)
    wanted = min(8, max(2, m * n * depth // _WORK))
    while -(-m // rows) * -(-n // columns) < wanted and max(rows, columns) > 32:
        if rows >= columns:
            rows = -(-rows // (2 * ROWS)) * ROWS
        else:
            columns = -(-columns // (2 * COLUMNS)) * COLUMNS
    return rows, columns
