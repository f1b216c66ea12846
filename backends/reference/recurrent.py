"""Recurrent cells over whole sequences (notes 5 and 5.1): RNN, LSTM and GRU, one node of the tape each.

x (N, T, D) holds N sequences; u (D, G H) are the weights of the input, w (H, G H) those of the state before, b (G H,)
the biases, with G gates side by side. States are (N, H). Common to the three:

lengths : a tuple of N integers in 1 .. T; None where all sequences have T steps
rows : ``backends.packed_sequences.packed_rows(lengths, T, reverse)`` on the device; None where lengths is None
reverse : each sequence is read from its last valid step to its first; y stays aligned with x

y (N, T, H) is zero behind each sequence's end; the last states are those after the last valid step that is read. What
is there behind a sequence's end is never computed with: see :mod:`backends.packed_sequences`. x U of all valid steps is
one product, and so are the gradients of u and of w.
"""

from __future__ import annotations

from backends import packed_sequences
from backends.array_ops import device_of, sum_axes
from backends.dispatch import kernel
from backends.reference.elementwise import sigmoid


class _Batch:
    """The order in which the steps of a batch are computed, and the ways of arrays into it and back."""

    def __init__(self, xp, x, rows, lengths, reverse):
        self.n, self.steps = x.shape[:2]
        self.xp, self.rows, self.reverse = xp, rows, reverse
        self.places = None if rows is None else packed_sequences.inverse(xp, rows, self.n * self.steps)
        self.order = None if rows is None else packed_sequences.sequence_order(rows, self.n, self.steps)
        self.rank = None if rows is None else xp.argsort(self.order)  # of each sequence in that order
        self.spans = []  # of each computed step: its first packed row, and the row after its last
        end = 0
        for count in packed_sequences.active(lengths, self.n, self.steps):
            self.spans.append((end, end + count))
            end += count

    def pack(self, x):
        """(N, T, ...) -> (M, ...)."""
        return packed_sequences.pack(self.xp, x, self.rows, self.reverse)

    def unpack(self, packed):
        """(M, ...) -> (N, T, ...), zeros where nothing is valid."""
        return packed_sequences.unpack(self.xp, packed, self.places, self.n, self.steps, self.reverse)

    def sort(self, state, like, units):
        """A state (N, H) with the longest sequence first; zeros for None."""
        if state is None:
            return self.xp.zeros((self.n, units), dtype=like.dtype, device=device_of(like))
        return state if self.order is None else self.xp.take(state, self.order, axis=0)

    def unsort(self, state):
        """The inverse of :meth:`sort`."""
        return state if self.rank is None else self.xp.take(state, self.rank, axis=0)

    def last(self, states):
        """From the states after each computed step, each sequence's last one: (N, H)."""
        ended, count = [], 0
        for state in reversed(states):
            ended.append(state[count:, :])
            count = state.shape[0]
        return self.unsort(self.xp.concat(ended, axis=0))

    def backwards(self, dy, dlast, like, units):
        """For backward: dy packed (None where nobody used y), the gradient of the last states, and none of it yet."""
        dlast = self.sort(dlast, like, units)
        return None if dy is None else self.pack(dy), dlast, dlast[:0, :]

    def joined(self, dstate, dlast, span):
        """The gradient of the states after a step: of those that go on, and at their end of those that stop there."""
        return self.xp.concat([dstate, dlast[dstate.shape[0] : span[1] - span[0], :]], axis=0)


def _gradients(xp, batch, inputs, before, u, da, da_state, needed):
    """The gradients of x, u, w and b from those of the gates: da of what the input gives, da_state of what h' gives."""
    return (
        batch.unpack(xp.matmul(da, xp.matrix_transpose(u))) if needed[0] else None,
        xp.matmul(xp.matrix_transpose(inputs), da) if needed[1] else None,
        xp.matmul(xp.matrix_transpose(before), da_state) if needed[2] else None,
        sum_axes(xp, da, 0) if needed[3] else None,
    )


# --- the simple cell


