"""Random numbers of a layer's own, named by stream: in training, in evaluation, after a resume, on every array."""

from __future__ import annotations

import copy
import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlcore as dl
from backends import random
from backends.dispatch import reference_only
from backends.random import STREAMS, derive, own
from dlcore import functional as F
from dlcore import nn
from dlcore.errors import ConfigError, ShapeError

X = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
DATA = dl.data.Dataset(X, np.arange(12) % 2)


class Noise(nn.Module):
    """Adds normal noise in training, and in evaluation too where it is told so."""

    def __init__(self, stream: str = "noise", always: bool = False) -> None:
        self.stream, self.always = stream, always

    def forward(self, x: Any) -> Any:
        if not (self.training or self.always):
            return x
        return x + F.normal(x, key=self.draw(self.stream), first_row=self.clock.first_row)


def network(always: bool = False) -> nn.Sequential:
    return nn.Sequential(nn.Dense(4), Noise(always=always), nn.Dropout(0.3), Noise(always=always), nn.Dense(2))


def fitted(folder: Path | None = None, epochs: int = 3, always: bool = False, dev: Any = None, **how: Any) -> Any:
    keep = [] if folder is None else [dl.train.Checkpoint(folder)]
    trainer = dl.Trainer(network(always), device="cpu", seed=4, callbacks=keep)
    trainer.fit(DATA, dev, epochs=epochs, batch_size=5, **how)
    return trainer


def weights(trainer: Any) -> bytes:
    return b"".join(value.tobytes() for value in trainer.model.state_dict().values())


# Names ---------------------------------------------------------------------------------------------------------------


def test_names_layers_steps_and_calls_give_different_keys() -> None:
    model = nn.Sequential(nn.ReLU(), nn.ReLU()).build((2,), seed=1)
    keys = []
    for step, layer, stream in itertools.product((0, 1), model.layers, ("noise", "sign", "Noise", "ä", "dropout")):
        model.clock.step = step
        keys += [layer.draw(stream), layer.draw(stream)]
    assert len(set(keys)) == len(keys) == 40


def test_an_own_name_is_none_of_the_packages_streams() -> None:
    names = ["", *STREAMS, "noise", *(chr(97 + i) * (i + 1) for i in range(26))]
    assert len({own(0, name) for name in names}) == len(names)
    assert all(random._words_of(name)[1] for name in names)  # of the package's streams it is 0


def test_a_stream_is_not_moved_by_draws_from_another() -> None:
    one, two = (nn.ReLU().build((2,), seed=1) for _ in range(2))
    alone = [one.draw("noise") for _ in range(3)]
    among = []
    for _ in range(3):
        two.draw("sign")
        among.append(two.draw("noise"))
    assert among == alone


def test_a_key_is_named_by_seed_stream_path_step_and_call() -> None:
    model = nn.Sequential(nn.ReLU()).build((2,), seed=5)
    model.clock.step = 7
    model[0].draw("noise")
    assert model[0].draw("noise") == own(5, "noise", "0", 7, 1)


def test_a_step_that_is_taken_again_gives_the_same_keys() -> None:
    layer = nn.ReLU().build((2,))
    first = [layer.draw("noise"), layer.draw("noise")]
    layer.clock.step = 1
    layer.draw("noise")
    layer.clock.step = 0
    assert [layer.draw("noise"), layer.draw("noise")] == first


@pytest.mark.parametrize("stream", ["", 3, None, b"noise", ("noise",)])
def test_what_is_no_name_is_refused_in_one_line(stream: Any) -> None:
    with pytest.raises(ConfigError, match=r"draw: stream is .* a name is expected") as caught:
        nn.ReLU().draw(stream)
    assert "\n" not in str(caught.value)


def test_a_copy_goes_on_by_itself() -> None:
    layer = nn.ReLU().build((2,))
    layer.draw("noise")
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin.draw("noise") == own(0, "noise", "", 0, 1)
    assert layer.draw("noise") == own(0, "noise", "", 0, 1)


# Runs ----------------------------------------------------------------------------------------------------------------


def test_a_run_is_repeated_and_resumed_to_the_same_bytes(tmp_path: Path) -> None:
    whole = weights(fitted())
    fitted(tmp_path, epochs=1)
    assert weights(fitted(tmp_path, epochs=3, resume="auto")) == weights(fitted()) == whole


def test_evaluation_that_draws_leaves_training_alone(tmp_path: Path) -> None:
    alone = weights(fitted(always=True))
    assert weights(fitted(always=True, dev=DATA)) == alone
    fitted(tmp_path, epochs=1, always=True, dev=DATA)
    assert weights(fitted(tmp_path, epochs=3, always=True, dev=DATA, resume="auto")) == alone


