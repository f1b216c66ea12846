"""GRU: h' W_n is kept apart from the rest of n, for r multiplies it.

What is kept of a step stands in the order n, r, z, h' W_n + b_hn, and so do the gradients that take its place: those of
x U are then the first three, and those of h' W the last three.

See :mod:`backends.cpu.recurrent.common`.
"""

from __future__ import annotations

import numpy as np

from backends.cpu.codegen.gemm import COLUMNS, product
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
    packed_across,
    plan_for,
    put,
    room_for_sequences,
    room_for_steps,
    sequence_at,
    still_running,
    store_gradient,
    take_inputs,
    unsuited,
    whole,
)
from backends.reference import recurrent

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


@task(
    x=reads("n t d"), panels=reads("p depth lanes"), b=reads("g"), bn=reads("h"), table=reads("n three", "int64"),
    h0=reads("n h"), y=writes("n t h"), last=writes("n h"), gates=writes("m four h"), inputs=writes("m d"),
    before=writes("m h"), room=scratch(),
)  # fmt: skip
def _gru(block, arguments):
    x, panels, b, bn, table, h0, y, last, gates, inputs, before, room, n, t, d = integers(arguments, 0, 15)
    p, depth, _, _, h, _, _, _, rows, reverse, keep = integers(arguments, 15, 11)
    first, row, sums_row = block * rows, depth + PAD, p * COLUMNS + PAD
    active = min(rows, n - first)
    now, then = room, at(room, rows * row)
    outer = at(then, rows * row)
    inward = at(outer, rows * sums_row)
    from_w = at(panels, d * COLUMNS)
    copy_rows(h0, table, first, active, h, at(now, d), row)
    for step in range(load_integer(table, 3 * first + 1)):
        active = still_running(table, first, active, step)
        take_inputs(x, table, first, active, step, reverse, t, d, now, row)
        multiply(now, row, active, d, panels, depth, p, outer, sums_row)
        multiply(at(now, d), row, active, h, from_w, depth, p, inward, sums_row)
        for q in range(active):
            sequence, length, number = sequence_at(table, first + q)
            place = length - 1 - step if reverse else step
            for k in range(0, h, LANES):
                left, s = h - k, q * sums_row + k
                r = sigmoid(load(outer, s, left) + load(inward, s, left) + load(b, k, left))
                z = sigmoid(load(outer, s + h, left) + load(inward, s + h, left) + load(b, h + k, left))
                from_state = load(inward, s + 2 * h, left) + load(bn, k, left)
                new = tanh(fma(r, from_state, load(outer, s + 2 * h, left) + load(b, 2 * h + k, left)))
                old = load(now, q * row + d + k, left)
                state = fma(z, old - new, new)
                store(then, q * row + d + k, state, left)
                store(y, (sequence * t + place) * h + k, state, left)
                if keep:
                    wide = (number + place) * 4 * h + k
                    put(gates, wide, h, new, r, z, left)
                    store(gates, wide + 3 * h, from_state, left)
                if step == length - 1:
                    store(last, sequence * h + k, state, left)
            if keep:
                keep_inputs(now, q * row, d, inputs, number + place)
                keep_inputs(now, q * row + d, h, before, number + place)
        now, then = then, now


