"""What a fit prints, and what a callback can read at each step."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest

import dlcore as dl
from dlcore.errors import ConfigError
from dlcore.train.callbacks import progress_lines

DATA = dl.data.Dataset(np.eye(4, dtype=np.float32), np.arange(4))


def trainer(*callbacks: dl.train.Callback, **how: Any) -> dl.Trainer:
    how.setdefault("optimizer", dl.optim.SGD(0.5))
    return dl.Trainer(dl.nn.Dense(4), device="cpu", seed=0, callbacks=callbacks, **how)


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


class Cell(io.StringIO):
    """The output of a notebook's cell."""


Cell.__module__ = "ipykernel.iostream"


def printed(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, fit: Any) -> list[str]:
    with monkeypatch.context() as patched:
        patched.delenv("PYTEST_CURRENT_TEST", raising=False)
        patched.setattr(sys, "stdout", stream)
        fit()
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("stream", [Screen, Cell])
def test_a_terminal_and_a_notebook_show_one_line_an_epoch(monkeypatch: pytest.MonkeyPatch, stream: Any) -> None:
    one = trainer(metrics=["accuracy"])
    found = printed(monkeypatch, stream(), lambda: one.fit(DATA, DATA, epochs=3))
    assert [line[:9] for line in found] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all(word in found[0] for word in ("loss", "accuracy", "dev loss", "dev accuracy", "examples/s"))


def test_elsewhere_nothing_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(monkeypatch, io.StringIO(), lambda: trainer().fit(DATA)) == []
    monkeypatch.setattr(sys, "stdout", None)
    trainer().fit(DATA)  # as under pythonw


def test_under_pytest_nothing_is_printed_even_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    trainer().fit(DATA)
    assert screen.getvalue() == ""


def test_verbose_forces_lines_or_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(printed(monkeypatch, io.StringIO(), lambda: trainer().fit(DATA, epochs=2, verbose=True))) == 2
    assert printed(monkeypatch, Screen(), lambda: trainer().fit(DATA, verbose=False)) == []


@pytest.mark.parametrize("value", [1, "yes", 0])
def test_another_value_of_verbose_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"verbose.*True, False or None"):
        trainer().fit(DATA, verbose=value)


@pytest.mark.parametrize("verbose", [None, True])
def test_lines_of_a_callback_are_not_printed_twice(monkeypatch: pytest.MonkeyPatch, verbose: bool | None) -> None:
    said: list[str] = []
    one = trainer(dl.train.ProgressLines(said.append, "rows"))
    assert printed(monkeypatch, Screen(), lambda: one.fit(DATA, epochs=2, verbose=verbose)) == []
    assert len(said) == 2
    assert said[0].endswith("rows/s")


def test_lines_go_to_stdout_unless_a_function_takes_them(capsys: pytest.CaptureFixture[str]) -> None:
    trainer(dl.train.ProgressLines()).fit(DATA)
    assert capsys.readouterr().out.startswith("epoch 1/1  loss")


def test_the_lines_leave_the_callbacks_and_the_result_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, silent = trainer(), trainer()
    printed(monkeypatch, Screen(), lambda: shown.fit(DATA, epochs=3))
    silent.fit(DATA, epochs=3)
    assert shown.callbacks == []
    assert shown.history["loss"] == silent.history["loss"]


def test_a_closed_stdout_does_not_end_training(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            raise BrokenPipeError

    one = trainer()
    printed(monkeypatch, Gone(), lambda: one.fit(DATA, epochs=2))
    assert len(one.history) == 2


def test_estimators_and_recipes_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    sklearn = pytest.importorskip("dlcore.interop.sklearn")
    estimator = sklearn.Classifier(hidden=(2,), epochs=1)
    assert printed(monkeypatch, Screen(), lambda: estimator.fit(np.eye(4), np.arange(4) % 2)) == []

    def experiment(setup: Any) -> Any:
        return trainer().fit(DATA)

    recipe = dl.recipes.lesson.recipe("1", "a claim")(experiment)
    setup = dl.recipes.Setup(dl.device("cpu"))
    assert printed(monkeypatch, Screen(), lambda: recipe(setup)) == []
    assert len(printed(monkeypatch, Screen(), lambda: experiment(setup))) == 1


def test_quiet_ends_where_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with progress_lines.silent():
        pass
    assert len(printed(monkeypatch, Screen(), lambda: trainer().fit(DATA))) == 1


# --- what a step tells


class Ramp(dl.optim.Schedule):
    def __call__(self, lr: float, epoch: int = 0, step: int = 1) -> float:
        return lr * step / 10


class Noted(dl.train.Callback):
    def on_start(self, trainer: dl.Trainer) -> None:
        self.rates: list[tuple[float, float]] = []
        self.losses: list[float] = []

    def on_step(self, trainer: dl.Trainer) -> None:
        self.rates.append((trainer.step_lr, trainer.lr))
        self.losses.append(trainer.step_loss())


def test_a_callback_reads_the_rate_and_the_loss_of_the_step() -> None:
    noted = Noted()
    one = trainer(noted, schedule=Ramp(), penalty=dl.optim.L2(0.1))
    before = one.fit(DATA, epochs=1)  # a step of all four rows
    assert noted.losses == [pytest.approx(before["loss"][0], rel=1e-6)]
    assert noted.rates == [(pytest.approx(0.05), 0.5)]
    again = one.fit(DATA, epochs=1, batch_size=2)
    assert np.mean(noted.losses) == pytest.approx(again["loss"][1], rel=1e-6)
    assert [rate for rate, _ in noted.rates] == pytest.approx([0.1, 0.15])


def test_the_loss_of_a_step_is_there_after_the_losses_were_read() -> None:
    seen: list[float] = []

    class Reading(dl.train.Callback):
        def on_step(self, trainer: dl.Trainer) -> None:
            trainer.read_losses()
            seen.append(trainer.step_loss())

    trainer(Reading()).fit(DATA, epochs=2, batch_size=2)
    assert len(seen) == 4


def test_the_loss_in_mixed_precision_is_without_its_scale() -> None:
    noted = Noted()
    history = trainer(noted, precision="mixed").fit(DATA)
    assert noted.losses[0] == pytest.approx(history["loss"][0], rel=1e-6)


def test_before_the_first_step_there_is_no_loss() -> None:
    with pytest.raises(ConfigError, match="no step"):
        trainer().step_loss()
