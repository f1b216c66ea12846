"""The trainer: what it fits, measures, refuses and restores."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from arrays import Backend
from threadpoolctl import threadpool_info, threadpool_limits

import dlcore as dl


def _blobs(n: int = 60, classes: int = 3, seed: int = 0) -> dl.data.Dataset:
    """Well separated classes in the plane."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    centres = np.array([[np.cos(a), np.sin(a)] for a in 2 * np.pi * np.arange(classes) / classes])
    return dl.data.Dataset((3 * centres[y] + rng.standard_normal((n, 2))).astype(np.float32), y)


def _trainer(model: dl.nn.Module | None = None, **settings: object) -> dl.Trainer:
    settings = {"optimizer": dl.optim.Adam(0.05), "metrics": ["accuracy"], "device": "cpu", "seed": 0, **settings}
    return dl.Trainer(model or dl.nn.Sequential(dl.nn.Dense(8), dl.nn.ReLU(), dl.nn.Dense(3)), **settings)


def test_it_learns_on_every_kind_of_array(arrays: Backend) -> None:
    trainer = _trainer(device=arrays.device)
    history = trainer.fit(_blobs(), _blobs(seed=1), epochs=10, batch_size=16)
    assert history["dev_accuracy"][-1] > 0.9
    assert trainer.model.device == arrays.device


def test_the_history_holds_one_record_an_epoch() -> None:
    history = _trainer(penalty=dl.optim.L2(0.1)).fit(_blobs(), _blobs(seed=1), epochs=2)
    assert list(history.records[0]) == [
        "epoch", "loss", "penalty", "accuracy", "dev_loss", "dev_accuracy", "lr", "seconds", "examples_per_second",
    ]  # fmt: skip
    assert history["epoch"] == [0, 1]
    with pytest.raises(KeyError, match="dev_accuracy"):
        history["f1"]


def test_the_reported_loss_is_the_mean_over_examples_with_a_ragged_last_batch() -> None:
    data = _blobs(10)
    trainer = _trainer(optimizer=dl.optim.SGD(0.0))
    history = trainer.fit(data, epochs=1, batch_size=4)  # 4, 4 and 2 examples, weights unchanged
    logits = trainer.predict(data.x).astype(np.float64)
    expected = np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(10), data.y])
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert trainer.evaluate(data)["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_penalty_is_part_of_the_loss_and_printed_apart() -> None:
    data = _blobs(12)
    plain = _trainer(optimizer=dl.optim.SGD(0.0)).fit(data, epochs=1, batch_size=4)
    trainer = _trainer(optimizer=dl.optim.SGD(0.0), penalty=dl.optim.L2(3.0))
    record = trainer.fit(data, epochs=1, batch_size=4).records[0]
    weights = [p.data for path, p in trainer.model.named_parameters() if path.endswith("w")]
    expected = 3.0 / (2 * 12) * sum(float((w.astype(np.float64) ** 2).sum()) for w in weights)
    assert record["penalty"] == pytest.approx(expected, rel=1e-5)
    assert record["loss"] == pytest.approx(plain["loss"][0] + expected, rel=1e-5)


def test_fit_goes_on_where_it_stopped() -> None:
    once, twice = _trainer(), _trainer()
    once.fit(_blobs(), epochs=4)
    twice.fit(_blobs(), epochs=2)
    twice.fit(_blobs(), epochs=2)
    assert twice.history["epoch"] == [0, 1, 2, 3]
    assert np.array_equal(once.model.vector.theta, twice.model.vector.theta)


def test_evaluation_and_prediction_leave_the_model_as_it_was() -> None:
    nn = dl.nn
    trainer = _trainer(nn.Sequential(nn.Dense(8), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.5), nn.Dense(3)))
    trainer.fit(_blobs(), epochs=1)
    state = trainer.model.state_dict()
    trainer.model.train()
    first, second = trainer.predict(_blobs().x), trainer.predict(_blobs().x, batch_size=7)
    trainer.evaluate(_blobs())
    np.testing.assert_allclose(first, second, rtol=1e-5)  # products of other shapes round differently
    assert trainer.model.training
    assert all(np.array_equal(state[name], value) for name, value in trainer.model.state_dict().items())


