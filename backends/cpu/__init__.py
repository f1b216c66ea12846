"""Compiled alternatives for NumPy on the CPU; importing the package registers them.

compile    Numba's compiler: late, kept on disk, announced once
simd       vectors of sixteen numbers
pool       tasks, and the threads that share them
accept     what is taken, and the reasons why not
product    products of matrices, by tiles in registers
loss       softmax cross-entropy
linear     dense layers
columns    convolution of any kind
direct     convolution of few channels
max_pool   max-pooling
norm       batch normalisation
optim      the steps of the optimisers

Without Numba nothing is registered and the references run: :data:`WHY_NOT` then says why.
"""

from __future__ import annotations

import importlib

__all__ = ["WHY_NOT"]


def _register() -> str:
    """Import the alternatives; why that is not possible, or nothing."""
    try:
        numba = importlib.import_module("numba")
    except Exception as error:  # a Numba that does not go with this NumPy, or is broken, shows here as anything
        if isinstance(error, ModuleNotFoundError) and error.name == "numba":
            return "numba is not installed"
        return f"numba does not import: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    if numba.config.DISABLE_JIT:
        return "NUMBA_DISABLE_JIT is set"
    for family in ("loss", "max_pool", "norm", "optim", "linear", "columns", "direct"):
        importlib.import_module(f"backends.cpu.{family}")
    return ""


WHY_NOT: str = _register()
"""Why the compiled kernels are not there; empty where they are."""
