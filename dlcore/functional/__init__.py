"""One checked, documented function for each differentiable kernel.

Arguments are Tensors, arrays or lists; arrays come first, settings are keywords. Everything is checked here, before any
launch and alike on every device: a :class:`dlcore.errors.ShapeError` says what came, what was expected and what to do.
"""

from dlcore.functional.activations import leaky_relu, log_softmax, relu, sigmoid, softmax, tanh
from dlcore.functional.draws import normal, uniform
from dlcore.functional.layers import (
    avg_pool2d,
    batch_norm,
    batch_norm_relu,
    conv2d,
    conv2d_relu,
    dropout,
    embedding,
    linear,
    linear_relu,
    max_pool2d,
)
from dlcore.functional.lengths import Lengths, pack, unpack
from dlcore.functional.losses import binary_cross_entropy, cross_entropy, mse
from dlcore.functional.recurrent import gru, lstm, rnn

__all__ = [
    "Lengths",
    "avg_pool2d",
    "batch_norm",
    "batch_norm_relu",
    "binary_cross_entropy",
    "conv2d",
    "conv2d_relu",
    "cross_entropy",
    "dropout",
    "embedding",
    "gru",
    "leaky_relu",
    "linear",
    "linear_relu",
    "log_softmax",
    "lstm",
    "max_pool2d",
    "mse",
    "normal",
    "pack",
    "relu",
    "rnn",
    "sigmoid",
    "softmax",
    "tanh",
    "uniform",
    "unpack",
]


def __dir__() -> list[str]:
    return sorted(__all__)
