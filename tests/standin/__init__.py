"""A strict stand-in for CuPy: NumPy's arithmetic behind CuPy's names, rules and refusals. For tests only.

``install()`` puts modules named ``cupy``, ``cupy.cuda``, ``cupyx`` and so on where ``import`` finds them; the real
array-api-compat then wraps them like the wheel. The names, signatures and ufunc loops are those of the wheel, frozen
in ``spec.json`` and compared with the installed wheel by a test.

It shows what a machine without a GPU can show: calls that CuPy does not have, host arrays among device arrays, mixed
devices, hidden copies and waits, memory that runs out, and the errors of a missing or failing driver. It says nothing
about rounding on a GPU or about speed, and it does all work in the order of the calls; but what reads an array in a
stream that has not waited for it fails, see :mod:`standin.queues`. Where CuPy would go on with a wrong result, or would
quietly copy, the stand-in raises: indices outside an axis, duplicate indices in an assignment, arrays of the host.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from standin import device as _device
from standin import pool, queues
from standin.counters import Counts, Event, Kind, counts, forbid, hook, reset
from standin.device import CUDA_VERSION, Machine, Stage
from standin.queues import StreamError

__all__ = [
    "Counts", "Event", "Kind", "StreamError", "counts", "forbid", "hook", "install", "installed", "reset", "uninstall",
]  # fmt: skip

_COMPAT = "array_api_compat"

# The modules of the stand-in and those of a real CuPy, each with its array-api-compat wrapper, while they are out.
_ours: dict[str, ModuleType] = {}
_theirs: dict[str, ModuleType] = {}


def install(
    devices: int = 1,
    *,
    driver: int | None = None,
    broken: str | None = None,
    broken_at: Stage = "allocation",
    memory: int = 8 * 2**30,
    behind: bool = False,
) -> ModuleType:
    """Makes ``import cupy`` give the stand-in, and returns it; installed already, it only changes the machine.

    The modules, and array-api-compat's wrapper of them, are the same objects every time. A real CuPy that has been
    imported is set aside until ``uninstall``.

    Parameters
    ----------
    devices : number of GPUs
    driver : CUDA version that the driver supports, 13020 for 13.2; 0 is no driver, which is the default with no GPU
    broken : message of the CUDARuntimeError that the machine raises, though ``is_available()`` is true
    broken_at : what raises it: an "allocation", a kernel's "launch", or whatever does "synchronize" the host
    memory : bytes of each GPU
    behind : whether the GPUs are busy, so that no event is done before the host waits for it
    """
    from standin import modules

    driver = CUDA_VERSION * (devices > 0) if driver is None else driver
    machine = Machine(devices, driver, broken, broken_at, memory, behind)
    cupy = modules.build()["cupy"]
    if not _is_installed():
        _exchange(_theirs, _ours or modules.build())
    _device.configure(machine)
    return cupy


def uninstall() -> None:
    """Takes the stand-in out again, if it is in, and puts a real CuPy back that had been imported before."""
    if _is_installed():
        _exchange(_ours, _theirs)
    _device.configure(Machine(devices=0, driver=0))


@contextmanager
def installed(devices: int = 1, **machine: Any) -> Iterator[ModuleType]:
    """``install`` for a block, with counts from zero; what was there before comes back after it.

    StreamError at its end where page-locked memory was written too early, or memory let go while it was in use.
    """
    outer = _device.machine if _is_installed() else None
    cupy = install(devices, **machine)
    pool.restart()
    reset()
    try:
        yield cupy
        queues.finish()
    finally:
        if outer is None:
            uninstall()
        else:
            _device.configure(outer)


def _is_installed() -> bool:
    from standin import modules

    return sys.modules.get("cupy") is modules.build()["cupy"]


def _exchange(outgoing: dict[str, ModuleType], incoming: dict[str, ModuleType]) -> None:
    """Moves all modules of one CuPy from ``sys.modules`` to ``outgoing`` and puts those of the other there."""
    outgoing.clear()
    for name in [name for name in sys.modules if f"{name}.".startswith(("cupy.", "cupyx.", f"{_COMPAT}.cupy."))]:
        outgoing[name] = sys.modules.pop(name)
    sys.modules.update(incoming)
    if compat := sys.modules.get(_COMPAT):
        vars(compat).pop("cupy", None)
        if wrapper := incoming.get(f"{_COMPAT}.cupy"):
            compat.cupy = wrapper  # type: ignore[attr-defined]
        _forget_array_types()


def _forget_array_types() -> None:
    """Clears what array-api-compat remembers about array types, or it would go on as if nothing had changed."""
    for member in vars(sys.modules[f"{_COMPAT}.common._helpers"]).values():
        if hasattr(member, "cache_clear"):
            member.cache_clear()
