"""The modules ``cupy``, ``cupy.cuda``, ``cupyx`` and so on, built once from the frozen surface.

Each has every name of the real module and no other. What has no double yet can be fetched, and fails when it is
called, so that ``hasattr`` and ``from cupy import *`` see what they would see with the wheel.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from standin import creation, cublas, cuda, device, functions, indexing, operators, pool, products, spec, ufunc
from standin.array import ndarray, own, share_or_own

_SUBMODULES_WITHOUT_DOUBLE = spec.words("exceptions polynomial random testing typing")

_CONSTANTS = {
    "Inf": np.inf,
    "Infinity": np.inf,
    "NAN": np.nan,
    "NINF": -np.inf,
    "NZERO": -0.0,
    "NaN": np.nan,
    "PINF": np.inf,
    "PZERO": 0.0,
    "infty": np.inf,
}


@functools.cache
def build() -> dict[str, ModuleType]:
    """All modules by their full names; the same objects at every call."""
    runtime = {function.__name__: function for function in cuda.RUNTIME}
    own_parts: dict[str, dict[str, Any]] = {
        "cupy": _cupy(),
        "cupy._core._routines_linalg": _public(products, spec.names("cupy._core._routines_linalg")),
        "cupy.cuda": {
            **_public(cuda, spec.names("cupy.cuda")),
            "get_cublas_handle": cublas.get_cublas_handle,
        },
        "cupy.cuda.device": _public(cuda, spec.names("cupy.cuda.device")),
        "cupy.cuda.memory": _public(pool, spec.names("cupy.cuda.memory")),
        "cupy.cuda.runtime": {**runtime, "CUDARuntimeError": device.CUDARuntimeError},
        "cupy.fft": {},
        "cupy.lib.stride_tricks": {"as_strided": _as_strided, "sliding_window_view": _sliding_window_view},
        "cupy.linalg": {"LinAlgError": np.linalg.LinAlgError, "matmul": operators.matmul},
        "cupyx": {
            "empty_pinned": creation.empty_pinned,
            "scatter_add": indexing.scatter_add,
            "zeros_pinned": creation.zeros_pinned,
        },
    }
    numpy_modules = {"cupy": np, "cupy.fft": np.fft, "cupy.linalg": np.linalg}
    modules = {name: _module(name, parts, numpy_modules.get(name)) for name, parts in own_parts.items()}
    modules |= {name: ModuleType(name) for name in ("cupy._core", "cupy.lib")}
    vars(modules["cupy.cuda"]).update(cublas=cublas)  # which the wheel imports when it is asked for
    vars(modules["cupy.cuda.runtime"]).update(is_hip=False)
    vars(modules["cupy"]).update(__version__=spec.load()["version"], __getattr__=_submodule_without_double)
    for name, module in modules.items():
        module.__spec__ = ModuleSpec(name, None)
        module.__path__ = []  # no file of a real CuPy is ever found through the stand-in
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    return modules


def _cupy() -> dict[str, Any]:
    kinds = spec.module("cupy")
    return {
        **{name: getattr(np, name) for name in kinds["numpy"]},
        **{name: ufunc.get(name) for name in kinds["ufuncs"]},
        **_public(creation, spec.names("cupy")),
        **_CONSTANTS,
        "get_default_memory_pool": pool.get_default_memory_pool,
        "AxisError": np.exceptions.AxisError,
        "ComplexWarning": np.exceptions.ComplexWarning,
        "asanyarray": creation.asarray,
        "is_available": cuda.is_available,
        "matmul": operators.matmul,
        "ndarray": ndarray,
        "ufunc": ufunc.ufunc,
    }


def _public(module: ModuleType, names: frozenset[str]) -> dict[str, Any]:
    """What a module of the stand-in defines among the names of a CuPy module."""
    return {name: getattr(module, name) for name in names if hasattr(module, name)}


def _module(name: str, parts: dict[str, Any], numpy_module: ModuleType | None) -> ModuleType:
    """A module with ``parts``, with NumPy's functions under CuPy's signatures, and with placeholders for the rest."""
    module = ModuleType(name, f"The stand-in's {name}.")
    for member in sorted(spec.names(name)):
        if member in parts:
            value = parts[member]
        elif member in spec.module(name).get("functions", ()) and numpy_module is not None:
            doubled = functions.has_double(member, numpy_module)
            value = functions.double(name, member, numpy_module) if doubled else _placeholder(f"{name}.{member}")
        else:
            value = _placeholder(f"{name}.{member}")
        setattr(module, member, value)
    if "all" in spec.module(name):
        vars(module)["__all__"] = list(spec.module(name)["all"])
    return module


def _submodule_without_double(name: str) -> NoReturn:
    """``cupy.__getattr__``: names the submodules that CuPy has and the stand-in has not."""
    if name in _SUBMODULES_WITHOUT_DOUBLE:
        raise NotImplementedError(f"cupy.{name} exists in CuPy, but the stand-in has no double of it")
    raise AttributeError(f"module 'cupy' has no attribute '{name}'")


def _placeholder(name: str) -> Callable[..., NoReturn]:
    """Stands for a name without a double: it is there, as in CuPy, and fails when it is used."""

    def placeholder(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"{name} exists in CuPy, but the stand-in has no double of it and runs no CUDA code")

    placeholder.__name__ = placeholder.__qualname__ = name
    return placeholder


def _as_strided(x: ndarray, shape: Any = None, strides: Any = None) -> ndarray:
    """A view with any shape and strides."""
    return share_or_own(np.lib.stride_tricks.as_strided(x._host, shape, strides), (x,), "as_strided")


def _sliding_window_view(
    x: ndarray, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> ndarray:
    """A view of all windows of a shape."""
    view = np.lib.stride_tricks.sliding_window_view(x._host, window_shape, axis, subok=subok, writeable=writeable)
    return share_or_own(view, (x,), "sliding_window_view") if view.size else own(view.copy(), None)
