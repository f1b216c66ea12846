"""What a report of level 7 belongs to: one chip, its driver, and the libraries between it and the code."""

from __future__ import annotations

import importlib
from typing import Any

from backends.diagnostics.libraries import cuda
from backends.runtime.device import Device, survey

__all__ = ["device", "libraries"]


def device(where: Device) -> dict[str, Any]:
    """The GPU as CUDA names it, and as ``dlcore doctor`` tells of it."""
    cupy = importlib.import_module("cupy")
    properties = cupy.cuda.runtime.getDeviceProperties(where.native.id)
    reported = next((one.facts for one in survey() if one.name == str(where)), {})
    return {
        **reported,
        "place": str(where),
        "name": _text(properties["name"]),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "bytes": int(properties["totalGlobalMem"]),
        "multiprocessors": int(properties["multiProcessorCount"]),
        "driver_api": int(cupy.cuda.runtime.driverGetVersion()),
        "runtime_api": int(cupy.cuda.runtime.runtimeGetVersion()),
    }


def libraries() -> dict[str, str]:
    """CuPy's package, NVRTC, CUB, the folder of compiled kernels: each with the fix where something is wrong."""
    return {
        finding.label: f"{finding.text} (fix: {finding.fix})" if finding.fix else finding.text for finding in cuda()
    }


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
