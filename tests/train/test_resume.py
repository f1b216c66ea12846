"""A run that was interrupted and goes on is the run that never was: the same bytes, wherever it was cut."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import job
import numpy as np
import pytest
from arrays import Backend

import dlcore as dl
from dlcore.train import snapshot
from dlcore.train.run import MetricsFile

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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run that was never interrupted leaves."""
    folder = tmp_path_factory.mktemp("whole")
    job.fit(job.trainer(folder), resume=None)
    return job.ended(folder)


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
    job.fit(job.trainer(tmp_path / "whole", width=192), resume=None)
    counted = killed_runs(tmp_path / "killed", "random", "100", "1")
    whole = job.ended(tmp_path / "whole")
    folders = sorted((tmp_path / "killed").iterdir())
    for folder in folders:
        assert job.ended(folder) == whole
    figures["survival"] = {"random kills": {**counted, "ended with the same bytes": len(folders)}}
    assert counted["killed"] >= 100
    assert counted["killed while writing"] >= 1


# Interruptions between steps, on every kind of array and of data -----------------------------------------------------


class Interrupt(dl.train.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: dl.Trainer) -> None:
        if trainer.step == self.step:
            trainer.interrupt("SIGTERM")


def test_a_run_interrupted_anywhere_ends_the_same_on_every_kind_of_array(arrays: Backend, tmp_path: Path) -> None:
    device = arrays.device
    whole = job.fit(job.trainer(tmp_path / "whole", device=device), resume=None)
    for step in (1, 5, 6, 7, 13, len(whole.history) * 6):  # within an epoch, at its end, at its start, at the end
        folder = tmp_path / str(step)
        with pytest.raises(dl.train.Interrupted, match="by SIGTERM"):
            job.fit(job.trainer(folder, [Interrupt(step)], every=100, device=device))
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
            _fit_images(_on_images(tmp_path / str(step), augment, Interrupt(step), device=device))
        _fit_images(_on_images(tmp_path / str(step), augment, device=device))
        assert job.ended(tmp_path / str(step)) == job.ended(tmp_path / "whole")
    _fit_images(_on_images(tmp_path / "plain", None, device=device))
    assert job.ended(tmp_path / "plain") != job.ended(tmp_path / "whole")


@pytest.mark.parametrize("other", [None, AUGMENT.Flip(0.2), AUGMENT.Compose([AUGMENT.Flip()])])
def test_another_augmentation_is_refused(other: Any, tmp_path: Path) -> None:
    with pytest.raises(dl.train.Interrupted):
        _fit_images(_on_images(tmp_path, AUGMENT.Flip(), Interrupt(4)))
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
    job.fit(job.trainer(tmp_path / "whole"), resume=None, train=train)
    with pytest.raises(dl.train.Interrupted):
        job.fit(job.trainer(tmp_path / "cut", [Interrupt(9)]), train=train)
    job.fit(job.trainer(tmp_path / "cut"), train=train)
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
        job.fit(job.trainer(tmp_path / "cut", [Freeze(), Interrupt(4)]))
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


# What is kept --------------------------------------------------------------------------------------------------------


def test_the_newest_two_and_the_best_are_kept(tmp_path: Path) -> None:
    trainer = job.fit(job.trainer(tmp_path), resume=None)
    figures = trainer.history["dev_loss"]
    best = (int(np.argmin(figures)) + 1) * 6
    last = trainer.step
    assert set(snapshot.paths(tmp_path)) == {best, last - 1, last}


