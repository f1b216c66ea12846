"""PyTorch's weights in our layers give what they give there: computed here in NCHW by SciPy, apart from dlcore."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.signal import correlate

import dlcore as dl
from dlcore import nn
from dlcore.interop import pytorch

EPS = 1e-5


def weights(features: str = "", head: str = "") -> dict[str, np.ndarray]:
    """A small network's tensors as PyTorch lays them out: 3 channels of 6 × 11, two convolutions, two dense layers."""
    rng = np.random.default_rng(0)

    def some(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    norm = {"weight": some(5), "bias": some(5), "running_mean": some(5), "running_var": some(5) ** 2 + 0.5}
    flat = {"weight": some(48), "bias": some(48), "running_mean": some(48), "running_var": some(48) ** 2 + 0.5}
    return {
        f"{features}0.weight": some(5, 3, 3, 3),
        f"{features}0.bias": some(5),
        **{f"{features}1.{name}": value for name, value in norm.items()},
        f"{features}1.num_batches_tracked": np.array(7),
        f"{features}4.weight": some(8, 5, 1, 3),
        f"{features}4.bias": some(8),
        **{f"{head}6.{name}": value for name, value in flat.items()},
        f"{head}8.weight": some(7, 48),
        f"{head}8.bias": some(7),
        f"{head}10.weight": some(4, 7),
        f"{head}10.bias": some(4),
    }


def model() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2D(5, 3, padding="same"), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2D((3, 2)), nn.Conv2D(8, (1, 3)),
        nn.Flatten(), nn.BatchNorm(), nn.Tanh(), nn.Dense(7), nn.ReLU(), nn.Dense(4),
    )  # fmt: skip


