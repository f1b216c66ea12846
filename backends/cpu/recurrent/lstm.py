"""LSTM: the gates i, f, g and o stand beside one another. See :mod:`backends.cpu.recurrent.common`."""

from __future__ import annotations

import numpy as np

from backends.cpu.codegen.gemm import COLUMNS
from backends.cpu.codegen.math import sigmoid, tanh
from backends.cpu.codegen.simd import LANES, at, fma, integers, load, load_integer, spread, store
from backends.cpu.codegen.thread_pool import launch, reads, scratch, task, writes
from backends.cpu.recurrent.common import (
    PAD,
    add_to_sums,
    copy_rows,
    empty,
    keep_inputs,
    multiply,
    packed,
    plan_for,
    put,
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
    c0=reads("n h"), y=writes("n t h"), last=writes("n h"), last_cell=writes("n h"), gates=writes("m g"),
    inputs=writes("m depth"), cells=writes("m h"), bent=writes("m h"), room=scratch(),
)  # fmt: skip
def _lstm(block, arguments):
    x, panels, b, table, h0, c0, y, last, last_cell, gates, inputs, cells, bent, room = integers(arguments, 0, 14)
    n, t, d, p, depth, _, g, _, h, _, rows, reverse, keep = integers(arguments, 14, 13)
    first, row, sums_row, c_row = block * rows, depth + PAD, p * COLUMNS + PAD, h + PAD
    active = min(rows, n - first)
    now, then = room, at(room, rows * row)
    sums = at(then, rows * row)
    cell = at(sums, rows * sums_row)
    copy_rows(h0, table, first, active, h, at(now, d), row)
    copy_rows(c0, table, first, active, h, cell, c_row)
    for step in range(load_integer(table, 3 * first + 1)):
        active = still_running(table, first, active, step)
        take_inputs(x, table, first, active, step, reverse, t, d, now, row)
        multiply(now, row, active, depth, panels, depth, p, sums, sums_row)
        for r in range(active):
            sequence, length, number = sequence_at(table, first + r)
            place = length - 1 - step if reverse else step
            for k in range(0, h, LANES):
                left, s = h - k, r * sums_row + k
                i = sigmoid(load(sums, s, left) + load(b, k, left))
                f = sigmoid(load(sums, s + h, left) + load(b, h + k, left))
                new = tanh(load(sums, s + 2 * h, left) + load(b, 2 * h + k, left))
                o = sigmoid(load(sums, s + 3 * h, left) + load(b, 3 * h + k, left))
                old = load(cell, r * c_row + k, left)
                c = fma(f, old, i * new)
                curved = tanh(c)
                state = o * curved
                store(cell, r * c_row + k, c, left)
                store(then, r * row + d + k, state, left)
                store(y, (sequence * t + place) * h + k, state, left)
                if keep:
                    kept = (number + place) * h + k
                    wide = (number + place) * g + k
                    put(gates, wide, h, i, f, new, left)
                    store(gates, wide + 3 * h, o, left)
                    store(cells, kept, old, left)
                    store(bent, kept, curved, left)
                if step == length - 1:
                    store(last, sequence * h + k, state, left)
                    store(last_cell, sequence * h + k, c, left)
            if keep:
                keep_inputs(now, r * row, depth, inputs, number + place)
        now, then = then, now


