"""Mixed precision: near the float32 run, with overflows left out whole, the same on every kind of array, resumable."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrays import KINDS, Backend, backend
from job import Interrupt
from samples import images

import dlcore as dl
from backends.runtime import copies
from dlcore.errors import ConfigError, TrainingError
from dlcore.nn.half import Half
from dlcore.optim.clipping import Clip
from dlcore.train.engine.batch import Batch
from dlcore.train.engine.loss_scaling import Mixed
from dlcore.train.engine.step import one_step

RULES = {
    "sgd": lambda: dl.optim.SGD(0.1),
    "momentum": lambda: dl.optim.Momentum(0.1, bias_correction=True),
    "nesterov": lambda: dl.optim.Momentum(0.1, bias_correction=True, nesterov=True),
    "rmsprop": lambda: dl.optim.RMSprop(3e-3),
    "adam": lambda: dl.optim.Adam(1e-2),
    "adamw": lambda: dl.optim.AdamW(1e-2, decay=0.1),
    "adagrad": lambda: dl.optim.Adagrad(0.03),
}


def cnn() -> dl.nn.Module:
    nn = dl.nn
    return nn.Sequential(
        nn.Conv2D(6, 3, padding="same", bias=False), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2D(2), nn.Flatten(),
        nn.Dropout(0.2), nn.Dense(4),
    )  # fmt: skip


def trainer_on(kind: Backend, precision: str = "mixed", **settings: Any) -> dl.Trainer:
    how: dict[str, Any] = {"optimizer": dl.optim.Adam(1e-2), "metrics": ["accuracy"], "seed": 1, **settings}
    return dl.Trainer(cnn(), device=kind.device, precision=precision, **how)


def state(trainer: dl.Trainer) -> dict[str, bytes]:
    """Everything that a step writes, but for the loss scale and the counts."""
    arrays = {**trainer.model.state_dict(), **trainer.optimizer.state_dict()}
    return {name: np.asarray(value).tobytes() for name, value in arrays.items()}


def step(trainer: dl.Trainer, data: dl.data.Dataset, scale: float = 1.0) -> None:
    """A step on a batch that is on the device already, where nothing may be copied or waited for."""
    x, y = data.x[:16] * np.float32(scale), data.y[:16]
    batch = Batch(x, y, trainer.upload(x), trainer.upload(y))
    with copies.guard("forbid"):
        one_step(trainer, batch, False)


def ready(kind: Backend, **settings: Any) -> dl.Trainer:
    """A trainer between two steps."""
    trainer = trainer_on(kind, **settings)
    trainer.fit(images(), epochs=1, batch_size=16)
    trainer.model.train()
    return trainer


@pytest.mark.parametrize("rule", RULES)
def test_the_run_is_near_that_in_float32(rule: str) -> None:
    with backend("numpy") as kind:
        histories = {
            precision: trainer_on(
                kind, precision, optimizer=RULES[rule](), penalty=dl.optim.L2(1e-2), clip=dl.optim.clip_by_norm(1.0)
            ).fit(images()[:64], images()[64:], epochs=6, batch_size=16)
            for precision in ("float32", "mixed")
        }
    single, mixed = histories["float32"], histories["mixed"]
    assert single["loss"][-1] < 0.7 * single["loss"][0]
    # float16 has a unit of 1e-3, and an activation near 0 may pass on its gradient in one run and not in the other.
    np.testing.assert_allclose(mixed["loss"], single["loss"], rtol=0.05)
    np.testing.assert_allclose(mixed["dev_loss"], single["dev_loss"], rtol=0.1)
    assert mixed["skipped_steps"] == [0] * 6
    assert mixed["loss_scale"] == [2**15] * 6
    assert "loss_scale" not in single.records[0]


def test_the_same_run_on_every_kind_of_array() -> None:
    found = {}
    for name in KINDS:
        with backend(name) as kind:
            trainer = trainer_on(kind, penalty=dl.optim.L2(1e-2), clip=dl.optim.clip_by_norm(1.0))
            trainer.mixed = Mixed(start=2.0**20, grow_every=4)
            found[name] = trainer.fit(images()[:64], images()[64:], epochs=3, batch_size=16)
    expected = found["numpy"]
    assert sum(expected["skipped_steps"]), "the sample should have an overflow"
    for name, history in found.items():
        assert history["skipped_steps"] == expected["skipped_steps"], name
        assert history["loss_scale"] == expected["loss_scale"], name
        for figure in ("loss", "penalty", "accuracy", "dev_loss"):
            np.testing.assert_allclose(history[figure], expected[figure], rtol=1e-3, err_msg=name)


@pytest.mark.parametrize("rule", RULES)
def test_a_step_that_overflows_changes_nothing_but_the_scale(rule: str, arrays: Backend) -> None:
    trainer = ready(arrays, optimizer=RULES[rule](), penalty=dl.optim.L2(1e-2), clip=dl.optim.clip_by_norm(1.0))
    before, mixed = state(trainer), trainer.mixed
    assert mixed is not None
    saved = mixed.state_dict()
    mixed.load_state_dict({**saved, "scale": 2.0**24})  # the gradients of the logits are about 1/16
    step(trainer, images())
    assert state(trainer) == before
    after = mixed.state_dict()
    assert after["scale"] == 2.0**23
    _, steps, _, skipped, failed = saved["counts"]
    assert after["counts"] == [0, steps, 0, skipped + 1, failed]
    trainer.read_losses()
    assert trainer.optimizer.steps == steps


def test_an_overflow_of_the_forward_pass_leaves_the_running_statistics(arrays: Backend) -> None:
    trainer = ready(arrays)
    before = state(trainer)
    step(trainer, images(), scale=1e6)
    assert state(trainer) == before
    trainer.read_losses()  # such a loss is left out
    assert np.isfinite(trainer.progress.sums[0])
    step(trainer, images())
    assert state(trainer) != before


def test_a_step_that_is_taken_is_that_of_the_rule(arrays: Backend) -> None:
    """From the same unscaled gradient: Adam's t is the number of steps taken."""
    trainer = ready(arrays)
    step(trainer, images(), scale=1e6)
    trainer.read_losses()
    twin = dl.optim.Adam(1e-2)
    vector = trainer.model.built()
    other = cnn().build((8, 8, 2), device=arrays.device)
    other.load_state_dict(trainer.model.state_dict())
    twin.attach(other).load_state_dict(trainer.optimizer.state_dict())
    gradients: list[Any] = []
    trainer.clip = _Seen(gradients)
    step(trainer, images())
    other.built().grad[...] = gradients[0]
    twin.step()
    theta, expected = arrays.host(vector.theta), arrays.host(other.built().theta)
    np.testing.assert_allclose(theta, expected, rtol=1e-5, atol=1e-7)
    assert trainer.optimizer.state_dict()["steps"] == twin.steps == 7


