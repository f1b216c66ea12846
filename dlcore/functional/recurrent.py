"""Recurrent cells over whole sequences, checked before any launch (notes 5 and 5.1).

In all of them x holds N sequences padded to T steps; ``lengths`` says how many steps of each are valid. Padding changes
nothing: not an output, a loss or a gradient, to the bit on a CPU. A whole sequence is one node of the tape.
"""

from __future__ import annotations

from typing import Any

from backends.reference import recurrent as _recurrent
from dlcore._core.validation import plain
from dlcore.functional.checks import floats, refuse, same_dtype
from dlcore.functional.lengths import Lengths
from dlcore.tensor import Tensor, apply

__all__ = ["gru", "lstm", "rnn"]


def rnn(
    x: Any, u: Any, w: Any, b: Any, h0: Any = None, *, lengths: Any = None, reverse: bool = False
) -> tuple[Tensor, Tensor]:
    """The simple recurrent cell: a = x U + h' W + b, h = tanh a, where h' is the state before.

    x : (N, T, D) float array — sequences
    u : (D, H) array of the same dtype — weights of the input, the notes' U transposed
    w : (H, H) array — weights of the state before, the notes' W transposed
    b : (H,) array
    h0 : (N, H) array, the state before the first step; None for zeros
    lengths : N integers on the host, each in 1 .. T, or :class:`Lengths`; None where all steps are valid
    reverse : read each sequence from its last valid step to its first; y stays aligned with x

    Returns y (N, T, H), the state after each step, zero behind a sequence's end; and h (N, H), the state after the last
    valid step that was read. Raises ShapeError.

    >>> y, h = rnn([[[1.0], [0.5]]], [[1.0]], [[0.0]], [0.0])
    >>> y.numpy().round(4).ravel(), h.numpy().round(4)
    (array([0.7616, 0.4621], dtype=float32), array([[0.4621]], dtype=float32))

    Source: notes, 5; Elman (1990).
    """
    x, u, w, b = _sequences("rnn", 1, x, u, w, b)
    h0 = _state("rnn", "h0", h0, x, w)
    rows, how = _valid("rnn", x, lengths, reverse)
    return apply(_recurrent.rnn, x, u, w, b, h0, rows, **how)


