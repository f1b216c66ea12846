"""The kinds of array that every test can run on: numpy, read-only numpy, array-api-strict, the CuPy stand-in.

========  ==============  ===========================================================================
level     name            what it shows
========  ==============  ===========================================================================
level0    numpy           the mathematics
level0    readonly        that nothing writes into its inputs
level1    strict          standard calls only, no mixing of devices: every array on a foreign device
level2    cupy-standin    CuPy's names, keywords and refusals, through the real array-api-compat
========  ==============  ===========================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import array_api_strict
import numpy as np
import standin
from half_on_strict import add_float16

from backends.runtime import copies
from backends.runtime.device import CPU, Device, resolve

__all__ = ["KINDS", "Backend", "backend", "forbid_on_strict"]

KINDS = {"numpy": "level0", "readonly": "level0", "strict": "level1", "cupy-standin": "level2"}

STRICT = Device("strict", array_api_strict, array_api_strict.Device("device1"), why="a test")

add_float16()
array_api_strict.set_array_api_strict_flags(boolean_indexing=False, data_dependent_shapes=False)
copies.register_download("array_api_strict", lambda x: np.array(np.from_dlpack(x)))


@dataclass(frozen=True)
class Backend:
    """One kind of array: where it lives, and how host arrays come to it and back."""

    name: str
    device: Device

    def place(self, host: Any) -> Any:
        """A host array as one of this kind."""
        array = copies.to_device(np.array(host), self.device)
        if self.name == "readonly":
            array.flags.writeable = False
        return array

    def host(self, array: Any) -> np.ndarray:
        return copies.to_host(array)


@contextmanager
def backend(name: str) -> Iterator[Backend]:
    """The backend of a name of :data:`KINDS`, for the length of a test."""
    if name == "cupy-standin":
        with standin.installed():
            yield Backend(name, resolve("cuda"))
    else:
        yield Backend(name, STRICT if name == "strict" else CPU)


@contextmanager
def forbid_on_strict() -> Iterator[None]:
    """Make array-api-strict refuse what would wait for a device: float(x), int(x), bool(x), and x as an index."""
    array = type(array_api_strict.zeros(1))
    names = ("__float__", "__int__", "__bool__", "__index__", "__complex__")
    kept = {name: getattr(array, name) for name in names}

    def refuse(name: str) -> Any:
        def method(self: Any) -> Any:
            raise copies.TransferError(f"{name} of an array inside guard('forbid')")

        return method

    for name in names:
        setattr(array, name, refuse(name))
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(array, name, method)


copies.guard_with("array_api_strict", forbid_on_strict)
copies.guard_with("cupy stand-in", standin.forbid)
