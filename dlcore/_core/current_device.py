"""Functions that compute with arrays beside the kernels: on the device of what they are given first."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from backends.runtime.current import elsewhere_of

__all__ = ["on_its_device"]

F = TypeVar("F", bound=Callable[..., Any])


def on_its_device(function: F) -> F:
    """Inside ``function``, the device of its first tensor or array is the library's current one.

    Only the first two arguments are looked at: of a method, itself and what it is given.

    >>> @on_its_device
    ... def twice(x):
    ...     return x + x
    >>> twice(np.ones(2))
    array([2., 2.])
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for x in args[:2]:
            data = x.data if hasattr(x, "requires_grad") else x
            if type(data) is np.ndarray:
                return function(*args, **kwargs)
            if hasattr(data, "device") and hasattr(data, "dtype"):
                if (place := elsewhere_of(data)) is None:
                    break
                with place:
                    return function(*args, **kwargs)
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]
