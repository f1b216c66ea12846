"""The reference kernels, one family a file: standard calls only, the oracle of every alternative."""

from backends.reference import (
    conv,
    distance,
    dropout,
    elementwise,
    embedding,
    filter,
    linear,
    loss,
    mixed,
    norm,
    optim,
    pool,
    recurrent,
    resample,
    softmax,
)

__all__ = [
    "conv",
    "distance",
    "dropout",
    "elementwise",
    "embedding",
    "filter",
    "linear",
    "loss",
    "mixed",
    "norm",
    "optim",
    "pool",
    "recurrent",
    "resample",
    "softmax",
]
