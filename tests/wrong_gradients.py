"""What the tests of the gradient checks share: errors planted in a kernel's backward pass, and a foreign device."""

import array_api_strict
import numpy as np

from backends.namespace import namespace_of
from backends.runtime import copies
from backends.runtime.device import Device

__all__ = ["RIGHT", "STRICT", "plant", "rng", "scale"]

RIGHT = 1e-7  # what a right gradient keeps to: truncation and rounding are near 1e-11, the least gradients near 1e-3

copies.register_download(
    "array_api_strict",
    lambda x: np.array(array_api_strict.asarray(x, device=array_api_strict.Device("CPU_DEVICE"))),
)
STRICT = Device("strict", namespace_of(array_api_strict.ones(1)), array_api_strict.Device("device1"))


def rng():
    return np.random.default_rng(0)


def plant(monkeypatch, kernel, spoil):
    """Have ``spoil`` change the list of gradients that a kernel's backward gives."""
    right = kernel.backward

    def wrong(xp, dy, saved, **params):
        gradients = list(right(xp, dy, saved, **params))
        spoil(gradients)
        return tuple(gradients)

    monkeypatch.setattr(kernel, "backward", wrong)


def scale(i, factor, shape=None):
    def spoil(gradients):
        if gradients[i] is not None and shape in (None, tuple(gradients[i].shape)):
            gradients[i] = gradients[i] * factor

    return spoil
