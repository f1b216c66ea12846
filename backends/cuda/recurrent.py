"""RNN, LSTM and GRU: the products of x with u at once, then for each step a product and a launch.

The rows of all steps stand one behind the other, step after step and the longest sequence first, see
:mod:`backends.packed_sequences`: so the sequences that have a step are always the first rows of a state, and what is
padding is neither read nor computed with. A step writes its states where the next one's product reads them, and its
gates where their sums stood; backward they become their gradients, for what is saved is used once. The gradients of u
and w are one product each, over all steps.

Of arrays of float16 the products are of float16 too. A cell and the state of a GRU, to which a step may add little, are
carried on in float32, and so are their gradients.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

from backends import packed_sequences
from backends.cuda import requirements
from backends.cuda.launch import by_elements, compact, real
from backends.cuda.products import exact_sums
from backends.cuda.sums import sum_columns
from backends.reference import recurrent


class _Step(NamedTuple):
    """A computed step.

    begin : its first row among those of all steps
    sequences : how many have it
    following : how many of them have another one
    """

    begin: int
    sequences: int
    following: int

    @property
    def end(self) -> int:
        return self.begin + self.sequences


class _Batch:
    """The steps of a batch in their order, and launches over them."""

    def __init__(self, xp, x, units, rows, lengths, reverse):
        self.xp, self.dtype, self.device = xp, x.dtype, x.device
        self.n, self.length, self.features = x.shape
        self.units, self.full = units, lengths is None
        counts = [*packed_sequences.active(lengths, self.n, self.length), 0]
        self.steps, begin = [], 0
        for sequences, following in pairwise(counts):
            self.steps.append(_Step(begin, sequences, following))
            begin += sequences
        rows = self._every_row(reverse) if rows is None else xp.astype(rows, xp.int64, copy=False)
        self.rows = compact(xp, rows)

    def _every_row(self, reverse):
        place = self.xp.arange(self.n * self.length, dtype=self.xp.int64, device=self.device)
        return packed_sequences.pack(self.xp, self.xp.reshape(place, (self.n, self.length)), None, reverse)

    def room(self, *shape) -> Any:
        return self.xp.empty(shape, dtype=self.dtype, device=self.device)

    def kept(self, keep: bool) -> Any:
        """Room for (M, H); without ``keep`` it is not looked at."""
        return self.room(self.rows.shape[0] if keep else 1, self.units)

    def rounded(self, carried) -> Any:
        """What was carried in, in the dtype of x."""
        return self.xp.astype(carried, self.dtype, copy=False)

    def padded(self, width) -> Any:
        """Room for (N, T, width), zero where there is no step."""
        make = self.xp.empty if self.full else self.xp.zeros
        return make((self.n, self.length, width), dtype=self.dtype, device=self.device)

    def carried(self, state) -> Any:
        """A new array (N, H) that a state, or its gradient, is carried in; zeros for None."""
        number = real(self.dtype)
        if state is None:
            return self.xp.zeros((self.n, self.units), dtype=number, device=self.device)
        return self.xp.astype(compact(self.xp, state), number)

    def pack(self, x) -> Any:
        """(N, T, D) -> (M, D): what a forward pass begins with."""
        exact_sums(self.xp, self.dtype)
        packed = self.room(self.rows.shape[0], self.features)
        arguments = (compact(self.xp, x), self.rows, packed, packed.size, self.features)
        by_elements("recurrent", "gather_rows", arguments, packed.size, self.dtype)
        return packed

    def unpack(self, packed) -> Any:
        """(M, D) -> (N, T, D)."""
        x = self.padded(self.features)
        arguments = (packed, self.rows, x, packed.size, self.features)
        by_elements("recurrent", "scatter_rows", arguments, packed.size, self.dtype)
        return x

    def launch(self, kernel: str, arguments, step: _Step, *places) -> None:
        """A kernel for each unit of the sequences that have the step."""
        n = step.sequences * self.units
        by_elements("recurrent", kernel, (*arguments, n, *places, self.units, self.length), n, self.dtype)

    # --- the passes, in which the cells differ by their kernel alone

    def forward(self, kernel: str, w, h0, arrays, keep: bool) -> tuple[Any, Any]:
        """Run the kernel with (product, *arrays) in front of y, before and its other arrays, step after step.

        arrays : those in front of the rows, and those behind ``before``

        Returns y (N, T, H) and the states before each step, (M, H); those only of a few steps unless ``keep``.
        """
        given, behind = arrays
        y, product = self.padded(self.units), self.room(self.n, w.shape[1])
        before = self.room(self.rows.shape[0] if keep else min(2 * self.n, self.rows.shape[0]), self.units)
        first, place = ((y, 0) if h0 is None else (compact(self.xp, h0), 1)), 0  # with 0 the array is not looked at
        self.launch("initial_state", (*first, self.rows, before), self.steps[0])
        for step in self.steps:
            self.xp.matmul(before[place : place + step.sequences, :], w, out=product[: step.sequences, :])
            after = step.end if keep else self.n - place  # or by turns in the first and in the second half
            arguments = (given[0], product, *given[1:], self.rows, y, before, *behind)
            self.launch(kernel, arguments, step, step.begin, step.following, after)
            place = after
        return y, before

    def backward(self, kernel: str, w, dy, arrays, da, to_start: bool) -> Any:
        """Run the kernel with dy, the product and ``arrays``, from the last step to the first.

        da : what it writes that w is multiplied with, (M, gates H)

        Returns the product behind the first step, (N, H), or anything unless ``to_start``.
        """
        exact_sums(self.xp, self.dtype)
        product, turned = self.room(self.n, self.units), self.xp.matrix_transpose(w)
        slopes = (da, 0) if dy is None else (compact(self.xp, dy), 1)
        for step in reversed(self.steps):
            self.launch(kernel, (*slopes, product, *arrays), step, step.begin, step.following)
            if step.begin or to_start:
                self.xp.matmul(da[step.begin : step.end, :], turned, out=product[: step.sequences, :])
        return product

    def initial_gradient(self, product, around, added: bool) -> Any:
        """The gradient of h0."""
        dh0 = self.room(self.n, self.units)
        self.launch("initial_gradient", (product, around, int(added), self.rows, dh0), self.steps[0])
        return dh0

    def gradients(self, inputs, before, u, da, da_state, needed) -> tuple[Any, ...]:
        """Those of x, u, w and b."""
        xp = self.xp
        return (
            self.unpack(xp.matmul(da, xp.matrix_transpose(u))) if needed[0] else None,
            xp.matmul(xp.matrix_transpose(inputs), da) if needed[1] else None,
            xp.matmul(xp.matrix_transpose(before), da_state) if needed[2] else None,
            sum_columns(xp, da) if needed[3] else None,
        )


def _unsuited(x, u, w, *others, lengths, reverse) -> str | None:
    floats = {f"array {place}": array for place, array in enumerate(others[:-1], start=4)}  # all but the rows
    reason = requirements.unsuited("recurrent", x=x, u=u, w=w, **floats)
    if reason is not None:
        return reason
    steps = x.shape[0] * x.shape[1]
    return requirements.uncountable("y", steps * w.shape[0]) or requirements.uncountable(
        "all gates", steps * w.shape[1]
    )


@recurrent.rnn.alternative("cupy", unless=_unsuited)
class RNNByProducts:
    """h = tanh a; only y is kept of what a step computes."""

    @staticmethod
    def forward(xp, x, u, w, b, h0, rows, *, lengths, reverse, needed):
        u, w, b = (compact(xp, array) for array in (u, w, b))
        batch, keep = _Batch(xp, x, w.shape[0], rows, lengths, reverse), any(needed)
        inputs = batch.pack(x)
        last = batch.room(batch.n, batch.units)
        y, before = batch.forward("rnn_step", w, h0, ((xp.matmul(inputs, u), b), (last,)), keep)
        return (y, last), (batch, inputs, u, w, before, y) if keep else None

    @staticmethod
    def backward(xp, dys, saved, *, lengths, reverse, needed):
        batch, inputs, u, w, before, y = saved
        dlast, da = batch.carried(dys[1]), batch.room(*before.shape)
        product = batch.backward("rnn_gradient", w, dys[0], (dlast, y, batch.rows, da), da, needed[4])
        dh0 = batch.initial_gradient(product, dlast, added=False) if needed[4] else None
        return *batch.gradients(inputs, before, u, da, da, needed), dh0, None


@recurrent.lstm.alternative("cupy", unless=_unsuited)
class LSTMByProducts:
    """c = f c' + i g; h = o tanh c."""

    @staticmethod
    def forward(xp, x, u, w, b, h0, c0, rows, *, lengths, reverse, needed):
        u, w, b = (compact(xp, array) for array in (u, w, b))
        batch, keep = _Batch(xp, x, w.shape[0], rows, lengths, reverse), any(needed)
        inputs = batch.pack(x)
        gates, last, cell = xp.matmul(inputs, u), batch.room(batch.n, batch.units), batch.carried(c0)
        cells_before, bent = batch.kept(keep), batch.kept(keep)
        arrays = (gates, b), (last, cell, cells_before, bent, int(keep))
        y, before = batch.forward("lstm_step", w, h0, arrays, keep)
        return (y, last, batch.rounded(cell)), (
            batch,
            inputs,
            u,
            w,
            before,
            gates,
            cells_before,
            bent,
        ) if keep else None

    @staticmethod
    def backward(xp, dys, saved, *, lengths, reverse, needed):
        batch, inputs, u, w, before, gates, cells_before, bent = saved
        dlast, dc = batch.carried(dys[1]), batch.carried(dys[2])
        arrays = (dlast, gates, cells_before, bent, dc, batch.rows)
        product = batch.backward("lstm_gradient", w, dys[0], arrays, gates, needed[4])
        dh0 = batch.initial_gradient(product, dlast, added=False) if needed[4] else None
        dc0 = batch.rounded(dc) if needed[5] else None
        return *batch.gradients(inputs, before, u, gates, gates, needed), dh0, dc0, None


