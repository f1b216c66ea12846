"""One small training run with everything on that has a state: what the tests of interruptions run again and again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import dlcore as dl
from dlcore.train.checkpoint import snapshot
from dlcore.train.runs.files import MetricsFile

__all__ = ["STEPS", "Interrupt", "KillSelf", "data", "ended", "fit", "streamed", "trainer"]

EPOCHS, EXAMPLES, BATCH = 4, 44, 8
STEPS = EPOCHS * -(-EXAMPLES // BATCH)


def data(seed: int = 0) -> dl.data.Dataset:
    """Three clouds of points, so near to each other that early stopping has something to choose."""
    rng = np.random.default_rng(seed)
    y = np.arange(EXAMPLES) % 3
    return dl.data.Dataset((rng.standard_normal((EXAMPLES, 5)) + y[:, None]).astype(np.float32), y)


def streamed(source: dl.data.Dataset) -> Any:
    """The same examples from a function that returns an iterator."""

    def examples() -> Iterator[tuple[Any, ...]]:
        return (source[i] for i in range(len(source)))

    return examples


def trainer(
    folder: Path,
    before: Sequence[dl.train.Callback] = (),
    after: Sequence[dl.train.Callback] = (),
    *,
    every: int = 1,
    width: int = 8,
    device: Any = "cpu",
) -> dl.Trainer:
    """Dropout, batch norm, shuffling, Adam, a schedule, early stopping and a penalty.

    before, after : callbacks that run before and after the one that saves
    every : steps between two saves
    """
    nn = dl.nn
    model = nn.Sequential(
        nn.Dense(width), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.3), nn.Dense(6), nn.LeakyReLU(), nn.Dense(3)
    )
    return dl.Trainer(
        model,
        optimizer=dl.optim.Adam(0.02),
        metrics=["accuracy", "f1"],
        schedule=dl.optim.Warmup(5, dl.optim.Cosine(EPOCHS)),
        penalty=dl.optim.L2(0.1, examples=EXAMPLES),  # which an iterator does not tell
        clip=dl.optim.clip_by_norm(1.0),
        device=device,
        seed=3,
        callbacks=[
            MetricsFile(folder / "metrics.jsonl"),
            dl.train.EarlyStopping(patience=2, monitor="dev_accuracy"),
            *before,
            dl.train.Checkpoint(folder, every_steps=every),
            *after,
        ],
    )


def fit(run: dl.Trainer, resume: str | Path | None = "auto", train: Any = None) -> dl.Trainer:
    """Train to the end, or to wherever it ends."""
    run.fit(data() if train is None else train, data(1), epochs=EPOCHS, batch_size=BATCH, resume=resume)
    return run


def ended(folder: Path) -> dict[str, bytes]:
    """What must be the same bytes however often a run was interrupted: θ, the optimiser's state, the figures."""
    last = snapshot.newest(folder)
    assert last is not None
    arrays = {
        f"{part} {name}": np.asarray(value).tobytes()
        for part in ("model", "optimizer")
        for name, value in sorted(last.plain[part].items())
    }
    files = {name: (folder / name).read_bytes() for name in ("metrics.jsonl", "model.safetensors")}
    return {**arrays, **files, "step": str(last.step).encode()}


class Interrupt(dl.train.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: dl.Trainer) -> None:
        if trainer.step == self.step:
            trainer.interrupt("SIGTERM")


class KillSelf(dl.train.Callback):
    """Kill -9 this process after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: dl.Trainer) -> None:
        if trainer.step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)
