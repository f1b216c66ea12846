"""The simple recurrent layer, h = tanh(x U + h' W + b): see :mod:`backends.cpu.recurrent.common`."""

from __future__ import annotations

import numpy as np

from backends.cpu.codegen.gemm import COLUMNS
from backends.cpu.codegen.math import tanh
from backends.cpu.codegen.simd import LANES, at, integers, load, load_integer, spread, store
from backends.cpu.codegen.thread_pool import launch, reads, scratch, task, writes
from backends.cpu.recurrent.common import (
    PAD,
    copy_rows,
    empty,
    keep_inputs,
    multiply,
    packed,
    plan_for,
    room_for_sequences,
    room_for_steps,
    sequence_at,
    still_running,
    store_gradient,
    take_inputs,
    unsuited,
    way_back,
    weight_gradients,
    whole,
)
from backends.reference import recurrent

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


@task(
    x=reads("n t d"), panels=reads("p depth lanes"), b=reads("g"), table=reads("n three", "int64"), h0=reads("n h"),
    y=writes("n t h"), last=writes("n h"), states=writes("m h"), inputs=writes("m depth"), room=scratch(),
)  # fmt: skip
def _rnn(block, arguments):
    x, panels, b, table, h0, y, last, states, inputs, room, n, t, d, p, depth = integers(arguments, 0, 15)
    h, _, rows, reverse, keep = integers(arguments, 18, 5)
    first, row, sums_row = block * rows, depth + PAD, p * COLUMNS + PAD
    active = min(rows, n - first)
    now, then = room, at(room, rows * row)
    sums = at(then, rows * row)
    copy_rows(h0, table, first, active, h, at(now, d), row)
    for step in range(load_integer(table, 3 * first + 1)):
        active = still_running(table, first, active, step)
        take_inputs(x, table, first, active, step, reverse, t, d, now, row)
        multiply(now, row, active, depth, panels, depth, p, sums, sums_row)
        for r in range(active):
            sequence, length, number = sequence_at(table, first + r)
            place = length - 1 - step if reverse else step
            for k in range(0, h, LANES):
                left = h - k
                state = tanh(load(sums, r * sums_row + k, left) + load(b, k, left))
                store(then, r * row + d + k, state, left)
                store(y, (sequence * t + place) * h + k, state, left)
                if keep:
                    kept = (number + place) * h + k
                    store(states, kept, state, left)
                if step == length - 1:
                    store(last, sequence * h + k, state, left)
            if keep:
                keep_inputs(now, r * row, depth, inputs, number + place)
        now, then = then, now


@task(
    dy=reads("n t h"), dlast=reads("n h"), panels=reads("p g lanes"), table=reads("n three", "int64"),
    states=writes("m h"), dx=writes("n t d"), sums=writes("blocks g"), dh0=writes("n h"), room=scratch(),
)  # fmt: skip
def _rnn_gradient(block, arguments):
    """The states become the gradients of x U + h' W + b."""
    dy, dlast, panels, table, states, dx, sums, dh0, room, n, t, h, p, g = integers(arguments, 0, 14)
    d, _, rows, reverse, to_start = integers(arguments, 17, 5)
    first, row, h_row = block * rows, g + PAD, p * COLUMNS + PAD
    count, active = min(rows, n - first), 0
    own, both = room, at(room, rows * row)
    dh = at(both, d)
    one = spread(_ONE)
    for k in range(0, g, LANES):
        store(sums, block * g + k, spread(_ZERO), g - k)
    for step in range(load_integer(table, 3 * first + 1) - 1, -1, -1):
        while active < count and load_integer(table, 3 * (first + active) + 1) > step:
            copy_rows(dlast, table, first + active, 1, h, at(dh, active * h_row), h_row)
            active += 1
        for r in range(active):
            sequence, length, number = sequence_at(table, first + r)
            place = length - 1 - step if reverse else step
            for k in range(0, h, LANES):
                left, kept = h - k, (number + place) * h + k
                state = load(states, kept, left)
                slope = load(dh, r * h_row + k, left) + load(dy, (sequence * t + place) * h + k, left)
                slope = slope * (one - state * state)
                store(states, kept, slope, left)
                store(own, r * row + k, slope, left)
                store(sums, block * g + k, load(sums, block * g + k, left) + slope, left)
        if step > 0 or to_start or d > 0:
            multiply(own, row, active, g, panels, g, p, both, h_row)
        for r in range(active):
            sequence, length, _ = sequence_at(table, first + r)
            place = length - 1 - step if reverse else step
            store_gradient(both, r * h_row, d, dx, sequence * t + place)
    if to_start:
        for r in range(count):
            sequence, _, _ = sequence_at(table, first + r)
            for k in range(0, h, LANES):
                store(dh0, sequence * h + k, load(dh, r * h_row + k, h - k), h - k)


@recurrent.rnn.alternative("numpy", unless=unsuited)
class RNNBySequences:
    """tanh(x U + h' W + b)."""

    @staticmethod
    def forward(xp, x, u, w, b, h0, rows, *, lengths, reverse, needed):
        (n, t, _), h = x.shape, w.shape[0]
        plan = plan_for(n, t, lengths)
        x, u, w, b, h0 = whole(x), whole(u), whole(w), whole(b), whole(h0, n, h)
        panels = packed(u, w)
        y, last = room_for_sequences(plan, n, t, h), empty(n, h)
        states, inputs = room_for_steps(plan, (h, panels.shape[1]), needed)
        row, sums_row = panels.shape[1] + PAD, len(panels) * COLUMNS + PAD
        launch(
            _rnn,
            plan.blocks,
            (x, panels, b, plan.table, h0, y, last, states, inputs, plan.rows * (2 * row + sums_row)),
            (plan.rows, reverse, any(needed)),
        )
        return (y, last), (plan, u, w, states, inputs)

    @staticmethod
    def backward(xp, dys, saved, *, lengths, reverse, needed):
        plan, u, w, states, inputs = saved
        (n, t), h = plan.shape, w.shape[0]
        dy, dlast = whole(dys[0], n, t, h), whole(dys[1], n, h)
        panels, dx = way_back(plan, u, w, needed[0])
        sums, dh0 = empty(plan.blocks, h), empty(n, h)
        room = plan.rows * (h + PAD + len(panels) * COLUMNS + PAD)
        launch(
            _rnn_gradient,
            plan.blocks,
            (dy, dlast, panels, plan.table, states, dx, sums, dh0, room),
            (plan.rows, reverse, needed[4]),
        )
        db = sums.sum(axis=0) if needed[3] else None
        du, dw = weight_gradients(inputs, states, len(u), needed)
        return dx if needed[0] else None, du, dw, db, dh0 if needed[4] else None, None
