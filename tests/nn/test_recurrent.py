"""Recurrent layers and losses of sequences: what padding, states, layers and directions do."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from arrays import Backend
from hypothesis import given
from hypothesis import strategies as st

from backends.runtime import copies
from dlcore import functional as F
from dlcore import losses, nn
from dlcore.errors import ConfigError, ShapeError
from dlcore.testing import gradient_check_function
from dlcore.train.checkpoint.model_json import save_model
from dlcore.train.runs.load import load_model

CELLS = {"rnn": (F.rnn, 1, 1), "lstm": (F.lstm, 4, 2), "gru": (F.gru, 3, 1)}
LAYERS = [nn.RNN, nn.LSTM, nn.GRU]


def arguments(kind: str, n: int, steps: int, d: int, units: int, seed: int = 0) -> list[np.ndarray]:
    """x, u, w, b (bn) and the states, in float64."""
    _, gates, states = CELLS[kind]
    rng = np.random.default_rng(seed)
    shapes = [(n, steps, d), (d, gates * units), (units, gates * units), (gates * units,)]
    shapes += [(units,)] * (kind == "gru") + [(n, units)] * states
    return [0.5 * rng.standard_normal(shape) for shape in shapes]


def padded(x: np.ndarray, more: int) -> np.ndarray:
    """More steps at the end, of NaN: whatever computes with them shows it."""
    return np.concatenate([x, np.full((len(x), more, *x.shape[2:]), np.nan, x.dtype)], axis=1)


def behind(x: np.ndarray, lengths: list[int]) -> np.ndarray:
    """NaN behind each sequence's end."""
    valid = np.arange(x.shape[1]) < np.array(lengths)[:, None]
    return np.where(valid[..., None], x, np.nan).astype(x.dtype)


USES = [
    (kind, used)
    for kind, (_, _, states) in CELLS.items()
    for used in itertools.product((False, True), repeat=1 + states)
    if any(used)
]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("kind", "used"), USES)
def test_gradients_are_right_for_every_output_that_is_used(kind: str, used: tuple[bool, ...], reverse: bool):
    function = CELLS[kind][0]

    def of_used(*inputs: Any) -> Any:
        outputs = function(*inputs, lengths=[2, 4, 1], reverse=reverse)
        return sum(((y * y).sum() for y, wanted in zip(outputs, used, strict=True) if wanted), start=0.0)

    assert gradient_check_function(of_used, *arguments(kind, 3, 4, 2, 3))


@given(data=st.data())
@pytest.mark.parametrize("kind", CELLS)
def test_padding_changes_no_bit(kind: str, data: st.DataObject):
    n, d, units = (data.draw(st.integers(1, most)) for most in (6, 9, 20))
    lengths = data.draw(st.lists(st.integers(1, 7), min_size=n, max_size=n))
    reverse, more = data.draw(st.booleans()), data.draw(st.integers(0, 5))
    function, _, _ = CELLS[kind]
    host = [a.astype(np.float32) for a in arguments(kind, n, max(lengths), d, units, seed=n)]
    results = []
    for x in (host[0], padded(behind(host[0], lengths), more)):
        inputs = [F_tensor(a) for a in (x, *host[1:])]
        outputs = function(*inputs, lengths=lengths, reverse=reverse)
        sum(((y * y).sum() for y in outputs[1:]), start=0.0).backward()
        dx = inputs[0].grad
        results.append([outputs[0].numpy()[:, : max(lengths)], *(y.numpy() for y in outputs[1:])])
        results[-1] += [dx[:, : max(lengths)], *(p.grad for p in inputs[1:])]
        assert not dx[:, max(lengths) :].any()
    for one, other in zip(*results, strict=True):
        assert one.tobytes() == other.tobytes()


def F_tensor(a: np.ndarray) -> Any:  # noqa: N802
    from dlcore.tensor import Tensor

    return Tensor(a, requires_grad=True)


@pytest.mark.parametrize("layer", LAYERS)
def test_padding_changes_no_bit_of_a_models_loss_or_gradient(layer: Any):
    lengths, rng = [3, 5, 1, 4], np.random.default_rng(2)
    ids, labels = rng.integers(0, 7, (4, 5)), rng.integers(0, 6, (4, 5))
    gradients = []
    for more in (0, 3):
        model = nn.Sequential(
            nn.Embedding(7, 6), layer(5, layers=2, dropout=0.3, return_sequences=True, bidirectional=True), nn.Dense(6)
        ).build((None,), seed=1, input_dtype="int64")
        x, y = (np.concatenate([a, np.full((4, more), -1)], axis=1) for a in (ids, labels))
        loss = losses.cross_entropy(model(x, lengths=lengths), y, lengths=lengths)
        loss.backward()
        gradients.append(loss.numpy().tobytes() + model.vector.grad.tobytes())
    assert gradients[0] == gradients[1]


@pytest.mark.parametrize("layer", LAYERS)
def test_two_pieces_with_the_state_carried_over_are_one_sequence(layer: Any, arrays: Backend):
    model = layer(4, layers=2, return_sequences=True, return_state=True).build((None, 3), device=arrays.device)
    x = arrays.place(np.random.default_rng(0).standard_normal((2, 6, 3)).astype(np.float32))
    whole, end = model(x)
    first, state = model(x[:, :4, :])
    second, last = model(x[:, 4:, :], state=nn.detach(state))
    pieces = np.concatenate([arrays.host(first.data), arrays.host(second.data)], axis=1)
    np.testing.assert_allclose(pieces, arrays.host(whole.data), rtol=0, atol=1e-6)  # a few float32 units
    flat = lambda s: [t for entry in s for t in (entry if isinstance(entry, tuple) else (entry,))]  # noqa: E731
    for one, other in zip(flat(end), flat(last), strict=True):
        np.testing.assert_allclose(arrays.host(one.data), arrays.host(other.data), rtol=0, atol=1e-6)