class _Seen(Clip):
    """Notes the gradients that a clip gets."""

    def __init__(self, gradients: list[Any]) -> None:
        self.gradients = gradients

    def __call__(self, model: dl.nn.Module) -> None:
        self.gradients.append(model.built().xp.asarray(model.built().grad, copy=True))


def test_clips_get_unscaled_gradients_in_float32() -> None:
    with backend("numpy") as kind:
        seen: dict[str, list[np.ndarray]] = {"float32": [], "mixed": []}
        for precision, gradients in seen.items():
            trainer_on(kind, precision, clip=_Seen(gradients), penalty=dl.optim.L2(0.5)).fit(
                images()[:16], epochs=1, batch_size=16
            )
    (single,), (mixed,) = seen["float32"], seen["mixed"]
    assert mixed.dtype == np.float32
    assert np.linalg.norm(mixed - single) < 0.02 * np.linalg.norm(single)


def test_the_scale_recovers_and_grows_again() -> None:
    with backend("numpy") as kind:
        trainer = trainer_on(kind)
        trainer.mixed = Mixed(start=2.0**24, grow_every=7)
        history = trainer.fit(images(), epochs=8, batch_size=16)
    assert history["skipped_steps"][0] > 0
    assert history["loss_scale"][0] < 2**24
    assert max(history["loss_scale"][2:]) > min(history["loss_scale"])
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert trainer.step == 48
    assert trainer.optimizer.steps == 48 - sum(history["skipped_steps"])


def test_what_no_scale_helps_ends_the_training() -> None:
    data = images()
    broken = dl.data.Dataset(np.where(np.arange(96)[:, None, None, None] >= 0, data.x * 1e6, data.x), data.y)
    with backend("numpy") as kind:
        trainer = trainer_on(kind)
        trainer.mixed = Mixed(start=4.0)
        with pytest.raises(
            TrainingError, match="loss is nan, and was at every loss scale down to 1 in epoch 1, step 3"
        ):
            trainer.fit(broken, epochs=2, batch_size=16)
    assert not trainer.healthy()


