"""``dlcore doctor``: what this machine offers, and what to do about what it does not."""

from __future__ import annotations

import os
import platform
import sys
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dlcore.cli.options import DEBUG
from dlcore.errors import ConfigError
from dlcore.version import __version__

if TYPE_CHECKING:
    from backends.diagnostics.libraries import Finding
    from backends.diagnostics.selftest import Measured
    from backends.runtime.device import DeviceReport

__all__ = ["doctor"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def doctor(
    *,
    self_test: Annotated[
        bool,
        Parameter(negative=(), show_default=False, help="run every kernel of a device against float64 instead"),
    ] = False,
    device: Annotated[
        str | None, Parameter(help="of the self-test: cpu, cuda, cuda:N or auto [default: $DLCORE_DEVICE, else auto]")
    ] = None,
    debug: DEBUG = False,
) -> int:
    """Show versions, devices and data: what this machine offers, and what to do about what it does not.

    The exit code is 0, or 1 where not even the CPU can be used. With --self-test every kernel of a device, and each
    faster alternative to it, computes in float32 what its reference computes in float64; the errors are printed, and
    the exit code is 1 where one is larger than rounding explains.
    """
    if self_test:
        return _self_test(device)
    if device is not None:
        raise ConfigError("--device goes with --self-test; without it every device is looked at")
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


def _findings(found: Iterable[Finding]) -> None:
    for finding in found:
        _line(finding.label, finding.text)
        if finding.fix:
            _line("", f"fix: {finding.fix}")


def _libraries() -> None:
    import array_api_compat
    import numpy as np

    from backends.diagnostics import libraries

    _line("numpy", np.__version__)
    _line("array-api-compat", array_api_compat.__version__)
    _line("threads", _threads())
    _findings(libraries.cpu())


def _threads() -> str:
    total = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    limits = [f"{name}={os.environ[name]}" for name in _THREAD_VARIABLES if name in os.environ]
    return ", ".join([f"{usable} of {total} usable", *limits])


def _devices() -> bool:
    """Print the devices; whether the CPU is usable."""
    from backends.diagnostics import libraries
    from backends.errors import DeviceError
    from backends.runtime.device import resolve, survey

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
    found = list(libraries.cuda())
    if found:
        print("CUDA libraries")
        _findings(found)
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


# --- the self-test


def _self_test(device: str | None) -> int:
    from backends.diagnostics.selftest import run
    from backends.runtime.device import describe, resolve

    place = resolve(device)
    print(describe(place))
    print("every kernel in float32 against its reference in float64; errors in ULPs")
    print(f"{'kernel':<21}{'implementation':<29}{'forward':>9}{'backward':>9}{'allowed':>9}")
    found = []
    for measured in run(place):
        print(_row(measured), flush=True)
        found.append(measured)
    bad = [f"{one.kernel} ({one.implementation})" for one in found if not one.ok]
    kernels, ran = len({one.kernel for one in found}), sum(one.ran for one in found)
    if bad:
        print(f"self-test: out of bounds on {place}: {', '.join(bad)}")
        return 1
    print(f"self-test: {kernels} kernels in {ran} implementations are within bounds on {place}")
    return 0


def _row(measured: Measured) -> str:
    start = f"{measured.kernel:<21}{measured.implementation:<29}"
    if measured.trouble:
        return f"{start}  FAILED: {measured.trouble}"
    if not measured.ran:
        return f"{start}  not run: {measured.declined}"
    figures = "".join(
        f"{'' if error < 0 else f'{error:.2f}' if error < 1e4 else f'{error:.1e}':>{width}}"
        for error, width in ((measured.forward, 9), (measured.backward, 9))
    )
    return f"{start}{figures}{measured.allowed:>9.0f}{'' if measured.ok else '  OUT'}"
