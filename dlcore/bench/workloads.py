"""What is measured: kernels forward and backward, steps of optimisers, filters; and whole steps of training.

A workload's name holds its sizes, the batch first, so that figures of one name belong to equal work. Inputs are drawn
on the host, the same everywhere. The amount of work is counted by hand where it is arithmetic (a product of n numbers
is 2 n operations, backward is twice forward) and otherwise is the least that memory must move: inputs and results once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from backends.dispatch import Kernel, UpdateKernel, reference_only
from backends.namespace import namespace
from backends.random import derive
from backends.reference import conv, dropout, linear, loss, norm, optim, pool
from backends.runtime.device import Device
from dlcore import filters, losses, nn
from dlcore._core.configurable import did_you_mean
from dlcore.errors import ConfigError
from dlcore.optim import Adam

__all__ = ["SUITES", "Started", "Workload", "forward_and_backward", "labels", "normal", "suite"]

Arrays = list[Any]

SUITES = ("kernels", "training")

BYTES, OPERATIONS, IMAGES = "GB/s", "GFLOP/s", "images/s"


@dataclass(frozen=True)
class Started:
    """A workload whose arrays are in place.

    run : does the work once more
    compare : does it once, and gives what the error is measured of; to be called before ``run``
    taken : the implementation that runs, empty where there are several
    """

    run: Callable[[], Any]
    compare: Callable[[], Sequence[Any]]
    taken: str = ""


@dataclass(frozen=True)
class Workload:
    """Some work of fixed size.

    inputs : makes the arrays, on the host
    start : readies the work on arrays like them, of float32 or float64, wherever they are
    unit : of the throughput; ``amount`` is what one run does, in bytes, operations or images
    batch : examples, and ``at`` the same work on another number of them; None where there is no such number
    decided : the inputs, with gradients left out where rounding alone decides whether they pass a ReLU
    """

    suite: str
    name: str
    inputs: Callable[[], Arrays]
    start: Callable[[Arrays], Started]
    unit: str
    amount: float
    batch: int | None = None
    at: Callable[[int], Workload] | None = None
    decided: Callable[[Arrays], Arrays] = lambda arrays: arrays

    def throughput(self, seconds: float) -> float:
        """In its unit: how much is done in a second when one run takes so long."""
        return self.amount / seconds / (1.0 if self.unit == IMAGES else 1e9)


def suite(name: str, quick: bool) -> list[Workload]:
    """The workloads of a suite, small ones where it shall be ``quick``.

    >>> [work.name for work in suite("training", quick=True)]
    ['mlp 32x64-32-10', 'cnn 16x12x12x1']
    """
    if name == "training":
        return (
            [_mlp(32, (64, 32, 10)), _cnn(16, 12, 8)] if quick else [_mlp(128, (784, 512, 256, 10)), _cnn(64, 28, 32)]
        )
    images, size = ((16, 14, 14, 32), 200_000) if quick else ((64, 28, 28, 32), 4_000_000)
    convolution, pixels = ((8, 16, 32, 32), 256) if quick else ((32, 16, 64, 128), 2048)
    return [
        _linear(*((32, 256, 128) if quick else (128, 784, 512))),
        _conv2d(*convolution),
        _conv2d_relu(*convolution),
        _batch_norm(*images),
        _batch_norm_relu(*images),
        _max_pool2d(*images),
        _cross_entropy(*((512, 100) if quick else (4096, 1000))),
        _dropout(*((32, 1024) if quick else (128, 8192))),
        *(_update(*step, size) for step in _STEPS),
        _filter("gaussian", pixels, lambda image: filters.gaussian(image, 2.0)),
        _filter("sobel", pixels, filters.sobel),
    ]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def labels(rows: int, classes: int) -> np.ndarray:
    """(rows,) int64 numbers in [0, classes)."""
    return np.random.default_rng(1).integers(0, classes, rows)


# --- kernels


def forward_and_backward(kernel: Kernel, arrays: Arrays, params: dict[str, Any], dy: Any) -> Callable[[], Arrays]:
    """A function that runs a kernel both ways, choice of the implementation included, and gives outputs and gradients.

    dy : the gradient for the first output
    """
    xp = namespace(kernel.name, arrays)
    needed = [x is not None and xp.isdtype(x.dtype, "real floating") for x in arrays]

    def both() -> Arrays:
        pair = kernel.choose(xp, arrays, params)
        output, saved = pair.forward(xp, *arrays, needed=needed, **params)
        several = isinstance(output, tuple)
        dys = (dy, *[None] * (len(output) - 1)) if several else dy
        gradients = pair.backward(xp, dys, saved, needed=needed, **params)
        return [*(output if several else [output]), *(g for g in gradients if g is not None)]

    return both


def _start(kernel: Kernel, params: dict[str, Any], optional: int = 0) -> Callable[[Arrays], Started]:
    """Of a kernel whose last array is the output's gradient; it takes ``optional`` arrays more, which are left out."""

    def start(arrays: Arrays) -> Started:
        *inputs, dy = arrays
        inputs += [None] * optional
        run = forward_and_backward(kernel, inputs, params, dy)
        return Started(run, run, kernel.explain(*inputs, **params).taken)

    return start


