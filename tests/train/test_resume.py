"""A run that was interrupted and goes on is the run that never was: the same bytes, wherever it was cut."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import job
import numpy as np
import pytest
from arrays import Backend

import dlcore as dl
from dlcore.train.runs.files import MetricsFile

TESTS = Path(__file__).parents[1]


def killed_runs(folder: Path, *how: str) -> dict[str, int]:
    """What ``killed_runs.py`` counted."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS.parent), str(TESTS)))}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # a process with one thread is safe to fork
    done = subprocess.run(
        [sys.executable, TESTS / "killed_runs.py", folder, *how],
        capture_output=True, text=True, env=environment, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


# Real processes, kill -9 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_killed_after_every_step_ends_with_the_same_bytes(
    when: str, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    counted = killed_runs(tmp_path, "steps", when)
    assert counted["killed"] >= 12  # early stopping may have ended it
    assert job.ended(tmp_path) == whole


def test_a_run_killed_in_every_stage_of_a_save_ends_with_the_same_bytes(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    counted = killed_runs(tmp_path, "stages")
    assert counted["killed"] >= 20
    assert counted["killed while writing"] >= 10
    assert job.ended(tmp_path) == whole
    assert not list(tmp_path.rglob(".*.tmp"))


@pytest.mark.full
def test_a_hundred_random_kills_change_nothing(tmp_path: Path, figures: MutableMapping[str, Any]) -> None:
    job.fit(job.trainer(tmp_path / "whole", width=768), resume=None)
    counted = killed_runs(tmp_path / "killed", "random", "100", "1")
    whole = job.ended(tmp_path / "whole")
    folders = sorted((tmp_path / "killed").iterdir())
    for folder in folders:
        assert job.ended(folder) == whole
    figures["survival"] = {"random kills": {**counted, "ended with the same bytes": len(folders)}}
    assert counted["killed"] >= 100
    assert counted["killed while writing"] >= 1


# Interruptions between steps, on every kind of array and of data -----------------------------------------------------


def test_a_run_interrupted_anywhere_ends_the_same_on_every_kind_of_array(arrays: Backend, tmp_path: Path) -> None:
    device = arrays.device
    whole = job.fit(job.trainer(tmp_path / "whole", device=device), resume=None)
    for step in (1, 5, 6, 7, 13, len(whole.history) * 6):  # within an epoch, at its end, at its start, at the end
        folder = tmp_path / str(step)
        with pytest.raises(dl.train.Interrupted, match="by SIGTERM"):
            job.fit(job.trainer(folder, [job.Interrupt(step)], every=100, device=device))
        job.fit(job.trainer(folder, every=100, device=device))
        assert job.ended(folder) == job.ended(tmp_path / "whole")


AUGMENT = dl.data.augment


def _on_images(folder: Path, augment: Any, *callbacks: dl.train.Callback, device: Any = "cpu") -> dl.Trainer:
    """A small convolution on random images, each batch of which is augmented."""
    model = dl.nn.Sequential(dl.nn.Conv2D(3, 3), dl.nn.ReLU(), dl.nn.Dropout(0.2), dl.nn.Flatten(), dl.nn.Dense(3))
    metrics = MetricsFile(folder / "metrics.jsonl")
    saved = [metrics, *callbacks, dl.train.Checkpoint(folder, every_steps=100)]
    return dl.Trainer(model, metrics=["accuracy"], device=device, seed=3, callbacks=saved, augment=augment)


def _fit_images(trainer: dl.Trainer) -> dl.Trainer:
    x = np.random.default_rng(0).standard_normal((22, 6, 5, 1)).astype(np.float32)
    trainer.fit(dl.data.Dataset(x, np.arange(22) % 3), epochs=3, batch_size=8, resume="auto")
    return trainer


def test_an_augmented_run_interrupted_anywhere_ends_the_same(arrays: Backend, tmp_path: Path) -> None:
    augment = AUGMENT.Compose(
        [
            AUGMENT.Flip(), AUGMENT.Rotate(20), AUGMENT.Zoom(0.8, 1.2), AUGMENT.Shift(1), AUGMENT.Crop(size=4),
            AUGMENT.Brightness(0.2), AUGMENT.Cutout(2),
        ]
    )  # fmt: skip
    device = arrays.device
    _fit_images(_on_images(tmp_path / "whole", augment, device=device))
    for step in range(1, 10):
        with pytest.raises(dl.train.Interrupted, match="by SIGTERM"):
            _fit_images(_on_images(tmp_path / str(step), augment, job.Interrupt(step), device=device))
        _fit_images(_on_images(tmp_path / str(step), augment, device=device))
        assert job.ended(tmp_path / str(step)) == job.ended(tmp_path / "whole")
    _fit_images(_on_images(tmp_path / "plain", None, device=device))
    assert job.ended(tmp_path / "plain") != job.ended(tmp_path / "whole")


@pytest.mark.parametrize("other", [None, AUGMENT.Flip(0.2), AUGMENT.Compose([AUGMENT.Flip()])])
def test_another_augmentation_is_refused(other: Any, tmp_path: Path) -> None:
    with pytest.raises(dl.train.Interrupted):
        _fit_images(_on_images(tmp_path, AUGMENT.Flip(), job.Interrupt(4)))
    with pytest.raises(dl.ConfigError, match=r"augmentation was Flip\(\) in .* but is .*; give the same"):
        _fit_images(_on_images(tmp_path, other))
    _fit_images(_on_images(tmp_path, AUGMENT.Flip()))


class Slow:
    """The job's examples, one at a time."""

    def __init__(self, source: dl.data.Dataset) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> tuple[Any, ...]:
        return self.source[i]


@pytest.mark.parametrize("kind", [Slow, job.streamed])
def test_a_run_on_data_beyond_memory_is_resumed_too(kind: Any, tmp_path: Path) -> None:
    train = kind(job.data())

    def trainer(folder: Path, *before: dl.train.Callback) -> dl.Trainer:
        made = job.trainer(folder, before)
        made.penalty = dl.optim.L2(0.1, examples=len(job.data()))
        return made

    job.fit(trainer(tmp_path / "whole"), resume=None, train=train)
    with pytest.raises(dl.train.Interrupted):
        job.fit(trainer(tmp_path / "cut", job.Interrupt(9)), train=train)
    job.fit(trainer(tmp_path / "cut"), train=train)
    assert job.ended(tmp_path / "cut") == job.ended(tmp_path / "whole")


def test_an_indexed_object_trains_as_the_arrays_do(tmp_path: Path) -> None:
    job.fit(job.trainer(tmp_path / "arrays"), resume=None)
    job.fit(job.trainer(tmp_path / "indexed"), resume=None, train=Slow(job.data()))
    assert job.ended(tmp_path / "arrays") == job.ended(tmp_path / "indexed")


def test_the_settings_of_segments_and_the_learning_rate_survive(tmp_path: Path) -> None:
    class Freeze(dl.train.Callback):
        def on_step(self, trainer: dl.Trainer) -> None:
            if trainer.step == 3:
                trainer.model.freeze("0")
                trainer.model.vector.scale_lr("4.w", 0.5)
                trainer.set_lr(0.005)

    job.fit(job.trainer(tmp_path / "whole", [Freeze()]), resume=None)
    with pytest.raises(dl.train.Interrupted):
        job.fit(job.trainer(tmp_path / "cut", [Freeze(), job.Interrupt(4)]))
    job.fit(job.trainer(tmp_path / "cut", [Freeze()]))
    assert job.ended(tmp_path / "cut") == job.ended(tmp_path / "whole")


def test_a_finished_run_goes_on_for_more_epochs(tmp_path: Path) -> None:
    def run(epochs: int, resume: str | None) -> dl.Trainer:
        model = dl.nn.Sequential(dl.nn.Dense(8), dl.nn.Dropout(0.5), dl.nn.Dense(3))
        trainer = dl.Trainer(model, device="cpu", callbacks=[dl.train.Checkpoint(tmp_path / (resume or "whole"))])
        trainer.fit(job.data(), epochs=epochs, batch_size=8, resume="auto" if resume else None)
        return trainer

    run(2, "cut")
    assert np.array_equal(run(5, "cut").model.vector.theta, run(5, None).model.vector.theta)


# The same run, whatever callbacks do ---------------------------------------------------------------------------------


class Halve(dl.train.Callback):
    """Change things at every place where a callback may."""

    def on_start(self, trainer: dl.Trainer) -> None:
        trainer.set_lr(0.02)
        trainer.model.freeze("0.w")

    def on_epoch_start(self, trainer: dl.Trainer) -> None:
        trainer.set_lr(trainer.lr * 0.5)

    def on_step(self, trainer: dl.Trainer) -> None:
        if trainer.step == 7:
            trainer.model.unfreeze("0.w")
        if trainer.step == 14:
            trainer.stop()  # ends after the third epoch


@pytest.mark.parametrize("step", [1, 6, 7, 8, 12, 13, 14, 15, 18])
def test_callbacks_that_change_the_run_are_not_asked_twice(step: int, tmp_path: Path) -> None:
    job.fit(job.trainer(tmp_path / "whole", [Halve()]), resume=None)
    with pytest.raises(dl.train.Interrupted):
        job.fit(job.trainer(tmp_path / "cut", [Halve(), job.Interrupt(step)], every=100))
    job.fit(job.trainer(tmp_path / "cut", [Halve()], every=100))
    assert job.ended(tmp_path / "cut") == job.ended(tmp_path / "whole")


def test_a_script_of_two_fits_goes_on_in_the_second(tmp_path: Path) -> None:
    def script(folder: Path, stop: int = -1) -> dl.Trainer:
        trainer = job.trainer(folder, [job.Interrupt(stop)], every=2)
        trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, dl.train.EarlyStopping)]
        trainer.model.build((5,), seed=3)
        trainer.model.freeze("0.w")
        trainer.fit(job.data(), job.data(1), epochs=2, batch_size=8, resume="auto")
        trainer.model.unfreeze("0.w")
        trainer.fit(job.data(), job.data(1), epochs=2, batch_size=8, resume="auto")
        return trainer

    script(tmp_path / "whole")
    for step in (3, 12, 13, 20):
        with pytest.raises(dl.train.Interrupted):
            script(tmp_path / str(step), step)
        assert script(tmp_path / str(step)).step == 24
        assert job.ended(tmp_path / str(step)) == job.ended(tmp_path / "whole"), step


