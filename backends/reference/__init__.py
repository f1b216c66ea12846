"""The reference kernels, one family a file: standard calls only, the oracle of every alternative."""

from backends.reference import (
    conv,
    dropout,
    elementwise,
    embedding,
    filter,
    linear,
    loss,
    norm,
    optim,
    pool,
    resample,
    softmax,
)

__all__ = [
    "conv",
    "dropout",
    "elementwise",
    "embedding",
    "filter",
    "linear",
    "loss",
    "norm",
    "optim",
    "pool",
    "resample",
    "softmax",
]