def test_a_model_that_has_drawn_meanwhile_goes_on_from_a_checkpoint_as_a_new_one(tmp_path: Path) -> None:
    model = fitted(tmp_path, epochs=1).model
    model(X)  # draws in the step that comes next
    trainer = dl.Trainer(model, device="cpu", seed=4, callbacks=[dl.train.Checkpoint(tmp_path)])
    trainer.fit(DATA, epochs=3, batch_size=5, resume="auto")
    assert weights(trainer) == weights(fitted())


def test_references_and_compiled_kernels_draw_the_same() -> None:
    model = nn.Sequential(Noise(), Noise("other")).build((3,), seed=2)
    compiled = model(X).numpy()
    model.clock.step = 1
    model(X)
    model.clock.step = 0
    with reference_only():
        assert model(X).numpy().tobytes() == compiled.tobytes()


def test_dropout_draws_as_ever() -> None:
    layer = nn.Dropout(0.5).build((3,), seed=3)
    expected = F.dropout(X, 0.5, key=derive(3, "dropout", "", 0, 0)).numpy()
    assert layer(X).numpy().tobytes() == expected.tobytes()


# Evaluation ----------------------------------------------------------------------------------------------------------


def test_predictions_that_draw_are_the_same_each_time_and_in_another_trainer() -> None:
    trainer = fitted(always=True)
    first = trainer.predict(X, batch_size=5)
    assert trainer.predict(X, batch_size=5).tobytes() == first.tobytes()
    other = dl.Trainer(network(always=True).build((3,), seed=9), device="cpu")
    other.model.load_state_dict(trainer.model.state_dict())
    assert other.predict(X, batch_size=5).tobytes() == first.tobytes()
    assert trainer.evaluate(DATA) == trainer.evaluate(DATA)


def test_batches_of_a_prediction_draw_different_numbers() -> None:
    trainer = dl.Trainer(nn.Sequential(Noise(always=True)).build((3,)), device="cpu")
    drawn = trainer.predict(np.zeros((10, 3), np.float32), batch_size=5)
    assert not np.array_equal(drawn[:5], drawn[5:])


def test_a_model_in_evaluation_mode_draws_other_numbers_in_each_call() -> None:
    layer = Noise(always=True).build((3,)).eval()
    first, second = layer(X).numpy(), layer(X).numpy()
    assert not np.array_equal(first, second)
    again = Noise(always=True).build((3,), seed=8).eval()
    assert again(X).numpy().tobytes() == first.tobytes()
    assert layer.train().draw("noise") == own(0, "noise", "", 0, 0)


# Numbers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [F.normal, F.uniform])
@pytest.mark.parametrize("shape", [(), (5,), (6, 3), (6, 2, 2), (0, 3), (4, 0)])
def test_numbers_are_the_same_bits_on_every_kind_of_array(arrays: Any, make: Any, shape: tuple[int, ...]) -> None:
    x = np.zeros(shape, np.float32)
    there = make(arrays.place(x), key=(1, 2))
    assert (there.shape, str(there.dtype).rpartition(".")[2]) == (shape, "float32")
    assert arrays.host(there.data).tobytes() == make(x, key=(1, 2)).numpy().tobytes()


@pytest.mark.parametrize("make", [F.normal, F.uniform])
def test_a_batch_that_is_split_draws_what_the_whole_one_does(make: Any) -> None:
    whole = make(X, key=(1, 2)).numpy()
    assert make(X[5:], key=(1, 2), first_row=5).numpy().tobytes() == whole[5:].tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_numbers_have_the_dtype_and_the_distribution(dtype: str) -> None:
    x = np.zeros((200, 100), dtype)
    z, u = F.normal(x, key=(3, 4)).numpy(), F.uniform(x, key=(3, 4)).numpy()
    assert z.dtype == u.dtype == dtype
    assert (u >= 0).all()
    assert (u < 1).all()
    z, u = z.astype(np.float64), u.astype(np.float64)
    # Five standard deviations of the means of 20,000 numbers.
    assert abs(z.mean()) < 5 / 141
    assert abs((z**2).mean() - 1) < 5 * 2**0.5 / 141
    assert abs(u.mean() - 0.5) < 5 * 12**-0.5 / 141
    assert abs((u**2).mean() - 1 / 3) < 5 * 0.3 / 141
    assert abs(np.corrcoef(z.ravel()[1:], z.ravel()[:-1])[0, 1]) < 5 / 141


@pytest.mark.parametrize("make", [F.normal, F.uniform])
def test_bad_input_is_refused_by_name(make: Any) -> None:
    with pytest.raises(ShapeError, match=rf"{make.__name__}: key is"):
        make(X, key="noise")
    with pytest.raises(ShapeError, match=rf"{make.__name__}: x is int64"):
        make(np.zeros((2, 3), np.int64), key=(0, 1))


def test_a_gradient_goes_past_the_noise() -> None:
    x = dl.Tensor(X, requires_grad=True)
    Noise().build((3,))(x).sum().backward()
    assert np.asarray(x.grad).tolist() == np.ones_like(X).tolist()