@pytest.mark.parametrize("layer", LAYERS)
def test_many_to_one_is_the_last_valid_state(layer: Any):
    x = np.random.default_rng(0).standard_normal((3, 5, 2)).astype(np.float32)
    both = layer(4, bidirectional=True, return_sequences=True).build((None, 2), seed=3)
    one = layer(4, bidirectional=True).build((None, 2), seed=3)
    ys, last, lengths = both(x, lengths=[2, 5, 1]).numpy(), one(x, lengths=[2, 5, 1]).numpy(), [2, 5, 1]
    for n, length in enumerate(lengths):
        np.testing.assert_array_equal(last[n], np.concatenate([ys[n, length - 1, :4], ys[n, 0, 4:]]))


def test_the_shape_of_any_number_of_steps_is_shown():
    model = nn.Sequential(nn.LSTM(4, return_sequences=True), nn.Dense(3)).build((None, 2))
    assert model.output_shape == (None, 3)
    assert "(N, T, 4)" in model.summary()


def test_the_start_is_orthogonal_for_each_gate_and_remembers():
    layer = nn.LSTM(6).build((None, 3))
    for gate in np.split(layer.w.numpy(), 4, axis=1):
        np.testing.assert_allclose(gate.T @ gate, np.eye(6), atol=1e-6)
    np.testing.assert_array_equal(layer.b.numpy(), np.repeat([0.0, 1.0, 0.0, 0.0], 6))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_model_is_rebuilt_from_its_file_and_its_weights(layer: Any, tmp_path: Any):
    model = nn.Sequential(layer(4, layers=2, bidirectional=True), nn.Dense(2)).build((None, 3), seed=1)
    save_model(tmp_path / "model.json", model)
    again, _ = load_model(tmp_path)
    again.load_state_dict(model.state_dict())
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    assert again(x).numpy().tobytes() == model(x).numpy().tobytes()


def test_the_loss_of_sequences_is_the_sum_of_their_steps_over_their_number():
    rng = np.random.default_rng(4)
    logits, labels, lengths = rng.standard_normal((3, 4, 5)), rng.integers(0, 5, (3, 4)), [4, 1, 2]
    each = [
        sum(np.log(np.exp(logits[n, t]).sum()) - logits[n, t, labels[n, t]] for t in range(lengths[n]))
        for n in range(3)
    ]
    loss = lambda **how: float(losses.cross_entropy(logits, labels, lengths=lengths, **how))  # noqa: E731
    assert loss() == pytest.approx(sum(each) / 3, rel=1e-12)
    weights = [1.0, 3.0, 0.5]
    assert loss(sample_weight=weights) == pytest.approx(np.dot(weights, each) / 4.5, rel=1e-12)


def test_the_mean_squared_error_of_series_is_over_valid_steps():
    a, y, lengths = np.arange(8.0).reshape(2, 4, 1), np.zeros((2, 4, 1)), [1, 3]
    assert float(losses.mse(a, y, lengths=lengths)) == pytest.approx((0 + 16 + 25 + 36) / 4)


def test_a_step_with_lengths_uploads_nothing_once_they_are_on_the_device(arrays: Backend):
    model = nn.Sequential(nn.GRU(4, bidirectional=True, return_sequences=True), nn.Dense(3))
    model.build((None, 2), device=arrays.device)
    x = arrays.place(np.random.default_rng(0).standard_normal((2, 5, 2)).astype(np.float32))
    y, lengths = arrays.place(np.zeros((2, 5), dtype=np.int64)), F.Lengths([2, 5], 5).to(arrays.device)
    with copies.guard("forbid"):
        losses.cross_entropy(model(x, lengths=lengths), y, lengths=lengths).backward()
    assert np.abs(arrays.host(model.vector.grad)).max() > 0


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ([0, 2], "lengths\\[0\\] is 0"),
        ([1, 5], "lengths\\[1\\] is 5"),
        ([1], "1 lengths came"),
        ([1.0, 2.0], "float64"),
        ([[1], [2]], "shape \\(2, 1\\)"),
        ("ab", "'ab'"),
        (3, "lengths are 3"),
        ([[1], [1, 2]], "one integer"),
    ],
)
def test_lengths_that_do_not_fit_are_said_before_any_launch(lengths: Any, words: str, launches: list[str]):
    inputs = arguments("rnn", 2, 4, 3, 2)
    with pytest.raises(ShapeError, match=words):
        F.rnn(*inputs, lengths=lengths)
    assert launches == []


def test_settings_that_do_not_go_together_are_said():
    with pytest.raises(ConfigError, match="leave reverse out"):
        nn.LSTM(3, reverse=True, bidirectional=True)
    with pytest.raises(ConfigError, match="there is one"):
        nn.GRU(3, dropout=0.5)
    with pytest.raises(ShapeError, match="tuple of 2"):
        nn.RNN(3, layers=2)(np.zeros((1, 2, 2), np.float32), state=(None,))
