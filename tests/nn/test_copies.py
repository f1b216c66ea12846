"""Copies of a model, made by copy.deepcopy and by pickle, are models of their own."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from samples import numbers

from backends.runtime.device import resolve
from dlcore import functional as F
from dlcore import nn
from dlcore.errors import DeviceError
from dlcore.nn import Buffer, Parameter
from dlcore.optim import Adam

COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


def make():
    return nn.Sequential(
        nn.Conv2D(2, 3, init="glorot_uniform"), nn.BatchNorm(), nn.Flatten(), nn.Dropout(0.5),
        nn.Residual(nn.Dense(18, init=nn.init.normal(0.1))), nn.Heads({"a": nn.Dense(2), "b": nn.Dense(1)}),
    )  # fmt: skip


def train(arrays, model, steps=2):
    optimizer = Adam(0.05).attach(model)
    x, y = arrays.place(numbers(4, 5, 5, 1)), arrays.place(np.array([0, 1, 1, 0]))
    for _ in range(steps):
        outputs = model(x)
        (F.cross_entropy(outputs["a"], y) + F.mse(outputs["b"], y)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return x


@pytest.fixture(params=COPIES)
def duplicate(request, arrays, monkeypatch):
    def find(name):  # a pickled model names its device; that of array-api-strict has a name in these tests only
        return arrays.device if name == arrays.device.name else resolve(name)

    monkeypatch.setattr("dlcore.nn.parameter.resolve", find)
    return COPIES[request.param]


def test_a_copy_has_the_same_values_modes_and_settings(arrays, duplicate):
    model = make().build((5, 5, 1), seed=3, device=arrays.device)
    train(arrays, model)
    model.freeze("0").vector.scale_lr("5.a.w", 0.5)
    model[1].eval()
    twin = duplicate(model)
    for path, value in model.state_dict().items():
        np.testing.assert_array_equal(twin.state_dict()[path], value, err_msg=path)
    assert twin.vector.segments == model.vector.segments
    assert twin.clock == model.clock
    assert twin.clock is twin[3].clock
    assert [m.training for _, m in twin.named_modules()] == [m.training for _, m in model.named_modules()]
    assert [p.requires_grad for p in twin.parameters()] == [p.requires_grad for p in model.parameters()]
    assert [p.path for p in twin.parameters()] == [p.path for p in model.parameters()]
    assert repr(twin) == repr(model)
    assert twin.summary() == model.summary()
    assert twin.device == model.device
    for buffer in (b for _, b in twin.named_buffers()):
        assert arrays.device.holds(buffer.data)


def test_a_copy_is_independent_and_trains(arrays, duplicate):
    model = make().build((5, 5, 1), seed=3, device=arrays.device)
    train(arrays, model)
    before = {path: value.tobytes() for path, value in model.state_dict().items()}
    version, step = model.vector.version, model.clock.step
    gradient = arrays.host(model.vector.grad).tobytes()
    twin = duplicate(model)
    train(arrays, twin)
    assert {path: value.tobytes() for path, value in model.state_dict().items()} == before
    assert (model.vector.version, model.clock.step) == (version, step)
    assert arrays.host(model.vector.grad).tobytes() == gradient
    assert twin.clock.step == step + 2
    for path, value in twin.state_dict().items():
        assert value.tobytes() != before[path], path
    for p in twin.parameters():
        assert p.owner is twin.vector


def test_a_copy_continues_as_the_original_does(arrays, duplicate):
    """The same masks, the same statistics, the same steps: to the bit."""
    model = make().build((5, 5, 1), seed=3, device=arrays.device)
    train(arrays, model)
    twin = duplicate(model)
    train(arrays, model)
    train(arrays, twin)
    for path, value in model.state_dict().items():
        np.testing.assert_array_equal(twin.state_dict()[path], value, err_msg=path)


def test_gradients_are_copied_too(arrays, duplicate):
    model = nn.Dense(2).build((3,), device=arrays.device)
    model(arrays.place(numbers(4, 3))).sum().backward()
    twin = duplicate(model)
    np.testing.assert_array_equal(arrays.host(twin.vector.grad), arrays.host(model.vector.grad))
    model.vector.zero_grad()
    assert arrays.host(twin.b.grad).tolist() == [4.0, 4.0]


def test_a_model_that_is_not_built_can_be_copied(duplicate):
    model = make()
    twin = duplicate(model)
    model.build((5, 5, 1), seed=1)
    twin.build((5, 5, 1), seed=1)
    for path, value in model.state_dict().items():
        np.testing.assert_array_equal(twin.state_dict()[path], value)
    assert twin.vector is not model.vector


@pytest.mark.parametrize("how", COPIES)
def test_a_copied_parameter_brings_a_vector_of_its_own(how):
    model = nn.Dense(2).build((3,))
    twin = COPIES[how](model.w)
    twin.data = np.zeros((3, 2))
    assert model.w.numpy().any()
    assert not twin.numpy().any()
    assert twin.path == "w"


@pytest.mark.parametrize("how", COPIES)
def test_parameters_and_buffers_by_themselves_can_be_copied(how):
    parameter = Parameter([1.0, 2.0], decay=False)
    (parameter * 3).sum().backward()
    twin = COPIES[how](parameter)
    assert twin.numpy().tolist() == [1.0, 2.0]
    assert twin.grad.tolist() == [3.0, 3.0]
    assert not twin.decay
    twin.data = [0.0, 0.0]
    assert parameter.numpy().tolist() == [1.0, 2.0]
    buffer = Buffer(np.ones(2))
    copied = COPIES[how](buffer)
    copied.data[0] = 5.0
    assert buffer.data.tolist() == [1.0, 1.0]


def test_a_shared_layer_stays_shared_in_a_copy():
    dense = nn.Dense(3)
    twin = copy.deepcopy(nn.Sequential(dense, nn.Sequential(dense)).build((3,)))
    assert twin[0] is twin[1][0]
    assert twin.count() == 12


def test_a_pickled_model_of_a_device_that_is_not_there_says_so():
    model = nn.Dense(2).build((3,))
    model.vector.device = replace(model.device, name="cuda:123456")
    text = pickle.dumps(model)
    with pytest.raises(DeviceError, match="cuda:123456"):
        pickle.loads(text)
