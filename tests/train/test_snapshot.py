"""Which checkpoints of a run are kept, that each is whole and finite, and what a callback finds in it again."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import job
import numpy as np
import pytest

import dlcore as dl
from dlcore.train.checkpoint import snapshot


def test_the_newest_two_and_the_best_are_kept(tmp_path: Path) -> None:
    trainer = job.fit(job.trainer(tmp_path), resume=None)
    figures = trainer.history["dev_loss"]
    best = (int(np.argmin(figures)) + 1) * 6
    last = len(figures) * 6  # early stopping has put the trainer back to the best epoch
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
        job.fit(job.trainer(tmp_path, [job.Interrupt(9)]))
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
        job.fit(job.trainer(tmp_path, [job.Interrupt(2)]))
    for path in snapshot.paths(tmp_path).values():
        path.write_bytes(path.read_bytes()[:100])
    with (
        pytest.warns(UserWarning, match="falling back"),
        pytest.raises(dl.CheckpointError, match="no checkpoint can be read"),
    ):
        job.fit(job.trainer(tmp_path))


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
        job.fit(job.trainer(tmp_path, [Remember(), job.Interrupt(3)]))
    again = Remember()
    job.fit(job.trainer(tmp_path, [again]))
    assert again.state["list"][:4] == state["list"][:4]
    for found, expected in (
        (again.state["big"], state["big"]), (again.state["a/b"], state["a/b"]),
        (again.state["a"]["b"], state["a"]["b"]), (again.state["list"][4], state["list"][4]),
    ):  # fmt: skip
        np.testing.assert_array_equal(found, expected)
    assert again.state["a"]["array"] == "x"
