"""Devices: what a name such as "cuda:1" stands for, and whether it can be used here.

A CUDA device counts as usable once a kernel has run on it: CuPy imports, and may even count devices, where nothing can
be launched. Only the probe imports CuPy, so asking for the CPU never loads it.
"""

from __future__ import annotations

import difflib
import importlib
import os
import platform
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from backends import cupy_namespace
from backends.errors import DeviceError
from backends.namespace import NUMPY, name_of, namespace_of
from backends.runtime.current import current_device
from backends.runtime.installation import install_line

__all__ = ["CPU", "Device", "DeviceReport", "describe", "resolve", "survey"]

_VARIABLE = "DLCORE_DEVICE"
_NAME = re.compile(r"auto|cpu|cuda(?::(0|[1-9][0-9]{0,8}))?")


@dataclass(frozen=True)
class Device:
    """A place that holds arrays: its name, the namespace that computes there and why it was chosen.

    ``native`` is what creation functions of ``xp`` take as ``device=``; None stands for the library's default.

    >>> device = Device.of(np.ones(2))
    >>> device.holds(np.zeros(3))
    True
    >>> with device.active():
    ...     device.xp.zeros(2, device=device.native)
    array([0., 0.])
    """

    name: str
    xp: Any = field(repr=False, compare=False)
    native: Any = field(default=None, repr=False, compare=False)
    why: str = field(default="", compare=False)

    @classmethod
    def of(cls, x: Any) -> Device:
        """Where the array ``x`` is.

        >>> str(Device.of(np.ones(2)))
        'cpu'
        """
        xp = namespace_of(x)
        if xp is NUMPY:
            return CPU
        name = f"cuda:{x.device.id}" if name_of(xp) == "cupy" else f"{name_of(xp)} {x.device}"
        return cls(name, xp, x.device, why="where the data are")

    def __str__(self) -> str:
        return self.name

    def holds(self, x: Any) -> bool:
        """Whether ``x`` is an array on this device."""
        return namespace_of(x) is self.xp and (self.native is None or x.device == self.native)

    def active(self) -> AbstractContextManager[Any]:
        """A context in which this is the library's current device: CuPy launches kernels on the current one only."""
        return self.native if hasattr(self.native, "__enter__") else nullcontext()

    def elsewhere(self) -> AbstractContextManager[Any] | None:
        """What to enter so that this is the library's current device; None where it is, or there is no such thing.

        >>> CPU.elsewhere() is None
        True
        """
        if self.native is None or self.xp is NUMPY:
            return None
        ask = current_device(self.xp)
        return None if ask is None or ask() == self.native.id else self.native


CPU = Device("cpu", NUMPY, why="asked for")


@dataclass(frozen=True)
class DeviceReport:
    """What :func:`survey` says of one device: usable, or why not and what to do; ``facts`` are for people to read.

    name : such as "cuda:0"
    cause, fix : why it cannot be used, and what to do

    >>> [report.name for report in survey() if report.usable][0]
    'cpu'
    """

    name: str
    usable: bool
    cause: str = ""
    fix: str = ""
    facts: dict[str, str] = field(default_factory=dict)


def resolve(name: str | Device | None = None) -> Device:
    """The device that ``name`` stands for, probed at this moment.

    name : "cpu", "cuda" (the same as "cuda:0"), "cuda:N", "auto", or a Device, which is returned as it is. None takes
        the environment variable ``DLCORE_DEVICE``, or "auto" where that is unset or empty.

    "auto" is CUDA device 0 where it can be used and the CPU everywhere else; it never fails, ``.why`` holds the reason,
    and it warns only where an NVIDIA GPU is present and fails. Raises :class:`DeviceError` for any other name, and for
    a CUDA device that cannot be used, with ``.cause`` and ``.fix``.

    >>> resolve("cpu")
    Device(name='cpu', why='asked for')
    >>> resolve("gpu")
    Traceback (most recent call last):
    ...
    backends.errors.DeviceError: device 'gpu' is not known: expected cpu, cuda, cuda:N with N = 0, 1, 2, ... or auto; \
did you mean cuda?
    """
    if isinstance(name, Device):
        return name
    why, origin = "asked for", ""
    if name is None:
        name = os.environ.get(_VARIABLE) or "auto"
        why, origin = f"{_VARIABLE}={name}", f" (from {_VARIABLE})"
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        came = " ".join(repr(name).split())  # an array's representation takes several lines
        raise DeviceError(
            f"device {came}{origin} is not known: expected cpu, cuda, cuda:N with N = 0, 1, 2, ... or auto"
            + _suggestion(name)
        )
    if name == "auto":
        return _auto()
    if name == "cpu":
        return replace(CPU, why=why)
    index = int(match[1] or 0)
    try:
        cupy = _open(index)
    except _ProbeError as error:
        message = f"device {name!r}{origin} cannot be used"
        raise DeviceError(message, cause=error.cause, fix=error.fix) from error.__cause__
    return _cuda_device(cupy, index, f"{why}; {_name(cupy, index)}")


