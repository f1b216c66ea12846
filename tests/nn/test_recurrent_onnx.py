"""RNN, LSTM and GRU against the ONNX reference evaluator.

That evaluator ignores sequence_lens, so each sequence is given to it alone, cut to its length; ours sees all of them in
one padded batch. ONNX has the gates of an LSTM in the order i, o, f, c and of a GRU z, r, h, as rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from dlcore import functional as F

ORDER = {"RNN": [0], "LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2]}
OURS: dict[str, Any] = {"RNN": F.rnn, "LSTM": F.lstm, "GRU": F.gru}


def onnx_cell(kind: str, units: int, reverse: bool) -> ReferenceEvaluator:
    names = ["X", "W", "R", "B", "", "h0"] + ["c0"] * (kind == "LSTM")
    outputs = ["Y", "Y_h"] + ["Y_c"] * (kind == "LSTM")
    how: dict[str, Any] = {"hidden_size": units, "direction": "reverse" if reverse else "forward"}
    if kind == "GRU":
        how["linear_before_reset"] = 1
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, None)  # noqa: E731
    graph = helper.make_graph(
        [helper.make_node(kind, names, outputs, **how)],
        "cell",
        [value(name) for name in names if name],
        [value(name) for name in outputs],
    )
    return ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)]))


@pytest.mark.parametrize("kind", ORDER)
@settings(max_examples=40)
@given(data=st.data())
def test_it_equals_the_onnx_reference(kind: str, data: st.DataObject):
    n, d, units = (data.draw(st.integers(1, most)) for most in (5, 6, 9))
    lengths = data.draw(st.lists(st.integers(1, 8), min_size=n, max_size=n))
    steps, reverse = max(lengths) + data.draw(st.integers(0, 2)), data.draw(st.booleans())
    rng, gates = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))), len(ORDER[kind])
    draw = lambda *shape: (0.7 * rng.standard_normal(shape)).astype(np.float32)  # noqa: E731
    x, u, w, b = draw(n, steps, d), draw(d, gates * units), draw(units, gates * units), draw(gates * units)
    bn, states = draw(units), [draw(n, units) for _ in range(1 + (kind == "LSTM"))]
    more = [bn] if kind == "GRU" else []
    y, *last = (t.numpy() for t in OURS[kind](x, u, w, b, *more, *states, lengths=lengths, reverse=reverse))

    rows = lambda v: np.concatenate([np.split(v, gates, axis=-1)[g] for g in ORDER[kind]], axis=-1).T[None]  # noqa: E731
    of_state = np.zeros_like(b)
    if kind == "GRU":
        of_state[2 * units :] = bn
    biases = np.concatenate([rows(b), rows(of_state)], axis=1)
    cell = onnx_cell(kind, units, reverse)
    for i, length in enumerate(lengths):
        feed = {"X": x[i, :length, None], "W": rows(u), "R": rows(w), "B": biases}
        feed |= {name: s[None, i : i + 1] for name, s in zip(("h0", "c0"), states, strict=False)}
        expected_y, *expected = cell.run(None, feed)
        np.testing.assert_allclose(y[i, :length], expected_y[:, 0, 0], rtol=1e-5, atol=1e-5)
        assert not y[i, length:].any()
        for ours, theirs in zip(last, expected, strict=True):
            np.testing.assert_allclose(ours[i], theirs[0, 0], rtol=1e-5, atol=1e-5)
