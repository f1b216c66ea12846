"""Level 2: arrays of two devices in one operation: one line that says what is where, and what to do."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import standin

import dlcore as dl
from dlcore import functional as F
from dlcore import nn, optim
from dlcore.errors import DeviceError

pytestmark = pytest.mark.level2

PLACES = ("cpu", "cuda:0")
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {  # made how, for what, its first parameter
    "dense": (lambda: nn.Dense(2), (3,), "w"),
    "dense and relu": (lambda: nn.Sequential(nn.Dense(2), nn.ReLU()), (3,), "0.w"),
    "behind layers without parameters": (lambda: nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Dense(2)), (3,), "2.w"),
    "heads": (lambda: nn.Heads({"a": nn.Dense(2)}), (3,), "a.w"),
    "residual": (lambda: nn.Residual(nn.Dense(3)), (3,), "inner.w"),
    "batch norm": (lambda: nn.BatchNorm(), (3,), "gamma"),
    "batch norm and relu": (lambda: nn.Sequential(nn.BatchNorm(), nn.ReLU()), (3,), "0.gamma"),
    "convolution": (lambda: nn.Conv2D(2, 3), (5, 5, 3), "w"),
    "convolution, relu and pool": (
        lambda: nn.Sequential(nn.Conv2D(2, 2), nn.ReLU(), nn.MaxPool2D(2)), (5, 5, 3), "0.w",
    ),
    "rnn": (lambda: nn.RNN(2), (4, 3), ""),
    "lstm": (lambda: nn.LSTM(2), (4, 3), ""),
    "gru": (lambda: nn.GRU(2), (4, 3), ""),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _two_gpus() -> Iterator[None]:
    with standin.installed(2):
        yield


def place(x: Any, where: str) -> Any:
    return dl.Tensor(np.asarray(x)).to(where).data


def other(where: str) -> str:
    return PLACES[PLACES.index(where) - 1]


def refused(*words: str) -> Any:
    """One line with all the words."""
    return pytest.raises(DeviceError, match="^" + "".join(f"(?=.*{word})" for word in words) + "[^\n]*$")


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_says_where_its_parameters_are_and_what_came(layer: str, where: str, training: bool) -> None:
    make, shape, parameter = LAYERS[layer]
    model = make().build(shape, device=where)
    model = model.train() if training else model.eval()
    x, came = place(numbers(6, *shape), other(where)), other(where)
    for given in (x, dl.Tensor(x), dl.Tensor(x, requires_grad=True)):
        with refused(f"on {came}", f"the parameters .*{parameter}.* on {where}", rf"\.to\('{where}'\)", "or the model"):
            model(given)
    model(dl.Tensor(x).to(where))  # what the line advises
    model.to(came)
    model(x)


@pytest.mark.parametrize("where", PLACES)
def test_an_embedding_says_it_too(where: str) -> None:
    model = nn.Embedding(5, 2).build((4,), device=where, input_dtype="int64")
    with refused(f"the parameter w on {where}", f"on {other(where)}"):
        model(place(np.arange(4)[None], other(where)))


FUNCTIONS: dict[str, tuple[Callable[..., Any], list[np.ndarray]]] = {
    "linear, w": (F.linear, [numbers(4, 3), numbers(3, 2)]),
    "linear, b": (lambda x, b: F.linear(x, x[:3], b), [numbers(3, 3), numbers(3)]),
    "conv2d": (F.conv2d, [numbers(1, 5, 5, 2), numbers(3, 3, 2, 2)]),
    "embedding": (F.embedding, [numbers(4, 3), np.arange(4)]),
    "statistics": (
        lambda x, s: F.batch_norm(x, x[0], x[0], statistics=(s, s)), [numbers(4, 3), np.ones(3, np.float32)],
    ),
    "cross entropy": (F.cross_entropy, [numbers(4, 3), np.arange(4) % 3]),
    "binary cross entropy": (F.binary_cross_entropy, [numbers(4, 1), np.asarray([[0], [1], [1], [0]], np.float32)]),
    "mse": (F.mse, [numbers(4, 3), numbers(4, 3)]),
    **{name: (getattr(operator, name), [numbers(3, 3), numbers(3, 3)]) for name in (
        "add", "sub", "mul", "truediv", "matmul", "lt", "le", "gt", "ge", "eq", "ne",
    )},
    "where": (lambda x, y: dl.where(x > 0, x, y), [numbers(3), numbers(3)]),
    "concat": (lambda x, y: dl.concat([x, y]), [numbers(3), numbers(3)]),
    "backward": (lambda x, dy: (2 * x).backward(dy), [numbers(3), numbers(3)]),
}  # fmt: skip


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_a_loss_and_an_operator_say_what_is_where(name: str, where: str) -> None:
    function, (x, y) = FUNCTIONS[name]
    first = dl.Tensor(place(x, where), requires_grad=True)
    second = dl.Tensor(place(y, other(where)))
    with refused("on cpu", "on cuda:0", "do not mix", r"dl\.Tensor\(.*\)\.to\("):
        function(first, second)
    function(first, second.to(where))  # what the line advises


def test_two_gpus_are_two_devices() -> None:
    x, w = (dl.Tensor(place(numbers(3, 3), where)) for where in ("cuda:0", "cuda:1"))
    with refused("x .* on cuda:0", "w .* on cuda:1"):
        F.linear(x, w)


def test_what_is_no_array_is_still_told_as_that() -> None:
    with pytest.raises(DeviceError, match="object is not an array"):
        F.linear(dl.Tensor(numbers(2, 2)), object())


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("rule", [optim.Momentum, optim.RMSprop, optim.Adam, optim.AdamW, optim.Adagrad])
def test_an_optimiser_whose_state_was_left_behind_says_so_and_changes_nothing(rule: Any, where: str) -> None:
    model = nn.Dense(2).build((3,), device=where)
    optimizer = rule(0.1).attach(model)
    model.to(other(where))
    x = place(numbers(4, 3), other(where))
    model(x).sum().backward()
    before = model.state_dict()
    with refused(rule.__name__, f"its state is on {where}", f"parameters are on {other(where)}", r"optimizer\.to\("):
        optimizer.step()
    assert optimizer.steps == 0
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    optimizer.to(model.device)
    optimizer.step()


def test_a_parameter_on_the_cpu_does_not_take_an_array_of_a_gpu() -> None:
    model = nn.Dense(2).build((3,))
    for name in ("data", "grad"):
        with refused("parameter w", "on cuda:0 came", "on cpu", r"numpy\(\)"):
            setattr(model.w, name, place(numbers(3, 2), "cuda:0"))


@pytest.mark.parametrize("where", PLACES)
def test_weights_are_read_from_arrays_of_every_device(where: str) -> None:
    model, w, b = nn.Dense(2).build((3,), device=where), numbers(3, 2), numbers(2)
    model.load_state_dict({"w": place(w, other(where)), "b": dl.Tensor(place(b, "cuda:1"))})
    np.testing.assert_array_equal(model.state_dict()["w"], w)
    np.testing.assert_array_equal(model.state_dict()["b"], b)


def test_predict_takes_arrays_of_the_host() -> None:
    with pytest.raises(dl.DataError, match="predict: x cannot become a NumPy array on the host"):
        dl.Trainer(nn.Dense(2), device="cuda").predict(place(numbers(4, 3), "cuda:0"))