def describe(device: Device) -> str:
    """The line that tells a user which device runs and why.

    >>> describe(resolve("cpu"))
    'device: cpu (asked for)'
    """
    return f"device: {device} ({device.why})" if device.why else f"device: {device}"


def survey() -> tuple[DeviceReport, ...]:
    """A report on the CPU and on each CUDA device; one on "cuda" where there is none. Never raises.

    >>> [report.usable for report in survey() if report.name == "cpu"]
    [True]
    """
    return _survey_cpu(), *_survey_cuda()


def _auto() -> Device:
    try:
        cupy = _open(0)
    except _ProbeError as error:
        if error.failed and _nvidia_hardware():
            message = f"an NVIDIA GPU is present but cannot be used: {error.cause}; fix: {error.fix}"
            warnings.warn(message, stacklevel=3)  # at the line that called resolve
        return replace(CPU, why=error.cause)
    return _cuda_device(cupy, 0, f"CUDA device 0: {_name(cupy, 0)}")


def _cuda_device(cupy: Any, index: int, why: str) -> Device:
    xp = cupy_namespace.of(importlib.import_module("array_api_compat.cupy"))
    return Device(f"cuda:{index}", xp, cupy.cuda.Device(index), why)


def _suggestion(name: Any) -> str:
    """What a wrong name may have meant."""
    text = re.sub(r"^(gpu|nvidia)(?![a-z])", "cuda", str(name).strip().lower())
    index = re.fullmatch(r"(?:cuda[:_ -]?)?0*([0-9]{1,9})", text)
    if index:
        guess = f"cuda:{index[1]}"
    elif text.startswith("cuda:"):
        guess = "cuda:0"
    else:
        guess = next(iter(difflib.get_close_matches(text, ["cpu", "cuda", "auto"], n=1, cutoff=0.75)), "")
    return f"; did you mean {guess}?" if guess else ""


# The probe -----------------------------------------------------------------------------------------------------------


class _ProbeError(Exception):
    """Why CUDA cannot be used, and what to do; ``failed`` is False where somebody left it out or hid it on purpose."""

    def __init__(self, cause: str, fix: str, *, failed: bool = True) -> None:
        super().__init__(cause)
        self.cause = cause
        self.fix = f"{fix}, or --device cpu"
        self.failed = failed


def _open(index: int) -> Any:
    """The module cupy, once a kernel has run on CUDA device ``index``."""
    cupy = _import_cupy()
    count = _count(cupy)
    if index >= count:
        there = "1 device is" if count == 1 else f"{count} devices are"
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        limit = "" if visible is None else f" with CUDA_VISIBLE_DEVICES={visible!r}"
        names = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise _ProbeError(f"there is no CUDA device {index}: {there} visible{limit}", f"ask for {names}")
    _launch(cupy, index)
    return cupy


def _import_cupy() -> Any:
    try:
        cupy = importlib.import_module("cupy")
        importlib.import_module("array_api_compat.cupy")
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            raise _ProbeError("cupy is not installed", _install(), failed=False) from None
        raise _ProbeError(
            f"cupy does not import: {_first_line(error)}",
            f"pip uninstall every package named cupy, then {_install()}",
        ) from error
    return cupy


def _count(cupy: Any) -> int:
    """How many CUDA devices are visible: at least one."""
    try:
        if cupy.is_available():
            return int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:
        raise _ProbeError(_first_line(error), _repair(cupy, error)) from error
    raise _no_device(cupy)


