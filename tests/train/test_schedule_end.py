"""A schedule that has ended says so where fit goes on behind its end."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import dlcore as dl
from dlcore.optim import Constant, Cosine, Exponential, InverseTime, Piecewise, Staircase, Warmup

DATA = dl.data.Dataset(np.eye(4, dtype=np.float32), np.arange(4))


def _trainer(schedule: dl.optim.Schedule | None, *callbacks: dl.train.Callback) -> dl.Trainer:
    return dl.Trainer(
        dl.nn.Dense(4), optimizer=dl.optim.SGD(0.5), schedule=schedule, device="cpu", seed=0, callbacks=callbacks
    )


def _told(trainer: dl.Trainer, *epochs: int, **more: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for count in epochs:
            trainer.fit(DATA, epochs=count, batch_size=4, **more)
    return [str(warning.message) for warning in told]


@pytest.mark.parametrize("schedule", [Cosine(3), Warmup(2, Cosine(3))], ids=repr)
@pytest.mark.parametrize(("epochs", "first"), [((3, 2), 4), ((5,), 4), ((2, 3), 4), ((3, 2, 1), 4)])
def test_a_rate_of_0_is_told_once_a_fit_with_a_remedy(
    schedule: dl.optim.Schedule, epochs: tuple[int, ...], first: int
) -> None:
    trainer = _trainer(schedule)
    told = _told(trainer, *epochs)
    assert len(told) == max(1, len(epochs) - 1)
    total = sum(epochs[: len(epochs) - len(told) + 1])
    for words in ("ended after epoch 3", f"{first} to {total}", "rate is 0", "no weight changes", "trainer.schedule"):
        assert words in told[0]
    assert trainer.history["lr"][3:] == [0.0] * (sum(epochs) - 3)


def test_a_rate_that_stays_at_the_floor_is_told_where_fit_goes_on_behind_the_end() -> None:
    assert _told(_trainer(Cosine(3, floor=0.1)), 5) == []  # that is what a floor is for
    (told,) = _told(_trainer(Cosine(3, floor=0.1)), 3, 2)
    assert "stays 0.05" in told
    assert "4 to 5" in told


@pytest.mark.parametrize("schedule", [
    None, Constant(), InverseTime(0.1), Exponential(0.5), Staircase(0.5, 2), Piecewise({1: 0.1}), Warmup(2), Cosine(5),
    Warmup(2, InverseTime(1.0)),
], ids=repr)  # fmt: skip
def test_what_has_no_end_or_is_not_over_says_nothing(schedule: dl.optim.Schedule | None) -> None:
    assert _told(_trainer(schedule), 2, 1, 2) == []


def test_a_schedule_of_ones_own_may_tell_its_end_and_is_asked_for_no_other_epoch() -> None:
    class Down(dl.optim.Schedule):
        ends = 2

        def __call__(self, lr: float, epoch: int = 0, step: int = 1) -> float:
            return lr * max(0.0, 1 - epoch / 2)

    (told,) = _told(_trainer(Down()), 2, 1)
    assert "Down()" in told


def test_the_remedy_works() -> None:
    trainer = _trainer(Cosine(3))
    trainer.fit(DATA, epochs=3)
    trainer.schedule = Cosine(6)
    assert _told(trainer, 3) == []
    assert all(rate > 0 for rate in trainer.history["lr"])


def test_a_fit_of_no_epochs_and_a_resumed_one_that_is_done_say_nothing(tmp_path: Any) -> None:
    trainer = _trainer(Cosine(3), dl.train.Checkpoint(tmp_path))
    assert _told(trainer, 3, 0) == []
    assert _told(_trainer(Cosine(3), dl.train.Checkpoint(tmp_path)), 3, resume=tmp_path) == []