@task(
    dy=reads("n t h"), dlast=reads("n h"), to_x=reads("px g lanes"), panels=reads("p g lanes"),
    table=reads("n three", "int64"), gates=writes("m four h"), before=reads("m h"),
    dx=writes("n t d"), sums=writes("blocks four h"), dh0=writes("n h"), room=scratch(),
)  # fmt: skip
def _gru_gradient(block, arguments):
    """What was kept becomes the gradients.

    to_x : panels of U with its columns in the order n, r, z
    sums : of the gradients of r, z, n and h' W_n, block by block
    """
    dy, dlast, to_x, panels, table, gates, before, dx, sums, dh0, room = integers(arguments, 0, 11)
    n, t, h, px, g, _, p, _, _, _, d, _, rows, reverse, to_start = integers(arguments, 11, 15)
    first, row, x_row, h_row = block * rows, 4 * h + PAD, px * COLUMNS + PAD, p * COLUMNS + PAD
    count, active = min(rows, n - first), 0
    own, own_inward = room, at(room, h)
    own_dx = at(own, rows * row)
    dh = at(own_dx, rows * x_row)
    direct = at(dh, rows * h_row)
    one = spread(_ONE)
    for k in range(0, 4 * h, LANES):
        store(sums, block * 4 * h + k, spread(_ZERO), 4 * h - k)
    for step in range(load_integer(table, 3 * first + 1) - 1, -1, -1):
        while active < count and load_integer(table, 3 * (first + active) + 1) > step:
            copy_rows(dlast, table, first + active, 1, h, at(dh, active * h_row), h_row)
            active += 1
        for q in range(active):
            sequence, length, number = sequence_at(table, first + q)
            place = length - 1 - step if reverse else step
            for k in range(0, h, LANES):
                left, kept, wide, s = h - k, (number + place) * h + k, (number + place) * 4 * h + k, q * row + k
                new, r, z = load(gates, wide, left), load(gates, wide + h, left), load(gates, wide + 2 * h, left)
                slope = load(dh, q * h_row + k, left) + load(dy, (sequence * t + place) * h + k, left)
                dn = slope * (one - z) * (one - new * new)
                dr = dn * load(gates, wide + 3 * h, left) * r * (one - r)
                dz = slope * (load(before, kept, left) - new) * z * (one - z)
                dm = dn * r
                put(gates, wide, h, dn, dr, dz, left)
                store(gates, wide + 3 * h, dm, left)
                put(own, s, h, dn, dr, dz, left)
                store(own, s + 3 * h, dm, left)
                store(direct, q * h_row + k, slope * z, left)
                add_to_sums(sums, block * 4 * h + k, h, dr, dz, dn, dm, left)
        multiply(own, row, active, g, to_x, g, px, own_dx, x_row)
        for q in range(active):
            sequence, length, _ = sequence_at(table, first + q)
            place = length - 1 - step if reverse else step
            store_gradient(own_dx, q * x_row, d, dx, sequence * t + place)
        if step > 0 or to_start:
            multiply(own_inward, row, active, g, panels, g, p, dh, h_row)
            for q in range(active):
                for k in range(0, h, LANES):
                    s = q * h_row + k
                    store(dh, s, load(dh, s, h - k) + load(direct, s, h - k), h - k)
    if to_start:
        for q in range(count):
            sequence, _, _ = sequence_at(table, first + q)
            for k in range(0, h, LANES):
                store(dh0, sequence * h + k, load(dh, q * h_row + k, h - k), h - k)


@recurrent.gru.alternative("numpy", unless=unsuited)
class GRUBySequences:
    """n = tanh(x U_n + b_n + r (h' W_n + b_hn)); h = (1 - z) n + z h'."""

    @staticmethod
    def forward(xp, x, u, w, b, bn, h0, rows, *, lengths, reverse, needed):
        (n, t, _), h = x.shape, w.shape[0]
        plan = plan_for(n, t, lengths)
        x, u, w, b, bn, h0 = whole(x), whole(u), whole(w), whole(b), whole(bn), whole(h0, n, h)
        panels = packed(u, w)
        y, last = room_for_sequences(plan, n, t, h), empty(n, h)
        gates, inputs, before = room_for_steps(plan, (4 * h, x.shape[2], h), needed)
        gates = gates.reshape(-1, 4, h)
        row, sums_row = panels.shape[1] + PAD, len(panels) * COLUMNS + PAD
        launch(
            _gru,
            plan.blocks,
            (x, panels, b, bn, plan.table, h0, y, last, gates, inputs, before, plan.rows * 2 * (row + sums_row)),
            (plan.rows, reverse, any(needed)),
        )
        return (y, last), (plan, u, w, gates, inputs, before)

    @staticmethod
    def backward(xp, dys, saved, *, lengths, reverse, needed):
        plan, u, w, gates, inputs, before = saved
        (n, t), h = plan.shape, w.shape[0]
        dy, dlast = whole(dys[0], n, t, h), whole(dys[1], n, h)
        turned = np.roll(u, h, axis=1) if needed[0] else u[:0]  # n, r, z
        to_x, dx = packed_across(turned), room_for_sequences(plan, n, t, len(turned))
        panels, sums, dh0 = packed_across(w), empty(plan.blocks, 4, h), empty(n, h)
        room = plan.rows * (4 * h + PAD + len(to_x) * COLUMNS + PAD + 2 * (len(panels) * COLUMNS + PAD))
        launch(
            _gru_gradient,
            plan.blocks,
            (dy, dlast, to_x, panels, plan.table, gates, before, dx, sums, dh0, room),
            (plan.rows, reverse, needed[5]),
        )
        biases = sums.sum(axis=0)
        db, dbn = biases[:3].reshape(-1) if needed[3] else None, biases[3] if needed[4] else None
        da, du, dw = gates.reshape(-1, 4 * h), None, None
        if needed[1]:
            du = np.roll(product(inputs, da, across=(True, False), columns=(0, 3 * h)), -h, axis=1)
        if needed[2]:
            dw = product(before, da, across=(True, False), columns=(h, 4 * h))
        return dx if needed[0] else None, du, dw, db, dbn, dh0 if needed[5] else None, None
