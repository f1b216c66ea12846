"""Level 2: arrays on a GPU that is not the current one, and arrays of two GPUs in one operation.

The stand-in's devices cannot reach each other: a kernel that is to read another one's memory raises, as CuPy does where
there is no peer access, and what is made lies on the current device. So these runs fail where anything is computed, or
created, before the arrays' device is entered. The same runs on the current device give the same bits.
"""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import standin

import dlcore as dl
from backends.dispatch import kernels
from backends.runtime import copies
from backends.runtime.current import elsewhere_of
from backends.runtime.device import CPU, Device, resolve
from dlcore import functional as F
from dlcore import nn, optim
from dlcore.errors import DeviceError

pytestmark = pytest.mark.level2


@pytest.fixture(autouse=True)
def cp() -> Iterator[ModuleType]:
    with standin.installed(devices=2) as cupy:
        yield cupy
        assert cupy.cuda.runtime.getDevice() == 0, "the current device is left as it was"


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def on(where: str, *host: np.ndarray, requires_grad: bool = False) -> list[dl.Tensor]:
    return [dl.Tensor(dl.Tensor(x).to(where).data, requires_grad and x.dtype.kind == "f") for x in host]


def both(run: Callable[[str], Any]) -> Any:
    """What a run gives on the GPU that is not current; on the current one it gives the same."""
    first, second = run("cuda:0"), run("cuda:1")
    np.testing.assert_equal(second, first)
    return second


# --- operations


OPERATIONS: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "relu": (F.relu, (numbers(3, 4),)),
    "add": (operator.add, (numbers(3, 4), numbers(4))),
    "a number": (lambda x: 2.0 - x * 3 + x**2, (numbers(3),)),
    "a list": (lambda x: operator.add(x, [1.0, 2.0, 3.0]), (numbers(3),)),
    "sum": (lambda x: x.sum(axis=0), (numbers(3, 4),)),
    "max": (lambda x: x.max(axis=1), (numbers(3, 4),)),
    "product": (operator.matmul, (numbers(2, 3, 4), numbers(4, 5))),
    "index": (lambda x: x[1:, ..., None], (numbers(3, 4),)),
    "rows": (lambda x: x[[2, -1, 0]], (numbers(3, 4),)),
    "masked": (lambda x: dl.where(x > 0, x, 0.0), (numbers(3, 4),)),
    "concat": (lambda x, y: dl.concat([x, y], axis=1), (numbers(3, 4), numbers(3, 2))),
    "linear": (F.linear, (numbers(5, 3), numbers(3, 2), numbers(2))),
    "conv2d": (lambda x, w: F.conv2d(x, w, padding="same", stride=2), (numbers(2, 6, 6, 3), numbers(3, 3, 3, 4))),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), (numbers(2, 6, 6, 3),)),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, padding="same"), (numbers(2, 6, 6, 3),)),
    "batch_norm": (lambda *inputs: F.batch_norm(*inputs)[0], (numbers(6, 3), numbers(3), numbers(3))),
    "softmax": (F.softmax, (numbers(6, 3),)),
    "cross_entropy": (
        lambda x, y: F.cross_entropy(x, y, class_weight=[1.0, 2.0, 3.0], sample_weight=[1, 2, 1, 1, 0, 1.0]),
        (numbers(6, 3), np.arange(6) % 3),
    ),
    "mse of float64": (lambda x, y: F.mse(x, y.detach()), (numbers(6, 3), np.ones((6, 3)))),
    "binary cross entropy": (
        lambda x, y: F.binary_cross_entropy(x, y.detach()), (numbers(6, 1), np.ones((6, 1), np.float32))),
    "embedding": (F.embedding, (numbers(5, 3), np.array([[0, 4], [4, 2]]))),
    "dropout": (lambda x: F.dropout(x, 0.4, key=(3, 7)), (numbers(6, 3),)),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_and_its_gradients_are_on_the_arrays_gpu(name: str) -> None:
    function, host = OPERATIONS[name]

    def run(where: str) -> list[np.ndarray]:
        inputs = on(where, *host, requires_grad=True)
        y = function(*inputs)
        (y * y).sum().backward()
        arrays = [y.data, *(x.grad for x in inputs if x.grad is not None)]
        assert all(resolve(where).holds(array) for array in arrays)
        return [copies.to_host(array) for array in arrays]

    both(run)