@recurrent.gru.alternative("cupy", unless=_unsuited)
class GRUByProducts:
    """n = tanh(x U_n + b_n + r (h' W_n + b_hn)); h = n + z (h' - n)."""

    @staticmethod
    def forward(xp, x, u, w, b, bn, h0, rows, *, lengths, reverse, needed):
        u, w, b, bn = (compact(xp, array) for array in (u, w, b, bn))
        batch, keep = _Batch(xp, x, w.shape[0], rows, lengths, reverse), any(needed)
        inputs = batch.pack(x)
        gates, state, inner = xp.matmul(inputs, u), batch.carried(h0), batch.kept(keep)
        y, before = batch.forward("gru_step", w, h0, ((gates, b, bn), (state, inner, int(keep))), keep)
        return (y, batch.rounded(state)), (batch, inputs, u, w, before, gates, inner) if keep else None

    @staticmethod
    def backward(xp, dys, saved, *, lengths, reverse, needed):
        batch, inputs, u, w, before, gates, inner = saved
        around, inward = batch.carried(dys[1]), batch.room(*gates.shape)
        arrays = (around, gates, before, inner, inward, batch.rows)
        product = batch.backward("gru_gradient", w, dys[0], arrays, inward, needed[5])
        dbn = sum_columns(xp, inward)[2 * batch.units :] if needed[4] else None
        dh0 = batch.initial_gradient(product, around, added=True) if needed[5] else None
        return *batch.gradients(inputs, before, u, gates, inward, needed), dbn, dh0, None
