"""Parity of devices: agreement where there is agreement, and the right layer named where an error is planted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import standin

import dlcore as dl
from backends.dispatch import Alternative, kernels
from dlcore.parity import parity as parity_of_the_module
from dlcore.parity import place
from dlcore.testing import parity

nn = dl.nn
CPU = ["cpu", "cpu-reference"]
RNG = np.random.default_rng(5)
IMAGES = RNG.standard_normal((6, 8, 8, 2)).astype(np.float32)
LABELS = RNG.integers(0, 4, 6)


def cnn() -> dl.nn.Module:
    return nn.Sequential(
        nn.Conv2D(5, 3, padding="same"),
        nn.BatchNorm(),
        nn.ReLU(),
        nn.MaxPool2D(2),
        nn.Conv2D(6, 3, padding="same"),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Dense(7),
        nn.Tanh(),
        nn.Dense(4),
    ).build((8, 8, 2), seed=1)


Change = Callable[[Any], Any]


def plant(monkeypatch: pytest.MonkeyPatch, kernel: str, forward: Change | None = None, backward: Change | None = None):
    """An alternative that computes as the reference does, and then changes what comes out."""
    reference = kernels()[kernel]

    class Planted:
        @staticmethod
        def forward(xp: Any, *arrays: Any, **params: Any) -> Any:
            y, saved = reference.forward(xp, *arrays, **params)
            return (y if forward is None else forward(y)), saved

        @staticmethod
        def backward(xp: Any, dy: Any, saved: Any, **params: Any) -> Any:
            gradients = reference.backward(xp, dy, saved, **params)
            return gradients if backward is None else backward(gradients)

    entry = Alternative("Planted", "numpy", Planted, lambda *_, **__: None)
    monkeypatch.setitem(reference.alternatives, "numpy", [entry])


def first(change: Change) -> Change:
    """Change the first of several results."""
    return lambda results: (change(results[0]), *results[1:])


def at(position: int, change: Change) -> Change:
    def changed(gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(change(g) if i == position and g is not None else g for i, g in enumerate(gradients))

    return changed


def more(x: np.ndarray) -> np.ndarray:
    return x * np.asarray(1.01, x.dtype)


def one_more(x: np.ndarray) -> np.ndarray:
    """One element is off, by a thousandth of the largest."""
    x = x.copy()
    x.flat[x.size // 2] += 1e-3 * np.abs(x).max()
    return x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_kernels_and_references_agree_in_training_mode(dtype: str) -> None:
    found = parity(cnn(), IMAGES, CPU, y=LABELS, loss="cross_entropy", dtype=dtype)
    assert found, str(found)
    assert found.dtype == dtype
    assert [layer.path for layer in found.layers] == ["0", "1 + 2 + 3", "4 + 5", "6", "7", "8", "9", "10", "loss"]
    assert [layer.kind for layer in found.layers][1:3] == ["BatchNorm + ReLU + MaxPool2D", "Conv2D + ReLU"]
    whats = [[d.what for d in layer.differences] for layer in found.layers]
    assert whats[1] == ["output", "running_mean", "running_variance", "d output", "dgamma", "dbeta"]
    assert whats[2] == ["output", "d output", "dw", "db"]
    assert whats[-1] == ["value"]
    assert found.losses["cpu"] == pytest.approx(found.losses["cpu-reference"], rel=1e-5)
    assert max(d.error for layer in found.layers for d in layer.differences) < found.tolerance


def test_the_functions_of_both_places_are_one() -> None:
    assert parity is parity_of_the_module


@pytest.mark.parametrize(
    ("kernel", "forward", "path"),
    [
        ("conv2d", more, "0"),
        ("batch_norm_relu", first(one_more), "1 + 2 + 3"),
        ("conv2d_relu", one_more, "4 + 5"),
        ("reshape", lambda y: y[:, ::-1].copy(), "6"),
        ("dropout", more, "7"),
        ("linear", one_more, "8"),
        ("tanh", more, "9"),
        ("cross_entropy", more, "loss"),
    ],
)
def test_an_error_in_a_forward_pass_is_found_and_its_layer_named(
    monkeypatch: pytest.MonkeyPatch, kernel: str, forward: Change, path: str
) -> None:
    plant(monkeypatch, kernel, forward=forward)
    found = parity(cnn(), IMAGES, CPU, y=LABELS, loss="cross_entropy")
    assert not found
    assert found.first == path
    assert "first in the forward pass" in found.verdict
    if path != "loss":
        assert f"they run {kernel}: Planted and reference" in found.verdict
    named = next(layer for layer in found.layers if layer.path == path)
    assert not named.ok
    before = found.layers[: found.layers.index(named)]
    assert all(d.ok for layer in before for d in layer.differences if not d.what.startswith("d"))


@pytest.mark.parametrize(
    ("kernel", "backward", "path", "what"),
    [
        ("conv2d", at(1, one_more), "0", "dw"),
        ("batch_norm_relu", at(0, more), "1 + 2 + 3", "what it sends back to 0"),
        ("batch_norm_relu", at(2, more), "1 + 2 + 3", "dbeta"),
        ("conv2d_relu", at(0, one_more), "4 + 5", "what it sends back to 1 + 2 + 3"),
        ("conv2d_relu", at(2, more), "4 + 5", "db"),
        ("dropout", at(0, more), "7", "what it sends back to 6"),
        ("linear", at(1, more), "10", "dw"),  # the last layer is the first of the backward pass
        ("tanh", at(0, one_more), "9", "what it sends back to 8"),
        ("cross_entropy", at(0, more), "loss", "what it sends back to 10"),
    ],
)
def test_an_error_in_a_backward_pass_is_found_and_its_layer_named(
    monkeypatch: pytest.MonkeyPatch, kernel: str, backward: Change, path: str, what: str
) -> None:
    plant(monkeypatch, kernel, backward=backward)
    found = parity(cnn(), IMAGES, CPU, y=LABELS, loss="cross_entropy")
    assert not found
    assert found.first == path
    assert "first in the backward pass" in found.verdict
    assert what in found.verdict
    assert found.moves == 3, "the report is of the last step, in which no kink is in the way"


def test_an_error_in_float64_is_seen_far_below_what_float32_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "tanh", forward=lambda y: y * (1 + 1e-8))
    assert parity(cnn(), IMAGES, CPU)
    assert parity(cnn(), IMAGES, CPU, dtype="float64").first == "9"


def test_a_rounding_error_at_a_kink_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a blank image all pixels of a window are equal, and a rounding error decides which of them is the largest."""

    def rounded_elsewhere(y: np.ndarray) -> np.ndarray:
        last = np.zeros(y.shape[1:3], np.float32)
        last[1::2, 1::2] = 1e-6
        return y + last[None, :, :, None] * np.abs(y)

    model = nn.Sequential(nn.Conv2D(3, 1), nn.Tanh(), nn.MaxPool2D(2), nn.Flatten(), nn.Dense(2)).build((4, 4, 1))
    plant(monkeypatch, "conv2d", forward=rounded_elsewhere)
    found = parity(model, np.ones((3, 4, 4, 1), np.float32), CPU)
    assert found, str(found)
    assert found.moves >= 1
    assert "moved" in found.verdict
    plant(monkeypatch, "max_pool2d", backward=at(0, more))
    assert parity(model, np.ones((3, 4, 4, 1), np.float32), CPU).first == "2"


