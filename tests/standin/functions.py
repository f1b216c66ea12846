"""Every other function of CuPy that NumPy has by the same name: CuPy's signature in front, NumPy's result behind.

The double of a function takes the arguments that the frozen signature allows, refuses arrays of the host and of other
devices, and gives back device arrays, 0-d ones instead of scalars. Where CuPy's function waits for the device, so
does the double.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from standin import device, spec
from standin.array import check_dtype, ndarray, share_or_own
from standin.indexing import refuse_wrapping
from standin.spec import words

# About dtypes, shapes or memory only: no kernel, and the answer is a plain Python object.
_ABOUT = words(
    "broadcast_shapes can_cast common_type iscomplexobj isfortran isrealobj isscalar issubdtype may_share_memory "
    "min_scalar_type ndim promote_types result_type shape shares_memory size"
)

# The same memory with another shape: allowed on any device, as long as nothing is copied.
_VIEWS = words(
    "array_split atleast_1d atleast_2d atleast_3d broadcast_arrays broadcast_to diagonal dsplit expand_dims flip "
    "fliplr flipud hsplit imag matrix_transpose moveaxis permute_dims ravel real reshape rollaxis rot90 split squeeze "
    "swapaxes transpose vsplit"
)

# A wait that CuPy's documentation does not mention: the size of the result, or a solver's status, comes to the host.
_ALSO_SYNCHRONIZE = {
    "cupy": words(
        "argwhere intersect1d repeat setdiff1d setxor1d trim_zeros union1d unique_all unique_counts unique_inverse "
        "unique_values"
    ),
    "cupy.linalg": words(
        "cholesky cond det eig eigh eigvals eigvalsh inv lstsq matrix_rank pinv qr slogdet solve svd tensorinv "
        "tensorsolve"
    ),
}

_TAKE_INDICES = words("choose put put_along_axis take take_along_axis")

_SORTS = words("argsort sort")

# Names of parameters that hold one array: here no sequence goes, and in the first place no scalar.
_ARRAY_PARAMETERS = words(
    "A a ar ar1 ar2 arr array b condition dst element indices m prototype test_elements v x x1 x2 y"
)

# These read or write files, print, or call back: no arithmetic of a device.
_WITHOUT_DOUBLE = words(
    "apply_along_axis apply_over_axes array2string array_repr array_str disp frombuffer fromfile fromfunction fromiter "
    "fromstring genfromtxt get_printoptions load loadtxt piecewise save savetxt savez savez_compressed"
)


def has_double(name: str, numpy_module: ModuleType) -> bool:
    """Whether ``double`` can stand for the CuPy function ``name``."""
    return hasattr(numpy_module, name) and name not in _WITHOUT_DOUBLE


def double(module: str, name: str, numpy_module: ModuleType) -> Callable[..., Any]:
    """The stand-in's ``module.name``, computed by ``numpy_module.name``."""
    kinds = spec.module(module)
    parameters: str = kinds["functions"][name]
    call = f"{module}.{name}"
    numpy_function = getattr(numpy_module, name)
    if name in _TAKE_INDICES:
        numpy_function = refuse_wrapping(numpy_function, call)
    may_wait = name in kinds.get("synchronizes", ()) or name in _ALSO_SYNCHRONIZE.get(module, ())

    def function(*args: Any, **kwargs: Any) -> Any:
        bound = spec.bind(call, parameters, args, kwargs)
        arrays = tuple(_device_arrays(bound.arguments))
        if name not in _ABOUT:
            _refuse_host_data(call, bound)
        if name not in _ABOUT | _VIEWS:
            for array in arrays:
                device.check_use(array)
        if name in _SORTS:
            if bound.arguments.get("kind") not in (None, "stable"):
                raise ValueError("kind can only be None or 'stable'")
            bound.arguments["kind"] = "stable"
        if may_wait and _waits(name, bound.arguments):
            device.synchronize(call)
        positional, keywords = _arguments(getattr(numpy_module, name), bound)
        with np.errstate(all="ignore"):
            result = numpy_function(*_on_host(positional), **_on_host(keywords))
        if name in _ABOUT:
            return result
        out = bound.arguments.get("out")
        if isinstance(out, ndarray) or result is None:
            device.launch(call)
            return out
        return _on_device(result, arrays, call)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{call}({parameters}), computed by NumPy."
    function.__signature__ = spec.signature(parameters)  # type: ignore[attr-defined]
    return function