def _no_device(cupy: Any) -> _ProbeError:
    """Why ``cupy.is_available()`` is False: it says no more than that."""
    driver = _ask(lambda: int(cupy.cuda.runtime.driverGetVersion()))
    built_for = _cuda_major(cupy)
    if driver == 0:
        return _ProbeError("no CUDA driver", "install the NVIDIA driver (start a container with --gpus all)")
    if driver is not None and driver // 1000 < built_for:
        cause = f"the NVIDIA driver supports CUDA up to {_version(driver)} and cupy is built for CUDA {built_for}"
        other = f", or {_swap(built_for)}" if driver >= 12000 else ""
        return _ProbeError(cause, f"update the NVIDIA driver{other}")
    error = ""
    try:
        cupy.cuda.runtime.getDeviceCount()
    except Exception as raised:
        error = _first_line(raised)
    if error and "NoDevice" not in error:
        return _ProbeError(error, "see whether nvidia-smi runs; it may take a new driver or a restart")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return _ProbeError("the CUDA driver finds no device", "see what nvidia-smi lists")
    if visible.split(",")[0].strip() in ("", "-1", "NoDevFiles"):
        cause = f"CUDA_VISIBLE_DEVICES={visible!r} hides every CUDA device"
        return _ProbeError(cause, "unset CUDA_VISIBLE_DEVICES", failed=False)
    cause = f"the CUDA driver finds no device with CUDA_VISIBLE_DEVICES={visible!r}"
    return _ProbeError(cause, "unset CUDA_VISIBLE_DEVICES or name in it what nvidia-smi lists")


def _launch(cupy: Any, index: int) -> None:
    """Allocate on the device, run one kernel there and wait for it."""
    try:
        device = cupy.cuda.Device(index)
        with device:
            _ = cupy.arange(4) + 1
            device.synchronize()
    except Exception as error:
        capability = _ask(lambda: int(cupy.cuda.Device(index).compute_capability))
        if capability is not None and capability < 75 and _cuda_major(cupy) >= 13:
            cause = f"CUDA 13 needs compute capability 7.5 and CUDA device {index} has {capability / 10}"
            raise _ProbeError(cause, _swap(_cuda_major(cupy))) from error
        raise _ProbeError(_first_line(error), _repair(cupy, error)) from error


def _first_line(error: Exception) -> str:
    """The error's type and the first line of its message that says something; CUDA's own messages name themselves."""
    lines = [line.strip() for line in str(error).splitlines()]
    if "Original error:" in lines:  # CuPy wraps what went wrong on import in a page of general advice
        lines = lines[lines.index("Original error:") + 1 :]
    line = next((line for line in lines if line.strip("=-")), "")
    kind = type(error).__name__
    if not line:
        return kind
    return line if line.startswith(("cudaError", "CUDA_ERROR", kind)) else f"{kind}: {line}"


def _repair(cupy: Any, error: Exception) -> str:
    if re.search(r"nvrtc|dynamiclib|lib\w+\.so|\.dll|cannot open source file", f"{type(error).__name__} {error}", re.I):
        return f"{install_line(f'cuda{_cuda_major(cupy)}')}, which brings the CUDA libraries"
    return "see whether nvidia-smi shows the device free and in order"


def _install() -> str:
    """The line that installs CuPy for the driver here: CUDA 13 needs a driver of the 580 series or later."""
    if sys.platform == "darwin":
        return "use a machine with an NVIDIA GPU, since cupy has no packages for macOS"
    driver = _driver_release()
    if driver:
        return install_line("cuda13" if int(driver.split(".")[0]) >= 580 else "cuda12")
    return f"{install_line('cuda13')} (with an NVIDIA driver older than 580, cuda12 in the place of cuda13)"


def _swap(major: int) -> str:
    """How to go from the CuPy of CUDA ``major`` to that of CUDA 12; both at once overwrite each other's files."""
    return f"pip uninstall cupy-cuda{major}x, then {install_line('cuda12')}"


# Facts ---------------------------------------------------------------------------------------------------------------


