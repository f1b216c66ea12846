"""A copy of a model in another precision or on another device, with which a check may do what it likes."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import numpy as np

from backends.runtime import copies
from backends.runtime.device import Device
from dlcore.nn.module import Module
from dlcore.nn.parameter import Buffer, Parameter, ParameterVector

__all__ = ["copy_as"]

Model = TypeVar("Model", bound=Module)


def copy_as(model: Model, dtype: str, device: Device | None = None) -> Model:
    """A built model with parameters and buffers of its own.

    dtype : of them, "float32" or "float64"
    device : where they are to be; by default, where the model is

    >>> from dlcore import nn
    >>> str(copy_as(nn.Dense(2).build((3,)), "float64").vector.dtype)
    'float64'
    """
    vector = model.built()
    device = vector.device if device is None else device
    replaced: dict[int, Any] = {}  # what copy.deepcopy shall put in the place of an object
    parameters = []
    for p in vector.parameters:
        twin = Parameter(copies.to_host(p.data).astype(dtype), decay=p.decay)
        twin.path, twin.requires_grad = p.path, p.requires_grad
        parameters.append(twin)
        replaced[id(p)] = twin
    for _, buffer in model.named_buffers():
        host = np.array(copies.to_host(buffer.data))
        twin = Buffer(copies.to_device(host.astype(dtype) if host.dtype.kind == "f" else host, device))
        twin.path = buffer.path
        replaced[id(buffer)] = twin
    own = ParameterVector(parameters, device, dtype)
    for _, module in model.named_modules():
        if module.vector is not None:  # also that of a part which was built by itself before
            replaced[id(module.vector)] = own
    return copy.deepcopy(model, replaced)