def _waits(name: str, arguments: dict[str, Any]) -> bool:
    """Whether a call waits of a function that may: two of them do so only for some arguments."""
    if name == "where":
        return len(arguments) == 1
    return name != "repeat" or isinstance(arguments["repeats"], ndarray)


def _device_arrays(value: Any) -> Iterator[ndarray]:
    """The device arrays in arguments, also within sequences."""
    if isinstance(value, ndarray):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _device_arrays(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _device_arrays(part)


def _refuse_host_data(call: str, bound: inspect.BoundArguments) -> None:
    """Raises TypeError for an array of the host, and for a sequence where CuPy expects an array."""
    for position, (parameter, value) in enumerate(bound.arguments.items()):
        for part in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(part, np.ndarray):
                raise TypeError(f"Unsupported type {type(part)}: {call}({parameter}=) takes no host array")
        if parameter not in _ARRAY_PARAMETERS or isinstance(value, ndarray):
            continue
        if position == 0 or isinstance(value, (list, tuple, range)):
            raise TypeError(f"Unsupported type {type(value)}: {call}({parameter}=) takes a cupy.ndarray")


@functools.cache
def _numpy_parameters(function: Callable[..., Any]) -> tuple[str, ...] | None:
    """The names of NumPy's parameters; None for a compiled function that does not tell, or that takes any keyword."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters):
        return None
    return tuple(p.name for p in parameters)


def _arguments(numpy_function: Callable[..., Any], bound: inspect.BoundArguments) -> tuple[list[Any], dict[str, Any]]:
    """The bound arguments for NumPy: positional as long as both signatures agree, by name after that."""
    known = _numpy_parameters(numpy_function)
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for position, (name, parameter) in enumerate(bound.signature.parameters.items()):
        if name not in bound.arguments:
            continue
        value = bound.arguments[name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional.extend(value)
        elif parameter.kind is parameter.VAR_KEYWORD:
            keywords.update(value)
        elif _is_positional(parameter, position, known) and len(positional) == position:
            positional.append(value)
        elif known is None or name in known:
            keywords[name] = value
        elif type(value) is not type(parameter.default) or value != parameter.default:
            raise NotImplementedError(f"{numpy_function.__name__}({name}={value!r}): NumPy has no such parameter")
    return positional, keywords


def _is_positional(parameter: inspect.Parameter, position: int, known: tuple[str, ...] | None) -> bool:
    if parameter.kind is parameter.KEYWORD_ONLY:
        return False
    required = parameter.default is parameter.empty
    return known is None or required or known[position : position + 1] == (parameter.name,)


def _on_host(value: Any) -> Any:
    """The arguments with each device array replaced by its memory."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, dict):
        return {name: _on_host(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_on_host(part) for part in value)
    return value


def _on_device(result: Any, arrays: tuple[ndarray, ...], call: str) -> Any:
    """NumPy's result with each array or scalar replaced by a device array: a view, or one more kernel's result."""
    if isinstance(result, (np.ndarray, np.generic, bool, int, float)):
        host = np.asarray(result)
        check_dtype(host.dtype)
        return share_or_own(host, arrays, call)
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return type(result)(*(_on_device(part, arrays, call) for part in result))
    if isinstance(result, (list, tuple)):
        return type(result)(_on_device(part, arrays, call) for part in result)
    return result
