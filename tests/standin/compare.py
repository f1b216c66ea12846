"""Compares the stand-in with the installed CuPy and prints the differences as JSON: ``python -m standin.compare``.

It takes neither a driver nor a GPU: what is compared is everything that CuPy decides before it asks for a device, and
what it says when there is none. A process of its own keeps the two CuPys apart.
"""

from __future__ import annotations

import difflib
import importlib
import itertools
import json
import sys
import warnings
from types import ModuleType
from typing import Any

import numpy as np

import standin
from standin import device, make_spec, spec, ufunc

# What CuPy does on a machine without a driver; np is NumPy. Each is evaluated on both sides.
WITHOUT_DRIVER = (
    "cp.is_available()",
    "cp.cuda.is_available()",
    "cp.cuda.runtime.getDeviceCount()",
    "cp.cuda.runtime.getDeviceProperties(0)",
    "cp.cuda.runtime.deviceSynchronize()",
    "cp.cuda.runtime.driverGetVersion()",
    "cp.cuda.runtime.memGetInfo()",
    "cp.cuda.runtime.setDevice(0)",
    "cp.cuda.Device()",
    "cp.cuda.Device(1)",
    "cp.cuda.Device(0) == cp.cuda.Device(0)",
    "cp.cuda.Device(0) == 0",
    "cp.cuda.Device(0) < cp.cuda.Device(1)",
    "cp.cuda.Device(0) < 1",
    "hash(cp.cuda.Device(0))",
    "int(cp.cuda.Device(cp.cuda.Device(2)))",
    "cp.cuda.Device('cuda')",
    "cp.cuda.Device(0).use()",
    "cp.cuda.Device(0).__enter__()",
    "cp.cuda.Device(0).synchronize()",
    "cp.cuda.Device(0).compute_capability",
    "cp.cuda.Device(0).mem_info",
    "cp.cuda.Stream()",
    "cp.cuda.Event()",
    "cp.cuda.get_current_stream()",
    "cp.cuda.alloc_pinned_memory(4)",
    "cp.cuda.memory.OutOfMemoryError(1000, 2000)",
    "str(cp.cuda.memory.OutOfMemoryError(1000, 2000, 3000))",
    "isinstance(cp.cuda.memory.OutOfMemoryError(1000, 2000), MemoryError)",
    "cp.get_default_memory_pool().used_bytes()",
    "cp._core._routines_linalg.COMPUTE_TYPE_DEFAULT",
    "cp._core._routines_linalg.COMPUTE_TYPE_TF32",
    "cp._core._routines_linalg.get_compute_type(np.float32)",
    "cp._core._routines_linalg.set_compute_type(np.float32, cp._core._routines_linalg.COMPUTE_TYPE_TF32)",
    "cp.empty(0)",
    "cp.zeros(3)",
    "cp.arange(4)",
    "cp.asarray(3)",
    "cp.asarray(np.ones(3))",
    "cp.add(1, 2)",
    "cp.empty(3, 'O')",
    "cp.empty(3, 'g')",
    "cp.array(np.ones(3, 'g'))",
    "cp.array(['a'])",
    "cp.array(np.ones(3, '>f4'))",
    "cp.sum(np.ones(3), where=True)",
    "cp.max(np.ones(3), initial=0)",
    "cp.add(1, 2, where=True)",
    "cp.add(1, 2, subok=True)",
    "cp.add(1)",
    "cp.asnumpy([1, 2])",
    "cp.get_array_module(np.ones(2)) is np",
    "cp.broadcast_shapes((1,), (2,))",
    "cp.result_type(np.float32, 1.0)",
    "cp.isdtype(np.dtype('f4'), 'real floating')",
    "cp.finfo(np.float32).max",
    "cp.ndarray.__hash__",
    "cp.ndarray.__array_priority__",
    "hasattr(cp.ndarray, '__array_namespace__')",
    "hasattr(cp.ndarray, '__index__')",
    "hasattr(cp.ndarray, '__imatmul__')",
)


def surface() -> list[str]:
    """The lines in which the frozen surface and the wheel's differ."""
    frozen = make_spec.dump(spec.load()).splitlines()
    found = make_spec.dump(make_spec.surface()).splitlines()
    return list(difflib.unified_diff(frozen, found, "spec.json", "the installed wheel", lineterm="", n=1))


def loops(cupy: ModuleType) -> list[str]:
    """The calls of ufuncs, one for each combination of dtypes and Python scalars, that the two take to other loops."""
    differences = []
    kinds: list[Any] = [*map(np.dtype, "?bBhHiIlLefdFD"), int, float, complex]
    for name in spec.module("cupy")["ufuncs"]:
        ours, theirs = ufunc.get(name), getattr(cupy, name)._ops
        for types in itertools.product(kinds, repeat=ours.nin):
            weak = ufunc.scalars_are_weak(types)
            weak_types = tuple(t if weak and isinstance(t, type) else False for t in types)
            op = theirs._guess_routine_from_in_types(tuple(np.dtype(t) for t in types), weak_types)
            expected = None if op is None or op.error_func is not None else (op._in_dtypes, op._out_dtypes)
            try:
                loop = ours.loop(types)
            except TypeError:
                loop = None
            if loop != expected:
                differences.append(f"{name}{types}: {loop}, CuPy {expected}")
    return differences


def errors(cupy: ModuleType) -> list[str]:
    """The CUDA errors that the two put in other words."""
    pairs = [(str(device.CUDARuntimeError(s)), str(cupy.cuda.runtime.CUDARuntimeError(s))) for s in device.ERRORS]
    return [f"{ours}, CuPy {theirs}" for ours, theirs in pairs if ours != theirs]


def without_driver(cupy: ModuleType) -> list[str]:
    """The expressions of ``WITHOUT_DRIVER`` that the two answer differently."""
    theirs = [_answer(expression, cupy) for expression in WITHOUT_DRIVER]
    with standin.installed(devices=0) as cp:
        ours = [_answer(expression, cp) for expression in WITHOUT_DRIVER]
    lines = zip(WITHOUT_DRIVER, ours, theirs, strict=True)
    return [f"{expression}: {our}, CuPy {their}" for expression, our, their in lines if our != their]


def _answer(expression: str, cp: ModuleType) -> str:
    """What an expression gives or raises; of a TypeError only the type, for the stand-in says more."""
    try:
        return repr(eval(expression, {"cp": cp, "np": np}))
    except TypeError:
        return "TypeError"
    except Exception as error:
        return f"{type(error).__name__}({error}) {getattr(error, 'status', '')}"


def main() -> None:
    """Prints one JSON object: lists of differences, empty where the two agree."""
    warnings.simplefilter("ignore")
    cupy = importlib.import_module("cupy")
    report: dict[str, Any] = {"version": cupy.__version__, "available": cupy.is_available()}
    report |= {"surface": surface(), "loops": loops(cupy), "errors": errors(cupy)}
    report["without_driver"] = [] if report["available"] else without_driver(cupy)
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