@task(
    dy=reads("n t h"), dlast=reads("n h"), dcell=reads("n h"), panels=reads("p g lanes"),
    table=reads("n three", "int64"), gates=writes("m g"), cells=reads("m h"), bent=reads("m h"),
    dx=writes("n t d"), sums=writes("blocks g"), dh0=writes("n h"), dc0=writes("n h"), room=scratch(),
)  # fmt: skip
def _lstm_gradient(block, arguments):
    """The gates become their gradients."""
    dy, dlast, dcell, panels, table, gates, cells, bent, dx, sums, dh0, dc0, room = integers(arguments, 0, 13)
    n, t, h, p, g, _, _, _, d, _, rows, reverse, to_start = integers(arguments, 13, 13)
    first, row, h_row = block * rows, g + PAD, p * COLUMNS + PAD
    count, active = min(rows, n - first), 0
    own, both = room, at(room, rows * row)
    dh, dc = at(both, d), at(both, rows * h_row)
    one = spread(_ONE)
    for k in range(0, g, LANES):
        store(sums, block * g + k, spread(_ZERO), g - k)
    for step in range(load_integer(table, 3 * first + 1) - 1, -1, -1):
        while active < count and load_integer(table, 3 * (first + active) + 1) > step:
            copy_rows(dlast, table, first + active, 1, h, at(dh, active * h_row), h_row)
            copy_rows(dcell, table, first + active, 1, h, at(dc, active * h_row), h_row)
            active += 1
        for r in range(active):
            sequence, length, number = sequence_at(table, first + r)
            place = length - 1 - step if reverse else step
            for k in range(0, h, LANES):
                left, kept, wide = h - k, (number + place) * h + k, (number + place) * g + k
                i, f = load(gates, wide, left), load(gates, wide + h, left)
                new, o = load(gates, wide + 2 * h, left), load(gates, wide + 3 * h, left)
                curved = load(bent, kept, left)
                slope = load(dh, r * h_row + k, left) + load(dy, (sequence * t + place) * h + k, left)
                through = load(dc, r * h_row + k, left) + slope * o * (one - curved * curved)
                di = through * new * i * (one - i)
                df = through * load(cells, kept, left) * f * (one - f)
                dg = through * i * (one - new * new)
                do = slope * curved * o * (one - o)
                store(dc, r * h_row + k, through * f, left)
                put(gates, wide, h, di, df, dg, left)
                store(gates, wide + 3 * h, do, left)
                put(own, r * row + k, h, di, df, dg, left)
                store(own, r * row + k + 3 * h, do, left)
                add_to_sums(sums, block * g + k, h, di, df, dg, do, left)
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
                store(dc0, sequence * h + k, load(dc, r * h_row + k, h - k), h - k)


@recurrent.lstm.alternative("numpy", unless=unsuited)
class LSTMBySequences:
    """c = f c' + i g; h = o tanh c."""

    @staticmethod
    def forward(xp, x, u, w, b, h0, c0, rows, *, lengths, reverse, needed):
        (n, t, _), h = x.shape, w.shape[0]
        plan = plan_for(n, t, lengths)
        x, u, w, b, h0, c0 = whole(x), whole(u), whole(w), whole(b), whole(h0, n, h), whole(c0, n, h)
        panels = packed(u, w)
        y, last, last_cell = room_for_sequences(plan, n, t, h), empty(n, h), empty(n, h)
        gates, inputs, cells, bent = room_for_steps(plan, (4 * h, panels.shape[1], h, h), needed)
        row, sums_row = panels.shape[1] + PAD, len(panels) * COLUMNS + PAD
        room = plan.rows * (2 * row + sums_row + h + PAD)
        launch(
            _lstm,
            plan.blocks,
            (x, panels, b, plan.table, h0, c0, y, last, last_cell, gates, inputs, cells, bent, room),
            (plan.rows, reverse, any(needed)),
        )
        return (y, last, last_cell), (plan, u, w, gates, inputs, cells, bent)

    @staticmethod
    def backward(xp, dys, saved, *, lengths, reverse, needed):
        plan, u, w, gates, inputs, cells, bent = saved
        (n, t), h = plan.shape, w.shape[0]
        dy, dlast, dcell = whole(dys[0], n, t, h), whole(dys[1], n, h), whole(dys[2], n, h)
        panels, dx = way_back(plan, u, w, needed[0])
        sums = empty(plan.blocks, 4 * h)
        dh0, dc0 = empty(n, h), empty(n, h)
        room = plan.rows * (4 * h + PAD + 2 * (len(panels) * COLUMNS + PAD))
        launch(
            _lstm_gradient,
            plan.blocks,
            (dy, dlast, dcell, panels, plan.table, gates, cells, bent, dx, sums, dh0, dc0, room),
            (plan.rows, reverse, needed[4] or needed[5]),
        )
        db = sums.sum(axis=0) if needed[3] else None
        initial = dh0 if needed[4] else None, dc0 if needed[5] else None
        du, dw = weight_gradients(inputs, gates, len(u), needed)
        return dx if needed[0] else None, du, dw, db, *initial, None
