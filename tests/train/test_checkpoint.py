"""Weights in files: whole, exact, and refused with a reason."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from arrays import Backend

import dlcore as dl
from dlcore.train.checkpoint.arrays import read_weights, write_atomically


def _model(kind: Backend | None = None, units: int = 3) -> dl.nn.Module:
    model = dl.nn.Sequential(dl.nn.Dense(4), dl.nn.BatchNorm(), dl.nn.Dense(units))
    return model.build((5,), seed=1) if kind is None else model.build((5,), seed=1, device=kind.device)


def test_weights_come_back_to_the_bit_on_every_kind_of_array(arrays: Backend, tmp_path: Path) -> None:
    model = _model(arrays)
    path = dl.save_weights(model, tmp_path / "m.safetensors")
    other = _model(arrays)
    other.vector.theta[...] = 0.0
    dl.load_weights(other, path)
    for name, value in model.state_dict().items():
        assert other.state_dict()[name].tobytes() == value.tobytes(), name


def test_a_transposed_view_is_stored_as_it_reads(tmp_path: Path) -> None:
    class Turned(dl.nn.Module):
        def forward(self, x: object) -> object:
            return x

        def state_dict(self) -> dict[str, np.ndarray]:
            return {"w": np.arange(6.0).reshape(2, 3).T}

    path = dl.save_weights(Turned(), tmp_path / "m.safetensors")
    assert np.array_equal(read_weights(path)["w"], np.arange(6.0).reshape(2, 3).T)


def test_weights_of_another_model_are_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    path = dl.save_weights(_model(units=7), tmp_path / "m.safetensors")
    model = _model()
    before = model.state_dict()
    with pytest.raises(dl.CheckpointError, match=r"2\.w has shape \(4, 7\) but \(4, 3\)"):
        dl.load_weights(model, path)
    assert all(np.array_equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"not safetensors at all", b"\xff" * 64])
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(dl.CheckpointError, match=r"m\.safetensors: not a readable") as caught:
        dl.load_weights(_model(), path)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = dl.save_weights(_model(), tmp_path / "m.safetensors")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(dl.CheckpointError, match="not a readable"):
        dl.load_weights(_model(), path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(dl.CheckpointError, match="no such file"):
        dl.load_weights(_model(), tmp_path / "m.safetensors")


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_atomically(tmp_path / "f", lambda: b"old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(dl.CheckpointError, match="No space left"):
        write_atomically(path, lambda: b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(dl.CheckpointError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "below", lambda: b"x")
