"""The workloads in PyTorch. A setting names what is not PyTorch's default, such as "channels last, fused Adam"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.peers.timing import Part
from benchmarks.peers.workloads import (
    AdamStep,
    BatchNorm,
    Block,
    Conv,
    CrossEntropy,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    MaxPool,
    Product,
    Recurrent,
    ReLU,
    Training,
    Workload,
    has_images,
    labels,
    normal,
)
from benchmarks.peers.workloads import Residual as ResidualLayer

__all__ = ["VERSION", "applied", "parts_of", "step_of", "threads"]

VERSION = torch.__version__


def applied(setting: str) -> nullcontext[None]:
    return nullcontext()


def threads() -> str:
    return str(torch.get_num_threads())


def parts_of(work: Workload, setting: str) -> dict[str, Part]:
    match work:
        case Block():
            return _block(work, setting)
        case CrossEntropy():
            return {"loss and gradient": _cross_entropy(work)}
        case AdamStep():
            return {"step": _adam(work, setting)}
        case Product(_, n):
            a, b = (torch.from_numpy(normal(n, n, seed=seed)) for seed in (0, 2))
            return {"product": Part(lambda _: a @ b, check=lambda y: float(y.abs().mean()))}
        case Training():
            step = step_of(work, setting)
            return {"step": Part(lambda _: step())}
    raise NotImplementedError(f"{work.name} is not written in PyTorch")


# --- models


class Residual(nn.Module):
    """shortcut(x) + inner(x)."""

    def __init__(self, inner: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shortcut(x) + self.inner(x)


class Last(nn.Module):
    """The last output of a recurrent layer."""

    def __init__(self, cell: str, inputs: int, hidden: int) -> None:
        super().__init__()
        self.layer = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell](inputs, hidden, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0][:, -1]


def _sequential(layers: Sequence[Layer], shape: tuple[int, ...]) -> tuple[nn.Sequential, tuple[int, ...]]:
    """The layers, and the shape of one example that leaves them, channels first."""
    made = []
    for layer in layers:
        module, shape = _layer(layer, shape)
        made.append(module)
    return nn.Sequential(*made), shape


def _layer(layer: Layer, shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
    match layer:
        case Conv(filters, size, stride, bias):
            conv = nn.Conv2d(shape[0], filters, size, stride, padding=(size - 1) // 2, bias=bias)
            return conv, (filters, -(-shape[1] // stride), -(-shape[2] // stride))
        case Dense(units):
            return nn.Linear(shape[0], units), (units,)
        case BatchNorm():
            return nn.BatchNorm2d(shape[0]), shape
        case ReLU():
            return nn.ReLU(inplace=True), shape
        case MaxPool(size):
            return nn.MaxPool2d(size), (shape[0], shape[1] // size, shape[2] // size)
        case GlobalAvgPool():
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), shape[:1]
        case Flatten():
            return nn.Flatten(), (torch.Size(shape).numel(),)
        case Recurrent(cell, hidden):
            return Last(cell, shape[-1], hidden), (hidden,)
        case ResidualLayer(inner, shortcut):
            made, after = _sequential(inner, shape)
            return Residual(made, _sequential(shortcut, shape)[0] if shortcut else nn.Identity()), after


def _model(work: Block | Training, setting: str, place: str) -> tuple[nn.Module, torch.Tensor, Callable[..., Any]]:
    """The model, its input, and what is called: the model, or what the compiler makes of it."""
    x = torch.from_numpy(normal(work.batch, *work.shape))
    if has_images(work):
        x = x.permute(0, 3, 1, 2).contiguous()
    model, _ = _sequential(work.layers, tuple(x.shape[1:]))
    model, x = model.to(place), x.to(place)
    if "channels last" in setting and has_images(work):
        x = x.contiguous(memory_format=torch.channels_last)
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  a keyword of its own
    mode = "reduce-overhead" if place == "cuda" else "default"  # CUDA graphs, where there are any
    return model, x, torch.compile(model, mode=mode) if "compile" in setting else model


def _adam_of(parameters: Any, setting: str) -> torch.optim.Optimizer:
    # Without ``fused`` PyTorch chooses between its loop and its "foreach" form by itself.
    return torch.optim.Adam(parameters, fused=True) if "fused Adam" in setting else torch.optim.Adam(parameters)


def step_of(work: Training, setting: str, place: str = "cpu") -> Callable[[], torch.Tensor]:
    """A function that takes one step of training on random data, which lie in ``place``, and gives the loss."""
    model, x, call = _model(work, setting, place)
    y = torch.from_numpy(labels(work.batch, work.classes)).to(place)
    opt = _adam_of(model.parameters(), setting)

    def step() -> torch.Tensor:
        loss = F.cross_entropy(call(x), y)
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss.detach()

    return step


# --- parts of them


def _block(work: Block, setting: str) -> dict[str, Part]:
    model, x, call = _model(work, setting, "cpu")

    def forward(_: Any) -> torch.Tensor:
        with torch.no_grad():
            return call(x)

    y = forward(None)
    dy = torch.randn_like(y)  # keeps the layout
    x_grad = x.detach().clone().requires_grad_(work.input_gradient)
    wanted = (*((x_grad,) if work.input_gradient else ()), *model.parameters())
    backward = Part(lambda y: torch.autograd.grad(y, wanted, dy), prepare=lambda: call(x_grad))
    return {"forward": Part(forward), "backward": backward}


def _cross_entropy(work: CrossEntropy) -> Part:
    logits = torch.from_numpy(normal(work.rows, work.classes)).requires_grad_()
    y = torch.from_numpy(labels(work.rows, work.classes))

    def run(_: Any) -> float:
        loss = F.cross_entropy(logits, y)
        torch.autograd.grad(loss, logits)
        return loss.item()

    return Part(run, check=float)


def _adam(work: AdamStep, setting: str) -> Part:
    theta = nn.Parameter(torch.from_numpy(normal(work.parameters)))
    theta.grad = torch.from_numpy(normal(work.parameters, seed=2))
    opt = _adam_of([theta], setting)
    return Part(lambda _: opt.step())