def test_the_schedule_sets_the_rate_of_each_step_and_set_lr_its_base() -> None:
    trainer = _trainer(schedule=dl.optim.InverseTime(1.0))
    history = trainer.fit(_blobs(), epochs=2)
    assert history["lr"] == [0.05, 0.025]
    trainer.set_lr(0.3)
    trainer.fit(_blobs(), epochs=1)
    assert history["lr"][-1] == pytest.approx(0.1)


def test_callbacks_are_told_in_order() -> None:
    told: list[str] = []

    class Tell(dl.train.Callback):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_start(self, trainer: dl.Trainer) -> None:
            told.append(f"{self.name} start")

        def on_epoch_start(self, trainer: dl.Trainer) -> None:
            told.append(f"{self.name} epoch {trainer.epoch} starts")

        def on_step(self, trainer: dl.Trainer) -> None:
            told.append(f"{self.name} step {trainer.step}")

        def on_epoch(self, trainer: dl.Trainer, record: dict) -> None:
            told.append(f"{self.name} epoch {record['epoch']}")

        def on_end(self, trainer: dl.Trainer) -> None:
            told.append(f"{self.name} end")

    _trainer(callbacks=[Tell("a"), Tell("b")]).fit(_blobs(8), epochs=1, batch_size=4)
    assert told == [
        "a start", "b start", "a epoch 0 starts", "b epoch 0 starts", "a step 1", "b step 1", "a step 2", "b step 2",
        "a epoch 0", "b epoch 0", "a end", "b end",
    ]  # fmt: skip


def test_early_stopping_stops_after_patience_and_restores_the_best_weights() -> None:
    rng = np.random.default_rng(0)
    noise = dl.data.Dataset(rng.standard_normal((60, 2)).astype(np.float32), rng.integers(0, 3, 60))
    stopping = dl.train.EarlyStopping(patience=2)
    trainer = _trainer(callbacks=[stopping])
    history = trainer.fit(noise, _blobs(seed=1), epochs=50)
    losses = history["dev_loss"]
    assert len(history) < 50
    assert history.stopped_epoch == len(history) - 1
    assert history.best_epoch == int(np.argmin(losses)) == len(history) - 3
    assert trainer.evaluate(_blobs(seed=1))["loss"] == pytest.approx(min(losses), rel=1e-6)


def test_early_stopping_restores_the_best_weights_when_it_did_not_stop() -> None:
    trainer = _trainer(optimizer=dl.optim.SGD(1.0), callbacks=[dl.train.EarlyStopping(patience=99)])
    # A rate set far too high in the last epoch spoils the weights.
    trainer.schedule = dl.optim.Piecewise({0: 0.1, 3: 30.0})
    history = trainer.fit(_blobs(), _blobs(seed=1), epochs=4)
    assert history["dev_loss"][-1] > min(history["dev_loss"])
    assert history.stopped_epoch is None
    assert trainer.evaluate(_blobs(seed=1))["loss"] == pytest.approx(min(history["dev_loss"]), rel=1e-6)


def test_early_stopping_on_an_accuracy_takes_the_largest() -> None:
    trainer = _trainer(callbacks=[dl.train.EarlyStopping(patience=2, monitor="dev_accuracy")])
    history = trainer.fit(_blobs(), _blobs(seed=1), epochs=20)
    assert trainer.evaluate(_blobs(seed=1))["accuracy"] == max(history["dev_accuracy"])


def test_early_stopping_without_a_dev_set_says_what_is_recorded() -> None:
    trainer = _trainer(callbacks=[dl.train.EarlyStopping()])
    with pytest.raises(dl.ConfigError, match=r"dev_loss.*not recorded.*dev set"):
        trainer.fit(_blobs(), epochs=1)


def test_a_checkpoint_holds_the_weights_that_the_trainer_ends_with(tmp_path: Path) -> None:
    checkpoint = dl.train.Checkpoint(tmp_path / "run")
    trainer = _trainer(callbacks=[dl.train.EarlyStopping(patience=1), checkpoint])
    trainer.fit(_blobs(), _blobs(seed=1), epochs=3)
    other = _trainer()
    other.model.build((2,))
    dl.load_weights(other.model, checkpoint.path)
    assert np.array_equal(other.predict(_blobs().x), trainer.predict(_blobs().x))
    assert {p.name for p in checkpoint.folder.iterdir()} == {".lock", "checkpoints", "model.json", "model.safetensors"}