def lstm(
    x: Any, u: Any, w: Any, b: Any, h0: Any = None, c0: Any = None, *, lengths: Any = None, reverse: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Long short-term memory: gates decide what the cell c forgets, takes in and gives out.

    i, f, g, o = x U + h' W + b, each (N, H); c = s(f) c' + s(i) tanh(g); h = s(o) tanh(c), with s the sigmoid.

    x : (N, T, D) float array — sequences
    u : (D, 4 H) array of the same dtype — weights of the input, the gates i, f, g, o side by side
    w : (H, 4 H) array — weights of the state before
    b : (4 H,) array
    h0, c0 : (N, H) arrays, the state before the first step; None for zeros
    lengths : N integers on the host, each in 1 .. T, or :class:`Lengths`; None where all steps are valid
    reverse : read each sequence from its last valid step to its first; y stays aligned with x

    Returns y (N, T, H), h after each step, zero behind a sequence's end; and h and c (N, H) after the last valid step
    that was read. Raises ShapeError.

    >>> y, h, c = lstm([[[1.0], [1.0]]], [[0.0] * 4], [[0.0] * 4], [0.0, 0.0, 1.0, 0.0])
    >>> c.numpy().round(4)  # half of what was there, half of tanh(1), twice
    array([[0.5712]], dtype=float32)

    Source: notes, 5.1; Hochreiter and Schmidhuber (1997), with the forget gate of Gers, Schmidhuber and Cummins (2000).
    """
    x, u, w, b = _sequences("lstm", 4, x, u, w, b)
    h0, c0 = _state("lstm", "h0", h0, x, w), _state("lstm", "c0", c0, x, w)
    rows, how = _valid("lstm", x, lengths, reverse)
    return apply(_recurrent.lstm, x, u, w, b, h0, c0, rows, **how)


def gru(
    x: Any, u: Any, w: Any, b: Any, bn: Any, h0: Any = None, *, lengths: Any = None, reverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Gated recurrent unit: the gate r decides what of the old state is looked at, z what of it is kept.

    r, z = s(x U + h' W + b); n = tanh(x U_n + b_n + r (h' W_n + b_hn)); h = (1 - z) n + z h', with s the sigmoid.

    x : (N, T, D) float array — sequences
    u : (D, 3 H) array of the same dtype — weights of the input, the gates r, z, n side by side
    w : (H, 3 H) array — weights of the state before
    b : (3 H,) array
    bn : (H,) array, b_hn
    h0 : (N, H) array, the state before the first step; None for zeros
    lengths : N integers on the host, each in 1 .. T, or :class:`Lengths`; None where all steps are valid
    reverse : read each sequence from its last valid step to its first; y stays aligned with x

    Returns y (N, T, H), the state after each step, zero behind a sequence's end; and h (N, H), the state after the last
    valid step that was read. Raises ShapeError.

    >>> y, h = gru([[[1.0], [1.0]]], [[0.0] * 3], [[0.0] * 3], [0.0, 0.0, 1.0], [0.0])
    >>> y.numpy().round(4).ravel()
    array([0.3808, 0.5712], dtype=float32)

    Source: notes, 5; Cho et al. (2014), with the reset after the product, as cuDNN has it.
    """
    x, u, w, b = _sequences("gru", 3, x, u, w, b)
    bn = floats("gru", "bn", bn)
    if bn.shape != w.shape[:1]:
        refuse("gru", f"bn has shape {tuple(bn.shape)}", f"w has {w.shape[0]} units", f"give it ({w.shape[0]},)")
    same_dtype("gru", x, "bn", bn)
    h0 = _state("gru", "h0", h0, x, w)
    rows, how = _valid("gru", x, lengths, reverse)
    return apply(_recurrent.gru, x, u, w, b, bn, h0, rows, **how)


def _sequences(operation: str, gates: int, *arrays: Any) -> tuple[Tensor, ...]:
    """x, u, w and b as tensors that go together."""
    before = "put an Embedding before, or convert x to float32"
    x, u, w, b = (floats(operation, n, a, before if n == "x" else "") for n, a in zip("xuwb", arrays, strict=True))
    if x.ndim != 3 or 0 in x.shape:
        refuse(
            operation, f"x has shape {tuple(x.shape)}", "(N, T, D) with none of them 0 is expected",
            "reshape to sequences of feature vectors; an Embedding makes them of integers",
        )  # fmt: skip
    units = w.shape[0] if w.ndim == 2 else 0
    if not units or w.shape != (units, gates * units):
        wide = "H" if gates == 1 else f"{gates} H"
        refuse(operation, f"w has shape {tuple(w.shape)}", f"(H, {wide}) is expected", "put the gates side by side")
    for name, array, expected in (("u", u, (x.shape[2], gates * units)), ("b", b, (gates * units,))):
        if array.shape != expected:
            refuse(
                operation, f"{name} has shape {tuple(array.shape)}",
                f"x {tuple(x.shape)} and w {tuple(w.shape)} expect {expected}", "build the layer on this data",
            )  # fmt: skip
    for name, array in (("u", u), ("w", w), ("b", b)):
        same_dtype(operation, x, name, array)
    return x, u, w, b


def _state(operation: str, name: str, state: Any, x: Tensor, w: Tensor) -> Tensor | None:
    if state is None:
        return None
    state, expected = floats(operation, name, state), (x.shape[0], w.shape[0])
    if state.shape != expected:
        refuse(
            operation, f"{name} has shape {tuple(state.shape)}", f"{expected} is expected, a row for each sequence",
            "carry the state of the same sequences over, or leave it out",
        )  # fmt: skip
    same_dtype(operation, x, name, state)
    return state


def _valid(operation: str, x: Tensor, lengths: Any, reverse: bool) -> tuple[Any, dict[str, Any]]:
    """The rows on the device, and the parameters of the kernels."""
    reverse = plain(reverse)
    if not isinstance(reverse, bool):
        refuse(operation, f"reverse is {reverse!r:.60}", "True or False is expected", "change reverse")
    if lengths is None:
        return None, {"lengths": None, "reverse": reverse}
    lengths = Lengths.of(operation, lengths, x.shape[0], x.shape[1])
    return lengths.rows(x.data, reverse), {"lengths": lengths.values, "reverse": reverse}
