"""Integers are floats of the same values to a model that takes floats, and stay what they are before an Embedding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn
from dlcore.errors import ShapeError

IMAGES = np.random.default_rng(0).integers(0, 2, (12, 4, 4, 2)).astype(np.uint8)
MODELS: dict[str, Callable[[], nn.Module]] = {
    "flatten": lambda: nn.Sequential(nn.Flatten(), nn.Dense(2)),
    "convolution": lambda: nn.Sequential(nn.Conv2D(2, 3), nn.ReLU(), nn.Flatten(), nn.Dense(2)),
    "pooling and norm": lambda: nn.Sequential(nn.AvgPool2D(2), nn.BatchNorm(), nn.Flatten(), nn.Dense(2)),
    "global pooling": lambda: nn.Sequential(nn.GlobalAvgPool2D(), nn.Dense(2)),
}


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "bool"])
@pytest.mark.parametrize("model", MODELS)
def test_a_trainer_takes_integers_as_floats_of_the_same_values(model: str, dtype: str) -> None:
    outputs = []
    for x in (IMAGES.astype(dtype), IMAGES.astype(np.float32)):
        trainer = dl.Trainer(MODELS[model](), device="cpu", seed=1)
        trainer.fit(dl.data.Dataset(x, np.arange(12) % 2), epochs=2)
        assert trainer.model.input_dtype is None
        outputs.append(trainer.predict(x))
    assert np.array_equal(*outputs)


def test_bytes_are_not_scaled() -> None:
    x = np.array([[255, 1], [0, 200]], np.uint8)
    built, new = nn.Dense(1, init="zeros").build((2,)), nn.Flatten()
    built.w.data[:] = 1
    assert built(x).numpy().tolist() == [[256], [200]]
    assert new(x).numpy().dtype == np.float32
    assert nn.Dense(1).build((2,), dtype="float64")(x).numpy().dtype == np.float64


def test_sequences_of_integers_are_floats_to_a_recurrent_layer() -> None:
    x = np.arange(24, dtype=np.int8).reshape(2, 4, 3)
    model = nn.GRU(3).build((4, 3), seed=1)
    assert np.array_equal(model(x).numpy(), model(x.astype(np.float32)).numpy())


class Chosen(nn.Module):
    """Looks its rows up by NumPy, which takes no floats."""

    def forward(self, x: Any) -> Any:
        return dl.Tensor(np.eye(9, dtype=np.float32)[x.numpy()])


LOOKUPS: dict[str, Callable[[], nn.Module]] = {
    "embedding": lambda: nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Dense(2)),
    "embedding before a recurrent layer": lambda: nn.Sequential(nn.Embedding(9, 4), nn.GRU(3), nn.Dense(2)),
    "one's own": lambda: nn.Sequential(Chosen(), nn.Flatten(), nn.Dense(2)),
}


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
@pytest.mark.parametrize("model", LOOKUPS)
def test_integers_that_say_which_row_is_meant_stay_integers(model: str, dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 9, (12, 5)).astype(dtype)
    trainer = dl.Trainer(LOOKUPS[model](), device="cpu")
    trainer.fit(dl.data.Dataset(x, np.arange(12) % 2))
    assert trainer.model.input_dtype == "int64"
    assert trainer.predict(x).shape == (12, 2)
    assert nn.Embedding(9, 4)(x).shape == (12, 5, 4)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Sequential(nn.Embedding(9, 4), nn.Conv2D(2, 3)), r"conv2d: x has shape \(2, 5, 4\)"),
        (nn.Sequential(nn.Conv2D(2, 3)), r"conv2d: x has shape \(2, 5\)"),
        (nn.Sequential(nn.Dense(2), nn.Embedding(9, 4)), "ids are float32 but integers are expected|x is int64"),
    ],
)
def test_a_model_that_takes_neither_says_what_is_wrong_with_it(model: nn.Module, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        dl.Trainer(model, device="cpu").fit(dl.data.Dataset(np.zeros((6, 5), np.uint8), np.arange(6) % 2))
