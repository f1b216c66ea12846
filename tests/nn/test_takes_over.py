"""Layers that compute what follows them in the same go: the same results, and no layer of one's own is passed over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from backends.dispatch import reference_only
from dlcore import nn
from dlcore.tensor import Tensor

BLOCKS: dict[str, tuple[Callable[[], list[nn.Module]], int]] = {  # layers, and how many of them are passed over
    "conv, relu": (lambda: [nn.Conv2D(5, 3, padding="same"), nn.ReLU()], 1),
    "conv, relu, pool": (lambda: [nn.Conv2D(5, 3), nn.ReLU(), nn.MaxPool2D(2)], 2),
    "conv, relu, pool with a stride": (lambda: [nn.Conv2D(5, 3), nn.ReLU(), nn.MaxPool2D(3, stride=2)], 1),
    "conv, relu, pool with padding": (lambda: [nn.Conv2D(5, 3), nn.ReLU(), nn.MaxPool2D(2, padding="same")], 1),
    "conv, relu, average": (lambda: [nn.Conv2D(5, 3), nn.ReLU(), nn.AvgPool2D(2)], 1),
    "conv, pool, relu": (lambda: [nn.Conv2D(5, 3), nn.MaxPool2D(2), nn.ReLU()], 0),
    "conv, norm, relu, pool": (lambda: [nn.Conv2D(5, 3, bias=False), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2D(2)], 2),
    "norm, relu": (lambda: [nn.BatchNorm(), nn.ReLU()], 1),
    "dense, relu": (lambda: [nn.Flatten(), nn.Dense(6), nn.ReLU(), nn.Dense(3)], 1),
    "dense of images, relu, pool": (lambda: [nn.Dense(4, bias=False), nn.ReLU(), nn.MaxPool2D(2)], 1),
    "dense, norm, relu": (lambda: [nn.Dense(4, bias=False), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2D(2)], 2),
    "dense, tanh, relu": (lambda: [nn.Dense(4), nn.Tanh(), nn.ReLU()], 0),
    "conv, tanh": (lambda: [nn.Conv2D(5, 3), nn.Tanh(), nn.MaxPool2D(2)], 0),
}
every_block = pytest.mark.parametrize("block", BLOCKS)


def images(dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(0).standard_normal((4, 9, 8, 2)).astype(dtype)


def results(model: nn.Module, forward: Callable[[Any], Any], x: np.ndarray) -> list[np.ndarray]:
    """The output, and the gradients of the sum of its squares for the input and for every parameter."""
    given = Tensor(x, requires_grad=True)
    y = forward(given)
    (y * y).sum().backward()
    assert model.vector is not None
    found = [y.numpy(), given.grad, *(p.grad.copy() for p in model.parameters())]
    found += [buffer.data.copy() for _, buffer in model.named_buffers()]
    return [np.asarray(x) for x in found]


def one_by_one(layers: Sequence[nn.Module]) -> Callable[[Any], Any]:
    def forward(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
        return x

    return forward


@every_block
@pytest.mark.parametrize("training", [True, False])
def test_a_sequential_gives_what_its_layers_give_one_by_one(block: str, training: bool):
    def built(dtype: str) -> nn.Sequential:
        model = nn.Sequential(*BLOCKS[block][0]()).build((9, 8, 2), seed=3, dtype=dtype)
        return model.train() if training else model.eval()

    with reference_only():
        together, apart = built("float64"), built("float64")
        expected = results(apart, one_by_one(apart.layers), images())
        for one, other in zip(results(together, together, images()), expected, strict=True):
            assert one.tobytes() == other.tobytes()
    compiled = built("float32")
    for one, other in zip(results(compiled, compiled, images("float32")), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4 * np.abs(other).max())


@every_block
def test_the_layers_that_are_passed_over_are_not_called(block: str, monkeypatch: pytest.MonkeyPatch):
    layers, passed_over = BLOCKS[block]
    model = nn.Sequential(*layers()).build((9, 8, 2), seed=3)
    called: list[str] = []
    for kind in (nn.ReLU, nn.MaxPool2D, nn.AvgPool2D):

        def forward(self: Any, x: Any, kind: Any = kind, original: Any = kind.forward) -> Any:
            called.append(kind.__name__)
            return original(self, x)

        monkeypatch.setattr(kind, "forward", forward)
    model(images("float32"))
    others = sum(type(layer) in (nn.ReLU, nn.MaxPool2D, nn.AvgPool2D) for layer in model.layers)
    assert len(called) == others - passed_over


def test_a_layer_of_ones_own_is_called():
    class Mine(nn.ReLU):
        def forward(self, x: Any) -> Any:
            return super().forward(x) + 1000.0

    class Silent(nn.Conv2D):
        def forward(self, x: Any) -> Any:  # takes no other arguments
            return super().forward(x) * 0.0

    class Own(nn.Dense):
        def forward(self, x: Any) -> Any:
            return super().forward(x) * 0.0

    x = images("float32")
    assert nn.Sequential(nn.Dense(4), Mine())(x).numpy().min() >= 1000.0
    assert nn.Sequential(Own(4), nn.ReLU())(x).numpy().max() == 0.0
    assert nn.Sequential(nn.Conv2D(5, 3), Mine())(x).numpy().min() >= 1000.0
    assert nn.Sequential(nn.Conv2D(5, 3), nn.ReLU(), Mine())(x).numpy().min() >= 1000.0
    assert nn.Sequential(Silent(5, 3), nn.ReLU())(x).numpy().max() == 0.0


def test_the_summary_still_tells_every_layer():
    model = nn.Sequential(nn.Conv2D(5, 3), nn.ReLU(), nn.MaxPool2D(2)).build((9, 8, 2))
    assert str(model.summary()).count("(N, 7, 6, 5)") == 2
    assert str(model.summary()).count("(N, 3, 3, 5)") == 1


def test_a_frozen_norm_uses_its_running_statistics():
    model = nn.Sequential(nn.BatchNorm(), nn.ReLU()).build((9, 8, 2))
    model.freeze("0.*")
    x = images("float32")
    np.testing.assert_allclose(model.train()(x).numpy(), np.maximum(x / np.sqrt(1 + 1e-5), 0), rtol=1e-5)