def test_minutes_count_too(tmp_path: Path) -> None:
    model = dl.nn.Dense(3)
    checkpoint = dl.train.Checkpoint(tmp_path, every_minutes=1e-9, keep=100)
    dl.Trainer(model, device="cpu", callbacks=[checkpoint]).fit(job.data(), epochs=1, batch_size=8)
    assert list(snapshot.paths(tmp_path)) == [1, 2, 3, 4, 5, 6]


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_says_so(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    with pytest.raises(dl.train.Interrupted):
        job.fit(job.trainer(tmp_path, [Interrupt(9)]))
    newest = snapshot.paths(tmp_path)[9]
    content = bytearray(newest.read_bytes())
    content[-5] ^= 1  # one bit of one weight
    newest.write_bytes(content)
    with pytest.warns(UserWarning, match="step-00000009") as caught:
        job.fit(job.trainer(tmp_path))
    fallen, aside = (str(warning.message) for warning in caught)
    assert re.search(r"step-00000009.*checksum.*falling back to the checkpoint before", fallen)
    assert re.search(r"step-00000009.safetensors is put aside as step-00000009.aside", aside)
    assert newest.with_suffix(".aside").read_bytes() == content
    assert job.ended(tmp_path) == whole


def test_where_every_checkpoint_is_damaged_nothing_is_started_anew(tmp_path: Path) -> None:
    with pytest.raises(dl.train.Interrupted):
        job.fit(job.trainer(tmp_path, [Interrupt(2)]))
    for path in snapshot.paths(tmp_path).values():
        path.write_bytes(path.read_bytes()[:100])
    with (
        pytest.warns(UserWarning, match="falling back"),
        pytest.raises(dl.CheckpointError, match="no checkpoint can be read"),
    ):
        job.fit(job.trainer(tmp_path))


# What does not fit ---------------------------------------------------------------------------------------------------


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """The folder of a run that was interrupted."""
    with pytest.raises(dl.train.Interrupted):
        job.fit(job.trainer(tmp_path / "cut", [Interrupt(9)]))
    return tmp_path / "cut"


def test_another_run_does_not_begin_where_checkpoints_are(cut: Path) -> None:
    before = snapshot.paths(cut)
    with pytest.raises(dl.ConfigError, match=r"checkpoints of another run, up to step 9.*resume='auto'"):
        job.fit(job.trainer(cut), resume=None)
    assert snapshot.paths(cut) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 4}, "seed was 3 in .* but is 4"),
        ({"optimizer": dl.optim.SGD(0.02)}, "optimizer was Adam"),
        ({"optimizer": dl.optim.Adam(0.02, beta1=0.8)}, "optimizer was Adam"),
        ({"penalty": None}, "penalty was L2"),
        ({"clip": None}, "clip was clip_by_norm"),
        ({"loss": lambda outputs, y: outputs.sum(), "metrics": []}, "loss was 1 cross_entropy"),
        ({"metrics": ["accuracy"]}, "metrics was accuracy, f1"),
        ({"callbacks": []}, "EarlyStopping, which is not among the callbacks"),
    ],
)
def test_other_settings_are_refused(change: dict[str, Any], words: str, cut: Path) -> None:
    usual = job.trainer(cut)
    settings = {
        name: getattr(usual, name)
        for name in ("model", "optimizer", "schedule", "penalty", "clip", "device", "seed", "callbacks")
    }
    settings["metrics"] = ["accuracy", "f1"]
    with pytest.raises(dl.ConfigError, match=words):
        job.fit(dl.Trainer(**{**settings, **change}), resume=cut)


def test_other_data_or_batches_are_refused(cut: Path) -> None:
    with pytest.raises(dl.ConfigError, match=r"the training data of .* were others"):
        job.fit(job.trainer(cut), train=job.data(seed=5))
    with pytest.raises(dl.ConfigError, match="batch_size was 8"):
        job.trainer(cut).fit(job.data(), job.data(1), epochs=4, batch_size=16, resume="auto")


def test_another_learning_rate_is_taken_and_said(cut: Path) -> None:
    trainer = job.trainer(cut)
    trainer.optimizer = dl.optim.Adam(0.001)
    trainer.lr = 0.001
    with pytest.warns(UserWarning, match=r"learning rate was 0\.02 and is 0\.001"):
        job.fit(trainer)
    assert trainer.history["lr"][-1] < 0.001


def test_another_library_or_thread_count_is_said(cut: Path) -> None:
    trainer = job.trainer(cut)
    trainer.threads = 2
    with pytest.warns(UserWarning, match=r"threads was 1 and is 2; the run goes on, but not to the same bits"):
        job.fit(trainer)


def test_a_model_of_another_shape_is_refused(cut: Path) -> None:
    with pytest.raises(dl.ConfigError, match=r"layer '0' was Dense .*'units': 8.* but is Dense .*'units': 9"):
        job.fit(job.trainer(cut, width=9))


