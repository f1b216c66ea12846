"""``load_model``: the trained weights of a run, in evaluation mode; a model.json alone gives a new model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn
from dlcore.errors import CheckpointError
from dlcore.train.checkpoint.model_json import new_model, save_about, save_model
from dlcore.train.config import config
from dlcore.train.runs.creation import write_settings
from dlcore.train.runs.load import load_model
from dlcore.train.runs.run import Run

X = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
Y = np.arange(12) % 2


def network() -> nn.Sequential:
    return nn.Sequential(nn.Dense(4), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.5), nn.Dense(2))


def trained(folder: Path) -> dl.Trainer:
    """A trainer whose checkpoints are in ``folder``, with the model.json of its model."""
    trainer = dl.Trainer(network(), device="cpu", callbacks=[dl.train.Checkpoint(folder)])
    trainer.fit(dl.data.Dataset(X, Y), epochs=2, batch_size=4)
    save_model(folder / "model.json", trainer.model, about={"task": "classification"})
    return trainer


def answers(model: nn.Module) -> bytes:
    return model(X).numpy().tobytes()


def test_the_weights_at_the_end_come_in_evaluation_mode(tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    model, about = load_model(tmp_path)
    assert about == {"task": "classification"}
    assert not any(layer.training for _, layer in model.named_modules())
    assert answers(model) == answers(trainer.model.eval())  # running statistics too
    assert answers(model) == answers(model)  # dropout is off


def test_a_run_that_is_not_finished_gives_the_newest_checkpoint(tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert answers(load_model(tmp_path)[0]) == answers(trainer.model.eval())


def test_weights_that_were_saved_by_hand_are_taken(tmp_path: Path) -> None:
    made = network().build((3,), seed=5)
    save_model(tmp_path / "model.json", made)
    dl.save_weights(made, tmp_path / "model.safetensors")
    assert answers(load_model(tmp_path)[0]) == answers(made.eval())
    assert Run(tmp_path).weights()[1] == "the weights at the end"


def test_a_checkpoint_is_taken_before_weights_that_were_saved_by_hand_beside_it(tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    dl.save_weights(network().build((3,), seed=5), tmp_path / "model.safetensors")
    assert answers(load_model(tmp_path)[0]) == answers(trainer.model.eval())


def test_a_model_json_alone_gives_a_new_model_in_training_mode(tmp_path: Path) -> None:
    save_model(tmp_path / "model.json", network().build((3,), seed=5))
    model, _ = load_model(tmp_path)
    assert model.training
    fresh = network().build((3,), seed=0)
    assert answers(model.eval()) == answers(fresh.eval())


def test_a_run_without_weights_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path / "model.json", network().build((3,)))
    write_settings(tmp_path, config.Config.of(data="digits", model="mlp"))
    with pytest.raises(CheckpointError, match="no weights yet"):
        load_model(tmp_path)
    assert new_model(tmp_path)[0].training


def test_damaged_weights_give_no_new_ones(tmp_path: Path) -> None:
    trained(tmp_path)
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    content[-3] ^= 0xFF
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(tmp_path)


def test_what_has_no_layers_says_so(tmp_path: Path) -> None:
    save_about(tmp_path / "model.json", (3,), {"model": "knn"}, "knn has no layers")
    with pytest.raises(CheckpointError, match="knn has no layers"):
        load_model(tmp_path)


def test_a_loaded_model_is_trained_on(tmp_path: Path) -> None:
    trained(tmp_path)
    model, _ = load_model(tmp_path)
    before = model.state_dict()["0.w"].copy()
    dl.Trainer(model, device="cpu").fit(dl.data.Dataset(X, Y), epochs=1, batch_size=4)
    assert not np.array_equal(before, model.state_dict()["0.w"])


def test_the_model_that_a_resumed_run_builds_is_in_training_mode(tmp_path: Path) -> None:
    trained(tmp_path)
    model, about = new_model(tmp_path)
    assert model.training
    assert about == json.loads((tmp_path / "model.json").read_text())["about"]