def test_a_loss_that_is_not_finite_names_epoch_and_step_and_saves_nothing(tmp_path: Path) -> None:
    class Poison(dl.train.Callback):
        def on_step(self, trainer: dl.Trainer) -> None:
            if trainer.step == 9:  # after the first step of the third epoch of four
                trainer.model.vector.theta[...] = np.nan

    checkpoint = dl.train.Checkpoint(tmp_path)
    trainer = _trainer(callbacks=[Poison(), checkpoint])
    with pytest.raises(dl.TrainingError, match=r"nan in epoch 3, step 10; .*step-00000008.*lower the learning"):
        trainer.fit(_blobs(), epochs=5, batch_size=16)
    assert not checkpoint.path.exists()
    assert not trainer.healthy()


def test_regression_and_binary_targets() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 3)).astype(np.float32)
    line = dl.data.Dataset(x, (x @ np.array([1.0, -2.0, 0.5], np.float32) + 1)[:, None])
    trainer = _trainer(dl.nn.Dense(1), loss="mse", metrics=["r2"], optimizer=dl.optim.Adam(0.1))
    assert trainer.fit(line, line, epochs=60)["dev_r2"][-1] > 0.99
    sides = dl.data.Dataset(x, (x[:, :1] > 0).astype(np.float32))
    trainer = _trainer(dl.nn.Dense(1), loss="binary_cross_entropy", optimizer=dl.optim.Adam(0.1))
    assert trainer.fit(sides, sides, epochs=60)["dev_accuracy"][-1] > 0.95


def test_several_heads_learn_together_and_missing_labels_are_left_out(arrays: Backend) -> None:
    data = _blobs(90)
    colour = np.where(np.arange(90) % 4 == 0, -1, data.y)  # a quarter is missing
    height = data.x[:, :1].copy()
    height[::5] = np.nan
    targets = {"colour": colour, "height": height}
    both = dl.data.Dataset(data.x, targets)
    nn = dl.nn
    model = nn.Sequential(nn.Dense(16), nn.Tanh(), nn.Heads({"colour": nn.Dense(3), "height": nn.Dense(1)}))
    trainer = _trainer(
        model,
        loss={"colour": "cross_entropy", "height": "mse"},
        loss_weights={"height": 0.5},
        metrics={"colour": ["accuracy"], "height": ["r2"]},
        device=arrays.device,
    )
    record = trainer.fit(both, both, epochs=40, batch_size=16).records[-1]
    assert record["dev_colour_accuracy"] > 0.9
    assert record["dev_height_r2"] > 0.9
    assert math.isfinite(record["loss"])
    assert set(trainer.predict(data.x)) == {"colour", "height"}


def test_a_missing_label_changes_no_gradient() -> None:
    x = np.array([[1.0, 2.0], [3.0, -1.0]], np.float32)
    grads = []
    for rows in ([0], [0, 1]):
        model = dl.nn.Heads({"a": dl.nn.Dense(3)})
        trainer = _trainer(model, loss={"a": "cross_entropy"}, metrics=(), optimizer=dl.optim.SGD(1.0))
        trainer.fit(dl.data.Dataset(x[rows], {"a": np.array([2, -1])[rows]}), epochs=1)
        grads.append(model.state_dict()["a.w"])
    assert np.array_equal(*grads)


