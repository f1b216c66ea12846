"""Hundreds of fits and predictions in one process: memory, threads, open files and time stay as they are."""

from __future__ import annotations

import gc
import os
import shutil
import statistics
import threading
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlcore as dl
from dlcore.cli import main
from dlcore.data import Dataset
from dlcore.train import Checkpoint, GradientHealth
from dlcore.train.runs.files import HealthFile, MetricsFile

WARM = 5
"""Fits after which all is loaded and compiled."""


def data() -> Dataset:
    rng = np.random.default_rng(0)
    return Dataset(rng.standard_normal((64, 8)).astype(np.float32), rng.integers(0, 3, 64))


def fit(seed: int) -> dl.Trainer:
    nn = dl.nn
    model = nn.Sequential(nn.Dense(16), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.1), nn.Dense(3))
    trainer = dl.Trainer(model, device="cpu", seed=seed)
    trainer.fit(data(), data(), epochs=2, batch_size=16, verbose=False)
    return trainer


def resident() -> int:
    """Bytes of this process's memory."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def held() -> dict[str, int]:
    gc.collect()
    return {"threads": threading.active_count(), "files": len(os.listdir("/proc/self/fd"))}


pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="counts are Linux's")


def test_further_fits_and_predictions_keep_no_thread_no_file_and_no_object() -> None:
    trainer = fit(0)
    x = data().x
    for seed in range(WARM):
        fit(seed)
    trainer.predict(x)
    before = held()
    objects = len(gc.get_objects())
    for seed in range(8):
        fit(seed)
        trainer.predict(x)
    assert held() == before
    assert len(gc.get_objects()) - objects < 100  # a fit makes some thousand


@pytest.mark.full
def test_300_fits_and_10_000_predictions_cost_as_much_at_the_end_as_at_the_beginning(
    figures: MutableMapping[str, Any],
) -> None:
    for seed in range(WARM):
        fit(seed)
    begin, memory, seconds = held(), resident(), []
    for seed in range(300):
        start = time.process_time()
        trainer = fit(seed)
        seconds.append(time.process_time() - start)
    after_fits, memory_of_fits = held(), resident() - memory
    x, of_one = data().x[:4], []
    trainer.predict(x)
    memory = resident()
    for _ in range(10_000):
        start = time.process_time()
        trainer.predict(x)
        of_one.append(time.process_time() - start)
    memory_of_predictions = resident() - memory
    first, last = statistics.median(seconds[:50]), statistics.median(seconds[-50:])
    first_one, last_one = statistics.median(of_one[:1000]), statistics.median(of_one[-1000:])
    figures["endurance"] = {
        "300 fits": {
            "MiB more": round(memory_of_fits / 2**20, 1),
            "ms of the first 50, median": round(1e3 * first, 2),
            "ms of the last 50, median": round(1e3 * last, 2),
            **{f"{name} before and after": [begin[name], after_fits[name]] for name in begin},
        },
        "10,000 predictions": {
            "MiB more": round(memory_of_predictions / 2**20, 1),
            "us of the first 1,000, median": round(1e6 * first_one, 1),
            "us of the last 1,000, median": round(1e6 * last_one, 1),
        },
    }
    assert after_fits == begin
    assert held() == begin
    assert memory_of_fits < 8 * 2**20
    assert memory_of_predictions < 8 * 2**20
    assert last < 1.5 * first
    assert last_one < 1.5 * first_one


def fixed_work() -> None:
    """Work that costs the same whenever it is done: the speed of the machine at that moment."""
    numbers = {i: str(i) for i in range(500)}
    "".join(numbers[i] for i in sorted(numbers))


class Clock(dl.train.Callback):
    """Processor seconds of each epoch, those of a fixed work after it, and what is held after some of them."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.fixed: list[float] = []
        self.held: list[tuple[dict[str, int], int]] = []

    def on_start(self, trainer: dl.Trainer) -> None:
        self.last = time.process_time()

    def on_epoch(self, trainer: dl.Trainer, record: Any) -> None:
        now = time.process_time()
        self.seconds.append(now - self.last)
        now = time.process_time()
        fixed_work()
        self.fixed.append(time.process_time() - now)
        if len(self.seconds) in (200, 10_000):
            self.held.append((held(), resident()))
        self.last = time.process_time()


def saving_callbacks(folder: Path, data: Dataset) -> list[dl.train.Callback]:
    """What ``dlcore train`` writes after each epoch."""
    health = GradientHealth(data)
    files = [MetricsFile(folder / "metrics.jsonl"), HealthFile(folder / "health.jsonl", health)]
    return [health, *files, Checkpoint(folder)]


@pytest.mark.full
def test_10_000_epochs_are_saved_at_the_cost_of_the_first(figures: MutableMapping[str, Any], tmp_path: Path) -> None:
    train, clock = data(), Clock()
    model = dl.nn.Sequential(dl.nn.Dense(4), dl.nn.ReLU(), dl.nn.Dense(3))
    trainer = dl.Trainer(model, device="cpu", callbacks=[*saving_callbacks(tmp_path, train), clock])
    trainer.fit(train, train, epochs=10_000, batch_size=64, verbose=False)
    first, last = statistics.median(clock.seconds[20:1020]), statistics.median(clock.seconds[-1000:])
    first_fixed, last_fixed = statistics.median(clock.fixed[20:1020]), statistics.median(clock.fixed[-1000:])
    (begin, memory), (end, memory_at_end) = clock.held
    figures["endurance"] = {
        "10,000 epochs with saving": {
            "ms of an epoch, first 1,000, median": round(1e3 * first, 2),
            "ms of the last 1,000, median": round(1e3 * last, 2),
            "ms of a fixed work beside the first 1,000": round(1e3 * first_fixed, 3),
            "ms of the same beside the last 1,000": round(1e3 * last_fixed, 3),
            "last to first, in units of the fixed work": round(last / first / (last_fixed / first_fixed), 3),
            "MiB more": round((memory_at_end - memory) / 2**20, 1),
            "files in the folder": len(list(tmp_path.rglob("*"))),
        },
    }
    assert end == begin
    assert last / first < 1.2 * last_fixed / first_fixed
    assert memory_at_end - memory < 64 * 2**20  # the history itself: a dict an epoch
    assert len(list(tmp_path.rglob("*"))) < 20
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 10_000


@pytest.mark.full
def test_2_000_runs_are_listed_in_two_seconds(
    figures: MutableMapping[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--data", "cars", "--epochs", "1", "--baseline", "none", "--device", "cpu", "--name", "run-0000"]
    assert main(["train", *words]) == 0
    for i in range(1, 2000):
        shutil.copytree("runs/run-0000", f"runs/run-{i:04}")
    capsys.readouterr()
    seconds = []
    for _ in range(3):
        start = time.process_time()
        assert main(["runs", "list"]) == 0
        seconds.append(time.process_time() - start)
        assert capsys.readouterr().out.count("run-") >= 2000
    figures["endurance"] = {"2,000 runs": {"s to list them, median of 3": round(statistics.median(seconds), 2)}}
    assert statistics.median(seconds) <= 2