def convolution(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, C, H, W) with (K, C, kh, kw), without padding."""
    return np.stack([[correlate(image, one, "valid")[0] for one in w] for image in x]) + b[:, None, None]


def normalised(x: np.ndarray, t: dict[str, np.ndarray], name: str) -> np.ndarray:
    shape = (1, -1, *(1,) * (x.ndim - 2))
    parts = ("weight", "bias", "running_mean", "running_var")
    weight, bias, mean, var = (t[f"{name}.{part}"].reshape(shape) for part in parts)
    return (x - mean) / np.sqrt(var + EPS) * weight + bias


def expected(images: np.ndarray, tensors: dict[str, np.ndarray]) -> np.ndarray:
    """What PyTorch's network gives for (N, H, W, C), in float64 and channels first."""
    t = {name: value.astype(np.float64) for name, value in tensors.items()}
    x = images.astype(np.float64).transpose(0, 3, 1, 2)
    x = convolution(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), t["0.weight"], t["0.bias"])
    x = np.maximum(normalised(x, t, "1"), 0)
    n, c, h, w = x.shape
    x = x[:, :, : h // 3 * 3, : w // 2 * 2].reshape(n, c, h // 3, 3, w // 2, 2).max(axis=(3, 5))
    x = convolution(x, t["4.weight"], t["4.bias"]).reshape(n, -1)  # (N, C H W)
    x = np.tanh(normalised(x, t, "6"))
    x = np.maximum(x @ t["8.weight"].T + t["8.bias"], 0)
    return x @ t["10.weight"].T + t["10.bias"]


IMAGES = np.random.default_rng(1).normal(size=(3, 6, 11, 3)).astype(np.float32)
NESTED = {"features": "", "classifier": ""}


def write(folder: Path, tensors: dict[str, np.ndarray]) -> Path:
    path = folder / "torch.safetensors"
    save_file(tensors, path)
    return path


def test_the_outputs_are_those_of_the_channels_first_network(tmp_path: Path) -> None:
    ours = model().build(IMAGES.shape[1:], seed=3)
    assert pytorch.load(ours, write(tmp_path, weights())) is ours
    # float32: sums of up to 48 products of numbers near 1
    np.testing.assert_allclose(ours.eval()(IMAGES).numpy(), expected(IMAGES, weights()), rtol=2e-4, atol=2e-4)


def test_a_mapping_takes_names_to_paths(tmp_path: Path) -> None:
    ours = model().build(IMAGES.shape[1:], dtype="float64")
    pytorch.load(ours, write(tmp_path, weights("features.", "classifier.")), NESTED)
    images = IMAGES.astype(np.float64)
    np.testing.assert_allclose(ours.eval()(images).numpy(), expected(images, weights()), rtol=1e-10, atol=1e-10)


def test_a_flattening_in_ones_own_forward_is_found_and_rows_of_plain_numbers_stay(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.conv = nn.Conv2D(2, 1, bias=False)
            self.first = nn.Dense(12, bias=False)
            self.second = nn.Dense(3, bias=False)

        def forward(self, x: dl.Tensor) -> dl.Tensor:
            x = dl.functional.relu(self.conv(x)).reshape(x.shape[0], 12)
            return self.second(dl.functional.relu(self.first(x)))

    rng = np.random.default_rng(5)
    conv, first, second = (rng.normal(size=s).astype(np.float32) for s in ((2, 1, 1, 1), (12, 12), (3, 12)))
    path = write(tmp_path, {"conv.weight": conv, "first.weight": first, "second.weight": second})
    x = rng.normal(size=(4, 2, 3, 1)).astype(np.float32)
    rows = np.maximum(np.einsum("nhwc,kcij->nkhw", x, conv), 0).reshape(4, 12)
    ours = pytorch.load(Net().build((2, 3, 1)), path)
    np.testing.assert_allclose(ours(x).numpy(), np.maximum(rows @ first.T, 0) @ second.T, rtol=1e-5, atol=1e-5)


class Own(nn.Module):
    """A convolution of 1 × 1 and a dense layer, with a function between them."""

    def __init__(self, between: Callable[[dl.Tensor], dl.Tensor], units: int = 3) -> None:
        self.conv = nn.Conv2D(2, 1, bias=False)
        self.out = nn.Dense(units, bias=False)
        self.between = between

    def forward(self, x: dl.Tensor) -> dl.Tensor:
        return self.out(self.between(self.conv(x)))


def rows(x: dl.Tensor) -> dl.Tensor:
    return x.reshape(x.shape[0], 12)


BETWEEN = {
    "channels brought to the front before": (lambda x: rows(x.transpose(0, 3, 1, 2)), 12, lambda flat: flat),
    "a scale and a shift": (lambda x: 1 - rows(x) / 2, 12, lambda flat: 1 - flat / 2),
    "a residual": (lambda x: rows(x) + dl.functional.relu(rows(x)), 12, lambda flat: flat + np.maximum(flat, 0)),
    "in two steps": (lambda x: rows(x.reshape(-1, 2, 6)), 12, lambda flat: flat),
    "beside itself": (
        lambda x: dl.concat([rows(x), rows(abs(x))], axis=1), 24, lambda flat: np.hstack([flat, abs(flat)])
    ),
    "a number a channel": (lambda x: x.mean(axis=(1, 2)), 2, lambda flat: flat.reshape(-1, 2, 6).mean(axis=2)),
}  # fmt: skip


@pytest.mark.parametrize("what", BETWEEN)
def test_what_stands_between_maps_and_rows_is_followed(what: str, tmp_path: Path) -> None:
    """The oracle flattens (N, C, H, W), and does the rest to rows."""
    between, width, of_rows = BETWEEN[what]
    rng = np.random.default_rng(6)
    conv, out = rng.normal(size=(2, 1, 1, 1)), rng.normal(size=(3, width))
    path = write(tmp_path, {"conv.weight": conv, "out.weight": out})
    x = rng.normal(size=(4, 2, 3, 1))
    flat = np.einsum("nhwc,kcij->nkhw", x, conv).reshape(4, 12)
    ours = pytorch.load(Own(between).build((2, 3, 1), dtype="float64"), path)
    np.testing.assert_allclose(ours(x).numpy(), of_rows(flat) @ out.T, rtol=1e-12, atol=1e-12)


class Decoder(nn.Module):
    def __init__(self) -> None:
        self.out = nn.Dense(12, bias=False)
        self.conv = nn.Conv2D(2, 1, bias=False)

    def forward(self, x: dl.Tensor) -> dl.Tensor:
        return self.conv(dl.functional.relu(self.out(x)).reshape(-1, 2, 3, 2))


class Branches(nn.Module):
    """Flattened maps and the rows of another layer, added."""

    def __init__(self) -> None:
        self.conv = nn.Conv2D(2, 1, bias=False)
        self.side = nn.Dense(12, bias=False)
        self.out = nn.Dense(3, bias=False)

    def forward(self, x: dl.Tensor) -> dl.Tensor:
        return self.out(rows(self.conv(x)) + self.side(x.reshape(-1, 6)))


UNCLEAR = {
    "maps and rows in one sum": (
        Branches(), (2, 3, 1), {"conv": (2, 1, 1, 1), "side": (12, 6), "out": (3, 12)},
    ),
    "rows that become maps": (Decoder(), (5,), {"out": (12, 5), "conv": (2, 2, 1, 1)}),
    "maps read in steps": (
        Own(lambda x: x.reshape(-1, 2, 6)), (2, 3, 1), {"conv": (2, 1, 1, 1), "out": (3, 6)},
    ),
    "an axis of maps averaged": (
        Own(lambda x: x.mean(axis=1).reshape(-1, 6)), (2, 3, 1), {"conv": (2, 1, 1, 1), "out": (3, 6)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", UNCLEAR)
def test_an_order_that_cannot_be_told_is_refused_unless_the_layer_begins_anew(what: str, tmp_path: Path) -> None:
    model, shape, shapes = UNCLEAR[what]
    tensors = {f"{name}.weight": np.ones(size, np.float32) for name, size in shapes.items()}
    path = write(tmp_path, tensors)
    model.build(shape)
    with pytest.raises(dl.ConfigError, match=r"out .*of which the order in a model with the channels first is not kn"):
        pytorch.load(model, path)
    pytorch.load(model, path, {"out": None}, anew="out")
    np.testing.assert_array_equal(model.state_dict()["conv.w"], 1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def states(kind: str, x: np.ndarray, t: dict[str, np.ndarray], end: str) -> np.ndarray:
    """(N, T, H), by PyTorch's formulas, of one layer in one direction."""
    w, u = t[f"weight_ih{end}"], t[f"weight_hh{end}"]
    b, d = (t.get(f"bias_{name}{end}", np.zeros(len(w))) for name in ("ih", "hh"))
    h = c = np.zeros((len(x), u.shape[1]))
    found = []
    for step in range(x.shape[1]):
        given, own = x[:, step] @ w.T + b, h @ u.T + d
        if kind == "RNN":
            h = np.tanh(given + own)
        elif kind == "LSTM":
            i, f, g, o = np.split(given + own, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            (r, z, n), (hr, hz, hn) = np.split(given, 3, axis=1), np.split(own, 3, axis=1)
            z = sigmoid(z + hz)
            h = (1 - z) * np.tanh(n + sigmoid(r + hr) * hn) + z * h
        found.append(h)
    return np.stack(found, axis=1)


@pytest.mark.parametrize("biases", [("ih", "hh"), ()], ids=["biases", "none"])
@pytest.mark.parametrize(("layers", "ends"), [(1, ("",)), (2, ("",)), (2, ("", "_reverse"))])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_give_the_states_of_the_formulas(
    kind: str, layers: int, ends: tuple[str, ...], biases: tuple[str, ...], tmp_path: Path
) -> None:
    rng = np.random.default_rng(7)
    width, gates = 4, {"RNN": 4, "LSTM": 16, "GRU": 12}[kind]
    tensors = {}
    for layer in range(layers):
        for end in ends:
            features = 3 if layer == 0 else width * len(ends)
            tensors[f"weight_ih_l{layer}{end}"] = rng.normal(size=(gates, features))
            tensors[f"weight_hh_l{layer}{end}"] = rng.normal(size=(gates, width))
            tensors |= {f"bias_{name}_l{layer}{end}": rng.normal(size=gates) for name in biases}
    x = expected = rng.normal(size=(2, 5, 3))
    for layer in range(layers):
        both = [states(kind, expected[:, :: 1 - 2 * bool(end)], tensors, f"_l{layer}{end}") for end in ends]
        expected = np.concatenate([y[:, :: 1 - 2 * bool(end)] for y, end in zip(both, ends, strict=True)], axis=2)
    path = write(tmp_path, {f"rnn.{name}": tensor for name, tensor in tensors.items()})
    make = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}[kind]
    ours = nn.Sequential(make(width, layers=layers, bidirectional=len(ends) == 2, return_sequences=True))
    pytorch.load(ours.build((5, 3), dtype="float64"), path, {"rnn": "0"})
    np.testing.assert_allclose(ours(x).numpy(), expected, rtol=1e-12, atol=1e-12)


def test_a_new_head_begins_anew_on_a_frozen_trunk(tmp_path: Path) -> None:
    ours = model().build(IMAGES.shape[1:], seed=3)
    head = {name: ours.state_dict()[name] for name in ("10.w", "10.b")}
    pytorch.load(ours, write(tmp_path, weights()), {"10": None}, anew="10").freeze("[0-8]*")
    for name, value in head.items():
        np.testing.assert_array_equal(ours.state_dict()[name], value)
    np.testing.assert_array_equal(ours.state_dict()["1.running_variance"], weights()["1.running_var"])


WRONG = {
    "a missing tensor": ("4.bias", None, {}, r"it has no 4\.bias; say what begins anew, such as anew='4'"),
    "an unexpected one": ("fc.bias", (3,), {}, r"no layer takes fc\.bias; leave it out by mapping=\{'fc': None\}"),
    "another shape": ("8.weight", (7, 47), {}, r"8\.weight has shape \(7, 47\) but \(7, 48\) is expected for 8\.w"),
    "a mapping of nothing": ("x", None, {"10.wieght": "3"}, r"no '10\.wieght' \(did you mean 10\.weight\?\)"),
    "two for one": ("x", None, {"8": "10"}, r"both become 10"),
    "groups": ("4.weight", (8, 1, 1, 3), {}, r"\(8, 5, 1, 3\) is expected for 4\.w; convolutions in groups are not"),
    "whole numbers": (
        "8.bias",
        np.zeros(7, np.int8),
        {},
        r"8\.bias holds int8 but floating-point numbers are expected",
    ),
    "a projection": ("weight_hr_l0", (3,), {}, r"leave it out by mapping=\{'weight_hr_l0': None\}"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_said_in_one_line_and_nothing_is_loaded(what: str, tmp_path: Path) -> None:
    name, shape, mapping, words = WRONG[what]
    tensors = weights()
    tensors.pop(name, None)
    if shape is not None:
        tensors[name] = shape if isinstance(shape, np.ndarray) else np.zeros(shape, np.float32)
    ours = model().build(IMAGES.shape[1:])
    before = ours.state_dict()
    with pytest.raises(dl.DlcoreError, match=words) as caught:
        pytorch.load(ours, write(tmp_path, tensors), mapping)
    assert "\n" not in str(caught.value)
    for path, value in ours.state_dict().items():
        np.testing.assert_array_equal(value, before[path])


def test_files_that_hold_something_else_say_how_to_write_them(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Dense(2)).build((3,))
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:  # what torch.save writes
        archive.writestr("model/data.pkl", b"")
    with pytest.raises(dl.CheckpointError, match=r"model\.pt: a file of torch\.save, .*safetensors\.torch\.save_file"):
        pytorch.load(model, tmp_path / "model.pt")
    header = json.dumps({"0.weight": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}).encode()
    (tmp_path / "half.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(12))
    with pytest.raises(dl.CheckpointError, match="type BF16, which NumPy does not have; write them as float32"):
        pytorch.load(model, tmp_path / "half.safetensors")


def test_names_of_another_model_suggest_a_mapping(tmp_path: Path) -> None:
    path = write(tmp_path, {"fc.weight": np.ones((2, 3), np.float32)})
    with pytest.raises(dl.CheckpointError, match=r"mapping=\{'fc': '0'\}"):
        pytorch.load(nn.Sequential(nn.Dense(2, bias=False)).build((3,)), path)
    with pytest.raises(dl.ConfigError, match="anew: 'fc' matches nothing"):
        pytorch.load(nn.Sequential(nn.Dense(2, bias=False)).build((3,)), path, {"fc": "0"}, anew="fc")