@kernel
def rnn(xp, x, u, w, b, h0, rows, *, lengths, reverse, needed):
    """a = x U + h' W + b, h = tanh a: (N, T, D), (D, H), (H, H), (H,), (N, H) or None -> y (N, T, H), h (N, H)."""
    batch = _Batch(xp, x, rows, lengths, reverse)
    inputs = batch.pack(x)
    a = xp.matmul(inputs, u) + b  # (M, H)
    h = batch.sort(h0, x, w.shape[0])
    before, after = [], []
    for begin, end in batch.spans:
        h = h[: end - begin, :]
        before.append(h)
        h = xp.tanh(a[begin:end, :] + xp.matmul(h, w))
        after.append(h)
    ys = xp.concat(after, axis=0)  # (M, H)
    saved = (batch, inputs, u, w, xp.concat(before, axis=0), ys) if any(needed) else None
    return (batch.unpack(ys), batch.last(after)), saved


@rnn.backward
def _(xp, dys, saved, *, lengths, reverse, needed):
    batch, inputs, u, w, before, ys = saved
    dy, dlast, dh = batch.backwards(*dys, ys, w.shape[0])
    das = []
    for begin, end in reversed(batch.spans):
        dh = batch.joined(dh, dlast, (begin, end))
        if dy is not None:
            dh = dh + dy[begin:end, :]
        y = ys[begin:end, :]
        das.append(dh * (1.0 - y * y))
        dh = xp.matmul(das[-1], xp.matrix_transpose(w))
    da = xp.concat(das[::-1], axis=0)  # (M, H)
    dh0 = batch.unsort(dh) if needed[4] else None
    return *_gradients(xp, batch, inputs, before, u, da, da, needed), dh0, None


# --- long short-term memory


@kernel
def lstm(xp, x, u, w, b, h0, c0, rows, *, lengths, reverse, needed):
    """Gates i, f, g, o = x U + h' W + b; c = s(f) c' + s(i) tanh(g), h = s(o) tanh(c), with s the sigmoid.

    (N, T, D), (D, 4H), (H, 4H), (4H,), twice (N, H) or None -> y (N, T, H), h (N, H), c (N, H).
    """
    units = w.shape[0]
    batch = _Batch(xp, x, rows, lengths, reverse)
    inputs = batch.pack(x)
    a = xp.matmul(inputs, u) + b  # (M, 4H)
    h, c = batch.sort(h0, x, units), batch.sort(c0, x, units)
    before, cells_before, gates, after, cells = [], [], [], [], []
    for begin, end in batch.spans:
        h, c = h[: end - begin, :], c[: end - begin, :]
        before.append(h)
        cells_before.append(c)
        i, f, g, o = _lstm_gates(xp, a[begin:end, :] + xp.matmul(h, w), units)
        gates.append(xp.concat([i, f, g, o], axis=1))
        c = f * c + i * g
        h = o * xp.tanh(c)
        after.append(h)
        cells.append(c)
    saved = None
    if any(needed):
        saved = (batch, inputs, u, w, *(xp.concat(kept, axis=0) for kept in (before, cells_before, gates, cells)))
    return (batch.unpack(xp.concat(after, axis=0)), batch.last(after), batch.last(cells)), saved


@lstm.backward
def _(xp, dys, saved, *, lengths, reverse, needed):
    batch, inputs, u, w, before, cells_before, gates, cells = saved
    units = w.shape[0]
    dy, dlast, dh = batch.backwards(*dys[:2], cells, units)
    _, dclast, dc = batch.backwards(None, dys[2], cells, units)
    das = []
    for begin, end in reversed(batch.spans):
        dh, dc = batch.joined(dh, dlast, (begin, end)), batch.joined(dc, dclast, (begin, end))
        if dy is not None:
            dh = dh + dy[begin:end, :]
        i, f, g, o = _split(gates[begin:end, :], units)
        t = xp.tanh(cells[begin:end, :])
        dc = dc + dh * o * (1.0 - t * t)
        di, df = dc * g * (i * (1.0 - i)), dc * cells_before[begin:end, :] * (f * (1.0 - f))
        dg, do = dc * i * (1.0 - g * g), dh * t * (o * (1.0 - o))
        das.append(xp.concat([di, df, dg, do], axis=1))
        dh, dc = xp.matmul(das[-1], xp.matrix_transpose(w)), dc * f
    da = xp.concat(das[::-1], axis=0)  # (M, 4H)
    dh0 = batch.unsort(dh) if needed[4] else None
    dc0 = batch.unsort(dc) if needed[5] else None
    return *_gradients(xp, batch, inputs, before, u, da, da, needed), dh0, dc0, None


def _lstm_gates(xp, a, units):
    """The gates' values from their sums (count, 4H)."""
    i, f, g, o = _split(a, units)
    return _sigmoid(xp, i), _sigmoid(xp, f), xp.tanh(g), _sigmoid(xp, o)


