"""``dlcore doctor``: what this machine offers, and what to do about what it does not."""

from __future__ import annotations

import os
import platform
import sys
import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING

from dlcore.cli.flags import DEBUG
from dlcore.version import __version__

if TYPE_CHECKING:
    from backends.device import DeviceReport

__all__ = ["doctor"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def doctor(*, debug: DEBUG = False) -> int:
    """Show versions, devices and data: what this machine offers, and what to do about what it does not.

    The exit code is 0, or 1 where not even the CPU can be used.
    """
    print(f"dlcore {__version__}")
    _line("python", f"{platform.python_version()} ({sys.executable})")
    _line("system", platform.platform())
    try:
        _libraries()
        usable = _devices()
    except Exception as error:  # a broken NumPy shows here as anything
        print(f"cpu: not usable; cause: {type(error).__name__}: {_first_line(error)}")
        print("  fix: pip install --force-reinstall numpy array-api-compat")
        return 1
    _data()
    return 0 if usable else 1


def _line(label: str, text: str) -> None:
    print(f"  {label:<18}{text}")


def _libraries() -> None:
    import array_api_compat
    import numpy as np

    _line("numpy", np.__version__)
    _line("BLAS", _blas())
    _line("threads", _threads())
    _numba()
    _line("array-api-compat", array_api_compat.__version__)


def _numba() -> None:
    """Whether the CPU has compiled kernels."""
    from backends.cpu import WHY_NOT
    from backends.threads import kernel_threads

    if WHY_NOT:
        _line("numba", f"not used, so the CPU has no compiled kernels: {WHY_NOT}")
        fix = "unset NUMBA_DISABLE_JIT" if "NUMBA_DISABLE_JIT" in WHY_NOT else "pip install --upgrade numba"
        _line("", f"fix: {fix}")
    else:
        _line("numba", f"{version('numba')}, compiled kernels on {kernel_threads()} threads")


def _blas() -> str:
    import numpy as np

    built: dict[str, dict[str, dict[str, str]]] = np.show_config(mode="dicts")  # pyright: ignore[reportAssignmentType]
    blas = built.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def _threads() -> str:
    total = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    limits = [f"{name}={os.environ[name]}" for name in _THREAD_VARIABLES if name in os.environ]
    return ", ".join([f"{usable} of {total} usable", *limits])


def _devices() -> bool:
    """Print the devices; whether the CPU is usable."""
    from backends.device import resolve, survey
    from backends.errors import DeviceError

    reports = survey()
    print("devices")
    for report in reports:
        _device(report)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reports have said it
        try:
            default = resolve()
            _line("without --device", f"{default} ({default.why})")
        except DeviceError as error:
            _line("without --device", str(error))
    return reports[0].usable


def _device(report: DeviceReport) -> None:
    _line(report.name, "usable" if report.usable else f"not usable: {report.cause}")
    if report.fix:
        _line("", f"fix: {report.fix}")
    for fact, value in report.facts.items():
        _line("", f"{fact}: {value}")


def _data() -> None:
    print("data")
    try:
        from dlcore.data import load

        found = load("fashion").source
        if found != load("fashion-subset").source:
            text = f"found: {found}"
        else:
            text = (
                "not found; install the Debian package dataset-fashion-mnist or point DLCORE_DATA at a folder of its "
                "four files; the embedded subset is used"
            )
    except Exception as error:  # whatever is wrong with the files, the rest of the report stands
        text = _first_line(error)
    print(f"  full Fashion-MNIST: {text}")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
