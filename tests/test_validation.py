"""NumPy's scalars as settings: accepted wherever Python's are, and recorded as plain numbers."""

import json

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn, optim
from dlcore._core.configurable import Recorded
from dlcore._core.validation import plain
from dlcore.data import augment
from dlcore.errors import DlcoreError
from dlcore.train.config.config import Config, dump

F, I, T = np.float32, np.int64, np.bool_

MADE = [
    lambda: optim.Adam(F(0.5), beta1=np.float64(0.5), eps=np.float16(0.5)),
    lambda: optim.Momentum(I(1), beta=F(0.5), nesterov=T(True)),
    lambda: optim.AdamW(F(0.5), decay=I(0)),
    lambda: optim.Staircase(F(0.5), every=np.uint8(2)),
    lambda: optim.Cosine(np.int16(3), floor=F(0.5)),
    lambda: optim.Warmup(I(3), optim.InverseTime(F(0.5))),
    lambda: optim.Piecewise({I(2): F(0.5)}),
    lambda: optim.InverseSqrt(I(2)),
    lambda: optim.L1(np.longdouble(1), examples=I(3)),
    lambda: optim.clip_by_value(I(1)),
    lambda: nn.Dense(I(2), bias=T(False)),
    lambda: nn.Conv2D(I(2), [I(3), np.uint8(2)], stride=I(2), padding=((I(1), 1), (0, 0)), dilation=(I(1), 1)),
    lambda: nn.MaxPool2D([I(2), 2], stride=(I(1), I(2))),
    lambda: nn.BatchNorm(momentum=F(0.5), eps=np.float64(0.5)),
    lambda: nn.LeakyReLU(F(0.5)),
    lambda: nn.GRU(I(2), layers=I(2), dropout=F(0.5), return_sequences=T(True)),
    lambda: augment.Shift(F(0.25), value=I(1)),
    lambda: augment.Zoom(I(1), F(2)),
    lambda: augment.Flip(F(0.5)),
    lambda: augment.Crop(size=I(3)),
    lambda: dl.train.EarlyStopping(patience=I(3)),
    lambda: dl.neighbors.KNNClassifier(I(3)),
]


def of_numpy(value):
    if isinstance(value, Recorded):
        return of_numpy(value.config)
    if isinstance(value, dict):
        return any(map(of_numpy, [*value, *value.values()]))
    return any(map(of_numpy, value)) if isinstance(value, tuple | list) else isinstance(value, np.generic)


@pytest.mark.parametrize("make", MADE, ids=range(len(MADE)))
def test_a_scalar_of_numpy_is_a_setting_and_is_recorded_as_a_plain_number(make):
    made = make()
    assert not of_numpy(made.config)
    assert not of_numpy({name: value for name, value in vars(made).items() if not name.startswith("_")})
    assert not of_numpy(type(made)(**made.config).config)


def test_a_configuration_takes_scalars_of_numpy_and_writes_plain_numbers():
    given = {
        "epochs": I(3),
        "lr": F(0.5),
        "hidden": (np.uint16(8), I(4)),
        "normalize": T(False),
        "data": np.str_("cars"),
    }
    config = Config.of(**given)
    assert config == Config.of(epochs=3, lr=0.5, hidden=(8, 4), normalize=False, data="cars")
    assert not of_numpy(config.flat())
    assert "np." not in dump(config)


def test_a_trainer_takes_scalars_of_numpy_and_its_state_is_plain():
    data = dl.data.Dataset(np.zeros((6, 2), F), np.zeros(6, np.int64))
    trainer = dl.Trainer(nn.Dense(I(2)), optimizer=optim.SGD(F(0.5)), seed=I(3), threads=I(1), device="cpu")
    trainer.fit(data, epochs=I(1), batch_size=np.int32(4))
    assert type(trainer.seed) is type(trainer.batch_size) is int
    assert trainer.predict(data, batch_size=I(2)).shape == (6, 2)
    json.dumps([dict(record) for record in trainer.history])


@pytest.mark.parametrize(
    "call",
    [
        lambda x: dl.filters.gaussian(x, F(1)),
        lambda x: dl.filters.box(x, [I(3), I(3)]),
        lambda x: dl.filters.moving_average(x, np.uint8(1)),
        lambda x: dl.functional.avg_pool2d(x[None, :, :, None], [I(2), I(2)], stride=I(2)),
        lambda x: dl.functional.dropout(x, F(0.5), key=(1, 2)),
        lambda x: dl.functional.leaky_relu(x, F(0.5)),
        lambda x: dl.metrics.top_k([0, 1], [[0.5, 0.2], [0.1, 0.7]], k=I(1)),
        lambda x: dl.metrics.ExponentialAverage(F(0.5)),
        lambda x: dl.data.split(dl.data.Dataset(x, np.arange(8.0)), (F(0.5), F(0.5)), seed=I(2)),
        lambda x: nn.Dense(2).build((I(3),), seed=np.uint32(2)),
        lambda x: dl.diagnose([{"loss": 1.0, "dev_loss": 1.0}], metric="loss", bayes_error=F(0)),
    ],
    ids=range(11),
)
def test_functions_take_scalars_of_numpy(call):
    call(np.ones((8, 8), F))


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.Staircase(0.5, every=F(2)),
        lambda: optim.Warmup(2.0),
        lambda: optim.Piecewise({F(1.5): 0.1}),
        lambda: optim.Piecewise({True: 0.1}),
        lambda: optim.Cosine(T(True)),
        lambda: optim.Adam(T(True)),
        lambda: optim.SGD(np.complex64(1)),
        lambda: optim.SGD(F("nan")),
        lambda: optim.SGD(10**400),
        lambda: nn.Dense(F(3)),
        lambda: nn.Dense(3, bias=I(1)),
        lambda: nn.Conv2D(2, [3, True]),
        lambda: nn.Conv2D(2, [3, 3, 3]),
        lambda: Config.of(epochs=F(1.5)),
        lambda: Config.of(dropout=T(True)),
        lambda: augment.Crop(size=F(1.5)),
        lambda: dl.Trainer(nn.Dense(2), seed=1.5),
        lambda: dl.seed(0.5),
    ],
    ids=range(18),
)
def test_fractions_of_whole_numbers_and_other_kinds_are_refused_in_one_line(make):
    with pytest.raises(DlcoreError) as info:
        make()
    assert "expected" in str(info.value)
    assert "\n" not in str(info.value)


def test_arrays_are_no_scalars():
    array = np.ones(2)
    assert plain(array) is array
