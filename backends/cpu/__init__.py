"""Compiled alternatives for NumPy on the CPU; importing the package registers them.

compile      Numba's compiler: late, kept on disk, announced once
simd         vectors of sixteen numbers
exponential  exp, sigmoid and tanh of vectors
sums         several of them at once, in registers
pool         tasks, and the threads that share them
product      products of matrices, and the tile that they are made of
accept       what is taken, and the reasons why not
columns      convolution by blocks of windows, of any kind
direct       convolution of images of few channels
dropout      dropout, with the mask of every other device
elementwise  activations
embedding    gradients of tables of many rows
filter       correlation of images with one kernel
linear       dense layers
loss         softmax cross-entropy
max_pool     max-pooling
norm         batch normalisation
norm_relu    batch normalisation, ReLU and max-pooling in one
optim        the steps of the optimisers
recurrence   what rnn, lstm and gru share: a task runs some sequences from their first step to their last
winograd     convolution by 3×3 filters of many channels

Without Numba nothing is registered and the references run: :data:`WHY_NOT` then says why. What Numba is not able to
compile on a machine declines every call, with the compiler's words as the reason.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import replace
from typing import Any

from backends.kernel import kernels

__all__ = ["WHY_NOT", "not_compiled"]

_FAMILIES = (
    "dropout", "elementwise", "embedding", "filter", "linear", "loss", "max_pool", "norm", "norm_relu", "optim",
    "rnn", "lstm", "gru", "columns", "direct", "winograd",
)  # fmt: skip
"""In the order of their registration: of two that take a call, the later one runs it."""


def _register() -> str:
    """Import the alternatives; why that is not possible, or nothing."""
    try:
        numba = importlib.import_module("numba")
    except Exception as error:  # a Numba that does not go with this NumPy, or is broken, shows here as anything
        if isinstance(error, ModuleNotFoundError) and error.name == "numba":
            return "numba is not installed"
        return f"numba does not import: {_words(error)}"
    if numba.config.DISABLE_JIT:
        return "NUMBA_DISABLE_JIT is set"
    try:
        for family in _FAMILIES:
            importlib.import_module(f"backends.cpu.{family}")
    except Exception as error:  # what the vectors are made of has moved in another Numba
        return f"numba {numba.__version__} does not take the kernels: {_words(error)}"
    for kernel in kernels().values():
        entries = kernel.alternatives.get("numpy", [])
        entries[:] = [replace(entry, broken=_why_not_compiled) for entry in entries]
    return ""


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


@functools.cache
def _why_not_compiled(pair: Any) -> str | None:
    """Why a pair's functions do not compile here; None where they do."""
    from backends.cpu.pool import compiled_parts

    try:
        for compiled in compiled_parts(pair):
            _ = compiled.address
    except Exception as error:
        return f"it does not compile here: {_words(error)}"
    return None


def not_compiled() -> dict[str, str]:
    """Which alternatives do not compile on this machine, and why; all of them are compiled, which takes a while once.

    >>> isinstance(not_compiled(), dict)
    True
    """
    entries = [entry for kernel in kernels().values() for entry in kernel.alternatives.get("numpy", [])]
    reasons = {entry.name: _why_not_compiled(entry.pair) for entry in entries}
    return {name: reason for name, reason in reasons.items() if reason}


WHY_NOT: str = _register()
"""Why the compiled kernels are not there; empty where they are."""
