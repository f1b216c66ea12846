"""CuPy's namespace as the kernels get it: creation functions that create on the ``device`` they are given.

array-api-compat checks ``device=`` in CuPy's creation functions and then ignores it, so that what is asked for on
another GPU lies on the current one. All other names are array-api-compat's.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["of"]

_NEW = ("arange", "empty", "eye", "full", "linspace", "ones", "zeros")
_LIKE = ("empty_like", "full_like", "ones_like", "zeros_like")


@functools.cache
def of(compat: ModuleType) -> ModuleType:
    """The namespace over ``array_api_compat.cupy``; the same object at every call."""
    runtime = importlib.import_module("cupy").cuda.runtime
    xp = ModuleType(compat.__name__, __doc__)
    own = ("__name__", "__doc__", "__spec__", "__loader__", "__package__")
    vars(xp).update({name: value for name, value in vars(compat).items() if name not in own})
    for names, wrap in ((_NEW, _new), (_LIKE, _like), (("asarray",), _asarray)):
        vars(xp).update({name: wrap(getattr(compat, name), runtime.getDevice) for name in names if hasattr(xp, name)})
    return xp


def _new(create: Callable[..., Any], current: Callable[[], int]) -> Callable[..., Any]:
    @functools.wraps(create)
    def on_device(*args: Any, device: Any = None, **kwargs: Any) -> Any:
        if device is None or device.id == current():
            return create(*args, **kwargs)
        with device:
            return create(*args, **kwargs)

    return on_device


def _like(create: Callable[..., Any], current: Callable[[], int]) -> Callable[..., Any]:
    @functools.wraps(create)
    def on_device(x: Any, *args: Any, device: Any = None, **kwargs: Any) -> Any:
        device = x.device if device is None else device
        if device.id == current():
            return create(x, *args, **kwargs)
        with device:
            return create(x, *args, **kwargs)

    return on_device


def _asarray(create: Callable[..., Any], current: Callable[[], int]) -> Callable[..., Any]:
    @functools.wraps(create)
    def on_device(x: Any, *, device: Any = None, **kwargs: Any) -> Any:
        device = getattr(x, "device", None) if device is None else device
        if not hasattr(device, "id") or device.id == current():  # a NumPy array's device is "cpu"
            return create(x, **kwargs)
        return create(x, device=device, **kwargs)

    return on_device