def _bytes(*shapes: Sequence[int]) -> float:
    """Of float32 arrays."""
    return 4.0 * sum(map(prod, shapes))


def _linear(n: int, d: int, k: int) -> Workload:
    def inputs() -> Arrays:
        return [normal(n, d), normal(d, k, seed=2), normal(k, seed=3), normal(n, k, seed=4)]

    start, name = _start(linear.linear, {}), f"linear {n}x{d}-{k}"
    return Workload("kernels", name, inputs, start, OPERATIONS, 6.0 * n * d * k, n, lambda b: _linear(b, d, k))


_SAME: dict[str, Any] = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}


def _conv2d(n: int, size: int, c: int, k: int) -> Workload:
    def inputs() -> Arrays:
        shape = (n, size, size)
        return [normal(*shape, c), normal(3, 3, c, k, seed=2), normal(k, seed=3), normal(*shape, k, seed=4)]

    start, name = _start(conv.conv2d, _SAME), f"conv2d {n}x{size}x{size}x{c}-{k}"
    amount = 6.0 * n * size * size * 9 * c * k
    return Workload("kernels", name, inputs, start, OPERATIONS, amount, n, lambda b: _conv2d(b, size, c, k))


def _conv2d_relu(n: int, size: int, c: int, k: int) -> Workload:
    plain = _conv2d(n, size, c, k)

    def decided(arrays: Arrays) -> Arrays:
        x, w, b, dy = arrays
        return [x, w, b, _where_sure(_on_reference(conv.conv2d, x, w, b, **_SAME), dy)]

    return Workload(
        "kernels", plain.name.replace("conv2d", "conv2d_relu"), plain.inputs,
        _start(conv.conv2d_relu, {**_SAME, "pool": None}), OPERATIONS, plain.amount, n,
        lambda b: _conv2d_relu(b, size, c, k), decided,
    )  # fmt: skip


def _batch_norm(*shape: int) -> Workload:
    n, *rest = shape

    def inputs() -> Arrays:
        return [normal(*shape), normal(shape[-1], seed=2), normal(shape[-1], seed=3), normal(*shape, seed=4)]

    start, name = _start(norm.batch_norm, {"eps": 1e-5}), f"batch_norm {_times(shape)}"
    return Workload(
        "kernels", name, inputs, start, BYTES, _bytes(shape, shape, shape, shape), n, lambda b: _batch_norm(b, *rest)
    )


def _batch_norm_relu(*shape: int) -> Workload:
    n, *rest = shape
    plain = _batch_norm(*shape)

    def decided(arrays: Arrays) -> Arrays:
        x, gamma, beta, dy = arrays
        return [x, gamma, beta, _where_sure(_on_reference(norm.batch_norm, x, gamma, beta, eps=1e-5)[0], dy)]

    return Workload(
        "kernels", f"batch_norm_relu {_times(shape)}", plain.inputs,
        _start(norm.batch_norm_relu, {"eps": 1e-5, "pool": None}), BYTES, plain.amount, n,
        lambda b: _batch_norm_relu(b, *rest), decided,
    )  # fmt: skip


def _on_reference(kernel: Kernel, *arrays: Any, **params: Any) -> Any:
    with reference_only():
        return kernel(*arrays, **params)


