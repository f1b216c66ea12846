"""The CUDA sources: what is compiled, with which options, and when.

A compilation unit is one ``.cu`` file in one dtype; ``#include "..."`` of a ``.cuh`` file beside it is replaced by the
file, so that a unit is one string. CuPy compiles it by NVRTC for the chip at hand when one of its kernels is first
called, all kernels of the unit at once, and keeps the result in its cache folder, by default ``~/.cupy/kernel_cache``
(``CUPY_CACHE_DIR``): only a first run waits.

CuPy itself adds ``-ftz=true``: numbers below the smallest normal float32 count as 0 on the device.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from backends.diagnostics.libraries import cupy_cache_folder

__all__ = ["DTYPES", "FLAGS", "TAKEN", "function", "sources", "why_not"]

FOLDER = Path(__file__).parent

_ALL = ("float32", "float64", "float16")
DTYPES: dict[str, tuple[str, ...]] = {
    "conv": _ALL,
    "distance": ("float32", "float64"),  # sums of squares leave the range of float16
    "dropout": _ALL,
    "elementwise": _ALL,
    "filter": _ALL,
    "linear": _ALL,
    "loss": _ALL,
    "mixed": ("float16",),  # beside float32
    "norm": _ALL,
    "optim": ("float32", "float64"),  # the master parameters and their state are never of float16
    "pool": _ALL,
    "recurrent": _ALL,
    "resample": _ALL,
}
"""The files, and the dtypes that each is compiled in."""

TAKEN = {family: frozenset(np.dtype(name) for name in names) for family, names in DTYPES.items()}
"""The same as dtypes: a look into it is faster than asking a dtype for its name."""

FLAGS: dict[str, tuple[str, ...]] = {"optim": ("--fmad=false",), "resample": ("--fmad=false",)}
"""Options of a file. The optimisers wait for memory in any case, so a product and a sum are rounded apart, as NumPy
does it: a step then gives the bits of the reference. A place in an image that is rounded otherwise is another pixel."""

_INCLUDE = re.compile(r'^#include "(.+)"$', re.MULTILINE)
_announced = False


@functools.cache
def _code(file: str) -> str:
    """The text of a unit."""
    return _INCLUDE.sub(lambda match: (FOLDER / match[1]).read_text("utf-8"), (FOLDER / file).read_text("utf-8"))


def _options(family: str, dtype: str) -> tuple[str, ...]:
    return "-std=c++17", f"-D{dtype.upper()}", *FLAGS.get(family, ())


def sources() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Every compilation unit: its name, its code, the compiler's options.

    >>> [name for name, code, options in sources() if name.startswith("optim")]
    ['optim.float32', 'optim.float64']
    """
    for family, dtypes in DTYPES.items():
        for dtype in dtypes:
            yield f"{family}.{dtype}", _code(f"{family}.cu"), _options(family, dtype)


def function(family: str, dtype: str, name: str) -> Callable[..., None]:
    """A kernel as CuPy calls it, ``(grid, block, arguments)``; compiled with all of its unit at the first call."""
    return _function(importlib.import_module("cupy"), family, dtype, name)


@functools.cache  # by the module of CuPy too, which tests exchange
def _function(cupy: Any, family: str, dtype: str, name: str) -> Callable[..., None]:
    return _module(cupy, family, dtype).get_function(name)


@functools.cache
def _module(cupy: Any, family: str, dtype: str) -> Any:
    code, options = _code(f"{family}.cu"), _options(family, dtype)
    mark = _mark(cupy, f"{family}.{dtype}", code, options)
    known = mark is not None and mark.exists()
    if not known:
        _announce()
    module = cupy.RawModule(code=code, options=options)
    module.compile()
    if mark is not None and not known:
        with suppress(OSError):  # then CuPy keeps nothing there either
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
    return module


def _mark(cupy: Any, unit: str, code: str, options: tuple[str, ...]) -> Path | None:
    """An empty file that says that CuPy's cache has a unit, as this chip and this CuPy need it; None without a cache.

    CuPy does not tell. The file lies in the folder of the cache, so it goes where the cache goes.
    """
    if os.environ.get("CUPY_CACHE_IN_MEMORY", "0") not in ("", "0"):
        return None
    belongs = repr((unit, code, options, cupy.__version__, cupy.cuda.Device().compute_capability))
    return cupy_cache_folder() / f"dlcore-{unit}-{hashlib.sha256(belongs.encode()).hexdigest()[:16]}"


def why_not() -> str | None:
    """Why nothing can be compiled here; None where it can."""
    cuda = sys.modules["cupy"].cuda if "cupy" in sys.modules else importlib.import_module("cupy").cuda
    return _ask(getattr(cuda, "nvrtc", None), cuda.runtime.is_hip)


@functools.cache
def _ask(nvrtc: Any, hip: bool) -> str | None:
    if hip:
        return "this CuPy is built for AMD's GPUs, and the kernels are written for CUDA's warps of 32 threads"
    if nvrtc is None:
        return "this CuPy has no NVRTC"
    try:
        nvrtc.getVersion()
    except Exception as error:  # the library is not found, or is not one
        return f"NVRTC does not load: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    return None


def _announce() -> None:
    """Say once a process why it takes a moment."""
    global _announced
    if not _announced:
        _announced = True
        print("compiling CUDA kernels (first run)", file=sys.stderr, flush=True)
