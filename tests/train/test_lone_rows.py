"""A batch of one example and batch norm: an image has many positions, a vector one."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn


def _images(n: int) -> dl.data.Dataset:
    rng = np.random.default_rng(1)
    return dl.data.Dataset(rng.standard_normal((n, 6, 5, 2)).astype(np.float32), np.arange(n) % 3)


def _rows(n: int) -> dl.data.Dataset:
    rng = np.random.default_rng(1)
    return dl.data.Dataset(rng.standard_normal((n, 4)).astype(np.float32), np.arange(n) % 3)


def _series(n: int) -> dl.data.Dataset:
    rng = np.random.default_rng(1)
    return dl.data.Dataset(rng.standard_normal((n, 7, 2)).astype(np.float32), np.arange(n) % 3)


def _dense() -> nn.Module:
    return nn.Sequential(nn.Dense(8), nn.BatchNorm(), nn.Tanh(), nn.Dense(3))


def _convolution(*after: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2D(3, 3), nn.BatchNorm(), nn.ReLU(), nn.Flatten(), *after, nn.Dense(3))


def _trainer(model: nn.Module) -> dl.Trainer:
    return dl.Trainer(model, optimizer=dl.optim.SGD(0.05), device="cpu", seed=2)


MANY: dict[str, tuple[Any, Any]] = {
    "images": (_convolution, _images),
    "images pooled to several pixels": (
        lambda: nn.Sequential(nn.MaxPool2D(3, 2), nn.BatchNorm(), nn.GlobalAvgPool2D(), nn.Dense(3)), _images,
    ),
    "series": (lambda: nn.Sequential(nn.Dense(4), nn.BatchNorm(), nn.Flatten(), nn.Dense(3)), _series),
}  # fmt: skip
ONE: dict[str, tuple[Any, Any]] = {
    "vectors": (_dense, _rows),
    "vectors behind images": (lambda: _convolution(nn.BatchNorm()), _images),
    "images pooled to one pixel": (
        lambda: nn.Sequential(nn.GlobalAvgPool2D(), nn.BatchNorm(), nn.Dense(3)), _images,
    ),
    "vectors in a block": (
        lambda: nn.Sequential(nn.Residual(nn.Sequential(nn.Dense(4), nn.BatchNorm())), nn.Dense(3)), _rows,
    ),
}  # fmt: skip


@pytest.mark.parametrize("size", [1, 4, 8])
@pytest.mark.parametrize("kind", MANY)
def test_one_example_of_many_positions_is_a_batch(kind: str, size: int) -> None:
    model, data = MANY[kind]
    trainer = _trainer(model())
    history = trainer.fit(data(9), epochs=2, batch_size=size)
    assert trainer.step == 2 * -(-9 // size) == 2 * trainer.steps_per_epoch
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("kind", ONE)
def test_a_lone_last_row_is_left_out_of_its_epoch_and_reported_before_training(kind: str) -> None:
    model, data = ONE[kind]
    steps: list[int] = []

    class Watch(dl.train.Callback):
        def on_start(self, trainer: dl.Trainer) -> None:
            assert told, "reported too late"

        def on_step(self, trainer: dl.Trainer) -> None:
            steps.append(trainer.progress.batches)

    trainer = _trainer(model())
    trainer.callbacks.append(Watch())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        history = trainer.fit(data(9), epochs=2, batch_size=4)
    assert len(told) == 1
    assert all(word in str(told[0].message) for word in ("1 of 9 examples", "BatchNorm", "left out", "batch_size"))
    assert steps == [1, 2, 1, 2]
    assert trainer.steps_per_epoch == 2
    assert np.isfinite(history["loss"]).all()


def test_which_row_is_left_out_changes_with_the_epoch() -> None:
    seen: list[np.ndarray] = []

    class Watch(nn.Module):
        def forward(self, x: Any) -> Any:
            if self.training:
                seen.append(x.numpy()[:, 0] if isinstance(x, dl.Tensor) else np.array(x)[:, 0])
            return x

    data = dl.data.Dataset(np.arange(9, dtype=np.float32)[:, None], np.arange(9) % 3)
    model = nn.Sequential(Watch(), nn.Dense(4), nn.BatchNorm(), nn.Dense(3))
    with pytest.warns(UserWarning, match="left out"):
        _trainer(model).fit(data, epochs=6, batch_size=8)
    missing = [set(range(9)) - set(batch.astype(int).tolist()) for batch in seen]
    assert all(len(rows) == 1 for rows in missing)
    assert len(set.union(*missing)) > 1


@pytest.mark.parametrize(("n", "size"), [(1, 1), (1, 64), (9, 1)])
def test_batches_of_one_row_alone_are_refused(n: int, size: int) -> None:
    trainer = _trainer(_dense())
    with pytest.raises(dl.DataError, match=r"BatchNorm.*one position.*at least 2.*batch_size"):
        trainer.fit(_rows(n), epochs=1, batch_size=size)
    assert trainer.step == 0


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (_dense, {"drop_last": True}),
        (lambda: nn.Sequential(nn.Dense(8), nn.Tanh(), nn.Dense(3)), {}),
        (lambda: _frozen(), {}),
    ],
    ids=["drop_last", "no batch norm", "a frozen one"],
)
def test_nothing_is_reported_where_nothing_is_left_out(model: Any, settings: dict[str, Any]) -> None:
    trainer = _trainer(model())
    trainer.fit(_rows(9), epochs=1, batch_size=4, **settings)
    assert trainer.step == 2 + (not settings)


def _frozen() -> nn.Module:
    model = _dense().build((4,))
    model.freeze("1")
    return model


def test_a_lone_last_row_of_a_stream_is_left_out() -> None:
    data = _rows(9)
    trainer = _trainer(_dense())
    with pytest.warns(UserWarning, match=r"last example is left out.*BatchNorm") as told:
        history = trainer.fit(lambda: zip(data.x, data.y, strict=True), epochs=2, batch_size=4)
    assert len(told) == 1
    assert trainer.step == 4
    assert np.isfinite(history["loss"]).all()


def test_a_run_interrupted_before_the_lone_row_ends_the_same(tmp_path: Any) -> None:
    class Stop(dl.train.Callback):
        def on_step(self, trainer: dl.Trainer) -> None:
            if trainer.step == 2:
                trainer.interrupt("SIGTERM")

    def fit(folder: Any, *callbacks: dl.train.Callback) -> dl.Trainer:
        saved = dl.train.Checkpoint(folder)
        trainer = dl.Trainer(_dense(), device="cpu", seed=2, callbacks=[*callbacks, saved])
        with pytest.warns(UserWarning, match="left out"):
            trainer.fit(_rows(9), epochs=2, batch_size=4, resume="auto")
        return trainer

    whole = fit(tmp_path / "whole")
    with pytest.raises(dl.train.Interrupted):
        fit(tmp_path / "cut", Stop())
    again = fit(tmp_path / "cut")
    assert again.history["loss"] == whole.history["loss"]
    assert again.model.vector.theta.tobytes() == whole.model.vector.theta.tobytes()
