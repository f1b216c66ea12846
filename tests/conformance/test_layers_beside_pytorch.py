"""2,000 random layers and losses beside PyTorch's: outputs, gradients for inputs and parameters, running statistics.

Settings, sizes (1 and odd ones among them), padding, lengths and the memory layout of the input are drawn; both sides
get the same weights. float64 shows that the formulas are equal, float32 is what runs compute in, by compiled kernels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from full_report import Figures

import dlcore as dl
from dlcore import nn

CASES = 2000
BOUNDS = {"float64": (1e-9, 1e-10), "float32": (2e-4, 2e-4)}
"""Relative to the largest number of an array: sums of a thousand products are added in another order."""

Rng = np.random.Generator


def _conv(rng: Rng) -> tuple[Any, ...]:
    import torch

    channels, filters = (int(rng.integers(1, 9)) for _ in range(2))
    kernel, stride, dilation = (tuple(rng.integers(1, m + 1, 2).tolist()) for m in (4, 3, 2))
    pads = tuple(rng.integers(0, 3, 2).tolist())
    size = [int(d * (k - 1) + 1 + rng.integers(0, 9)) for k, d in zip(kernel, dilation, strict=True)]
    bias = bool(rng.integers(2))
    ours = nn.Conv2D(
        filters, kernel, stride=stride, padding=((pads[0],) * 2, (pads[1],) * 2), dilation=dilation, bias=bias
    )
    theirs = torch.nn.Conv2d(channels, filters, kernel, stride, pads, dilation, bias=bias)
    values = {"w": theirs.weight.permute(2, 3, 1, 0)} | ({"b": theirs.bias} if bias else {})
    return ours, theirs, values, (int(rng.integers(1, 5)), *size, channels)


def _dense(rng: Rng) -> tuple[Any, ...]:
    import torch

    d, k = (int(rng.integers(1, 40)) for _ in range(2))
    bias = bool(rng.integers(2))
    theirs = torch.nn.Linear(d, k, bias=bias)
    values = {"w": theirs.weight.T} | ({"b": theirs.bias} if bias else {})
    middle = rng.integers(1, 5, int(rng.integers(0, 3))).tolist()
    return nn.Dense(k, bias=bias), theirs, values, (int(rng.integers(1, 9)), *middle, d)


def _norm(rng: Rng) -> tuple[Any, ...]:
    import torch

    channels, images = int(rng.integers(1, 9)), bool(rng.integers(2))
    momentum, eps = float(rng.uniform(0.1, 0.9)), float(10.0 ** rng.integers(-6, -2))
    kind = torch.nn.BatchNorm2d if images else torch.nn.BatchNorm1d
    theirs = kind(channels, eps=eps, momentum=1 - momentum)
    with torch.no_grad():
        theirs.weight.uniform_(-2, 2), theirs.bias.uniform_(-2, 2)
    space = rng.integers(1, 7, 2).tolist() if images else []
    shape = (int(rng.integers(2, 9)), *space, channels)
    return nn.BatchNorm(momentum=momentum, eps=eps), theirs, {"gamma": theirs.weight, "beta": theirs.bias}, shape


def _pool(kind: str) -> Callable[[Rng], tuple[Any, ...]]:
    def draw(rng: Rng) -> tuple[Any, ...]:
        import torch

        kernel = tuple(rng.integers(1, 5, 2).tolist())
        stride = tuple(rng.integers(1, 4, 2).tolist())
        pads = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
        shape = (int(rng.integers(1, 4)), *(int(k + rng.integers(0, 7)) for k in kernel), int(rng.integers(1, 9)))
        padding = tuple((p, p) for p in pads)
        if kind == "max":
            ours, theirs = nn.MaxPool2D(kernel, stride, padding), torch.nn.MaxPool2d(kernel, stride, pads)
        else:
            ours = nn.AvgPool2D(kernel, stride, padding)
            theirs = torch.nn.AvgPool2d(kernel, stride, pads, count_include_pad=False)
        return ours, theirs, {}, shape

    return draw


def _activation(rng: Rng) -> tuple[Any, ...]:
    import torch

    alpha = float(rng.uniform(0, 1))
    pairs = [
        (nn.ReLU(), torch.nn.ReLU()), (nn.LeakyReLU(alpha), torch.nn.LeakyReLU(alpha)), (nn.Tanh(), torch.nn.Tanh()),
        (nn.Sigmoid(), torch.nn.Sigmoid()), (nn.Softmax(), torch.nn.Softmax(dim=-1)),
    ]  # fmt: skip
    ours, theirs = pairs[int(rng.integers(len(pairs)))]
    return ours, theirs, {}, tuple(rng.integers(1, 9, int(rng.integers(2, 4))).tolist())


GATES = {"RNN": [0], "LSTM": [0, 1, 2, 3], "GRU": [0, 1, 2]}  # PyTorch's order is ours: i f g o; r z n


def _recurrent(kind: str) -> Callable[[Rng], tuple[Any, ...]]:
    def draw(rng: Rng) -> tuple[Any, ...]:
        import torch

        d, units, layers = int(rng.integers(1, 9)), int(rng.integers(1, 12)), int(rng.integers(1, 3))
        both = bool(rng.integers(2))
        n, steps = int(rng.integers(1, 6)), int(rng.integers(1, 9))
        ours = getattr(nn, kind)(units, layers=layers, return_sequences=True, bidirectional=both)
        theirs = getattr(torch.nn, kind)(d, units, layers, batch_first=True, bidirectional=both)
        values: dict[str, Any] = {}
        for layer in range(layers):
            for suffix, theirs_suffix in (("", ""), (".reverse", "_reverse"))[: 1 + both]:
                of = lambda name, end=f"l{layer}{theirs_suffix}": getattr(theirs, f"{name}_{end}")  # noqa: E731
                key = f".{layer}{suffix}" if layers > 1 or both else ""
                values[f"u{key}"], values[f"w{key}"] = of("weight_ih").T, of("weight_hh").T
                # Their two biases are added, but for the one that a GRU resets.
                if kind == "GRU":
                    reset = torch.cat([of("bias_hh")[: 2 * units], torch.zeros(units, dtype=of("bias_hh").dtype)])
                    values[f"b{key}"], values[f"bn{key}"] = of("bias_ih") + reset, of("bias_hh")[2 * units :]
                else:
                    values[f"b{key}"] = of("bias_ih") + of("bias_hh")
        lengths = rng.integers(1, steps + 1, n).tolist() if rng.integers(2) else None
        return ours, theirs, values, (n, steps, d), lengths

    return draw


# Each draws our layer, theirs, the values of our parameters by theirs, and the input's shape; sequences their lengths.
LAYERS: dict[str, Callable[[Rng], tuple[Any, ...]]] = {
    "Dense": _dense,
    "Conv2D": _conv,
    "MaxPool2D": _pool("max"),
    "AvgPool2D": _pool("avg"),
    "BatchNorm": _norm,
    "activation": _activation,
    "RNN": _recurrent("RNN"),
    "LSTM": _recurrent("LSTM"),
    "GRU": _recurrent("GRU"),
}


def close(ours: Any, theirs: Any, dtype: str, what: str) -> None:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, f"{what}: {ours.shape} but {theirs.shape} is expected"
    assert ours.dtype == dtype, f"{what}: {ours.dtype} but {dtype} is expected"
    rtol, atol = BOUNDS[dtype]
    scale = max(1.0, float(np.abs(theirs).max(initial=0)))
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol * scale, err_msg=what)


def laid_out(x: np.ndarray, rng: Rng) -> np.ndarray:
    """The same numbers in another order in memory."""
    way = int(rng.integers(4))
    if way == 1:
        return np.asfortranarray(x)
    if way == 2:
        wide = np.full([2 * n for n in x.shape], np.nan, x.dtype)
        view = wide[(slice(None, None, 2),) * x.ndim]
        view[...] = x
        return view
    return np.flip(np.flip(x).copy()) if way == 3 else x


def check_layer(kind: str, seed: int, dtype: str) -> None:
    import torch

    rng = np.random.default_rng([seed, sorted(LAYERS).index(kind)])
    torch.manual_seed(seed)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        ours, theirs, values, shape, *more = LAYERS[kind](rng)
    finally:
        torch.set_default_dtype(usual)
    lengths = more[0] if more else None
    x = (rng.standard_normal(shape) * 10.0 ** rng.uniform(-1, 1)).astype(dtype)
    mine = dl.Tensor(laid_out(x, rng), requires_grad=True)
    recurrent = kind in GATES
    images = len(shape) == 4 and kind not in ("Dense", "activation")
    yours = torch.from_numpy(x.copy()).requires_grad_()
    given = yours.permute(0, 3, 1, 2) if images else yours

    ours.build(shape[1:], dtype=dtype)
    values = {name: np.ascontiguousarray(value.detach().numpy()) for name, value in values.items()}
    ours.load_state_dict(dict(ours.state_dict()) | values)
    training = kind != "BatchNorm" or bool(rng.integers(2))
    for model in (ours, theirs):
        model.train() if training else model.eval()

    y = ours(mine, lengths=lengths) if recurrent else ours(mine)
    if recurrent and lengths is not None:
        packed = torch.nn.utils.rnn.pack_padded_sequence(given, lengths, batch_first=True, enforce_sorted=False)
        expected = torch.nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True, total_length=shape[1])[0]
    else:
        expected = theirs(given)
        expected = expected[0] if recurrent else expected
    expected = expected.permute(0, 2, 3, 1) if images else expected
    close(y.numpy(), expected.detach().numpy(), dtype, "output")

    dy = rng.standard_normal(tuple(expected.shape)).astype(dtype)
    y.backward(laid_out(dy, rng))
    expected.backward(torch.from_numpy(dy.copy()))
    close(mine.grad, yours.grad.numpy(), dtype, "gradient for x")
    their_gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    parameters = dict(ours.named_parameters())
    for name, gradient in _gradients_as_ours(kind, their_gradients, parameters).items():
        close(parameters[name].grad, gradient.numpy(), dtype, f"gradient for {name}")
    if kind == "BatchNorm" and training:
        buffers = ours.state_dict()
        close(buffers["running_mean"], theirs.running_mean.numpy(), dtype, "running mean")


def _gradients_as_ours(kind: str, theirs: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    if kind == "Conv2D":
        found = {"w": theirs["weight"].permute(2, 3, 1, 0)}
        return found | ({"b": theirs["bias"]} if "bias" in theirs else {})
    if kind == "Dense":
        return {"w": theirs["weight"].T} | ({"b": theirs["bias"]} if "bias" in theirs else {})
    if kind == "BatchNorm":
        return {"gamma": theirs["weight"], "beta": theirs["bias"]}
    found: dict[str, Any] = {}
    for name in parameters:
        part, _, rest = name.partition(".")
        layer, _, reverse = rest.partition(".")
        end = f"l{layer or 0}" + ("_reverse" if reverse else "")
        if part == "bn":
            found[name] = theirs[f"bias_hh_{end}"][-parameters[name].shape[0] :]
        elif part == "b":
            found[name] = theirs[f"bias_ih_{end}"]
        else:
            found[name] = theirs[f"weight_{'ih' if part == 'u' else 'hh'}_{end}"].T
    return found


# --- losses


def check_loss(seed: int, dtype: str) -> None:
    import torch

    rng = np.random.default_rng([seed, 100])
    n, classes = int(rng.integers(1, 40)), int(rng.integers(2, 12))
    scale = 10.0 ** rng.uniform(-1, 2)
    kind = ["cross_entropy", "smoothed", "weighted", "binary", "mse"][int(rng.integers(5))]
    shape = (n, classes) if kind != "binary" or rng.integers(2) else (n,)
    x = (scale * rng.standard_normal(shape)).astype(dtype)
    mine, yours = dl.Tensor(laid_out(x, rng), requires_grad=True), torch.from_numpy(x.copy()).requires_grad_()
    labels = rng.integers(0, classes, n)
    if kind == "mse":
        target = rng.standard_normal(shape).astype(dtype)
        loss = dl.losses.mse(mine, target)
        expected = torch.nn.functional.mse_loss(yours, torch.from_numpy(target))
    elif kind == "binary":
        target = rng.integers(0, 2, shape).astype(dtype)
        loss = dl.losses.binary_cross_entropy(mine, target)
        expected = torch.nn.functional.binary_cross_entropy_with_logits(yours, torch.from_numpy(target))
    else:
        smoothing = float(rng.uniform(0, 0.5)) if kind == "smoothed" else 0.0
        weight = rng.uniform(0.1, 3, classes).astype(dtype) if kind == "weighted" else None
        loss = dl.losses.cross_entropy(mine, labels, class_weight=weight, label_smoothing=smoothing)
        expected = torch.nn.functional.cross_entropy(
            yours,
            torch.from_numpy(labels),
            weight=None if weight is None else torch.from_numpy(weight),
            label_smoothing=smoothing,
        )
    close(loss.numpy(), expected.detach().numpy(), dtype, kind)
    loss.backward()
    expected.backward()
    close(mine.grad, yours.grad.numpy(), dtype, f"gradient of {kind}")


@pytest.mark.filterwarnings("ignore:.*looks like channels, height and width")  # some of the images drawn have 3 rows
@pytest.mark.full
def test_random_layers_and_losses_equal_pytorchs(figures: Figures):
    torch = pytest.importorskip("torch", reason="the oracle is PyTorch, which is not installed")
    kinds, passed, failures = [*LAYERS, "loss"], Counter[str](), []
    for seed in range(CASES):
        kind = kinds[seed % len(kinds)]
        for dtype in BOUNDS:
            try:
                check_loss(seed, dtype) if kind == "loss" else check_layer(kind, seed, dtype)
            except Exception as error:  # a failure, whatever it is
                failures.append(
                    f"{kind}, seed {seed}, {dtype}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
                )
                break
        else:
            passed[kind] += 1
    figures["conformance"] = {
        f"PyTorch {torch.__version__}, random layers": {
            "cases": CASES,
            "passed": passed.total(),
            "by kind": dict(passed),
            "failed": len(failures),
        }
    }
    assert not failures, "\n".join(failures)
