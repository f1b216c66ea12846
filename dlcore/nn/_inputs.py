"""How the arguments of a call become inputs of ``forward``, and which of them are inputs at all.

See :mod:`dlcore._core.input_tree` for what several inputs are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore._core.input_tree import NOT_INPUTS, by_keyword, leaf_names, leaves, like, mapped, several, signature_of
from dlcore.errors import ConfigError, ShapeError
from dlcore.tensor import Tensor, as_tensor

if TYPE_CHECKING:
    from dlcore.nn.module import Module

__all__ = ["ABSENT", "arguments", "as_dtypes", "as_shapes", "converted", "inputs_of", "keys_of", "located"]

ABSENT: Any = object()
"""The first argument of a call by keywords alone."""


def arguments(module: Module, x: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments of ``forward``, where the first that came is no Tensor: a tuple or a dict of inputs is taken apart
    where ``forward`` takes them so, and what is an array or a list becomes a Tensor."""
    if type(x) is np.ndarray:  # in most calls
        return (Tensor(x), *args), kwargs
    if x is ABSENT:
        first = signature_of(type(module).forward).positional[:1]
        if first and first[0] in kwargs:  # so that it is first here too
            rest = {name: value for name, value in kwargs.items() if name != first[0]}
            return arguments(module, kwargs[first[0]], args, rest)
        return args, kwargs
    if isinstance(x, Mapping):
        x = mapped(as_tensor, x)
        if not args and by_keyword(type(module).forward, tuple(x)):
            return arguments(module, ABSENT, (), {**x, **kwargs})
        return (x, *args), kwargs
    if isinstance(x, tuple) and not args and _are_inputs(module, x):
        x = tuple(map(as_tensor, x))
        return (x, *args) if signature_of(type(module).forward).one else x, kwargs
    return (x if isinstance(x, Tensor) else as_tensor(x), *args), kwargs


def _are_inputs(module: Module, x: tuple[Any, ...]) -> bool:
    """Whether a tuple holds several inputs, and not the rows of one."""
    if any(isinstance(leaf, Tensor) for leaf in x):
        return True
    if not all(hasattr(leaf, "shape") for leaf in x):
        return False
    return not signature_of(module._entry()).one or (module.vector is not None and several_shapes(module.input_shape))


def inputs_of(module: Module, args: Any, kwargs: dict[str, Any]) -> Any:
    """What a first call brings for the layers to learn from: one Tensor, or a tuple or dict of Tensors.

    That is the first argument, and each array that ``forward`` cannot do without.
    """
    if args and several(args[0]):
        return args[0]
    takes = signature_of(type(module).forward)
    found: dict[Any, Any] = {}
    for i, value in enumerate(args):
        name = takes.positional[i] if i < len(takes.positional) else i
        if i == 0 or (_is_array(value) and (name == i or name in takes.required)):
            found[name] = as_tensor(value)
    named = {
        name: as_tensor(value)
        for name, value in kwargs.items()
        if _is_array(value) and (name in takes.required or (name not in takes.inputs and name not in NOT_INPUTS))
    }
    if named:
        return {**found, **named}
    if not found:
        raise ConfigError(f"{type(module).__name__}: no input came; call it on data, or build it for shapes")
    return next(iter(found.values())) if len(found) == 1 else tuple(found.values())


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and len(value.shape) > 0


def keys_of(module: Module, dtypes: Any) -> dict[Any, str | None]:
    """The dtypes of several inputs by all that they may be called in a call: their names, and their positions."""
    found = dict(zip(leaf_names(dtypes), leaves(dtypes), strict=True))
    for i, name in enumerate(signature_of(type(module).forward).positional):
        if i in found:
            found[name] = found[i]
        elif name in found:
            found[i] = found[name]
    return found


def converted(module: Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments of a model with several inputs: all of them Tensors, and floats where it takes floats."""
    keys = module._input_keys

    def one(key: Any, value: Any) -> Any:
        if several(value):
            return like(value, [one(n, leaf) for n, leaf in zip(leaf_names(value), leaves(value), strict=True)])
        if key not in keys or value is None:
            return value
        value = as_tensor(value)
        return module._as_floats(value) if keys[key] is None else value

    return [one(i, value) for i, value in enumerate(args)], {name: one(name, value) for name, value in kwargs.items()}


def several_shapes(shape: Any) -> bool:
    """Whether this is a shape for each of several inputs.

    >>> several_shapes([(3,), (4,)]), several_shapes({"a": (3,)}), several_shapes((28, 28, 1)), several_shapes(())
    (True, True, False, False)
    """
    return isinstance(shape, Mapping) or bool(shape and isinstance(shape[0], tuple | list))


def as_shapes(shape: Any) -> Any:
    """The input shape of ``build``: a tuple, or a tuple or a dict of tuples. ConfigError for anything else.

    >>> as_shapes([(3,), [4]]), as_shapes([28, 28])
    (((3,), (4,)), (28, 28))
    """
    if isinstance(shape, Mapping | tuple | list):
        found = mapped(lambda one: one, dict(shape) if isinstance(shape, Mapping) else tuple(shape))
        if not several_shapes(shape):
            return found
        if found and all(isinstance(one, tuple | list) for one in leaves(found)):
            return mapped(tuple, found)
    raise ConfigError(
        f"build: input_shape is {shape!r} but a tuple without N is expected, such as (784,) or (28, 28, 1); for "
        "several inputs a list or a dict of such tuples"
    )


def as_dtypes(shapes: Any, dtypes: Any) -> Any:
    """The input dtypes of ``build`` in the structure of its shapes: None for floats. ConfigError where they are none.

    >>> as_dtypes({"a": (3,), "b": ()}, {"b": "int64"}), as_dtypes((3,), None)
    ({'a': None, 'b': 'int64'}, None)
    """
    if several_shapes(shapes):
        if isinstance(dtypes, list | tuple) and isinstance(shapes, tuple) and len(dtypes) == len(shapes):
            dtypes = tuple(dtypes)
        elif isinstance(dtypes, Mapping) and isinstance(shapes, Mapping) and dtypes.keys() <= shapes.keys():
            dtypes = {name: dtypes.get(name) for name in shapes}
        elif dtypes is None or isinstance(dtypes, str):
            dtypes = mapped(lambda _: dtypes, shapes)
        else:
            raise ConfigError(
                f"build: input_dtype is {dtypes!r:.60} but dtypes are expected as input_shape has shapes, {shapes}"
            )
    for dtype in leaves(dtypes):
        if dtype is not None and not _is_dtype(dtype):
            raise ConfigError(f"build: input_dtype is {dtype!r:.60} but a dtype is expected, such as int64")
    return dtypes


def _is_dtype(name: Any) -> bool:
    try:
        np.dtype(name)
    except TypeError:
        return False
    return True


def located(module: Module, error: ShapeError) -> None:
    """Say in an error which layer it is of: the innermost one that has a path."""
    if module.path and not error.layer:
        error.layer = module.path
        error.args = (f"{module.path}: {error}", *error.args[1:])


def zeros(shapes: Any, dtypes: Any, size: int, floats: str = "float32") -> Any:
    """Two rows of zeros for each input, as Tensors; ``size`` stands for what is open in a shape.

    dtypes : of integers that stay some, None for an input of ``floats``
    """

    def one(shape: Any, dtype: Any) -> Tensor:
        return Tensor(np.zeros((2, *(size if n is None else n for n in shape)), dtype=dtype or floats))

    return mapped(one, shapes, dtypes) if several_shapes(shapes) else one(shapes, dtypes)