def test_a_step_waits_for_nothing_and_reads_with_the_losses(arrays: Backend) -> None:
    trainer = ready(arrays)
    before = copies.counts()
    for _ in range(3):
        step(trainer, images())
    assert copies.counts().since(before).downloads == 0
    trainer.read_losses()
    assert copies.counts().since(before).downloads == 3  # losses, scale, counts


def test_frozen_parameters_and_learning_rates_by_layer(arrays: Backend) -> None:
    trainer = trainer_on(arrays)
    trainer.model.build((8, 8, 2), seed=1, device=arrays.device)
    vector = trainer.model.built()
    trainer.model.freeze("1")
    vector.scale_lr("6.b", 0.0)
    before = trainer.model.state_dict()
    trainer.fit(images(), epochs=1, batch_size=16)
    after = trainer.model.state_dict()
    same = {name for name in before if np.array_equal(before[name], after[name])}
    assert same == {"1.gamma", "1.beta", "6.b", "1.running_mean", "1.running_variance"}


@pytest.mark.parametrize("at", [1, 2, 7, 9])
def test_a_run_is_resumed_to_the_same_bits(at: int, tmp_path: Path) -> None:
    with backend("numpy") as kind:
        make = functools.partial(trainer_on, kind)

        def fit(trainer: dl.Trainer, **how: Any) -> dl.Trainer:
            trainer.mixed = Mixed(start=2.0**20, grow_every=3)
            trainer.fit(images(), epochs=3, batch_size=16, **how)
            return trainer

        whole = fit(make())
        with pytest.raises(dl.train.Interrupted):
            fit(make(callbacks=[Interrupt(at), dl.train.Checkpoint(tmp_path)]))
        rest = fit(make(callbacks=[dl.train.Checkpoint(tmp_path)]), resume="auto")
        assert state(rest) == state(whole)
        assert rest.mixed is not None
        assert whole.mixed is not None
        assert rest.mixed.state_dict() == whole.mixed.state_dict()
        assert rest.history["skipped_steps"] == whole.history["skipped_steps"]
        assert sum(whole.history["skipped_steps"])
        with pytest.raises(ConfigError, match="precision was mixed"):
            make(precision="float32", callbacks=[dl.train.Checkpoint(tmp_path)]).fit(
                images(), epochs=4, batch_size=16, resume=tmp_path
            )


def test_weights_and_evaluation_are_those_of_the_master_parameters(tmp_path: Path) -> None:
    with backend("numpy") as kind:
        trainer = ready(kind)
        path = dl.save_weights(trainer.model, tmp_path / "m.safetensors")
        other = cnn().build((8, 8, 2))
        dl.load_weights(other, path)
        assert all(array.dtype == np.float32 for array in other.state_dict().values())
        again = dl.Trainer(other, device="cpu", metrics=["accuracy"])
        assert again.evaluate(images()) == trainer.evaluate(images())


def test_an_optimiser_goes_on_in_float32(arrays: Backend) -> None:
    trainer = ready(arrays)
    single = dl.Trainer(trainer.model, optimizer=trainer.optimizer, device=arrays.device)
    single.fit(images(), epochs=1, batch_size=16)
    assert trainer.optimizer.counts is None
    assert trainer.optimizer.state_dict()["steps"] == 12


def test_what_does_not_go_is_refused() -> None:
    with pytest.raises(ConfigError, match="precision is 'float8' but one of float32, mixed, float64"):
        dl.Trainer(cnn(), precision="float8")
    model = cnn().build((8, 8, 2), dtype="float64")
    with pytest.raises(ConfigError, match="precision is 'mixed' but the model was built in float64"):
        dl.Trainer(model, precision="mixed", device="cpu").evaluate(images())
    with pytest.raises(ConfigError, match="needs a model of float32"):
        Half(model.built())
    trainer = dl.Trainer(cnn(), precision="float64", device="cpu")
    trainer.evaluate(images())
    assert trainer.model.built().dtype == np.float64


def test_the_parameters_are_the_masters_again_after_an_error() -> None:
    model = cnn().build((8, 8, 2))
    half = Half(model.built())
    with pytest.raises(ZeroDivisionError, match="True"), half.shown():
        raise ZeroDivisionError(str(model.parameters()[0].dtype == np.float16))
    assert model.parameters()[0].dtype == np.float32
    assert np.shares_memory(model.parameters()[0].data, model.built().theta)
