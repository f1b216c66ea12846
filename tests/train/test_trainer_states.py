"""The trainer among odd states: other devices, rebuilt models, stray gradients, faulty labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import standin
from arrays import Backend

import dlcore as dl
from backends.runtime.device import resolve

nn = dl.nn


def _data(n: int = 64, classes: int = 3) -> dl.data.Dataset:
    rng = np.random.default_rng(0)
    return dl.data.Dataset(rng.standard_normal((n, 5)).astype(np.float32), np.arange(n) % classes)


def _model() -> nn.Module:
    return nn.Sequential(nn.Dense(8), nn.BatchNorm(), nn.Tanh(), nn.Dense(3))


def _trainer(model: nn.Module, **settings: object) -> dl.Trainer:
    return dl.Trainer(model, **{"optimizer": dl.optim.Adam(0.01), "device": "cpu", "seed": 0, **settings})


def test_a_second_gpu_trains_evaluates_and_takes_ones_own_loop() -> None:
    with standin.installed(2):
        trainer = _trainer(_model(), device="cuda:1", metrics=["accuracy"])
        trainer.fit(_data(), _data(), epochs=2, batch_size=16)
        assert trainer.evaluate(_data())["loss"] > 0
        model = _model().build((5,), device="cuda:1")
        with resolve("cuda:1").active():
            opt = dl.optim.Adam().attach(model)
            x = resolve("cuda:1").xp.asarray(_data().x)
            model(x).sum().backward()
            opt.step()
        assert model.to("cuda:0").device == resolve("cuda:0")


def test_built_layers_can_be_built_again_on_every_kind_of_array(arrays: Backend) -> None:
    old = _model()
    _trainer(old, device=arrays.device).fit(_data(), epochs=1)
    trunk = old.state_dict()
    new = nn.Sequential(old.layers[0], nn.ReLU(), nn.Dense(2)).build((5,), dtype="float64", device=arrays.device)
    assert np.array_equal(new.state_dict()["0.w"], trunk["0.w"])
    new.build((5,), dtype="float64", device=arrays.device)
    assert np.array_equal(new.state_dict()["0.w"], trunk["0.w"])


def test_a_layer_that_came_after_the_build_is_refused() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.body, self.head = nn.Dense(4), nn.Dense(2)

        def forward(self, x: dl.Tensor) -> dl.Tensor:
            return self.head(self.body(x))

    model = Net().build((5,))
    model.head = nn.Dense(3)
    with pytest.raises(dl.ConfigError, match=r"head.*after it was built; build the model again"):
        _trainer(model).fit(_data(), epochs=1)
    _trainer(model.build((5,))).fit(_data(), epochs=1)


def test_layers_made_in_setup_draw_their_own_weights() -> None:
    class Two(nn.Module):
        def setup(self, x: dl.Tensor) -> None:
            self.a, self.b = nn.Dense(4), nn.Dense(4)

        def forward(self, x: dl.Tensor) -> dl.Tensor:
            return self.a(x) + self.b(x)

    model = Two().build((5,))
    assert not np.array_equal(model.a.w.numpy(), model.b.w.numpy())
    assert [path for path, _ in model.named_parameters()] == ["a.w", "a.b", "b.w", "b.b"]


def test_a_stray_backward_before_fit_changes_nothing() -> None:
    thetas = []
    for stray in (False, True):
        model = _model().build((5,), seed=0)
        if stray:
            model.eval()
            model(_data().x).sum().backward()
            model.train()
        _trainer(model).fit(_data(), epochs=1)
        thetas.append(model.vector.theta.tobytes())
    assert thetas[0] == thetas[1]


def test_an_optimiser_attached_before_the_model_moves_goes_along(arrays: Backend) -> None:
    model = _model().build((5,))
    optimizer = dl.optim.Adam(0.01).attach(model)
    _trainer(model, optimizer=optimizer, device=arrays.device).fit(_data(), epochs=1)
    assert all(arrays.device.holds(array) for array in optimizer.state.values())


def test_predicting_with_another_trainer_leaves_the_run_as_it_is() -> None:
    model = _model()
    _trainer(model, seed=1).fit(_data(), epochs=1)
    _trainer(model, seed=7).predict(_data().x)
    assert model.clock.seed == 1


@pytest.mark.parametrize(
    ("loss", "y", "words"),
    [
        ({"a": "cross_entropy"}, {"a": np.full(64, 7)}, r"train: a label 7 of example 0.*0 to 2"),
        ({"a": "cross_entropy"}, {"a": np.full(64, -5)}, r"label -5"),
        ({"a": "binary_cross_entropy"}, {"a": np.full((64, 3), 2.0, np.float32)}, r"label 2\.0.*0 to 1"),
    ],
)
def test_labels_of_a_head_are_checked_before_the_first_step(arrays: Backend, loss: dict, y: dict, words: str) -> None:
    trainer = _trainer(nn.Heads({"a": nn.Dense(3)}), loss=loss, device=arrays.device)
    with pytest.raises(dl.DataError, match=words):
        trainer.fit(dl.data.Dataset(_data().x, y), epochs=1)
    assert trainer.step == 0


def test_binary_labels_are_checked_before_the_first_step(arrays: Backend) -> None:
    trainer = _trainer(nn.Dense(1), loss="binary_cross_entropy", device=arrays.device)
    with pytest.raises(dl.DataError, match=r"label 2 of example 2.*0 to 1"):
        trainer.fit(_data(), epochs=1)
    assert trainer.step == 0


def test_a_batch_in_which_a_head_has_no_label_is_fine(arrays: Backend) -> None:
    y = np.random.default_rng(0).standard_normal((64, 1)).astype(np.float32)
    y[:40] = np.nan
    data = dl.data.Dataset(_data().x, {"a": y, "b": _data().y})
    model = nn.Heads({"a": nn.Dense(1), "b": nn.Dense(3)})
    trainer = _trainer(model, loss={"a": "mse", "b": "cross_entropy"}, device=arrays.device)
    assert np.isfinite(trainer.fit(data, epochs=1, batch_size=8)["loss"]).all()
    losses = [trainer.evaluate(data, batch_size=size)["loss"] for size in (8, 32, 64)]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)  # each head's mean is over its own labels


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"metrics": ["accuracy"], "loss": {"a": "mse"}}, "dict of lists by head"),
        ({"loss_weights": {"a": 2.0}}, "dict of losses"),
        ({"metrics": ["f1", "f1"]}, "name twice"),
    ],
)
def test_settings_that_would_be_dropped_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(dl.ConfigError, match=words):
        _trainer(_model(), **settings)


def test_a_monitor_that_is_not_recorded_is_refused_before_the_first_step() -> None:
    trainer = _trainer(_model(), callbacks=[dl.train.EarlyStopping(monitor="dev_acuracy")])
    with pytest.raises(dl.ConfigError, match=r"dev_acuracy.*not recorded.*dev_loss"):
        trainer.fit(_data(), _data(), epochs=1)
    assert trainer.step == 0


def test_ones_own_metric_can_be_monitored_and_nan_is_no_improvement() -> None:
    values = iter([np.nan, 0.2, 0.5, 0.4])

    def mine(y_true: np.ndarray, y_pred: np.ndarray) -> float:
        return next(values) if len(y_true) == 63 else 0.0

    trainer = _trainer(_model(), metrics=[mine], callbacks=[dl.train.EarlyStopping(3, monitor="dev_mine")])
    history = trainer.fit(_data(), _data(63), epochs=4)
    assert history.best_epoch == 2


def test_weights_that_are_not_finite_are_not_saved_and_a_later_good_run_is(tmp_path: Path) -> None:
    checkpoint = dl.train.Checkpoint(tmp_path)

    class Spoil(dl.train.Callback):
        def on_epoch(self, trainer: dl.Trainer, record: dict) -> None:
            trainer.model.vector.theta[...] = np.inf  # after the last loss, which is finite

    trainer = _trainer(nn.Dense(3), callbacks=[Spoil(), checkpoint])
    with pytest.raises(dl.TrainingError, match=r"w of the model is not finite in epoch 1.*no checkpoint was written"):
        trainer.fit(_data(), epochs=1)
    assert not trainer.healthy()
    assert not checkpoint.path.exists()
    trainer.model.vector.theta[...] = 0.0
    trainer.callbacks = [checkpoint]
    trainer.fit(_data(), epochs=1)
    assert checkpoint.path.exists()


def test_evaluation_puts_back_the_mode_of_each_layer() -> None:
    trainer = _trainer(_model())
    trainer.fit(_data(), epochs=1)
    trainer.model.layers[1].eval()
    trainer.predict(_data().x)
    assert [layer.training for layer in trainer.model.layers] == [True, False, True, True]
