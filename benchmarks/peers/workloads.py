"""The work that is measured, in no framework's words; the file of each framework puts it into its own.

Images are told as (H, W, C) and batches by their size; a framework may keep them in another layout. A convolution pads
by (size - 1) / 2 on every side, so that at stride 1 the output is as large as the input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = [
    "SUITES",
    "AdamStep",
    "BatchNorm",
    "Block",
    "Conv",
    "CrossEntropy",
    "Dense",
    "Filter",
    "Flatten",
    "GlobalAvgPool",
    "Layer",
    "MaxPool",
    "Product",
    "ReLU",
    "Recurrent",
    "Residual",
    "Training",
    "Workload",
    "has_images",
    "labels",
    "normal",
    "workload",
]


# --- layers


@dataclass(frozen=True)
class Conv:
    filters: int
    size: int = 3
    stride: int = 1
    bias: bool = True


@dataclass(frozen=True)
class Dense:
    units: int


@dataclass(frozen=True)
class BatchNorm:
    """Of the batch, per channel, with running averages for evaluation."""


@dataclass(frozen=True)
class ReLU:
    pass


@dataclass(frozen=True)
class MaxPool:
    size: int = 2


@dataclass(frozen=True)
class GlobalAvgPool:
    """(N, H, W, C) -> (N, C)."""


@dataclass(frozen=True)
class Flatten:
    pass


@dataclass(frozen=True)
class Recurrent:
    """A layer over sequences (T, D) that gives its last state (hidden,); cell: "rnn" (tanh), "lstm" or "gru"."""

    cell: str
    hidden: int


@dataclass(frozen=True)
class Residual:
    """shortcut(x) + inner(x); without a shortcut, x + inner(x)."""

    inner: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()


Layer = Conv | Dense | BatchNorm | ReLU | MaxPool | GlobalAvgPool | Flatten | Recurrent | Residual


# --- workloads


@dataclass(frozen=True)
class Filter:
    """A filter of a float32 image of size × size pixels, mirrored at its border without repeating the edge.

    kind : "gaussian" (sigma 2, 17 taps), "sobel" (along x), "correlate" (5 × 5, of full rank) or "box" (9 × 9)
    """

    name: str
    kind: str
    size: int = 2048


@dataclass(frozen=True)
class Block:
    """Some layers, forward without a gradient, and backward apart: for the parameters and, if asked for, the input.

    shape : of one example
    """

    name: str
    layers: tuple[Layer, ...]
    shape: tuple[int, ...]
    batch: int
    input_gradient: bool = True


@dataclass(frozen=True)
class CrossEntropy:
    """The mean softmax cross-entropy of (rows, classes) logits, and its gradient."""

    name: str
    rows: int
    classes: int


@dataclass(frozen=True)
class AdamStep:
    """A step of Adam on ``parameters`` numbers, whose gradient is there."""

    name: str
    parameters: int


@dataclass(frozen=True)
class Product:
    """size × size times size × size."""

    name: str
    size: int


@dataclass(frozen=True)
class Training:
    """A step of training: forward, softmax cross-entropy of ``classes`` classes, backward, Adam."""

    name: str
    layers: tuple[Layer, ...]
    shape: tuple[int, ...]
    batch: int
    classes: int = 10


Workload = Filter | Block | CrossEntropy | AdamStep | Product | Training


def has_images(work: Workload) -> bool:
    """Whether its examples have channels, which a framework may lay out in two ways."""
    return isinstance(work, Block | Training) and len(work.shape) == 3


# --- data, the same in every framework


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def labels(rows: int, classes: int) -> np.ndarray:
    """(rows,) int64 numbers in [0, classes)."""
    return np.random.default_rng(1).integers(0, classes, rows)


# --- what is measured


def _mlp(*units: int) -> tuple[Layer, ...]:
    """Dense layers with a ReLU between each two."""
    return tuple(layer for n in units for layer in (Dense(n), ReLU()))[:-1]


def _conv_norm(filters: int, size: int = 3, stride: int = 1) -> tuple[Layer, ...]:
    return Conv(filters, size, stride, bias=False), BatchNorm()


def _residual(filters: int, stride: int = 1) -> tuple[Layer, ...]:
    """Two convolutions of 3 × 3 with batch norm; at stride 2 the shortcut is one of 1 × 1."""
    inner = (*_conv_norm(filters, stride=stride), ReLU(), *_conv_norm(filters))
    return Residual(inner, () if stride == 1 else _conv_norm(filters, 1, stride)), ReLU()


_CNN = (Conv(32), ReLU(), MaxPool(), Conv(64), ReLU(), MaxPool(), Flatten(), *_mlp(128, 10))

_VGG = (
    *_conv_norm(64), ReLU(), *_conv_norm(64), ReLU(), MaxPool(),
    *_conv_norm(128), ReLU(), MaxPool(),
    Flatten(), Dense(10),
)  # fmt: skip

_RESNET_8 = (
    *_conv_norm(16), ReLU(), *_residual(16), *_residual(32, 2), *_residual(64, 2), GlobalAvgPool(), Dense(10),
)  # fmt: skip
"""The residual network of He et al. (2016) for images of 32 × 32, with one block a stage and projections as shortcuts:
8 layers with weights from end to end."""


def _sequences(cell: str) -> Training:
    """32 sequences of 64 steps of 64 numbers, classified by the last of 256 states."""
    return Training(f"{cell} 64-256, 64 steps, batch 32", (Recurrent(cell.lower(), 256), Dense(10)), (64, 64), 32)


def _conv(height: int, channels: int, filters: int, batch: int) -> Block:
    layers = (Conv(filters), ReLU())
    name = f"conv {height}x{height} {channels}-{filters}, ReLU, batch {batch}"
    return Block(name, layers, (height, height, channels), batch)


SUITES: dict[str, tuple[Workload, ...]] = {
    "filters": (
        Filter("Gaussian, sigma 2", "gaussian"),
        Filter("Sobel, x", "sobel"),
        Filter("correlation, 5x5", "correlate"),
        Filter("box, 9x9", "box"),
    ),
    "conv": (
        _conv(16, 64, 128, 64),
        _conv(32, 64, 64, 64),
        _conv(14, 32, 64, 128),
        _conv(8, 256, 256, 64),
        Block("conv 28x28 1-32, ReLU, pool, batch 128", (Conv(32), ReLU(), MaxPool()), (28, 28, 1), 128, False),
    ),
    "kernels": (
        Block("batch norm, ReLU 32x32x64, batch 64", (BatchNorm(), ReLU()), (32, 32, 64), 64),
        Block("max-pool 32x32x64, batch 64", (MaxPool(),), (32, 32, 64), 64),
        CrossEntropy("softmax cross-entropy 4096x1000", 4096, 1000),
        AdamStep("Adam, 4 M parameters", 4_000_000),
        Block("linear 64-32, batch 32", (Dense(32),), (64,), 32),
        Block("linear 784-512, batch 128", (Dense(512),), (784,), 128),
        Block("linear 2048-2048, batch 256", (Dense(2048),), (2048,), 256),
        Product("product 2048x2048x2048", 2048),
    ),
    "training": (
        Training("MLP 784-512-256-10, batch 128", _mlp(512, 256, 10), (784,), 128),
        Training("MLP 784-2048-2048-10, batch 256", _mlp(2048, 2048, 10), (784,), 256),
        Training("MLP 64-32-10, batch 32", _mlp(32, 10), (64,), 32),
        Training("CNN 28x28, batch 128", _CNN, (28, 28, 1), 128),
        Training("VGG-like 32x32, batch 64", _VGG, (32, 32, 3), 64),
        Training("ResNet-8 32x32, batch 128", _RESNET_8, (32, 32, 3), 128),
        _sequences("LSTM"),
        _sequences("GRU"),
        _sequences("RNN"),
    ),
}
"""The suites that compare frameworks; the suite ``compile`` has no peers and is in :mod:`benchmarks.peers.starting`."""


def workload(name: str) -> Workload:
    """The workload of this name, which none shares with another."""
    (found,) = (work for works in SUITES.values() for work in works if work.name == name)
    return found