def _where_sure(z: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """dy, but 0 where z is so near to 0 that its sign, and with it the whole gradient, is a matter of rounding."""
    return np.where(np.abs(z) > 1e-3 * np.max(np.abs(z)), dy, np.zeros_like(dy))


def _max_pool2d(n: int, height: int, width: int, c: int) -> Workload:
    shape, pooled = (n, height, width, c), (n, height // 2, width // 2, c)
    params = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
    return Workload(
        "kernels", f"max_pool2d {_times(shape)}", lambda: [normal(*shape), normal(*pooled, seed=4)],
        _start(pool.max_pool2d, params), BYTES, _bytes(shape, pooled, pooled, shape), n,
        lambda b: _max_pool2d(b, height, width, c),
    )  # fmt: skip


def _cross_entropy(n: int, classes: int) -> Workload:
    def start(arrays: Arrays) -> Started:
        logits, y = arrays
        inputs, params = [logits, y, None], {"label_smoothing": 0.0}
        xp = namespace("cross_entropy", inputs)
        dy = xp.ones((), dtype=logits.dtype, device=Device.of(logits).native)
        run = forward_and_backward(loss.cross_entropy, inputs, params, dy)
        return Started(run, run, loss.cross_entropy.explain(*inputs, **params).taken)

    return Workload(
        "kernels", f"cross_entropy {n}x{classes}", lambda: [normal(n, classes), labels(n, classes)], start, BYTES,
        _bytes((n, classes), (n, classes)), n, lambda b: _cross_entropy(b, classes),
    )  # fmt: skip


def _dropout(n: int, d: int) -> Workload:
    params = {"rate": 0.5, "key": derive(0, "dropout"), "first_row": 0}
    return Workload(
        "kernels", f"dropout {n}x{d}", lambda: [normal(n, d), normal(n, d, seed=4)], _start(dropout.dropout, params),
        BYTES, _bytes(*[(n, d)] * 4), n, lambda b: _dropout(b, d),
    )  # fmt: skip


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


# --- optimisers

_STEPS: tuple[tuple[UpdateKernel, int, dict[str, Any]], ...] = (
    (optim.sgd_, 0, {"lr": 1e-3}),
    (optim.momentum_, 1, {"lr": 1e-3, "beta": 0.9, "bias_correction": False, "nesterov": False, "step": 10}),
    (optim.rmsprop_, 1, {"lr": 1e-3, "beta": 0.9, "eps": 1e-8}),
    (optim.adam_, 2, {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.0, "step": 10}),
    (optim.adagrad_, 1, {"lr": 1e-3, "eps": 1e-8}),
)  # fmt: skip
"""Each rule, how many arrays of state it keeps beside the parameters, and its settings."""


def _update(kernel: UpdateKernel, states: int, settings: dict[str, Any], size: int) -> Workload:
    """A step on ``size`` parameters: they and the state are read and written, the gradient is read."""

    def inputs() -> Arrays:
        return [normal(size), *(np.abs(normal(size, seed=2 + i)) for i in range(states)), normal(size, seed=9)]

    def start(arrays: Arrays) -> Started:
        own = [namespace(kernel.name, [x]).asarray(x, copy=True) for x in arrays]

        def run() -> None:
            kernel(*own, **settings)

        def compare() -> Arrays:
            run()
            return [namespace(kernel.name, [x]).asarray(x, copy=True) for x in own[:-1]]

        return Started(run, compare, kernel.explain(*own, **settings).taken)

    amount = _bytes((2 * (1 + states) + 1, size))
    return Workload("kernels", f"{kernel.name.rstrip('_')} {size}", inputs, start, BYTES, amount)


# --- filters


def _filter(name: str, size: int, run: Callable[[Any], Any]) -> Workload:
    def start(arrays: Arrays) -> Started:
        (image,) = arrays
        return Started(lambda: run(image), lambda: [run(image)])

    amount = _bytes((size, size), (size, size))
    return Workload("kernels", f"{name} {size}x{size}", lambda: [normal(size, size)], start, BYTES, amount)


# --- training


def _mlp(n: int, units: tuple[int, ...]) -> Workload:
    def model() -> nn.Module:
        layers = [layer for k in units[1:] for layer in (nn.Dense(k), nn.ReLU())]
        return nn.Sequential(*layers[:-1])

    name = f"mlp {n}x{'-'.join(map(str, units))}"
    return _training(name, model, (n, units[0]), units[-1], lambda b: _mlp(b, units))


def _cnn(n: int, size: int, filters: int) -> Workload:
    def model() -> nn.Module:
        return nn.Sequential(
            nn.Conv2D(filters, 3, padding="same"), nn.ReLU(), nn.MaxPool2D(2),
            nn.Conv2D(2 * filters, 3, padding="same"), nn.ReLU(), nn.MaxPool2D(2),
            nn.Flatten(), nn.Dense(4 * filters), nn.ReLU(), nn.Dense(10),
        )  # fmt: skip

    shape = (n, size, size, 1)
    return _training(f"cnn {_times(shape)}", model, shape, 10, lambda b: _cnn(b, size, filters))


def _training(
    name: str, model_of: Callable[[], nn.Module], shape: tuple[int, ...], classes: int, at: Callable[[int], Workload]
) -> Workload:
    """Steps of training through the framework: forward, loss, backward, Adam; what is compared is before Adam."""

    def start(arrays: Arrays) -> Started:
        x, y = arrays
        dtype = "float64" if "float64" in str(x.dtype) else "float32"
        model = model_of().build(shape[1:], seed=0, dtype=dtype, device=Device.of(x))
        opt = Adam().attach(model)

        def step() -> None:
            found = losses.cross_entropy(model(x), y)
            found.backward()
            opt.step()
            opt.zero_grad()

        def compare() -> Arrays:
            found = losses.cross_entropy(model(x), y)
            found.backward()
            vector: Any = model.vector
            gradient = vector.xp.asarray(vector.grad, copy=True)
            opt.zero_grad()
            return [found.data, gradient]

        return Started(step, compare)

    def inputs() -> Arrays:
        return [normal(*shape), labels(shape[0], classes)]

    return Workload("training", name, inputs, start, IMAGES, float(shape[0]), shape[0], at)


def chosen(suites: Sequence[str], only: str | None, quick: bool) -> list[Workload]:
    """The workloads that are asked for; ConfigError where a suite is unknown or no name fits."""
    for name in suites:
        if name not in SUITES:
            raise ConfigError(
                f"bench: there is no suite {name!r}, choose from {', '.join(SUITES)}{did_you_mean(name, SUITES)}"
            )
    works = [work for name in dict.fromkeys(suites or SUITES) for work in suite(name, quick)]
    found = [work for work in works if only is None or only.lower() in work.name.lower()]
    if not found:
        names = ", ".join(dict.fromkeys(work.name.split()[0] for work in works))
        raise ConfigError(f"bench: --only {only!r}: no workload has this in its name; there are {names}")
    return found
