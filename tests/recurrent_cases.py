"""The inputs of the recurrent kernels; the oracles take one sequence after the other, step by step, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from case import EXACT, Case, case, normal
from scipy.special import expit

__all__ = ["computed_rows", "recurrences"]

Lengths = tuple[int, ...] | None


def computed_rows(lengths: Lengths, steps: int, reverse: bool) -> np.ndarray | None:
    """The flat positions of the valid steps in the order in which they are computed, as the kernels take them."""
    if lengths is None:
        return None
    longest_first = sorted(range(len(lengths)), key=lambda n: -lengths[n])
    return np.array([
        n * steps + (lengths[n] - 1 - s if reverse else s)
        for s in range(max(lengths)) for n in longest_first if s < lengths[n]
    ])  # fmt: skip


def _over_sequences(
    step: Callable[..., tuple[np.ndarray, ...]], x: np.ndarray, first: list[Any], units: int, lengths: Lengths,
    reverse: bool,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """y and the last states, where ``step(x_t, *states)`` gives the states after a step and h is the first of them."""
    y = np.zeros((*x.shape[:2], units))
    last = [np.zeros((len(x), units)) for _ in first]
    for n in range(len(x)):
        states = tuple(np.zeros(units) if s is None else s[n] for s in first)
        steps = range(x.shape[1] if lengths is None else lengths[n])
        for t in reversed(steps) if reverse else steps:
            states = step(x[n, t], *states)
            y[n, t] = states[0]
        for total, state in zip(last, states, strict=True):
            total[n] = state
    return (y, *last)


def _rnn(x, u, w, b, h0, rows, *, lengths, reverse) -> tuple[np.ndarray, ...]:
    both = np.concatenate([u, w])
    step = lambda x_t, h: (np.tanh(both.T @ np.append(x_t, h) + b),)  # noqa: E731
    return _over_sequences(step, x, [h0], len(w), lengths, reverse)


def _lstm(x, u, w, b, h0, c0, rows, *, lengths, reverse) -> tuple[np.ndarray, ...]:
    units = len(w)
    both = np.concatenate([u, w])

    def step(x_t: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, ...]:
        put_in, forget, new, let_out = (both.T @ np.append(x_t, h) + b).reshape(4, units)
        c = expit(forget) * c + expit(put_in) * np.tanh(new)
        return expit(let_out) * np.tanh(c), c

    return _over_sequences(step, x, [h0, c0], units, lengths, reverse)


def _gru(x, u, w, b, bn, h0, rows, *, lengths, reverse) -> tuple[np.ndarray, ...]:
    units = len(w)

    def step(x_t: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, ...]:
        of_x, of_h = (u.T @ x_t + b).reshape(3, units), (w.T @ h).reshape(3, units)
        reset, update = expit(of_x[:2] + of_h[:2])
        new = np.tanh(of_x[2] + reset * (of_h[2] + bn))
        return ((1.0 - update) * new + update * h,)

    return _over_sequences(step, x, [h0], units, lengths, reverse)


SEQUENCES: dict[str, tuple[tuple[int, int, int], int, Lengths]] = {  # (N, T, D), H, lengths
    "all steps": ((2, 3, 4), 5, None),
    "one step": ((3, 1, 2), 2, None),
    "one sequence": ((1, 4, 3), 2, None),
    "one feature, one unit": ((3, 4, 1), 1, (2, 4, 1)),
    "several lengths": ((4, 5, 3), 4, (2, 5, 1, 3)),
    "equal lengths, then padding": ((3, 5, 2), 3, (3, 3, 3)),
    "the longest first": ((4, 4, 3), 3, (4, 3, 3, 1)),
    "the longest last": ((3, 3, 2), 3, (1, 2, 3)),
    "one sequence, padded": ((1, 3, 2), 2, (2,)),
    "sixteen units": ((3, 3, 8), 16, (3, 1, 2)),
    "seventeen units": ((5, 4, 9), 17, (2, 1, 4, 4, 3)),
    "nineteen sequences": ((19, 3, 2), 3, (1, 2, 3) * 6 + (2,)),
}


def _pack_steps(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.array([x[row // x.shape[1], row % x.shape[1]] for row in rows])


def _unpack_steps(packed: np.ndarray, rows: np.ndarray, *, n: int, steps: int) -> np.ndarray:
    x = np.zeros((n, steps, *packed.shape[1:]))
    for row, value in zip(rows, packed, strict=True):
        x[row // steps, row % steps] = value
    return x


def _packings() -> Iterator[Case]:
    for name, lengths, steps, features in (
        ("no padding", (2, 2), 2, (2, 2)),  # the first: a NaN in padding is lost, and rightly
        ("several lengths", (2, 5, 1, 3), 5, (3,)),
        ("no features", (1, 3), 4, ()),
    ):
        rows, n = computed_rows(lengths, steps, False), len(lengths)
        packed = normal(sum(lengths), *features)
        yield case("pack_steps", name, normal(n, steps, *features), rows, oracle=_pack_steps, tolerance=EXACT)
        yield case("unpack_steps", name, packed, rows, n=n, steps=steps, oracle=_unpack_steps, tolerance=EXACT)


def recurrences() -> Iterator[Case]:
    yield from _packings()
    for kernel, gates, states, oracle in (("rnn", 1, 1, _rnn), ("lstm", 4, 2, _lstm), ("gru", 3, 1, _gru)):
        for place, (name, ((n, steps, d), units, lengths)) in enumerate(SEQUENCES.items()):
            for reverse in (False, True):
                given = (place % 2 == 0) != reverse  # of each shape one direction from given states, one from zeros
                weights = [normal(d, gates * units, scale=0.5), normal(units, gates * units, scale=0.5)]
                weights += [normal(gates * units)] + ([normal(units)] if kernel == "gru" else [])
                first = [normal(n, units) if given else None] * states
                title = name + ", reverse" * reverse + ", from zeros" * (not given)
                yield case(
                    kernel, title, normal(n, steps, d), *weights, *first, computed_rows(lengths, steps, reverse),
                    lengths=lengths, reverse=reverse, oracle=oracle,
                )  # fmt: skip