def test_the_place_of_the_checkpoint_in_the_list_does_not_matter(tmp_path: Path, whole: dict[str, bytes]) -> None:
    def turned(folder: Path, *more: dl.train.Callback) -> dl.Trainer:
        trainer = job.trainer(folder, more)
        trainer.callbacks.reverse()
        return trainer

    with pytest.raises(dl.train.Interrupted):
        job.fit(turned(tmp_path, job.Interrupt(9)))
    job.fit(turned(tmp_path))
    assert job.ended(tmp_path) == whole


def test_an_evaluation_in_a_callback_is_never_cut(tmp_path: Path, whole: dict[str, bytes]) -> None:
    class Look(dl.train.Callback):
        def on_step(self, trainer: dl.Trainer) -> None:
            if trainer.step == 9:
                trainer.interrupt("SIGTERM")
                assert trainer.evaluate(job.data(1))["loss"] > 0

    with pytest.raises(dl.train.Interrupted):
        job.fit(job.trainer(tmp_path, [Look()]))
    job.fit(job.trainer(tmp_path))
    assert job.ended(tmp_path) == whole


def test_a_fit_inside_a_fit_is_refused() -> None:
    class Again(dl.train.Callback):
        def on_step(self, trainer: dl.Trainer) -> None:
            trainer.fit(job.data())

    with pytest.raises(dl.ConfigError, match="inside a fit"):
        dl.Trainer(dl.nn.Dense(3), device="cpu", callbacks=[Again()]).fit(job.data())
