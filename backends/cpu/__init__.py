"""Compiled alternatives for NumPy on the CPU; importing the package registers them.

codegen       the only files that know of LLVM, threads and addresses
conv          convolution: im2col, direct, Winograd
dropout       dropout, with the mask of every other device
elementwise   activations
embedding     gradients of tables of many rows
filter        correlation of images with one kernel
linear        dense layers
loss          softmax cross-entropy
max_pool      max-pooling
norm          batch normalisation
norm_fused    batch normalisation, ReLU and max-pooling in one
optim         the steps of the optimisers
recurrent     RNN, LSTM and GRU
requirements  the arrays that kernels take, and the reasons why not

Without Numba nothing is registered and the references run: :data:`WHY_NOT` then says why. What Numba is not able to
compile on a machine declines every call, with the compiler's words as the reason.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import replace
from typing import Any

from backends.dispatch import kernels

__all__ = ["WHY_NOT", "not_compiled"]

_FAMILIES = (
    "dropout", "elementwise", "embedding", "filter", "linear", "loss", "max_pool", "norm", "norm_fused", "optim",
    "recurrent.rnn", "recurrent.lstm", "recurrent.gru", "conv.im2col", "conv.direct", "conv.winograd",
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
    from backends.cpu.codegen.thread_pool import compiled_parts

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