def _survey_cpu() -> DeviceReport:
    try:
        _ = np.arange(4) + 1
    except Exception as error:
        return DeviceReport("cpu", False, _first_line(error), "pip install --force-reinstall numpy")
    asks: dict[str, Callable[[], str]] = {
        "name": _processor,
        "memory": lambda: _gibibytes(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
    }
    return DeviceReport("cpu", True, facts=_answers(asks))


def _survey_cuda() -> list[DeviceReport]:
    try:
        cupy = _import_cupy()
    except _ProbeError as error:
        return [DeviceReport("cuda", False, error.cause, error.fix, _answers({"driver": _driver_release}))]
    versions = _answers(
        {
            "driver": lambda: _driver(cupy),
            "runtime": lambda: f"CUDA {_version(cupy.cuda.runtime.runtimeGetVersion())}",
            "cupy": lambda: str(cupy.__version__),
        }
    )
    try:
        count = _count(cupy)
    except _ProbeError as error:
        return [DeviceReport("cuda", False, error.cause, error.fix, versions)]
    reports = []
    for index in range(count):
        asks: dict[str, Callable[[], str]] = {
            "name": lambda i=index: _name(cupy, i),
            "memory": lambda i=index: _memory(cupy, i),
            "compute capability": lambda i=index: str(int(cupy.cuda.Device(i).compute_capability) / 10),
        }
        try:
            _launch(cupy, index)
        except _ProbeError as error:
            reports.append(DeviceReport(f"cuda:{index}", False, error.cause, error.fix, _answers(asks) | versions))
        else:
            reports.append(DeviceReport(f"cuda:{index}", True, facts=_answers(asks) | versions))
    return reports


def _ask(question: Callable[[], Any]) -> Any:
    """The answer, or None where asking fails: a missing fact is never a reason to stop."""
    try:
        return question()
    except Exception:
        return None


def _answers(asks: dict[str, Callable[[], str]]) -> dict[str, str]:
    found = {fact: _ask(ask) for fact, ask in asks.items()}
    return {fact: value for fact, value in found.items() if value}


def _name(cupy: Any, index: int) -> str:
    name = _ask(lambda: cupy.cuda.runtime.getDeviceProperties(index)["name"])
    return name.decode() if isinstance(name, bytes) else str(name or "a CUDA device")


def _memory(cupy: Any, index: int) -> str:
    free, total = cupy.cuda.Device(index).mem_info
    return f"{_gibibytes(total)}, {_gibibytes(free)} free"


def _gibibytes(n: int) -> str:
    return f"{n / 2**30:.1f} GiB"


def _version(number: int) -> str:
    """CUDA writes 13.2 as 13020."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _cuda_major(cupy: Any) -> int:
    """The CUDA that cupy is built for: 12 or 13."""
    return _ask(lambda: cupy.cuda.runtime.runtimeGetVersion() // 1000) or 13


def _driver(cupy: Any) -> str:
    supported = cupy.cuda.runtime.driverGetVersion()
    if not supported:
        return "none"
    release = _driver_release()
    return f"{release} (CUDA up to {_version(supported)})" if release else f"CUDA up to {_version(supported)}"


def _driver_release(root: Path = Path("/")) -> str:
    """The version of the loaded NVIDIA kernel module, such as "580.65.06"; empty where Linux knows none."""
    text = _ask(lambda: (root / "proc/driver/nvidia/version").read_text(encoding="utf-8"))
    found = re.search(r"\s([0-9]{3,}(?:\.[0-9]+)+)\s", text or "")
    return found[1] if found else ""


def _nvidia_hardware(root: Path = Path("/")) -> bool:
    """Whether an NVIDIA GPU is in this machine, CUDA or no CUDA.

    On Linux the kernel tells: nvidia-smi alone also lies on login nodes without a GPU. Windows and its Linux subsystem
    have no such files, and there nvidia-smi comes with the driver.
    """
    if any((root / "proc/driver/nvidia/gpus").glob("*")) or any((root / "dev").glob("nvidia[0-9]*")):
        return True
    return (sys.platform == "win32" or (root / "dev/dxg").exists()) and shutil.which("nvidia-smi") is not None


def _processor() -> str:
    for line in _ask(lambda: Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()) or ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
