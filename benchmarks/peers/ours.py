"""The workloads in dlcore, through its public names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

import dlcore as dl
from backends import cpu  # the compiled kernels, which are otherwise imported at first use  # noqa: F401
from backends.dispatch import kernel
from backends.runtime.copies import to_device
from backends.runtime.device import resolve
from backends.runtime.threads import blas_threads, kernel_threads
from benchmarks.peers.frameworks import IN_TRAINER
from benchmarks.peers.timing import Part
from benchmarks.peers.workloads import (
    AdamStep,
    BatchNorm,
    Block,
    Conv,
    CrossEntropy,
    Dense,
    Filter,
    Flatten,
    GlobalAvgPool,
    Layer,
    MaxPool,
    Product,
    Recurrent,
    ReLU,
    Residual,
    Training,
    Workload,
    labels,
    normal,
)
from dlcore import nn
from dlcore.tensor import apply

__all__ = ["VERSION", "applied", "filter_of", "model_of", "parts_of", "step_of", "threads"]

VERSION = dl.__version__


def applied(setting: str) -> AbstractContextManager[Any]:
    """Inside, the BLAS has as many threads as the setting says."""
    return blas_threads(1 if setting == IN_TRAINER else None)


def threads() -> str:
    from threadpoolctl import threadpool_info

    # Numba may load SciPy's BLAS too, which nothing here calls.
    blas = next(pool for pool in threadpool_info() if pool["user_api"] == "blas" and "numpy" in pool["filepath"])
    return f"BLAS {blas['num_threads']}, compiled kernels {kernel_threads()}"


def parts_of(work: Workload, setting: str) -> dict[str, Part]:
    """What there is to time of a workload, by name."""
    match work:
        case Filter():
            run = filter_of(work)
            return {"filter": Part(lambda _: run(), check=lambda y: float(np.abs(y).mean()))}
        case Block():
            return _block(work)
        case CrossEntropy():
            return {"loss and gradient": _cross_entropy(work)}
        case AdamStep():
            return {"step": _adam(work)}
        case Product():
            return {"product": _product(work)}
        case Training():
            step = step_of(work)
            return {"step": Part(lambda _: step())}


# --- models


def model_of(layers: Sequence[Layer]) -> nn.Sequential:
    """The layers one after the other, not built yet."""
    return nn.Sequential(*map(_layer, layers))


def _layer(layer: Layer) -> nn.Module:
    match layer:
        case Conv(filters, size, stride, bias):
            return nn.Conv2D(filters, size, stride, padding="same", bias=bias)
        case Dense(units):
            return nn.Dense(units)
        case BatchNorm():
            return nn.BatchNorm()
        case ReLU():
            return nn.ReLU()
        case MaxPool(size):
            return nn.MaxPool2D(size)
        case GlobalAvgPool():
            return nn.GlobalAvgPool2D()
        case Flatten():
            return nn.Flatten()
        case Recurrent(cell, hidden):
            return {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell](hidden)
        case Residual(inner, shortcut):
            return nn.Residual(model_of(inner), model_of(shortcut) if shortcut else None)


def step_of(work: Training, device: str = "cpu") -> Callable[[], dl.Tensor]:
    """A function that takes one step of training on random data, which lie on the device, and gives the loss."""
    place = resolve(device)
    model = model_of(work.layers).build(work.shape, seed=0, device=place)
    opt = dl.optim.Adam().attach(model)
    x, y = (to_device(a, place) for a in (normal(work.batch, *work.shape), labels(work.batch, work.classes)))

    def step() -> dl.Tensor:
        loss = dl.losses.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    return step


# --- parts of them


@kernel
def _input(xp: Any, x: Any, *, needed: Any) -> Any:
    """x, whose gradient is worked out and dropped, as between two layers: a leaf would keep a copy of it."""
    return x, None


@_input.backward
def _(xp: Any, dy: Any, saved: Any, *, needed: Any) -> tuple[None]:
    return (None,)


def _block(work: Block) -> dict[str, Part]:
    model = model_of(work.layers).build(work.shape, seed=0)
    x = dl.Tensor(normal(work.batch, *work.shape), requires_grad=work.input_gradient)

    def forward(_: Any) -> dl.Tensor:
        with dl.no_grad():
            return model(x)

    dy = normal(*forward(None).shape, seed=2)
    parts = {"forward": Part(forward)}
    if work.input_gradient or any(True for _ in model.parameters()):
        parts["backward"] = Part(lambda y: y.backward(dy), prepare=lambda: model(apply(_input, x)))
    return parts


def _cross_entropy(work: CrossEntropy) -> Part:
    logits = dl.Tensor(normal(work.rows, work.classes), requires_grad=True)
    y = labels(work.rows, work.classes)

    def run(_: Any) -> dl.Tensor:
        loss = dl.losses.cross_entropy(apply(_input, logits), y)
        loss.backward()
        return loss

    return Part(run, check=float)


def _adam(work: AdamStep) -> Part:
    model = nn.Dense(work.parameters, bias=False).build((1,), seed=0)
    opt = dl.optim.Adam().attach(model)
    model.w.grad = normal(1, work.parameters)
    return Part(lambda _: opt.step())


def _product(work: Product) -> Part:
    a, b = dl.Tensor(normal(work.size, work.size)), dl.Tensor(normal(work.size, work.size, seed=2))
    return Part(lambda _: a @ b, check=lambda y: float(np.abs(y.data).mean()))


def filter_of(work: Filter) -> Callable[[], np.ndarray]:
    """A function that filters a random image."""
    image, taps = normal(work.size, work.size), normal(5, 5, seed=2)
    return {
        "gaussian": lambda: dl.filters.gaussian(image, 2.0, border="reflect"),
        "sobel": lambda: dl.filters.sobel(image, border="reflect"),
        "correlate": lambda: dl.filters.correlate2d(image, taps, border="reflect"),
        "box": lambda: dl.filters.box(image, 9, border="reflect"),
    }[work.kind]