def test_the_gradient_of_a_bias_in_front_of_batch_norm_is_rounding_alone() -> None:
    model = nn.Sequential(nn.Dense(5), nn.BatchNorm(), nn.Tanh(), nn.Dense(2)).build((3,))
    found = parity(model, RNG.standard_normal((40, 3)), CPU)
    assert found, str(found)


class Own(nn.Module):
    """A model of one's own, with a computation outside its layers."""

    def __init__(self) -> None:
        self.first = nn.Dense(6)
        self.blocks = nn.Sequential(nn.Residual(nn.Sequential(nn.Dense(6), nn.Tanh())), nn.Dense(3))

    def forward(self, x: Any) -> Any:
        return self.blocks(dl.functional.sigmoid(self.first(x))) * 2.0


@pytest.mark.parametrize(
    ("kernel", "how", "path"),
    [
        ("sigmoid", {"forward": more}, "blocks.0.inner.0"),  # the first layer to see it
        ("sigmoid", {"backward": at(0, more)}, "all"),  # the code between the layers is the model's own
        ("add", {"forward": more}, "blocks.0"),
        ("tanh", {"backward": at(0, more)}, "blocks.0.inner.1"),
        ("multiply", {"forward": more}, "all"),
    ],
)
def test_layers_within_layers_are_named(
    monkeypatch: pytest.MonkeyPatch, kernel: str, how: dict[str, Any], path: str
) -> None:
    model = Own().build((4,), seed=0)
    x = RNG.standard_normal((5, 4))
    found = parity(model, x, CPU)
    assert found, str(found)
    assert [layer.path for layer in found.layers] == [
        "first", "blocks.0.inner.0", "blocks.0.inner.1", "blocks.0", "blocks.1", "all", "loss",
    ]  # fmt: skip
    plant(monkeypatch, kernel, **how)
    assert parity(model, x, CPU).first == path


