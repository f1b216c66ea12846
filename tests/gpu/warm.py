"""The kernel cache, filled once: a cold CuPy compiles each CUDA source for seconds, and the parts share its cache."""

from __future__ import annotations

import time

from backends.cuda import compile
from backends.runtime.device import Device
from gpu.result import Result, judged

__all__ = ["check"]


def check(device: Device) -> Result:
    """Each source in each of its dtypes, compiled for this chip; and how long the longest took."""
    import cupy

    seconds: dict[str, float] = {}
    failed: list[str] = []
    for unit, code, options in compile.sources():
        start = time.perf_counter()
        try:
            cupy.RawModule(code=code, options=options).compile()
        except Exception as error:  # of NVRTC or the driver, with the compiler's words
            failed.append(f"{unit}: {next(iter(str(error).splitlines()), type(error).__name__)}")
        seconds[unit] = round(time.perf_counter() - start, 2)
    longest = max(seconds, key=lambda unit: seconds[unit])
    summary = (
        f"{len(seconds) - len(failed)} of {len(seconds)} sources, the longest {longest} in {seconds[longest]:.1f} s"
    )
    return judged(not failed, summary, worst=failed, seconds=seconds)
