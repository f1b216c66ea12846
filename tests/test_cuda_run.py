"""A training run through the CUDA code path, its kernels compiled for the host: the CPU run, one upload a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import standin
from arrays import Backend

import dlcore as dl
from backends.dispatch import _REGISTRY, _Dispatch
from backends.runtime import copies
from backends.runtime.device import CPU, Device

pytestmark = [pytest.mark.level2, pytest.mark.level5]

# Both are float32; the sums of a step are in another order, which is about 1e-7, and Adam's roots amplify it.
TOLERANCE = 1e-5
STEPS, EPOCHS = 10, 5


def _images(n: int) -> dl.data.Dataset:
    rng = np.random.default_rng(7)
    y = rng.integers(0, 4, n)
    x = rng.standard_normal((n, 8, 8, 2)) + np.eye(4)[y][:, :2, None, None].transpose(0, 2, 3, 1)
    return dl.data.Dataset(x.astype(np.float32), y)


def _cnn() -> dl.nn.Module:
    nn = dl.nn
    return nn.Sequential(
        nn.Conv2D(6, 3, padding="same", bias=False), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2D(2), nn.Dropout(0.2),
        nn.Conv2D(8, 3, padding="same"), nn.LeakyReLU(), nn.AvgPool2D(2), nn.Flatten(), nn.Dropout(0.4), nn.Dense(4),
    )  # fmt: skip


class Losses(dl.train.Callback):
    """The loss of every step, kept where it is."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.kept: list[Any] = []
        self.stop_at = stop_at

    def on_step(self, trainer: dl.Trainer) -> None:
        if trainer.progress._ring:
            self.kept.append(trainer.progress._ring[-1][0])
        if trainer.step == self.stop_at:
            trainer.interrupt("SIGTERM")

    def values(self) -> list[float]:
        return [copies.to_host(loss).item() for loss in self.kept]


def _trainer(device: Device, folder: Path, losses: Losses) -> dl.Trainer:
    augment = dl.data.augment
    return dl.Trainer(
        _cnn(), optimizer=dl.optim.Adam(1e-2), metrics=["accuracy"], device=device, seed=1, callbacks=[
            losses, dl.train.EarlyStopping(patience=4), dl.train.Checkpoint(folder),
        ], augment=augment.Compose([augment.Flip(), augment.Shift(0.1), augment.Rotate(10)]),
    )  # fmt: skip


def _run(device: Device, folder: Path) -> tuple[list[float], dl.train.History]:
    """A run that is interrupted in the middle of an epoch and resumed by another trainer."""
    data, first = _images(16 * STEPS + 32), Losses(stop_at=STEPS * 2 + 4)
    train, dev = data[: 16 * STEPS], data[16 * STEPS :]
    with pytest.raises(dl.train.Interrupted):
        _trainer(device, folder, first).fit(train, dev, EPOCHS, 16)
    second = Losses()
    history = _trainer(device, folder, second).fit(train, dev, EPOCHS, 16, resume="auto")
    return first.values() + second.values(), history


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """Which pair each kernel ran by on CuPy's arrays."""
    pairs: set[tuple[str, str]] = set()
    choose = _Dispatch.choose

    def watch(self: _Dispatch, xp: Any, *args: Any) -> Any:
        pair = choose(self, xp, *args)
        if xp.__name__ == "array_api_compat.cupy":
            pairs.add((self.name, "reference" if pair is self else pair.__name__))
        return pair

    monkeypatch.setattr(_Dispatch, "choose", watch)
    return pairs


def test_a_run_through_the_cuda_code_gives_the_losses_of_the_cpu_run(
    host_cuda: Backend, chosen: set[tuple[str, str]], tmp_path: Path
) -> None:
    losses, history = _run(host_cuda.device, tmp_path / "cuda")
    expected, cpu = _run(CPU, tmp_path / "cpu")
    assert len(expected) == STEPS * EPOCHS
    assert np.mean(expected[-STEPS:]) < 0.7 * np.mean(expected[:STEPS]), "the run should learn something"
    np.testing.assert_allclose(losses, expected, rtol=TOLERANCE)
    for name in ("loss", "accuracy", "dev_loss", "dev_accuracy"):
        np.testing.assert_allclose(history[name], cpu[name], rtol=TOLERANCE, err_msg=name)
    assert history.best_epoch == cpu.best_epoch
    fell_back = {kernel for kernel, pair in chosen if pair == "reference" and "cupy" in _REGISTRY[kernel].alternatives}
    assert fell_back <= {"linear", "matmul"}  # whose alternatives are for float16 alone: the reference calls cuBLAS
    ran = {kernel for kernel, pair in chosen if pair != "reference"}
    assert len(ran) >= 8, ran


