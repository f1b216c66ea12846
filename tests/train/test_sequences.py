"""Sequences in the trainer: lengths reach model, loss and metrics; a state is carried; a resumed run is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrays import KINDS, Backend, backend
from job import Interrupt

import dlcore as dl
from backends.runtime import copies
from dlcore import nn
from dlcore.data import Dataset, Text, Vocabulary
from dlcore.errors import ConfigError, DataError
from dlcore.train import Interrupted
from dlcore.train.checkpoint import snapshot
from dlcore.train.engine.step import one_step

CLASSES, STEPS = 3, 9


def sequences(n: int = 44, seed: int = 0, per_step: bool = False, steps: int = STEPS, padding: float = 0.0) -> Dataset:
    """Noise around a mean by class; behind each end x is ``padding``, and labels are none."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, STEPS + 1, n)
    y = rng.integers(0, CLASSES, (n, STEPS) if per_step else n)
    noise = rng.standard_normal((n, STEPS, 4))
    x = np.full((n, steps, 4), padding, np.float32)
    x[:, :STEPS] = noise + (y[..., None] if per_step else y[:, None, None])
    behind = np.arange(steps) >= lengths[:, None]
    x[behind] = padding
    if per_step:
        y = np.concatenate([y, np.zeros((n, steps - STEPS), int)], axis=1)
        y[behind] = -7
    return Dataset(x, y, lengths)


def model(per_step: bool = False) -> nn.Module:
    return nn.Sequential(nn.GRU(6, return_sequences=per_step, bidirectional=True), nn.Dropout(0.2), nn.Dense(CLASSES))


def text(n: int = 700) -> Text:
    rng = np.random.default_rng(1)
    ids = (np.arange(n) % 5 + (rng.random(n) < 0.1)) % 5
    return Text(ids, Vocabulary.of("abcde"), window=6)


def trainer_for(data: Any, device: Any = "cpu", **settings: Any) -> dl.Trainer:
    if isinstance(data, Text):
        net, metrics = nn.CharacterModel(5, hidden=7, dropout=0.2, embedding=3), ["perplexity", "accuracy"]
    else:
        net = model(data.y.ndim > 1)
        metrics = ["accuracy", "perplexity"] if data.y.ndim > 1 else ["accuracy"]
    settings = {"optimizer": dl.optim.Adam(0.02), "clip": dl.optim.clip_by_norm(0.5), "seed": 3, **settings}
    return dl.Trainer(net, metrics=metrics, device=device, **settings)


SAMPLES = {"many to one": lambda: sequences(), "many to many": lambda: sequences(per_step=True), "text": text}


def softmax_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    logits = logits.astype(np.float64)
    return np.log(np.exp(logits).sum(axis=-1)) - np.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]


# What is measured ----------------------------------------------------------------------------------------------------


def test_losses_and_metrics_count_valid_steps_alone() -> None:
    data = sequences(per_step=True)
    trainer = trainer_for(data)
    trainer.fit(data, epochs=1, batch_size=8)
    found, logits = trainer.evaluate(data, batch_size=10), trainer.predict(data, batch_size=10)
    valid = np.arange(STEPS) < data.lengths[:, None]  # type: ignore[index]
    losses, y = softmax_losses(logits[valid], data.y[valid]), data.y[valid]  # type: ignore[index]
    assert found["loss"] == pytest.approx(losses.sum() / len(data), rel=1e-6)  # notes 5: the sum over the steps
    assert found["perplexity"] == pytest.approx(np.exp(losses.mean()), rel=1e-6)
    assert found["accuracy"] == pytest.approx(np.mean(logits[valid].argmax(axis=1) == y))


@pytest.mark.parametrize("per_step", [False, True])
def test_padding_changes_no_bit_of_a_run(per_step: bool) -> None:
    runs = []
    for options in ({}, {"steps": STEPS + 4, "padding": 50.0}):
        data = sequences(per_step=per_step, **options)
        trainer = trainer_for(data)
        history = trainer.fit(data, data, epochs=2, batch_size=8)
        figures = [{k: v for k, v in r.items() if "second" not in k} for r in history]
        runs.append((figures, trainer.model.built().theta.tobytes()))
    assert runs[0] == runs[1]


