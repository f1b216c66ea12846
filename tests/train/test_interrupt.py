"""Signals: a run is saved and ended, at the next place where it can be resumed, and nothing is left of them."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import job
import pytest

import dlcore as dl
from dlcore.train.checkpoint import snapshot
from dlcore.train.engine import signals


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_saves_and_ends_a_run_of_ones_own(name: str, tmp_path: Path, whole: dict[str, bytes]) -> None:
    class Send(dl.train.Callback):
        def on_step(self, trainer: dl.Trainer) -> None:
            if trainer.step == 8:
                os.kill(os.getpid(), getattr(signal, name))

    usual = signal.getsignal(getattr(signal, name))
    with pytest.raises(dl.train.Interrupted, match=f"by {name}") as caught:
        job.fit(job.trainer(tmp_path, [Send()], every=100))
    assert caught.value.exit_code == 128 + getattr(signal, name)
    assert signal.getsignal(getattr(signal, name)) == usual
    assert 8 in snapshot.paths(tmp_path)
    assert dl.Trainer(dl.nn.Dense(3), device="cpu").fit(job.data()) is not None  # nothing is left of the interruption
    job.fit(job.trainer(tmp_path))
    assert job.ended(tmp_path) == whole


def test_a_second_signal_ends_at_once_and_saves_nothing(tmp_path: Path) -> None:
    class Twice(dl.train.Callback):
        def on_step(self, trainer: dl.Trainer) -> None:
            if trainer.step == 8:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.3)
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(100):  # the handler runs between two operations of Python
                    pass

    with pytest.raises(KeyboardInterrupt, match="at once"):
        job.fit(job.trainer(tmp_path, [Twice()], every=100))
    assert set(snapshot.paths(tmp_path)) == {6}
    assert not (tmp_path / "model.safetensors").exists()


def test_without_a_checkpoint_ctrl_c_is_as_usual() -> None:
    class Send(dl.train.Callback):
        def on_step(self, trainer: dl.Trainer) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        dl.Trainer(dl.nn.Dense(3), device="cpu", callbacks=[Send()]).fit(job.data())
    assert type(caught.value) is KeyboardInterrupt


def test_handlers_are_put_back_where_one_of_them_cannot_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    usual, real = [signal.getsignal(number) for number in numbers], signal.signal

    def refuses(number: int, handler: Any) -> Any:
        if number == signal.SIGTERM and handler is signals._raise:
            raise ValueError("not here")
        return real(number, handler)

    monkeypatch.setattr(signal, "signal", refuses)
    with pytest.raises(ValueError, match="not here"), signals._caught(signals._raise, numbers):
        pass
    assert [signal.getsignal(number) for number in numbers] == usual


def test_an_evaluation_ends_between_two_batches(tmp_path: Path) -> None:
    class InDev(dl.train.Callback):
        """Interrupt while the second epoch's development set is measured."""

        def on_epoch_start(self, trainer: dl.Trainer) -> None:
            if trainer.epoch == 1:
                forward = trainer.forward
                trainer.forward = lambda *a: trainer.interrupt("SIGTERM") or forward(*a)  # type: ignore[method-assign]

    dev = [tuple(row) for row in zip(*job.data(1).rows(slice(None)), strict=True)] * 20

    def fit(trainer: dl.Trainer) -> dl.Trainer:
        trainer.fit(job.data(), dev, epochs=4, batch_size=8, resume="auto")
        return trainer

    fit(job.trainer(tmp_path / "whole"))
    trainer = job.trainer(tmp_path / "cut", [InDev()])
    with pytest.raises(dl.train.Interrupted):
        fit(trainer)
    assert (len(trainer.history), trainer.progress.batches) == (1, 6)
    fit(job.trainer(tmp_path / "cut"))
    assert job.ended(tmp_path / "cut") == job.ended(tmp_path / "whole")


def test_an_iterator_that_blocks_does_not_keep_a_run_from_ending(tmp_path: Path) -> None:
    never = threading.Event()

    def examples() -> Any:
        yield from (job.data()[i] for i in range(16))
        never.wait()

    started = time.monotonic()
    with pytest.raises(dl.train.Interrupted):
        job.fit(job.trainer(tmp_path, [job.Interrupt(1)]), train=examples)
    never.set()
    assert time.monotonic() - started < 20
