"""Level 2: products in TF32 while the trainer computes and no longer, and a refusal where a device has none."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import standin
from standin import cuda

import dlcore as dl
from dlcore.cli import main

pytestmark = pytest.mark.level2

DEFAULT, TF32 = 1, 7


@pytest.fixture(autouse=True)
def _untouched() -> Any:
    """CuPy's switch is the process's: no test leaves it on."""
    with standin.installed():
        before = now()
        yield
        assert now() == before


def now() -> int:
    """How products of float32 are computed."""
    return importlib.import_module("cupy._core._routines_linalg").get_compute_type(np.float32)


class Look(dl.train.Callback):
    """Keeps how products are computed in each step."""

    def __init__(self, fail: bool = False) -> None:
        self.seen: list[int] = []
        self.fail = fail

    def on_step(self, trainer: dl.Trainer) -> None:
        self.seen.append(now())
        if self.fail:
            raise ZeroDivisionError


def fit(look: Look, **how: Any) -> dl.Trainer:
    data = dl.data.Dataset(np.ones((8, 3), np.float32), np.arange(8) % 2)
    trainer = dl.Trainer(dl.nn.Dense(2), device="cuda", callbacks=[look], **how)
    trainer.fit(data, data, epochs=2, batch_size=8)
    return trainer


def old_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = cuda.getDeviceProperties
    monkeypatch.setattr(cuda, "getDeviceProperties", lambda i: {**usual(i), "major": 7, "minor": 5})


def test_products_are_in_tf32_during_the_fit_and_as_before_after_it() -> None:
    assert now() == DEFAULT
    look = Look()
    fit(look, tf32=True)
    assert look.seen == [TF32, TF32]
    assert now() == DEFAULT


def test_it_is_off_by_default() -> None:
    look = Look()
    fit(look)
    assert look.seen == [DEFAULT, DEFAULT]


def test_it_is_put_back_after_an_error_too() -> None:
    with pytest.raises(ZeroDivisionError):
        fit(Look(fail=True), tf32=True)
    assert now() == DEFAULT


def test_evaluation_and_prediction_compute_like_training(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = fit(Look(), tf32=True)
    seen: list[int] = []
    forward = trainer.forward
    monkeypatch.setattr(trainer, "forward", lambda *given: seen.append(now()) or forward(*given))
    trainer.predict(np.ones((2, 3), np.float32))
    assert seen == [TF32]


def test_a_device_without_it_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        dl.DeviceError, match=r"^TF32 is not there on cpu; cause: .* 8\.0 or later; fix: leave tf32 out"
    ):
        dl.Trainer(dl.nn.Dense(2), device="cpu", tf32=True)
    old_chip(monkeypatch)
    with pytest.raises(dl.DeviceError, match=r"on cuda:0; cause: .* 8\.0 or later, this one has 7\.5; fix: "):
        dl.Trainer(dl.nn.Dense(2), device="cuda", tf32=True)
    with pytest.raises(dl.ConfigError, match="tf32 is 'yes'"):
        dl.Trainer(dl.nn.Dense(2), device="cpu", tf32="yes")  # type: ignore[arg-type]


def test_a_run_says_in_its_first_line_that_it_is_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "--data", "digits", "--model", "mlp", "--epochs", "1", "--baseline", "none", "--tf32"]
    assert main([*words, "--device", "cuda"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "device: cuda:0 (asked for; stand-in), products of float32 in TF32"
    assert "tf32 = true" in (tmp_path / "runs/digits-mlp-001/config.toml").read_text()
    assert main([*words, "--device", "cpu"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("dlcore: error: TF32 is not there on cpu; ")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "runs/digits-mlp-002").exists()