def test_a_squared_error_is_the_mean_over_valid_steps() -> None:
    data = sequences(per_step=True)
    data = Dataset(data.x, data.x[..., :1] * 2, data.lengths)
    net = nn.Sequential(nn.RNN(5, return_sequences=True), nn.Dense(1))
    trainer = dl.Trainer(net, loss="mse", metrics=["mse"], device="cpu")
    found, outputs = trainer.evaluate(data, batch_size=7), trainer.predict(data)
    valid = np.arange(STEPS) < data.lengths[:, None]  # type: ignore[index]
    expected = np.mean((outputs[valid].astype(np.float64) - data.y[valid]) ** 2)  # type: ignore[index]
    assert found == pytest.approx({"loss": expected, "mse": expected}, rel=1e-5)


def test_a_model_that_takes_no_lengths_sees_the_padded_steps() -> None:
    data = sequences()
    trainer = dl.Trainer(nn.Sequential(nn.Flatten(), nn.Dense(CLASSES)), metrics=["accuracy"], device="cpu")
    trainer.fit(data, epochs=1, batch_size=8)
    assert trainer.predict(data).shape == (44, CLASSES)


def test_the_state_of_a_text_is_carried_over_in_evaluation() -> None:
    source = text()
    trainer = trainer_for(source)
    trainer.fit(source, epochs=1, batch_size=4)
    size = source.most_streams
    x, y = (np.concatenate(parts, axis=1) for parts in zip(*source.streams(size), strict=True))
    whole, _ = trainer.model.eval()(x)  # in one go, without cutting it into windows
    losses = softmax_losses(whole.numpy(), y)
    assert trainer.evaluate(source)["perplexity"] == pytest.approx(np.exp(losses.mean()), rel=1e-5)
    reset = np.concatenate([trainer.model(x[:, i : i + 6])[0].numpy() for i in range(0, x.shape[1], 6)], axis=1)
    assert abs(softmax_losses(reset, y).mean() - losses.mean()) > 1e-3, "the sample should need its state"


def test_a_training_step_starts_from_the_state_of_the_one_before_and_cuts_the_gradient() -> None:
    source = text()
    trainer = trainer_for(source, optimizer=dl.optim.SGD(0.0), clip=dl.optim.clip_by_norm(1e9))
    trainer.model = nn.CharacterModel(5, hidden=7, embedding=3)
    history = trainer.fit(source, epochs=1, batch_size=4)
    again = nn.CharacterModel(5, hidden=7, embedding=3).build((6,), seed=3, input_dtype="int64")
    state, losses, norms = None, [], []
    for x, y in source.streams(4, seed=3, epoch=0):
        logits, after = again(x, state=state)
        loss = dl.losses.cross_entropy(logits, y)
        loss.backward()
        state = nn.detach(after)
        losses.append(loss.item())
        norms.append(np.sqrt(np.sum(again.built().grad.astype(np.float64) ** 2)))
        again.built().zero_grad()
    assert history["loss"][0] == pytest.approx(np.mean(losses), rel=1e-6)
    assert history["grad_norm"][0] == pytest.approx(np.mean(norms), rel=1e-5)
    assert history["grad_norm_max"][0] == pytest.approx(np.max(norms), rel=1e-5)


def test_no_norm_is_recorded_where_none_is_clipped() -> None:
    data = sequences()
    for clip in (None, dl.optim.clip_by_value(1.0)):
        assert "grad_norm" not in trainer_for(data, clip=clip).fit(data, epochs=1, batch_size=8).records[0]


# One run -------------------------------------------------------------------------------------------------------------