# --- gated recurrent unit


@kernel
def gru(xp, x, u, w, b, bn, h0, rows, *, lengths, reverse, needed):
    """r, z = s(x U + h' W + b); n = tanh(x U_n + b_n + r (h' W_n + b_hn)); h = (1 - z) n + z h', with s the sigmoid.

    (N, T, D), (D, 3H), (H, 3H), (3H,), b_hn (H,), (N, H) or None -> y (N, T, H), h (N, H). Gates in the order r, z, n.
    """
    units = w.shape[0]
    batch = _Batch(xp, x, rows, lengths, reverse)
    inputs = batch.pack(x)
    a = xp.matmul(inputs, u) + b  # (M, 3H)
    h = batch.sort(h0, x, units)
    before, gates, after = [], [], []
    for begin, end in batch.spans:
        h = h[: end - begin, :]
        before.append(h)
        ar, az, an = _split(a[begin:end, :], units)
        hr, hz, hn = _split(xp.matmul(h, w), units)
        r, z = _sigmoid(xp, ar + hr), _sigmoid(xp, az + hz)
        hn = hn + bn
        n = xp.tanh(an + r * hn)
        gates.append(xp.concat([r, z, n, hn], axis=1))
        h = (1.0 - z) * n + z * h
        after.append(h)
    saved = None
    if any(needed):
        saved = (batch, inputs, u, w, xp.concat(before, axis=0), xp.concat(gates, axis=0))
    return (batch.unpack(xp.concat(after, axis=0)), batch.last(after)), saved


@gru.backward
def _(xp, dys, saved, *, lengths, reverse, needed):
    batch, inputs, u, w, before, gates = saved
    units = w.shape[0]
    dy, dlast, dh = batch.backwards(*dys, before, units)
    das, das_state = [], []
    for begin, end in reversed(batch.spans):
        dh = batch.joined(dh, dlast, (begin, end))
        if dy is not None:
            dh = dh + dy[begin:end, :]
        r, z, n, hn = _split(gates[begin:end, :], units)
        dn = dh * (1.0 - z) * (1.0 - n * n)
        dr, dz = dn * hn * (r * (1.0 - r)), dh * (before[begin:end, :] - n) * (z * (1.0 - z))
        das.append(xp.concat([dr, dz, dn], axis=1))
        das_state.append(xp.concat([dr, dz, dn * r], axis=1))
        dh = dh * z + xp.matmul(das_state[-1], xp.matrix_transpose(w))
    da, da_state = xp.concat(das[::-1], axis=0), xp.concat(das_state[::-1], axis=0)  # (M, 3H) both
    dbn = sum_axes(xp, da_state[:, 2 * units :], 0) if needed[4] else None
    dh0 = batch.unsort(dh) if needed[5] else None
    return *_gradients(xp, batch, inputs, before, u, da, da_state, needed), dbn, dh0, None


def _split(gates, units):
    """(count, G H) -> G of (count, H)."""
    return [gates[:, start : start + units] for start in range(0, gates.shape[1], units)]


def _sigmoid(xp, x):
    return sigmoid.forward(xp, x, needed=(False,))[0]


for _cell in (rnn, lstm, gru):
    _cell.rounds_all = True  # the last states go into other layers, and the next piece of a sequence starts from them


# --- valid steps as rows, for what is computed step by step


@kernel
def pack_steps(xp, x, rows, *, needed):
    """The valid steps of (N, T, ...) as rows (M, ...), where ``rows`` holds their flat positions, each once."""
    return packed_sequences.pack(xp, x, rows), (rows, x.shape[:2])


@pack_steps.backward
def _(xp, dy, saved, *, needed):
    rows, (n, steps) = saved
    return packed_sequences.unpack(xp, dy, packed_sequences.inverse(xp, rows, n * steps), n, steps), None


@kernel
def unpack_steps(xp, packed, rows, *, n, steps, needed):
    """Rows (M, ...) back to their steps, (N, T, ...), zeros elsewhere: the inverse of :func:`pack_steps`."""
    return packed_sequences.unpack(xp, packed, packed_sequences.inverse(xp, rows, n * steps), n, steps), rows


@unpack_steps.backward
def _(xp, dy, rows, *, n, steps, needed):
    return packed_sequences.pack(xp, dy, rows), None
