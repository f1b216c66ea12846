"""Transfer learning: what is taken over, what begins anew, and what learns how fast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn
from dlcore.train import Unfreeze, transfer_weights


def network(outputs: int, seed: int = 0, units: int = 6) -> nn.Sequential:
    return nn.Sequential(nn.Dense(units), nn.BatchNorm(), nn.ReLU(), nn.Dense(outputs)).build((4,), seed=seed)


def data() -> dl.data.Dataset:
    rng = np.random.default_rng(0)
    return dl.data.Dataset(rng.normal(size=(32, 4)).astype(np.float32), rng.integers(0, 3, 32))


def test_the_trunk_is_taken_over_and_a_head_of_another_size_begins_anew(tmp_path: Path) -> None:
    old, new = network(10, seed=1), network(3, seed=2)
    head = new.state_dict()["3.w"]
    done = transfer_weights(new, dl.save_weights(old, tmp_path / "old.safetensors"))
    assert done.anew == ["3.w", "3.b"]
    for path in done.taken:
        np.testing.assert_array_equal(new.state_dict()[path], old.state_dict()[path])
    assert "1.running_mean" in done.taken
    np.testing.assert_array_equal(new.state_dict()["3.w"], head)


def test_a_head_of_the_same_size_is_taken_over_unless_it_is_to_begin_anew() -> None:
    old, new = network(3, seed=1), network(3, seed=2)
    head = new.state_dict()["3.w"]
    transfer_weights(new, old, anew="3")
    np.testing.assert_array_equal(new.state_dict()["3.w"], head)
    transfer_weights(new, old)
    np.testing.assert_array_equal(new.state_dict()["3.w"], old.state_dict()["3.w"])


def test_heads_are_told_apart() -> None:
    def multi(**heads: int) -> nn.Sequential:
        parts = nn.Heads({name: nn.Dense(units) for name, units in heads.items()})
        return nn.Sequential(nn.Dense(5), parts).build((4,), seed=len(heads))

    done = transfer_weights(multi(species=3, sex=1), multi(species=3))
    assert done.anew == ["1.sex.w", "1.sex.b"]


@pytest.mark.parametrize(
    ("source", "anew", "error", "words"),
    [
        (network(3, units=7), None, dl.CheckpointError, r"0\.w has shape \(4, 7\) but \(4, 6\) is expected"),
        ({"0.W": np.zeros((4, 6))}, None, dl.CheckpointError, r"no 0\.w \(did you mean 0\.W\?\)"),
        (network(3), "4", dl.ConfigError, "'4' matches nothing"),
        (network(3), ["*"], dl.CheckpointError, "nothing would be taken over"),
        (3, None, dl.ConfigError, "3 came"),
        (network(3), 3, dl.ConfigError, "anew: 3 came but a pattern"),
        ({"0.w": [[0.0] * 5] * 4}, None, dl.CheckpointError, r"0\.w has shape \(4, 5\)"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_changed(
    source: object, anew: object, error: type[Exception], words: str
) -> None:
    model = network(3, seed=9)
    before = model.state_dict()
    with pytest.raises(error, match=words):
        transfer_weights(model, source, anew)  # pyright: ignore[reportArgumentType]
    for path, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[path])


def test_a_scaled_part_takes_steps_of_that_share() -> None:
    """By SGD each step is lr · gradient, so the first differs by the factor alone."""
    moved = []
    for factor in (1.0, 0.1):
        model = network(3).scale_lr("0", factor)
        before = model.state_dict()
        dl.Trainer(model, optimizer=dl.optim.SGD(0.1), device="cpu").fit(data(), batch_size=32)
        moved.append({path: value - before[path] for path, value in model.state_dict().items()})
    np.testing.assert_allclose(moved[1]["0.w"], 0.1 * moved[0]["0.w"], rtol=1e-3, atol=1e-7)  # differences of float32
    np.testing.assert_array_equal(moved[1]["3.w"], moved[0]["3.w"])
    with pytest.raises(dl.ConfigError, match="scale_lr: 'x' matches no parameter"):
        network(3).scale_lr("x", 0.1)


def test_gradual_unfreezing_lets_parts_learn_from_their_epoch_on() -> None:
    model = network(3).freeze("[01]*")
    before = model.state_dict()["0.w"]
    trainer = dl.Trainer(model, callbacks=[Unfreeze({2: "0"})], device="cpu")
    trainer.fit(data(), epochs=2)
    np.testing.assert_array_equal(model.state_dict()["0.w"], before)
    trainer.fit(data(), epochs=1)
    assert (model.state_dict()["0.w"] != before).any()
    assert not model[1].gamma.requires_grad


def test_a_model_that_is_frozen_throughout_does_not_train_unnoticed() -> None:
    with pytest.raises(dl.GraphError, match="a model's parameter, not frozen"):
        dl.Trainer(network(3).freeze("*"), device="cpu").fit(data())


@pytest.mark.parametrize(
    ("patterns", "words"),
    [({}, "dict"), ({-1: "0"}, "epoch is -1"), ({0: "nosuch"}, "'nosuch' matches nothing"), ({0: 3}, "3 came")],
)
def test_an_unfreezing_that_cannot_be_is_refused(patterns: dict[int, str], words: str) -> None:
    with pytest.raises(dl.ConfigError, match=words):
        dl.Trainer(network(3), callbacks=[Unfreeze(patterns)], device="cpu").fit(data())
