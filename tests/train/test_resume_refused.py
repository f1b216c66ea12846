"""Checkpoints that do not fit the run that asks for them: refused, or taken and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import job
import pytest

import dlcore as dl
from dlcore.train.checkpoint import arrays, snapshot


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
    held, metadata = dl.train.checkpoint.read_arrays(_file(cut))
    dl.train.checkpoint.write_arrays(_file(cut), held, {**metadata, "version": "7"})
    with pytest.raises(dl.CheckpointError, match=r"format 7.*reads format 1.*update dlcore"):
        job.fit(job.trainer(cut))
    for path in list(snapshot.paths(cut).values())[:-1]:
        path.unlink()
    del state["model"]
    snapshot.write(_file(cut), state)
    with pytest.raises(dl.CheckpointError, match=r"no checkpoint can be read.*state cannot be read .model is missing"):
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
    newest, read = _file(cut), arrays.read_regular

    def fail(path: Path, **options: bool) -> bytes:
        if path == newest:
            raise OSError(24, "Too many open files")
        return read(path, **options)

    monkeypatch.setattr(arrays, "read_regular", fail)
    with pytest.raises(dl.CheckpointError, match=r"cannot be read \(Too many open files"):
        job.fit(job.trainer(cut))
    assert newest.exists()


def test_a_folder_of_another_model_is_refused_and_its_weights_stay(tmp_path: Path) -> None:
    other = dl.Trainer(dl.nn.Dense(3), device="cpu", callbacks=[dl.train.Checkpoint(tmp_path)])
    other.fit(job.data(), epochs=1)
    weights = (tmp_path / "model.safetensors").read_bytes()
    for path in snapshot.paths(tmp_path).values():
        path.unlink()
    with pytest.raises(dl.ConfigError, match=r"model\.json is of another model"):
        job.fit(job.trainer(tmp_path))
    assert (tmp_path / "model.safetensors").read_bytes() == weights


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