def _sequences(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (N, 6, 3), the labels, which the first valid step tells, and the lengths."""
    rng = np.random.default_rng(8)
    lengths, x = rng.integers(2, 7, n), rng.standard_normal((n, 6, 3)).astype(np.float32)
    return x, np.argmax(x[:, 0, :], axis=1), lengths


def _recurrent_run(device: Device) -> list[float]:
    """The losses of a classifier of sequences of several lengths."""
    nn = dl.nn
    x, labels, lengths = _sequences(16)
    with device.active():
        model = nn.Sequential(
            nn.RNN(6, return_sequences=True), nn.LSTM(7, return_sequences=True, reverse=True),
            nn.GRU(5, layers=2, bidirectional=True), nn.Dense(3),
        )  # fmt: skip
        model.build((6, 3), seed=1, device=device)
        optimizer, losses = dl.optim.Adam(3e-2).attach(model), []
        valid = dl.functional.Lengths(lengths, 6).to(device)
        x, labels = (copies.to_device(array, device) for array in (x, labels))
        for _ in range(20):
            with copies.guard("forbid"):
                loss = dl.losses.cross_entropy(model(x, lengths=valid), labels)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            losses.append(loss.data)
        return [copies.to_host(loss).item() for loss in losses]


def test_recurrent_layers_learn_through_the_cuda_code_as_on_the_cpu(
    host_cuda: Backend, chosen: set[tuple[str, str]]
) -> None:
    losses, expected = _recurrent_run(host_cuda.device), _recurrent_run(CPU)
    assert expected[-1] < 0.7 * expected[0], "the run should learn something"
    np.testing.assert_allclose(losses, expected, rtol=TOLERANCE)
    assert {("rnn", "RNNByProducts"), ("lstm", "LSTMByProducts"), ("gru", "GRUByProducts")} <= chosen
    assert not {kernel for kernel, pair in chosen if kernel in ("rnn", "lstm", "gru") and pair == "reference"}


def test_recurrent_layers_learn_in_mixed_precision(host_cuda: Backend, chosen: set[tuple[str, str]]) -> None:
    def run(device: Device, precision: str) -> list[float]:
        nn = dl.nn
        model = nn.Sequential(
            nn.RNN(6, return_sequences=True), nn.LSTM(7, return_sequences=True), nn.GRU(5, reverse=True), nn.Dense(3)
        )
        x, labels, _ = _sequences(32)
        trainer = dl.Trainer(model, optimizer=dl.optim.Adam(3e-2), device=device, seed=1, precision=precision)
        return trainer.fit(dl.data.Dataset(x, labels), epochs=8, batch_size=16)["loss"]

    expected, here = run(CPU, "float32"), run(CPU, "mixed")
    chosen.clear()
    losses = run(host_cuda.device, "mixed")
    assert expected[-1] < 0.8 * expected[0], "the run should learn something"
    np.testing.assert_allclose(here, expected, rtol=0.02)
    np.testing.assert_allclose(losses, expected, rtol=0.02)
    cells = {pair for kernel, pair in chosen if kernel in ("rnn", "lstm", "gru")}
    assert cells == {"RNNByProducts", "LSTMByProducts", "GRUByProducts"}


class Watched(dl.train.Callback):
    """What the device was made to do between two steps, the upload of the next batch included."""

    def __init__(self) -> None:
        self.between: list[standin.Counts] = []

    def on_step(self, trainer: dl.Trainer) -> None:
        self.between.append(standin.counts())
        standin.reset()


def test_a_step_uploads_one_batch_and_nothing_in_it_waits(host_cuda: Backend) -> None:
    watched, data = Watched(), _images(16 * STEPS)
    trainer = dl.Trainer(_cnn(), optimizer=dl.optim.Adam(1e-2), device=host_cuda.device, seed=1, callbacks=[watched])
    trainer.fit(data, epochs=1, batch_size=16)  # builds the model
    watched.between.clear()
    before = copies.counts()
    trainer.fit(data, epochs=2, batch_size=16)
    inner = watched.between[1 : STEPS - 1] + watched.between[STEPS + 1 : -1]  # the last of an epoch has no next one
    assert {(step.h2d, step.d2h, step.sync) for step in inner} == {(1, 0, 0)}
    counted = copies.counts().since(before)
    assert counted.downloads == 2  # the losses of an epoch, at once
    assert counted.uploads == 2 * STEPS + 2  # and x and y of the two rows that fit tries first


def test_early_stopping_ends_the_run_in_the_epoch_of_the_cpu_run(host_cuda: Backend) -> None:
    rng = np.random.default_rng(3)
    guesses = dl.data.Dataset(_images(40).x, rng.integers(0, 4, 40))  # what is learnt makes these no better
    ended = []
    for device in (host_cuda.device, CPU):
        stop = dl.train.EarlyStopping(patience=2)
        trainer = dl.Trainer(_cnn(), optimizer=dl.optim.Adam(1e-2), device=device, seed=1, callbacks=[stop])
        history = trainer.fit(_images(60), guesses, epochs=12, batch_size=20)
        ended.append((history.stopped_epoch, history.best_epoch, len(history)))
    assert ended[0] == ended[1]
    assert ended[0][0] is not None
    assert ended[0][2] < 12
