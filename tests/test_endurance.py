"""Hundreds of fits and predictions in one process: memory, threads, open files and time stay as they are."""

from __future__ import annotations

import gc
import os
import statistics
import threading
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlcore as dl
from dlcore.data import Dataset

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