def test_heads_embeddings_and_shared_layers_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = nn.Dense(4)
    model = nn.Sequential(
        nn.Embedding(9, 4), shared, nn.Tanh(), shared, nn.Flatten(), nn.Heads({"a": nn.Dense(2), "b": nn.Dense(1)})
    ).build((3,), input_dtype="int64")
    ids = RNG.integers(0, 9, (5, 3))
    found = parity(model, ids, CPU)
    assert found, str(found)
    assert [layer.path for layer in found.layers] == ["0", "1", "2", "1", "4", "5.a", "5.b", "loss"]
    gradients = [d.what for layer in found.layers for d in layer.differences if d.what in ("dw", "db")]
    assert gradients == ["dw", "dw", "db", "dw", "db", "dw", "db"], "a shared layer's gradients come once"
    plant(monkeypatch, "embedding", backward=at(0, more))
    assert parity(model, ids, CPU).first == "0"


def test_what_is_not_finite_is_out_of_tolerance_even_on_both() -> None:
    x = IMAGES.copy()
    x[2, 1, 1, 0] = np.nan
    found = parity(cnn(), x, CPU)
    assert not found
    assert found.first == "0"
    assert found.layers[0].differences[0].error == math.inf


def test_the_model_is_left_as_it_is() -> None:
    model = cnn().eval()
    model.freeze("0.w")
    before = model.state_dict()
    parity(model, IMAGES, CPU, y=LABELS, loss="cross_entropy")
    assert all(np.array_equal(before[path], value) for path, value in model.state_dict().items())
    assert not any(module.training for _, module in model.named_modules())
    assert all("forward" not in vars(module) for _, module in model.named_modules())
    assert "dw" not in [d.what for d in parity(model, IMAGES, CPU).layers[0].differences], "it is frozen"


@pytest.mark.level2
def test_a_device_of_another_library_is_compared_with_the_cpu() -> None:
    with standin.installed():
        found = parity(cnn(), IMAGES, ["cpu-reference", "cuda", "cpu"], y=LABELS, loss="cross_entropy")
        assert found, str(found)
        assert found.devices == ("cpu-reference", "cuda:0", "cpu")
        assert [layer.device for layer in found.layers] == ["cuda:0"] * 9 + ["cpu"] * 9
        at_cuda = cnn().to("cuda")
        assert parity(at_cuda, dl.Tensor(IMAGES).to("cuda"), CPU)


@pytest.mark.level7
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_real_gpu_takes_the_step_that_the_cpu_takes(cuda: dl.Device, dtype: str) -> None:
    found = parity(cnn(), IMAGES, ["cpu-reference", "cpu", cuda], y=LABELS, loss="cross_entropy", dtype=dtype)
    assert found, str(found)


def test_a_place_with_reference_behind_it_runs_references() -> None:
    chosen = place("cpu-reference")
    assert str(chosen) == "cpu-reference (every kernel runs its reference)"
    relu = kernels()["relu"]
    big = np.ones((100, 1000), np.float32)
    with chosen.active():
        assert relu.choose(chosen.device.xp, (big,), {}) is relu


@pytest.mark.parametrize(
    ("devices", "how", "error", "parts"),
    [
        (["cpu"], {}, dl.ConfigError, "devices is cpu.*at least two"),
        ([], {}, dl.ConfigError, "devices is none"),
        (["cpu", "cpu"], {}, dl.ConfigError, "cpu came twice"),
        (["cpu-reference", "cpu-reference"], {}, dl.ConfigError, "cpu-reference came twice"),
        (["cpu", "gpu"], {}, dl.DeviceError, "'gpu'.*did you mean cuda"),
        (["cpu", "cpu-ref"], {}, dl.DeviceError, "'cpu-ref'"),
        (CPU, {"dtype": "float16"}, dl.ConfigError, "float16.*float32, float64"),
        (CPU, {"tolerance": 0.0}, dl.ConfigError, "tolerance is 0.0"),
        (CPU, {"tolerance": math.nan}, dl.ConfigError, "tolerance is nan"),
        (CPU, {"loss": "mse"}, dl.ConfigError, "y and loss go together"),
        (CPU, {"y": LABELS}, dl.ConfigError, "y and loss go together"),
        (CPU, {"y": LABELS, "loss": "msee"}, dl.ConfigError, "did you mean mse"),
    ],
)
def test_bad_arguments_are_one_clear_error(
    devices: list[str], how: dict[str, Any], error: type[Exception], parts: str
) -> None:
    with pytest.raises(error, match=parts):
        parity(cnn(), IMAGES, devices, **how)


def test_a_model_that_is_not_built_is_refused() -> None:
    with pytest.raises(dl.ConfigError, match="not built"):
        parity(nn.Dense(2), IMAGES, CPU)


def test_the_table_fits_a_terminal_and_ends_with_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "tanh", forward=more)
    found = parity(cnn(), IMAGES, CPU, y=LABELS, loss="cross_entropy")
    *lines, verdict = str(found).splitlines()
    assert verdict == found.verdict
    assert all(len(line) <= 80 for line in lines)
    marked = [line for line in lines if line.endswith("OUT")]
    assert len(marked) >= 1
    assert "9  Tanh" in lines
    assert lines[lines.index("9  Tanh") + 1] in marked
