"""The current device of a library that has one: CuPy allocates and launches on the calling thread's current GPU only.

So whoever computes with arrays makes their GPU current, once, at the outermost place that knows them: a kernel's call,
a backward pass, a model, an optimiser's step. Where it is current already, and on libraries without such a notion,
:func:`elsewhere` answers None and nothing is entered.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from backends.errors import DeviceError
from backends.namespace import NUMPY, name_of, namespace_of

__all__ = ["current_device", "elsewhere", "elsewhere_of"]


@functools.cache  # by namespace, which keeps the asking short
def current_device(xp: Any) -> Callable[[], int] | None:
    """What gives the number of a library's current device; None for a library without one.

    >>> current_device(NUMPY) is None
    True
    """
    return importlib.import_module("cupy").cuda.runtime.getDevice if name_of(xp) == "cupy" else None


def elsewhere(operation: str, xp: Any, arrays: Sequence[Any]) -> AbstractContextManager[Any] | None:
    """What to enter so that the device of ``arrays`` is current; None where it is.

    operation : names the call in an error
    xp : the arrays' namespace; numbers and None go with every device

    Raises :class:`DeviceError` for arrays on several devices of one library.

    >>> import numpy as np
    >>> elsewhere("linear", NUMPY, (np.ones(2), None)) is None
    True
    """
    ask = current_device(xp)
    if ask is None:
        return None
    here = there = None
    for x in arrays:
        device = getattr(x, "device", None)
        if device is None:
            continue
        if there is None:
            here, there = device, device.id
        elif device.id != there:
            raise DeviceError(
                f"{operation}: arrays of CUDA devices {there} and {device.id} do not mix",
                fix="move one of them with .to(device)",
            )
    return None if here is None or there == ask() else here


def elsewhere_of(x: Any) -> AbstractContextManager[Any] | None:
    """The same for one array.

    >>> import numpy as np
    >>> elsewhere_of(np.ones(2)) is None
    True
    """
    xp = namespace_of(x)
    return None if xp is NUMPY or xp is None else elsewhere("", xp, (x,))