@pytest.mark.parametrize(
    ("settings", "fit", "error", "words"),
    [
        ({}, {"batch_size": 0}, dl.ConfigError, "batch_size is 0.*>= 1"),
        ({}, {"batch_size": 2.5}, dl.ConfigError, "batch_size is 2.5"),
        ({}, {"epochs": -1}, dl.ConfigError, "epochs is -1"),
        ({"loss": "crossentropy"}, {}, dl.ConfigError, "did you mean cross_entropy"),
        ({"metrics": ["acuracy"]}, {}, dl.ConfigError, "did you mean accuracy"),
        ({"optimizer": "adam"}, {}, dl.ConfigError, r"optimizer is 'adam'.*dl\.optim\.Adam"),
        ({"schedule": "cosine"}, {}, dl.ConfigError, r"schedule is 'cosine'.*InverseTime"),
        ({"clip": 1.0}, {}, dl.ConfigError, r"clip is 1\.0.*clip_by_norm"),
        ({}, {"dev": (1, 2)}, dl.DataError, r"dev.*int 1, expected a pair \(x, y\).*make a Dataset"),
        ({"device": "gpu"}, {}, dl.DeviceError, "gpu.*cuda"),
        ({"loss": {"a": "mse"}, "metrics": ()}, {}, dl.DataError, "without names.*Heads"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(settings: dict, fit: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        _trainer(**settings).fit(_blobs(), **fit)
    assert "\n" not in str(caught.value)


def test_data_that_do_not_fit_are_refused_before_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = _trainer()
    trainer.fit(_blobs(), epochs=1)
    monkeypatch.setattr("dlcore.train.engine.trainer.one_step", lambda *_: pytest.fail("a step was taken"))
    for data, words in (
        (dl.data.Dataset(_blobs().x, _blobs().y + 1), r"train: label 3 of example 2 is out of range, 0 to 2"),
        (dl.data.Dataset(_blobs().x, _blobs().y - 1), r"label -1 of example 0"),
        (dl.data.Dataset(np.ones((4, 5), np.float32), np.zeros(4, int)), r"shape \(5,\).*built for \(2,\)"),
    ):
        with pytest.raises(dl.DataError, match=words):
            trainer.fit(data, epochs=1)
    with pytest.raises(dl.DataError, match="dev: label 3"):
        trainer.fit(_blobs(), dl.data.Dataset(_blobs().x, _blobs().y + 1), epochs=1)
    with pytest.raises(dl.DataError, match="no examples"):
        trainer.predict(np.empty((0, 2), np.float32))


def test_double_precision_data_train_a_single_precision_model() -> None:
    data = _blobs()
    trainer = _trainer()
    trainer.fit(dl.data.Dataset(data.x.astype(np.float64), data.y), epochs=1)
    assert trainer.model.vector.theta.dtype == np.float32


def test_ones_own_loop_accumulates_over_several_backwards() -> None:
    data = _blobs(12)

    def model() -> dl.nn.Module:
        return dl.nn.Dense(3).build((2,), seed=0)

    whole, parts = model(), model()
    a, b = dl.optim.SGD(0.1).attach(whole), dl.optim.SGD(0.1).attach(parts)
    dl.losses.cross_entropy(whole(data.x), data.y).backward()
    for i in range(0, 12, 4):
        (dl.losses.cross_entropy(parts(data.x[i : i + 4]), data.y[i : i + 4]) * (1 / 3)).backward()
    a.step()
    b.step()
    np.testing.assert_allclose(whole.vector.theta, parts.vector.theta, rtol=1e-5, atol=1e-7)
    b.zero_grad()
    assert not parts.vector.grad.any()


def test_the_bits_do_not_depend_on_the_number_of_blas_threads() -> None:
    rng = np.random.default_rng(0)
    data = dl.data.Dataset(rng.standard_normal((512, 12, 12, 3)).astype(np.float32), rng.integers(0, 3, 512))

    def weights(threads: int) -> bytes:
        with threadpool_limits(threads, user_api="blas"):
            nn = dl.nn
            trainer = _trainer(nn.Sequential(nn.Conv2D(8, 3), nn.ReLU(), nn.Flatten(), nn.Dense(3)))
            trainer.fit(data, epochs=1, batch_size=256)
            libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
            assert {library["num_threads"] for library in libraries} == {threads}, "put back afterwards"
            return trainer.model.vector.theta.tobytes()

    assert weights(1) == weights(2)


def test_the_default_seed_is_only_a_default() -> None:
    from dlcore.nn.module import default_seed

    before = default_seed()
    try:
        dl.seed(11)
        assert dl.Trainer(dl.nn.Dense(1), device="cpu").seed == 11
        assert dl.Trainer(dl.nn.Dense(1), device="cpu", seed=2).seed == 2
    finally:
        dl.seed(before)