@pytest.mark.parametrize("compare", [operator.lt, operator.ge, operator.eq, operator.ne])
def test_comparisons(compare: Callable[..., Any]) -> None:
    x, y = on("cuda:1", numbers(3), numbers(3, seed=1))
    for other in (y, 0.0, [1.0, 2.0, 3.0]):
        assert resolve("cuda:1").holds(compare(x, other).data)


def test_a_backward_pass_begins_where_another_gpu_is_current(cp: ModuleType) -> None:
    (x,) = on("cuda:1", numbers(3, 4), requires_grad=True)
    with cp.cuda.Device(1):  # forward on the current device, backward not
        y = F.tanh(x * x)
    y.backward(y.detach())
    assert resolve("cuda:1").holds(x.grad)


def test_a_step_enters_the_gpu_once_in_a_model_and_once_backwards(
    cp: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Sequential(nn.Dense(4), nn.ReLU(), nn.Dense(2)).build((3,), device="cuda:1")
    (x,), entered = on("cuda:1", numbers(5, 3)), []
    enter = cp.cuda.Device.__enter__
    monkeypatch.setattr(cp.cuda.Device, "__enter__", lambda self: (entered.append(self.id), enter(self))[1])
    y = model(x)
    assert entered == [1]
    y.backward(y.detach())
    assert entered == [1, 1]
    entered.clear()
    with cp.cuda.Device(1):
        entered.clear()
        model(x).sum().backward()
    assert entered == [], "on the current device nothing is entered"


# --- creation, transfers, kernels


@pytest.mark.parametrize("make", [
    lambda xp, at: xp.zeros(3, dtype=xp.float32, device=at), lambda xp, at: xp.ones((2, 3), device=at),
    lambda xp, at: xp.full(3, 2.0, device=at), lambda xp, at: xp.empty(3, device=at),
    lambda xp, at: xp.arange(3, device=at), lambda xp, at: xp.eye(3, device=at),
    lambda xp, at: xp.asarray(np.ones(3), device=at), lambda xp, at: xp.zeros_like(xp.ones(3, device=at)),
    lambda xp, at: xp.full_like(xp.ones(3, device=at), 2.0),
    lambda xp, at: xp.asarray(xp.ones(3, device=at), copy=True), lambda xp, at: xp.asarray(xp.ones(3, device=at)),
    lambda xp, at: xp.linspace(0.0, 1.0, 4, device=at),
])  # fmt: skip
def test_an_array_is_created_where_it_is_asked_for(make: Callable[..., Any]) -> None:
    for place in (resolve("cuda:0"), resolve("cuda:1")):
        assert place.holds(make(place.xp, place.native))


def test_a_new_array_without_a_device_is_on_the_current_one(cp: ModuleType) -> None:
    second = resolve("cuda:1")
    assert resolve("cuda:0").holds(second.xp.zeros(2))
    with second.active():
        assert second.holds(second.xp.zeros(2))


def test_arrays_move_between_the_gpus_and_the_host_in_any_layout() -> None:
    x = copies.to_device(numbers(4, 6), resolve("cuda:1"))
    np.testing.assert_array_equal(copies.to_host(x[::2, 1::2]), numbers(4, 6)[::2, 1::2])
    moved = dl.Tensor(x).to("cuda:0")
    assert resolve("cuda:0").holds(moved.data)
    copies.synchronize(resolve("cuda:1"))


def test_kernels_and_updates_that_are_called_alone() -> None:
    x, grad = (copies.to_device(numbers(8, seed=i), resolve("cuda:1")) for i in (0, 1))
    assert resolve("cuda:1").holds(kernels()["relu"](x))
    kernels()["sgd_"](x, grad, lr=0.5)
    np.testing.assert_allclose(copies.to_host(x), numbers(8) - 0.5 * numbers(8, seed=1), rtol=1e-6)


def test_what_is_to_be_entered_is_asked_of_arrays_and_devices() -> None:
    second = resolve("cuda:1")
    x = copies.to_device(numbers(2), second)
    assert elsewhere_of(x) == second.elsewhere() == second.native
    with second.active():
        assert elsewhere_of(x) is None
        assert second.elsewhere() is None
    assert CPU.elsewhere() is None
    assert elsewhere_of(numbers(2)) is None


# --- models, loops, training


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2D(4, 3, padding="same", bias=False), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2D(2), nn.Conv2D(3, 2),
        nn.LeakyReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Dense(3),
    )  # fmt: skip


