"""What the recurrent layers have in common: a task runs some of the sequences, from their first step to their last.

So nothing waits for another core inside a sequence. At each step a task multiplies the rows [x, h] of its sequences by
the packed weights [u, w], sixteen rows at once or less, and applies the gates while the sums are in the cache. Backward
it does the same with the gradients of the gates and the transposed weights, which gives the rows [dx, dh']. The
gradients of the weights are then one product over all steps. They stand where the gates stood, for ``saved`` is used
once.

The longest sequences come first, so those still running are always the first rows of a task, and what is padding is
neither read nor written: not a bit depends on it. The steps that are there are numbered through, sequence by sequence;
what the backward pass needs is kept by these numbers, without holes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from backends.cpu import requirements
from backends.cpu.codegen.compile import part
from backends.cpu.codegen.gemm import COLUMNS, ROWS, copy_panel, product, tile, transpose_panel
from backends.cpu.codegen.simd import LANES, at, integers, load, load_integer, store
from backends.cpu.codegen.thread_pool import launch, reads, task, writes

__all__ = [
    "PAD",
    "Plan",
    "add_to_sums",
    "copy_rows",
    "empty",
    "keep_inputs",
    "multiply",
    "packed",
    "packed_across",
    "plan_for",
    "put",
    "room_for_sequences",
    "room_for_steps",
    "sequence_at",
    "still_running",
    "store_gradient",
    "take_inputs",
    "unsuited",
    "way_back",
    "weight_gradients",
    "whole",
]

_ZERO = np.float32(0.0)
PAD = 16  # elements between rows in a task's memory, so that they are no power of two apart
_AT_ONCE = 16  # sequences of a task, about


# --- weights


@task(w=reads("rows columns"), panels=writes("panels depth lanes"))
def _pack(panel, arguments):
    """COLUMNS columns of w, to the rows of a panel from ``start`` on."""
    w, panels, rows, columns, _, depth, _, start = integers(arguments, 0, 8)
    first = panel * COLUMNS
    copy_panel(w, columns, 0, rows, first, columns - first, at(panels, (panel * depth + start) * COLUMNS))


@task(w=reads("rows columns"), panels=writes("panels columns lanes"))
def _pack_across(panel, arguments):
    """COLUMNS rows of w as columns."""
    w, panels, rows, columns = integers(arguments, 0, 4)
    first = panel * COLUMNS
    transpose_panel(w, columns, 0, columns, first, rows - first, at(panels, panel * columns * COLUMNS))


def packed(u: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(D, G), (H, G) -> (panels, D + H, COLUMNS)."""
    d, g = u.shape
    panels = np.empty((-(-g // COLUMNS), d + len(w), COLUMNS), np.float32)
    if d:
        launch(_pack, len(panels), (u, panels), (0,))
    launch(_pack, len(panels), (w, panels), (d,))
    return panels


def packed_across(w: np.ndarray) -> np.ndarray:
    """(H, G) -> (panels, G, COLUMNS) of its transpose (G, H)."""
    panels = np.empty((-(-len(w) // COLUMNS), w.shape[1], COLUMNS), np.float32)
    if len(panels):
        launch(_pack_across, len(panels), (w, panels))
    return panels


# --- a step


@part
def sequence_at(table, i):
    """Which sequence comes at the place i, its length, and the number of its first step."""
    return load_integer(table, 3 * i), load_integer(table, 3 * i + 1), load_integer(table, 3 * i + 2)


@part
def take_inputs(x, table, first, active, step, reverse, t, d, target, row):
    """x of each active sequence at the step, to the beginning of its row."""
    for r in range(active):
        sequence, length, _ = sequence_at(table, first + r)
        place = length - 1 - step if reverse else step
        for k in range(0, d, LANES):  # what a vector has too much, h writes over
            store(target, r * row + k, load(x, (sequence * t + place) * d + k, d - k), d - k)


@part
def copy_rows(source, table, first, count, h, target, row):
    """The rows (H,) of ``count`` sequences, to rows that lie ``row`` apart."""
    for r in range(count):
        sequence, _, _ = sequence_at(table, first + r)
        for k in range(0, h, LANES):
            store(target, r * row + k, load(source, sequence * h + k, h - k), h - k)


@part
def multiply(a, row, active, depth, panels, panel_depth, count, sums, sums_row):
    """sums = a panels, for the first ``depth`` rows of each panel."""
    for p in range(count):
        panel = at(panels, p * panel_depth * COLUMNS)
        for r in range(0, active, ROWS):
            tile(depth, at(a, r * row), row, 1, panel, COLUMNS, at(sums, r * sums_row + p * COLUMNS), sums_row)


@part
def still_running(table, first, active, step):
    """How many of the active sequences have this step."""
    while active > 0 and load_integer(table, 3 * (first + active - 1) + 1) <= step:
        active -= 1
    return active


@part
def keep_inputs(now, place, depth, inputs, number):
    """A row of x, h' or both to the row ``number`` of the inputs."""
    for k in range(0, depth, LANES):
        store(inputs, number * depth + k, load(now, place + k, depth - k), depth - k)


@part
def store_gradient(row, place, d, dx, number):
    """dx of a step, which stands at the beginning of a row [dx, dh]."""
    for k in range(0, d, LANES):
        store(dx, number * d + k, load(row, place + k, d - k), d - k)


@part
def put(target, place, h, a, b, c, left):
    """The values of three gates beside one another."""
    store(target, place, a, left)
    store(target, place + h, b, left)
    store(target, place + 2 * h, c, left)


@part
def add_to_sums(sums, place, h, a, b, c, d, left):
    """Add a, b, c and d to four sums that lie h apart."""
    store(sums, place, load(sums, place, left) + a, left)
    store(sums, place + h, load(sums, place + h, left) + b, left)
    store(sums, place + 2 * h, load(sums, place + 2 * h, left) + c, left)
    store(sums, place + 3 * h, load(sums, place + 3 * h, left) + d, left)


# --- the sequences


class Plan(NamedTuple):
    """How the sequences are shared out.

    table : (N, 3): the sequences, longest first, with their lengths and the numbers of their first steps
    shape : N, T
    full : whether every sequence has all steps
    """

    table: np.ndarray
    shape: tuple[int, int]
    full: bool
    rows: int
    steps: int

    @property
    def blocks(self) -> int:
        return -(-len(self.table) // self.rows)


def plan_for(n: int, t: int, lengths: Any) -> Plan:
    """How a batch of n sequences, padded to t steps, is shared out, the longest first; without lengths all are of t."""
    every = np.full(n, t) if lengths is None else np.asarray(lengths, np.int64)
    order = np.argsort(-every, kind="stable")
    starts = np.concatenate([[0], np.cumsum(every)[:-1]])
    table = np.stack([order, every[order], starts[order]], axis=1).astype(np.int64)
    share = -(-n // max(2, -(-n // _AT_ONCE)))
    return Plan(table, (n, t), lengths is None, -(-share // ROWS) * ROWS, int(every.sum()))


def whole(x: Any, *shape: int) -> np.ndarray:
    """An array in one piece; zeros for None."""
    return np.zeros(shape, np.float32) if x is None else np.ascontiguousarray(x, np.float32)


def empty(*shape: int) -> np.ndarray:
    """Room for float32 numbers, which nothing has been written to."""
    return np.empty(shape, np.float32)


def way_back(plan: Plan, u: np.ndarray, w: np.ndarray, wanted: bool) -> tuple[np.ndarray, np.ndarray]:
    """The panels that lead from the gates' gradients to [dx, dh'], and room for dx; without x where not ``wanted``."""
    d = len(u) if wanted else 0
    return packed_across(np.concatenate([u, w]) if d else w), room_for_sequences(plan, *plan.shape, d)


def room_for_sequences(plan: Plan, *shape: int) -> np.ndarray:
    """(N, T, ...), zero where there is no step."""
    return (np.empty if plan.full else np.zeros)(shape, np.float32)


def room_for_steps(plan: Plan, widths: tuple[int, ...], needed: Any) -> list[np.ndarray]:
    """Room for what backward needs of each step; none where no gradient is wanted."""
    steps = plan.steps if any(needed) else 0
    return [np.empty((steps, width), np.float32) for width in widths]


def weight_gradients(
    inputs: np.ndarray, da: np.ndarray, width: int, needed: Any
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """du and dw as one product over all steps, of the rows [x, h'] and the gradients da; ``width`` of x."""
    if not (needed[1] or needed[2]):
        return None, None
    both = product(inputs, da, across=(True, False))
    return both[:width] if needed[1] else None, both[width:] if needed[2] else None


def unsuited(x, *others, lengths, reverse) -> str | None:
    """Why the compiled cells do not take these arrays; None where they do."""
    floats = dict(enumerate(others[:-1]))  # all but the rows of the steps that are there, which are not used
    return (
        "there is no step"
        if not x.size
        else requirements.not_float32(x=x, **{f"array {i + 1}": a for i, a in floats.items()})
    )
