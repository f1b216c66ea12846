"""A fit after early stopping goes on from the best epoch, as a trainer does that has stopped there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import job
import numpy as np
import pytest

import dlcore as dl
from dlcore import nn
from dlcore.train.checkpoint import snapshot
from dlcore.train.runs.files import MetricsFile

EPOCHS = 9

RULES: dict[str, Any] = {
    "adam": lambda: dl.optim.Adam(0.1),
    "momentum": lambda: dl.optim.Momentum(0.5),
    "rmsprop": lambda: dl.optim.RMSprop(0.05),
    "adagrad": lambda: dl.optim.Adagrad(0.3),
}


class Halve(dl.train.Callback):
    """Changes the base rate in each epoch."""

    def on_epoch_start(self, trainer: dl.Trainer) -> None:
        trainer.set_lr(trainer.lr * 0.9)


def _data(seed: int = 0) -> dl.data.Dataset:
    rng = np.random.default_rng(seed)
    return dl.data.Dataset(rng.standard_normal((30, 4)).astype(np.float32), rng.integers(0, 3, 30))


def _trainer(*callbacks: dl.train.Callback, rule: str = "adam", **settings: Any) -> dl.Trainer:
    """Batch norm has running statistics, dropout draws by the step, the schedule by epoch and step."""
    model = nn.Sequential(nn.Dense(16), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.2), nn.Dense(3))
    schedule = dl.optim.Warmup(3, dl.optim.InverseTime(0.1))
    settings = {"schedule": schedule, "metrics": ["accuracy"], "device": "cpu", "seed": 5} | settings
    return dl.Trainer(model, optimizer=RULES[rule](), callbacks=[Halve(), *callbacks], **settings)


def _fit(trainer: dl.Trainer, epochs: int = EPOCHS, **more: Any) -> dl.Trainer:
    trainer.fit(_data(), _data(1), epochs=epochs, batch_size=8, **more)
    return trainer


def _state(trainer: dl.Trainer) -> dict[str, Any]:
    arrays = {f"model {k}": np.asarray(v).tobytes() for k, v in trainer.model.state_dict().items()}
    arrays |= {f"rule {k}": np.asarray(v).tobytes() for k, v in trainer.optimizer.state_dict().items()}
    counters = {"epoch": trainer.epoch, "step": trainer.step, "clock": trainer.model.clock.step}
    return arrays | counters | {"lr": trainer.lr, "rate": trainer.optimizer.lr}


def _records(trainer: dl.Trainer) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if "second" not in k} for r in trainer.history]


@pytest.mark.parametrize(
    ("rule", "settings"),
    [*((rule, {}) for rule in RULES), ("adam", {"precision": "mixed"}), ("adam", {"precision": "float64"})],
)
def test_all_that_training_goes_on_from_is_that_of_the_best_epoch(rule: str, settings: dict[str, Any]) -> None:
    stopped = _fit(_trainer(dl.train.EarlyStopping(patience=2), rule=rule, **settings))
    best = stopped.history.best_epoch
    assert best is not None
    assert best + 1 < len(stopped.history), "nothing to go back from"
    short = _fit(_trainer(rule=rule, **settings), best + 1)
    assert _state(stopped) == _state(short)
    stopped.callbacks.pop()
    assert _state(_fit(stopped, 3)) == _state(_fit(short, 3))
    assert _records(stopped) == _records(short)


def test_without_stopping_too_and_several_times() -> None:
    stopping = dl.train.EarlyStopping(patience=99)
    trainer = _fit(_trainer(stopping))
    ends = [trainer.epoch]
    assert len(trainer.history) == EPOCHS
    for _ in range(2):
        before = trainer.epoch
        _fit(trainer)
        assert len(trainer.history) == before + EPOCHS
        ends.append(trainer.epoch)
        assert trainer.epoch == stopping.best_epoch + 1 == trainer.history.best_epoch + 1
    assert _state(trainer) == _state(_fit(_trainer(), ends[-1]))


def test_the_history_goes_on_after_the_best_epoch() -> None:
    trainer = _fit(_trainer(dl.train.EarlyStopping(patience=2)))
    best = trainer.history.best_epoch
    kept = _records(trainer)[: best + 1]
    _fit(trainer, 2)
    assert [record["epoch"] for record in trainer.history] == list(range(best + 3))
    assert _records(trainer)[: best + 1] == kept


def test_a_learning_rate_set_between_two_fits_holds() -> None:
    trainer = _fit(_trainer(dl.train.EarlyStopping(patience=2), schedule=None))
    trainer.callbacks = []
    trainer.set_lr(0.003)
    assert _fit(trainer, 1).history["lr"][-1] == 0.003


def test_after_an_error_the_weights_alone_are_restored() -> None:
    class Fail(dl.train.Callback):
        def on_epoch(self, trainer: dl.Trainer, record: dict[str, Any]) -> None:
            if record["epoch"] == 4:
                raise RuntimeError("a callback failed")

    trainer = _trainer(dl.train.EarlyStopping(patience=9), Fail())
    with pytest.raises(RuntimeError, match="a callback failed"):
        _fit(trainer)
    assert trainer.epoch == 4
    assert trainer.step == 20
    best = _fit(_trainer(), trainer.history.best_epoch + 1)
    assert trainer.model.vector.theta.tobytes() == best.model.vector.theta.tobytes()


def _script(folder: Path, stop: int = -1) -> dl.Trainer:
    """Two fits, the first of which stops early; ``stop`` counts the steps that are taken, in both."""

    class Stop(dl.train.Callback):
        taken = 0

        def on_step(self, trainer: dl.Trainer) -> None:
            Stop.taken += 1
            if Stop.taken == stop:
                trainer.interrupt("SIGTERM")

    saved = dl.train.Checkpoint(folder, every_steps=3)
    trainer = _trainer(MetricsFile(folder / "metrics.jsonl"), dl.train.EarlyStopping(patience=2), Stop(), saved)
    _fit(trainer, resume="auto")
    _fit(trainer, 3, resume="auto")
    return trainer


def test_a_script_of_two_fits_that_is_interrupted_anywhere_ends_the_same(tmp_path: Path) -> None:
    whole = _script(tmp_path / "whole")
    taken = 4 * sum(1 for _ in whole.history)
    assert whole.fits == 2
    for step in (1, 4, 7, 12, 14, 17, taken, taken + 3):
        folder = tmp_path / str(step)
        try:
            _script(folder, step)
        except dl.train.Interrupted:
            _script(folder)
        assert job.ended(folder) == job.ended(tmp_path / "whole"), step


def test_checkpoints_of_the_epochs_after_the_best_are_gone_once_another_fit_begins(tmp_path: Path) -> None:
    trainer = _fit(_trainer(dl.train.EarlyStopping(patience=2), dl.train.Checkpoint(tmp_path, keep=9)))
    best = trainer.step
    assert max(snapshot.paths(tmp_path)) > best
    _fit(trainer, 1)
    assert max(snapshot.paths(tmp_path)) == best + 4
    assert trainer.saved == snapshot.paths(tmp_path)[best + 4]
    assert not list(tmp_path.rglob("*.aside"))


def test_a_state_of_version_0_1_restores_the_weights_alone(tmp_path: Path) -> None:
    run = _trainer(dl.train.EarlyStopping(patience=2), dl.train.Checkpoint(tmp_path))
    weights = _fit(run).model.vector.theta.tobytes()
    path = list(snapshot.paths(tmp_path).values())[-1]
    state = snapshot.read(path).plain
    (kept,) = [held["state"] for held in state["callbacks"] if held["type"] == "EarlyStopping"]
    del kept["kept"]
    snapshot.write(path, state)
    again = _fit(_trainer(dl.train.EarlyStopping(patience=2), dl.train.Checkpoint(tmp_path)), resume="auto")
    assert again.model.vector.theta.tobytes() == weights
    assert again.epoch == len(json.loads(json.dumps(_records(again))))