def _words() -> nn.Module:
    return nn.Sequential(nn.Embedding(7, 4), nn.LSTM(5, return_sequences=True), nn.GRU(4), nn.Dense(3))


LOOPS: dict[str, tuple[Callable[[], nn.Module], np.ndarray, Any]] = {
    "cnn": (_cnn, numbers(8, 6, 6, 2), optim.Adam),
    "words": (_words, np.random.default_rng(0).integers(0, 7, (8, 5)), optim.RMSprop),
    "rnn": (lambda: nn.Sequential(nn.RNN(4), nn.Dense(3)), numbers(8, 5, 3), optim.Momentum),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_of_ones_own(name: str) -> None:
    make, host, rule = LOOPS[name]

    def run(where: str) -> list[Any]:
        model = make().build(
            host.shape[1:], seed=1, device=where, input_dtype=None if host.dtype.kind == "f" else "int64"
        )
        optimizer, clip, penalty = rule(0.05).attach(model), optim.clip_by_norm(0.5), optim.L2(0.1)
        x, y = on(where, host, np.arange(8) % 3)
        losses = []
        for _ in range(3):
            loss = dl.losses.cross_entropy(model(x), y) + penalty(model, 8)
            loss.backward()
            clip(model)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        assert resolve(where).holds(model.vector.theta)
        weights, state = model.state_dict(), optimizer.state_dict()
        model.load_state_dict(weights)
        optimizer.load_state_dict(state)
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            twin.eval()
            assert resolve(where).holds(twin(x).data)
        with dl.no_grad():
            return [losses, model.eval()(x).numpy(), list(weights.values())]

    both(run)


def test_a_model_and_its_rule_move_to_the_other_gpu() -> None:
    model = nn.Sequential(nn.Dense(3), nn.BatchNorm(), nn.Dense(2)).build((4,), device="cuda:0")
    rule = optim.Adam(0.1).attach(model)
    (x,) = on("cuda:1", numbers(6, 4))
    rule.to(model.to("cuda:1").device)
    model(x).sum().backward()
    rule.step()
    model.freeze("0.*")
    model(x).sum().backward()
    rule.step()
    assert resolve("cuda:1").holds(model.vector.grad)


def test_parameters_are_written_and_read() -> None:
    model = nn.Dense(2).build((3,), device="cuda:1")
    model.w.data = numbers(3, 2)
    model.w.grad = [[1.0, 2.0]] * 3
    model.b.data = dl.Tensor(numbers(2)).to("cuda:1")
    np.testing.assert_array_equal(model.w.numpy(), numbers(3, 2))
    with pytest.raises(DeviceError, match=r"parameter b: an array on cuda:0 came but the parameter is on cuda:1"):
        model.b.data = dl.Tensor(numbers(2)).to("cuda:0")
    model.w.grad = None
    assert not copies.to_host(model.w.grad).any()


@pytest.mark.parametrize("settings", [{}, {"precision": "mixed"}, {"clip": optim.clip_by_value(0.1)}],
                         ids=["float32", "mixed", "clipped"])  # fmt: skip
def test_the_trainer_fits_evaluates_and_predicts(settings: dict[str, Any]) -> None:
    data = dl.data.Dataset(numbers(20, 6, 6, 2), np.arange(20) % 3)

    def run(where: str) -> list[Any]:
        trainer = dl.Trainer(
            _cnn(), optimizer=optim.Adam(0.01), metrics=["accuracy"], device=where, seed=3,
            augment=dl.data.augment.Compose([dl.data.augment.Flip(), dl.data.augment.Shift(1)]), **settings,
        )  # fmt: skip
        history = trainer.fit(data, data, epochs=2, batch_size=8)
        assert resolve(where).holds(trainer.model.vector.theta)
        return [history["loss"], trainer.evaluate(data)["accuracy"], trainer.predict(data.x)]

    both(run)


@pytest.mark.parametrize("apply", [
    lambda x: dl.filters.gaussian(x, 1.0), lambda x: dl.filters.sobel(x), lambda x: dl.filters.edges(x)[0],
    lambda x: dl.filters.correlate2d(x, numbers(3, 3)), lambda x: dl.filters.box(x, 3),
])  # fmt: skip
def test_filters(apply: Callable[..., Any]) -> None:
    def run(where: str) -> np.ndarray:
        for image in on(where, numbers(9, 8)):
            y = apply(image.data)
            assert resolve(where).holds(y)
            return copies.to_host(y)
        return None

    both(run)


def test_neighbours_augmentation_checks_and_parity() -> None:
    x, y = numbers(30, 4), np.arange(30) % 3
    both(lambda where: dl.neighbors.KNNClassifier(3, device=where).fit(x, y).predict(x))
    both(lambda where: copies.to_host(dl.data.augment.Rotate(20)(on(where, numbers(2, 6, 6, 1))[0].data, 1, 0)))
    model = nn.Dense(2).build((4,), dtype="float64", device="cuda:1")
    images, labels = on("cuda:1", x[:5].astype(np.float64), y[:5] % 2)
    assert dl.testing.gradient_check(model, images, labels, "cross_entropy")
    assert dl.testing.parity(nn.Dense(2).build((4,)), x, ["cpu", "cuda:1"])


# --- two GPUs in one operation


MIXED: dict[str, Callable[[dl.Tensor, dl.Tensor], Any]] = {
    "add": operator.add,
    "comparison": operator.lt,
    "linear": F.linear,
    "concat": lambda x, y: dl.concat([x, y]),
    "where": lambda x, y: dl.where(x > 0, x, y),
    "mse": F.mse,
    "backward": lambda x, y: (2 * x).backward(y),
    "batch_norm": lambda x, y: F.batch_norm(x, x[0], y[0]),
}


@pytest.mark.parametrize(("first", "second"), [("cuda:0", "cuda:1"), ("cuda:1", "cuda:0")])
@pytest.mark.parametrize("name", MIXED)
def test_arrays_of_two_gpus_are_refused_in_one_line(name: str, first: str, second: str) -> None:
    (x,), (y,) = on(first, numbers(3, 3), requires_grad=True), on(second, numbers(3, 3))
    with pytest.raises(DeviceError, match=f"^(?=.*on {first})(?=.*on {second}).*do not mix") as refused:
        MIXED[name](x, y)
    assert "\n" not in str(refused.value)


def test_a_model_names_its_parameters_and_its_gpu() -> None:
    model = nn.Sequential(nn.Dense(2), nn.ReLU()).build((3,), device="cuda:1")
    with pytest.raises(DeviceError, match=r"parameters? 0\.w.* on cuda:1.*\.to\('cuda:1'\)"):
        model(on("cuda:0", numbers(4, 3))[0])


def test_kernels_and_launches_refuse_two_gpus() -> None:
    x, y = (copies.to_device(numbers(4), resolve(where)) for where in ("cuda:0", "cuda:1"))
    for call in (lambda: kernels()["add"](x, y), lambda: kernels()["sgd_"](y, x, lr=0.1)):
        with pytest.raises(DeviceError, match="do not mix"):
            call()


def test_other_libraries_have_no_current_device() -> None:
    assert Device("cpu", np).elsewhere() is None