def _file(cut: Path) -> Path:
    return list(snapshot.paths(cut).values())[-1]


def test_foreign_and_later_files_are_named(cut: Path, tmp_path: Path) -> None:
    weights = dl.save_weights(dl.nn.Dense(2).build((2,)), tmp_path / "weights.safetensors")
    with pytest.raises(dl.CheckpointError, match=r"weights\.safetensors: a safetensors file, but no checkpoint"):
        job.fit(job.trainer(cut), resume=weights)
    state = snapshot.read(_file(cut)).plain
    arrays, metadata = dl.train.checkpoint.read_arrays(_file(cut))
    dl.train.checkpoint.write_arrays(_file(cut), arrays, {**metadata, "version": "7"})
    with pytest.raises(dl.CheckpointError, match=r"format 7.*reads format 1.*update dlcore"):
        job.fit(job.trainer(cut))
    for path in list(snapshot.paths(cut).values())[:-1]:
        path.unlink()
    del state["model"]
    snapshot.write(_file(cut), state)
    with pytest.raises(dl.CheckpointError, match=r"no checkpoint can be read.*its state cannot be read .KeyError"):
        job.fit(job.trainer(cut))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epoch", "three"), ("lr", None), ("optimizer", {"steps": "x"}), ("segments", {"0.w": 1}),
        ("callbacks", [{}]), ("callbacks", [{"type": "EarlyStopping", "state": {"best": 1}}]),
        ("progress", {"batches": "x"}), ("model", {}), ("history", {}),
    ],
)  # fmt: skip
def test_a_state_that_makes_no_sense_is_one_line_with_the_file(name: str, value: Any, cut: Path) -> None:
    path = _file(cut)
    snapshot.write(path, {**snapshot.read(path).plain, name: value})
    with pytest.raises(dl.CheckpointError, match=path.name) as caught:
        job.fit(job.trainer(cut), resume=path)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_cannot_be_read_is_not_taken_for_damaged(cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest, read = _file(cut), Path.read_bytes

    def fail(self: Path) -> bytes:
        if self == newest:
            raise OSError(24, "Too many open files")
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(dl.CheckpointError, match=r"cannot be read \(Too many open files"):
        job.fit(job.trainer(cut))
    assert newest.exists()


def test_a_callback_whose_state_no_file_can_hold_is_named(tmp_path: Path) -> None:
    class Odd(dl.train.Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"seen": {1, 2}}

    with pytest.raises(dl.ConfigError, match=r"callbacks/2 \(Odd\)/state/seen"):
        job.fit(job.trainer(tmp_path, [Odd()]))


def test_what_a_callback_remembers_comes_back_as_it_was(tmp_path: Path) -> None:
    state = {
        "big": np.arange(3, dtype=">f8"), "a/b": np.ones(2), "a": {"b": np.zeros(2), "array": "x"},
        "list": [None, True, 1.5, "text", np.array([], dtype=np.int16)],
    }  # fmt: skip

    class Remember(dl.train.Callback):
        def __init__(self) -> None:
            self.state: Any = {}

        def state_dict(self) -> dict[str, Any]:
            return state

        def load_state_dict(self, state: Any) -> None:
            self.state = state

    with pytest.raises(dl.train.Interrupted):
        job.fit(job.trainer(tmp_path, [Remember(), Interrupt(3)]))
    again = Remember()
    job.fit(job.trainer(tmp_path, [again]))
    assert again.state["list"][:4] == state["list"][:4]
    for found, expected in (
        (again.state["big"], state["big"]), (again.state["a/b"], state["a/b"]),
        (again.state["a"]["b"], state["a"]["b"]), (again.state["list"][4], state["list"][4]),
    ):  # fmt: skip
        np.testing.assert_array_equal(found, expected)
    assert again.state["a"]["array"] == "x"


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
        job.fit(job.trainer(tmp_path / "cut", [Halve(), Interrupt(step)], every=100))
    job.fit(job.trainer(tmp_path / "cut", [Halve()], every=100))
    assert job.ended(tmp_path / "cut") == job.ended(tmp_path / "whole")


def test_a_script_of_two_fits_goes_on_in_the_second(tmp_path: Path) -> None:
    def script(folder: Path, stop: int = -1) -> dl.Trainer:
        trainer = job.trainer(folder, [Interrupt(stop)], every=2)
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
        job.fit(turned(tmp_path, Interrupt(9)))
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


def test_checkpoints_of_another_run_and_newer_ones_are_never_deleted(cut: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    job.fit(job.trainer(other), resume=None)
    before = {path: path.read_bytes() for path in snapshot.paths(cut).values()}
    with pytest.raises(dl.ConfigError, match="checkpoints of another run"):
        job.fit(job.trainer(cut), resume=other)
    assert {path: path.read_bytes() for path in before} == before
    *_, early, late = before
    with pytest.warns(UserWarning, match="is put aside"):
        job.fit(job.trainer(cut), resume=early)
    assert late.with_suffix(".aside").read_bytes() == before[late]


def test_a_folder_of_another_model_is_refused_and_its_weights_stay(tmp_path: Path) -> None:
    other = dl.Trainer(dl.nn.Dense(3), device="cpu", callbacks=[dl.train.Checkpoint(tmp_path)])
    other.fit(job.data(), epochs=1)
    weights = (tmp_path / "model.safetensors").read_bytes()
    for path in snapshot.paths(tmp_path).values():
        path.unlink()
    with pytest.raises(dl.ConfigError, match=r"model\.json is of another model"):
        job.fit(job.trainer(tmp_path))
    assert (tmp_path / "model.safetensors").read_bytes() == weights


def test_an_iterator_that_blocks_does_not_keep_a_run_from_ending(tmp_path: Path) -> None:
    never = threading.Event()

    def examples() -> Any:
        yield from (job.data()[i] for i in range(16))
        never.wait()

    started = time.monotonic()
    with pytest.raises(dl.train.Interrupted):
        job.fit(job.trainer(tmp_path, [Interrupt(1)]), train=examples)
    never.set()
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("resume", "error", "words"),
    [
        ("nowhere", dl.CheckpointError, "no file or folder nowhere"),
        (".", dl.CheckpointError, "holds no checkpoint"),
    ],
)
def test_a_place_without_checkpoints_is_named(
    resume: str, error: type, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words):
        job.fit(job.trainer(tmp_path / "run"), resume=resume)


def test_auto_needs_a_checkpoint_callback() -> None:
    with pytest.raises(dl.ConfigError, match="needs a Checkpoint among the callbacks"):
        dl.Trainer(dl.nn.Dense(3), device="cpu").fit(job.data(), resume="auto")


# Nothing poisoned, nothing half-written ------------------------------------------------------------------------------


def test_no_checkpoint_holds_nan_and_the_error_names_the_last_good_one(tmp_path: Path) -> None:
    class Poison(dl.train.Callback):
        def on_step(self, trainer: dl.Trainer) -> None:
            if trainer.step == 9:
                trainer.model.vector.theta[...] = np.nan

    with pytest.raises(
        dl.TrainingError, match=r"not finite in epoch 2, step 9; the last good checkpoint is .*-00000008"
    ):
        job.fit(job.trainer(tmp_path, [Poison()]))
    with pytest.raises(dl.TrainingError, match=r"the loss is nan in epoch 2, step 10; .*step-00000006"):
        job.fit(job.trainer(tmp_path / "epochs", [Poison()], every=1000))
    for folder in (tmp_path, tmp_path / "epochs"):
        for path in snapshot.paths(folder).values():
            arrays, _ = dl.train.checkpoint.read_arrays(path)
            assert all(np.isfinite(array).all() for array in arrays.values())
        assert not (folder / "model.safetensors").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files is a POSIX matter")
def test_a_full_disk_leaves_the_last_good_checkpoint(cut: Path) -> None:
    import resource

    class Full(dl.train.Callback):
        def on_step(self, trainer: dl.Trainer) -> None:
            if trainer.step == 12:
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(dl.CheckpointError, match=r"step-00000012.*cannot be written \(File too large\)"):
            job.fit(job.trainer(cut, [Full()]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert max(snapshot.paths(cut)) == 11
    assert not list(cut.rglob(".*.tmp"))
    job.fit(job.trainer(cut))


# Signals -------------------------------------------------------------------------------------------------------------


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
