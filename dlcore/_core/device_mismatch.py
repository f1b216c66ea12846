"""The error where arrays of one operation are on several devices: what came from where, and what to do.

Nothing is looked for here before it fails: arrays that are together cost nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from backends.dispatch import Kernel
from backends.runtime.device import Device
from dlcore.errors import DeviceError, DlcoreError

__all__ = ["apart", "arguments_apart", "together"]


def arguments_apart(kernel: Kernel, inputs: Sequence[Any]) -> DeviceError | None:
    """As :func:`apart`, for the inputs of a kernel."""
    signature = list(inspect.signature(kernel.forward).parameters.values())[1:]  # without xp
    names = [p.name for p in signature if p.kind is p.POSITIONAL_OR_KEYWORD]
    names = names if len(names) >= len(inputs) else [f"array {i}" for i in range(len(inputs))]
    return apart(kernel.name, dict(zip(names, inputs, strict=False)))


def together(operation: str, inputs: dict[str, Any]) -> None:
    """Raise :func:`apart`'s error where there is one."""
    error = apart(operation, inputs)
    if error is not None:
        raise error


def apart(operation: str, inputs: dict[str, Any]) -> DeviceError | None:
    """The error where arrays and tensors are on several devices, else None.

    inputs : by the names that a user knows them by; numbers and None go with every device. A tensor that has an owner
        is a parameter, and goes by its path
    """
    places: dict[str, list[tuple[str, bool]]] = {}
    for name, x in inputs.items():
        array = getattr(x, "data", x) if hasattr(x, "requires_grad") else x
        if not hasattr(array, "shape"):
            continue
        try:
            place = str(Device.of(array))
        except DlcoreError:  # no array
            continue
        is_parameter = getattr(x, "owner", None) is not None
        label = x.path or name if is_parameter else f"{name} {tuple(array.shape)}"
        places.setdefault(place, []).append((label, is_parameter))
    if len(places) < 2:
        return None
    owner = next((place for place, found in places.items() if any(is_parameter for _, is_parameter in found)), None)
    home = owner or next(iter(places))
    stray = next(place for place in places if place != home)
    what = places[stray][0][0].partition(" (")[0]
    fix = f"bring {what} to the others by dl.Tensor({what}).to('{home}')"
    if owner is not None:
        fix = f"bring {what} to the parameters by dl.Tensor({what}).to('{home}'), or the model to it by .to('{stray}')"
    return DeviceError(f"{operation}: {' and '.join(map(_words, places, places.values()))} do not mix", fix=fix)


def _words(place: str, found: list[tuple[str, bool]]) -> str:
    """What is on a device: "x (4, 3) on cpu", "the parameters 0.w, 0.b on cuda:0"."""
    parameters = [label for label, is_parameter in found if is_parameter]
    words = [label for label, is_parameter in found if not is_parameter]
    if parameters:
        words.append(f"the parameter{'s' * (len(parameters) > 1)} {', '.join(parameters)}")
    return f"{', '.join(words)} on {place}"
