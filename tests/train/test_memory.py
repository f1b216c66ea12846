"""Level 2: a limit on a CUDA device's memory, what a run reports of it, and one line where there is too little."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import standin

import dlcore as dl
from backends.runtime import memory
from backends.runtime.device import CPU, resolve
from dlcore.cli import main
from dlcore.train.engine.memory import Memory, limit_of
from dlcore.train.runs import creation, files

pytestmark = pytest.mark.level2

MIB = 2**20


def data(n: int = 64) -> dl.data.Dataset:
    rng = np.random.default_rng(0)
    return dl.data.Dataset(rng.standard_normal((n, 20)).astype(np.float32), np.arange(n) % 3)


def trainer(**how: Any) -> dl.Trainer:
    nn = dl.nn
    return dl.Trainer(nn.Sequential(nn.Dense(64), nn.Tanh(), nn.Dense(3)), device="cuda", seed=1, **how)


@pytest.mark.parametrize(
    ("value", "size", "share"),
    [
        ("4GiB", 4 * 2**30, None), ("1.5 MiB", 3 * 2**19, None), ("2GB", 2 * 10**9, None), ("300 b", 300, None),
        ("1 kib", 1024, None), ("0.5", None, 0.5), (0.25, None, 0.25), (1, None, 1.0),
    ],
)  # fmt: skip
def test_a_limit_is_a_size_with_a_unit_or_a_share(value: Any, size: int | None, share: float | None) -> None:
    assert memory.Limit.of(value) == memory.Limit(size, share)


@pytest.mark.parametrize("value", ["", "4", "GiB", "4 GiBs", "-1GiB", "0GiB", "0", "1.5", "nan", "inf", True, [], 2])
def test_what_is_no_limit_is_said_in_one_line(value: Any) -> None:
    with pytest.raises(dl.ConfigError, match=r"memory_limit is .* size such as 4GiB or a share .* 0\.5 is expected"):
        limit_of(value)
    with pytest.raises(dl.ConfigError, match="memory_limit"):
        dl.Trainer(dl.nn.Dense(1), device="cpu", memory_limit=value)


def test_the_limit_holds_while_the_trainer_computes_and_no_longer() -> None:
    seen: list[int] = []

    class Look(dl.train.Callback):
        def on_step(self, trainer: dl.Trainer) -> None:
            seen.append(pool.get_limit())

    with standin.installed(memory=64 * MIB) as cupy:
        pool = cupy.get_default_memory_pool()
        pool.set_limit(size=60 * MIB)
        trainer(memory_limit="32MiB", callbacks=[Look()]).fit(data(), epochs=1)
        assert pool.get_limit() == 60 * MIB
        trainer(memory_limit=0.25, callbacks=[Look()]).fit(data(), epochs=1)
        trainer(callbacks=[Look()]).fit(data(), epochs=1)
        assert seen == [32 * MIB, 16 * MIB, 60 * MIB]


def test_the_limit_is_that_of_the_trainers_device() -> None:
    with standin.installed(2) as cupy:
        pool, device = cupy.get_default_memory_pool(), resolve("cuda:1")
        with memory.limited(device, memory.Limit.of("1MiB")):
            assert pool.get_limit() == 0
            with device.active():
                assert pool.get_limit() == MIB
        with device.active():
            assert pool.get_limit() == 0


def test_the_peak_is_what_arrays_hold_at_the_end_of_the_largest_forward_pass() -> None:
    with standin.installed():
        small, large = trainer(), trainer()
        small.fit(data(), epochs=1, batch_size=16)
        large.fit(data(), epochs=1, batch_size=64)
        first, second = small.memory.record(), large.memory.record()
        assert first is not None
        assert second is not None
        kept = 48 * 64 * 4  # bytes of the 48 rows more of the hidden layer, which its activation keeps
        assert kept <= second["peak"] - first["used"]
        assert second["peak"] > first["peak"]
        assert second["used"] <= second["pooled"]
        standin.reset()
        large.memory.sample()
        assert standin.counts() == standin.Counts()  # nothing waits
        large.memory.begin()
        assert large.memory.record() is None
        assert large.memory.report() == ""


def test_a_run_on_the_cpu_has_no_figures_and_no_limit() -> None:
    model = dl.nn.Dense(3)
    trained = dl.Trainer(model, device="cpu", memory_limit="1KiB")
    trained.fit(data(), epochs=1)
    assert trained.memory.report() == ""
    assert Memory(CPU).record() is None


def test_out_of_memory_says_what_was_asked_what_there_is_and_what_to_do() -> None:
    with standin.installed(memory=MIB):
        asked = trainer()
        with pytest.raises(dl.DeviceError, match=r"^cuda:0 is out of memory; cause: .*; fix: ") as told:
            asked.predict(np.zeros((4000, 20), np.float32), batch_size=4000)
    text = str(told.value)
    for words in (
        "were asked for",
        "of its 1.0 MiB",
        "are free",
        "pool holds",
        "lower batch_size",
        "--precision mixed",
    ):
        assert words in text
    assert "\n" not in text
    assert "limit" not in text
    assert isinstance(told.value.__cause__, MemoryError)


def test_with_a_limit_the_line_names_it() -> None:
    with (
        standin.installed(),
        pytest.raises(
            dl.DeviceError, match=r"cuda:0 is out of memory; .* 128\.0 KiB at most; .*raise the memory limit"
        ),
    ):
        trainer(memory_limit="128 KiB").fit(data(4000), epochs=1, batch_size=4000)


def test_mixed_precision_is_not_advised_twice() -> None:
    with standin.installed(), pytest.raises(dl.DeviceError) as told:
        trainer(memory_limit="128KiB", precision="mixed").fit(data(4000), epochs=1, batch_size=4000)
    assert "--precision" not in str(told.value)


def test_the_runtimes_own_error_is_told_too_and_others_pass() -> None:
    for status, kind in ((2, dl.DeviceError), (700, RuntimeError)):
        with standin.installed():
            runtime = importlib.import_module("cupy").cuda.runtime
            with pytest.raises(kind) as told, Memory(resolve("cuda")).bounded():
                raise runtime.CUDARuntimeError(status)
        assert isinstance(told.value, dl.DeviceError) == (status == 2)
    with standin.installed(), pytest.raises(ZeroDivisionError), memory.told(resolve("cuda")):
        raise ZeroDivisionError


# --- dlcore train

DIGITS = ("train", "--data", "digits", "--model", "mlp", "--epochs", "1", "--baseline", "none")


def test_a_run_that_has_too_little_memory_ends_in_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    begun: list[Path] = []
    write = creation.write_settings
    monkeypatch.setattr(
        files, "write_settings", lambda folder, *args: begun.append(tmp_path / folder) or write(folder, *args)
    )
    with standin.installed():
        code = main([*DIGITS, "--device", "cuda", "--memory-limit", "300KiB", "--batch-size", "1000"])
    said = capsys.readouterr()
    assert code == 1
    assert said.err.startswith("dlcore: error: cuda:0 is out of memory; cause: ")
    assert said.err.count("\n") == 1
    assert "training: " in said.out
    assert said.out.splitlines()[-1].startswith("training: ")
    assert begun == [tmp_path / "runs/digits-mlp-001"]
    assert list((tmp_path / "runs").rglob("*")) == []


def test_a_run_reports_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with standin.installed():
        assert main([*DIGITS, "--device", "cuda", "--memory-limit", "0.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "device: cuda:0 (asked for; stand-in), memory limit 0.5"
    (line,) = (line for line in lines if line.startswith("memory: "))
    assert all(word in line for word in ("used", "pooled", "peak"))
    held = json.loads((tmp_path / "runs/digits-mlp-001/result.json").read_text())["memory"]
    assert 0 < held["used"] <= held["pooled"]
    assert held["peak"] > 0


def test_on_the_cpu_the_device_line_says_that_it_has_no_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*DIGITS, "--device", "cpu", "--memory-limit", "4GiB"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "device: cpu (asked for), memory limit 4GiB has no effect here"
    assert "memory: " not in said.out
    assert main([*DIGITS, "--memory-limit", "much"]) == 2
    assert "--memory-limit is 'much'" in capsys.readouterr().err
