"""A small double of CuPy for each machine, a real one, a broken one or none: fixtures that every test may ask for."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backends.errors import DeviceError
from backends.runtime import device as devices
from backends.runtime.device import resolve
from backends.runtime.installation import install_line

__all__ = ["CAUSES", "INSTALL", "FakeCupy", "refusal"]

INSUFFICIENT_DRIVER = "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
NO_DEVICE = "cudaErrorNoDevice: no CUDA-capable device is detected"
NVRTC = 'Failure finding "libnvrtc.so.13": No such file: libnvrtc.so.13\n'
INSTALL = install_line("cuda13")
CAUSES = {
    "driver": ({"count": 0, "driver": 0}, "no CUDA driver", "install the NVIDIA driver"),
    "old driver": ({"driver": 12040}, "supports CUDA up to 12.4", "[cuda12]'"),
    "very old driver": ({"driver": 11080}, "supports CUDA up to 11.8", "update the NVIDIA driver, or --device"),
    "no device": ({"count": 0}, "the CUDA driver finds no device", "nvidia-smi"),
    "driver mismatch": (
        {"broken": {"count": RuntimeError("cudaErrorSystemDriverMismatch: versions differ\nmore")}},
        "cudaErrorSystemDriverMismatch: versions differ",
        "nvidia-smi",
    ),
    "question": ({"broken": {"is_available": OSError("dead\nand gone")}}, "OSError: dead", "nvidia-smi"),
    "allocation": (
        {"broken": {"arange": MemoryError("Out of memory allocating 512 bytes\n(allocated so far: 0)")}},
        "MemoryError: Out of memory allocating 512 bytes",
        "nvidia-smi",
    ),
    "launch": ({"broken": {"synchronize": RuntimeError()}}, "RuntimeError", "nvidia-smi"),
    "libraries": ({"broken": {"arange": RuntimeError(NVRTC)}}, "libnvrtc.so.13", INSTALL),
    "old chip": (
        {"capability": "70", "broken": {"arange": RuntimeError("nvrtc: error: invalid value for --gpu-architecture")}},
        "CUDA 13 needs compute capability 7.5 and CUDA device 0 has 7.0",
        "[cuda12]'",
    ),
}


class FakeDevice:
    def __init__(self, index: int, machine: FakeCupy) -> None:
        self.id, self._machine = index, machine

    def __enter__(self) -> FakeDevice:
        return self

    def __exit__(self, *exception: object) -> None: ...

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FakeDevice) and self.id == other.id

    def __hash__(self) -> int:
        return self.id

    def synchronize(self) -> None:
        self._machine.fail_at("synchronize", self.id)
        self._machine.launches.append(self.id)

    @property
    def compute_capability(self) -> str:
        return self._machine.capability

    @property
    def mem_info(self) -> tuple[int, int]:
        return 3 * 2**30, 4 * 2**30


class FakeCupy(types.ModuleType):
    """What the probe uses of cupy, on a machine with ``count`` devices; ``broken`` maps a stage to what it raises."""

    __version__ = "14.2.0"

    def __init__(
        self,
        count: int = 1,
        driver: int = 13000,
        capability: str = "90",
        broken: dict[str, Exception] | None = None,
        broken_devices: tuple[int, ...] = tuple(range(8)),
    ) -> None:
        super().__init__("cupy")
        self.capability, self.broken, self.broken_devices = capability, broken or {}, broken_devices
        self.launches: list[int] = []
        runtime = types.SimpleNamespace(
            driverGetVersion=lambda: driver,
            runtimeGetVersion=lambda: 13020,
            getDeviceCount=lambda: self._count(count, driver),
            getDeviceProperties=lambda index: {"name": f"NVIDIA Imaginary {index}".encode()},
        )
        self.cuda = types.SimpleNamespace(runtime=runtime, Device=lambda index: FakeDevice(int(index), self))

    def fail_at(self, stage: str, index: int = 0) -> None:
        if stage in self.broken and index in self.broken_devices:
            raise self.broken[stage]

    def _count(self, count: int, driver: int) -> int:
        self.fail_at("count")
        if driver < 13000:
            raise RuntimeError(INSUFFICIENT_DRIVER)
        if not count:
            raise RuntimeError(NO_DEVICE)
        return count

    def is_available(self) -> bool:
        """As in CuPy: an error is no device."""
        self.fail_at("is_available")
        try:
            return self.cuda.runtime.getDeviceCount() > 0
        except Exception:
            return False

    def arange(self, n: int) -> np.ndarray:
        self.fail_at("arange")
        return np.arange(n)


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with neither CuPy nor a GPU, whatever this one has."""
    for variable in ("DLCORE_DEVICE", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(devices, "_nvidia_hardware", lambda: False)
    monkeypatch.setattr(devices, "_driver_release", lambda: "")
    monkeypatch.setitem(sys.modules, "cupy", None)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeCupy]:
    """Put a machine under the test: ``install(count=2)``."""

    def install(**machine: Any) -> FakeCupy:
        cupy = FakeCupy(**machine)
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setitem(sys.modules, "array_api_compat.cupy", types.ModuleType("array_api_compat.cupy"))
        return cupy

    return install


def refusal(name: Any = None) -> DeviceError:
    with pytest.raises(DeviceError) as caught:
        resolve(name)
    assert len(str(caught.value).splitlines()) == 1
    return caught.value
