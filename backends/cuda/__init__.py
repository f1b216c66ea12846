"""Alternatives for CuPy, written in CUDA C++; importing the package registers them and needs no driver.

compile       the sources, and when they are compiled
launch        checked launches in the current stream
conv          convolution, with ReLU and pooling
distance      distances between rows
dropout       masks from the counter-based stream
elementwise   the activations
embedding     gradients of tables of many rows
filter        correlation with a kernel
linear        dense layers: bias and ReLU beside cuBLAS's products
loss          softmax cross-entropy
mixed         float16 beside float32: parameters, gradients and the loss scale
norm          batch normalisation
optim         the steps of the optimisers, and clipping
pool          max- and average pooling
recurrent     RNN, LSTM and GRU over whole sequences
requirements  the arrays that kernels take, and the reasons why not
resample      images sampled at other places

Each family is a ``.cu`` file with the kernels and a ``.py`` file that launches them. ``numbers.cuh`` holds the dtypes,
``reduce.cuh`` the sums over warps and blocks, ``rows.cuh`` those over rows, ``tiles.cuh`` the products, ``border.cuh``
what lies beyond an image, ``threefry.cuh`` the random words. Sums have one order and no atomics, so that a run gives
the same bits again. Arrays of float16 are computed in float32 and rounded once.
"""

from __future__ import annotations

from backends.cuda import (
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
]