def _run(kind: Backend, sample: str) -> list[dict[str, float]]:
    data = SAMPLES[sample]()
    history = trainer_for(data, kind.device).fit(data, data, epochs=2, batch_size=8)
    return [{k: v for k, v in r.items() if "second" not in k} for r in history]


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_same_run_on_every_kind_of_array(sample: str) -> None:
    found = {}
    for name in KINDS:
        with backend(name) as kind:
            found[name] = _run(kind, sample)
    for name, records in found.items():
        for record, expected in zip(records, found["numpy"], strict=True):
            assert record == pytest.approx(expected, rel=2e-4), name  # float32, 12 to 58 steps of Adam


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_step_copies_nothing_and_waits_for_nothing(sample: str) -> None:
    data = SAMPLES[sample]()
    for name in KINDS:
        with backend(name) as kind:
            trainer = trainer_for(data, kind.device)
            trainer.fit(data, epochs=1, batch_size=8)
            trainer.model.train()
            with trainer.place(), trainer._fed(dl.data.batches(data, 8)) as fed:
                for batch, _ in zip(fed, range(2), strict=False):
                    with copies.guard("forbid"):
                        one_step(trainer, batch, False)
            assert trainer.progress.waiting == 2


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_run_resumes_at_every_step_to_the_same_bits(sample: str, tmp_path: Path) -> None:
    data = SAMPLES[sample]()

    def fit(folder: Path, stop: int = 0) -> dl.Trainer:
        trainer = trainer_for(data, callbacks=[dl.train.Checkpoint(folder), Interrupt(stop)])
        trainer.fit(data, data, epochs=2, batch_size=8, resume="auto")
        return trainer

    def ended(folder: Path, trainer: dl.Trainer) -> tuple[Any, ...]:
        last = snapshot.newest(folder)
        assert last is not None
        state = {k: np.asarray(v).tobytes() for k, v in last.plain["optimizer"].items()}
        figures = [{k: v for k, v in r.items() if "second" not in k} for r in trainer.history]
        return trainer.model.built().theta.tobytes(), state, figures

    whole = fit(tmp_path / "whole")
    expected = ended(tmp_path / "whole", whole)
    for stop in (1, whole.step // 2 - 1, whole.step // 2 + 2, whole.step - 1):
        folder = tmp_path / str(stop)
        with pytest.raises(Interrupted):
            fit(folder, stop)
        assert ended(folder, fit(folder)) == expected, stop


def test_a_run_in_mixed_precision_carries_the_state_too() -> None:
    source = text()
    runs = [trainer_for(source, precision=p).fit(source, epochs=3, batch_size=4)["loss"] for p in ("float32", "mixed")]
    np.testing.assert_allclose(runs[1], runs[0], rtol=0.03)  # float16 has a unit of 1e-3
    assert runs[1][-1] < runs[1][0]


# What is wrong is said -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ([0, 3], r"lengths\[0\] is 0, expected 1 to 4"),
        ([3, 5], r"lengths\[1\] is 5, expected 1 to 4"),
        ([3], r"lengths are int64 of shape \(1,\), expected integers of shape \(2,\)"),
        ([3.0, 2.0], "lengths are float64"),
        (["a", "b"], "lengths has dtype"),
    ],
)
def test_lengths_that_cannot_be_are_one_clear_line(lengths: list[Any], words: str) -> None:
    with pytest.raises(DataError, match=words) as raised:
        Dataset(np.zeros((2, 4, 1)), np.zeros(2, int), np.array(lengths))
    assert "\n" not in str(raised.value)


def test_a_loss_that_takes_no_lengths_does_not_count_padding_in_silence() -> None:
    data = sequences(per_step=True)
    data = Dataset(data.x, np.ones((44, STEPS, 1), np.float32), data.lengths)
    net = nn.Sequential(nn.RNN(5, return_sequences=True), nn.Dense(1))
    with pytest.raises(ConfigError, match="binary_cross_entropy takes no lengths"):
        dl.Trainer(net, loss="binary_cross_entropy", device="cpu").fit(data, epochs=1)


def test_a_wrong_label_of_a_valid_step_is_found_and_one_behind_the_end_is_not() -> None:
    data = sequences(per_step=True)
    y = data.y.copy()  # type: ignore[union-attr]
    y[5, 0] = 9
    with pytest.raises(DataError, match="label 9 of example 5"):
        trainer_for(data).fit(Dataset(data.x, y, data.lengths), epochs=1, batch_size=8)
