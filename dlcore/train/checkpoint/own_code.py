"""What a user's own functions and classes do, as digests: a run is not the same run once one of them has changed.

A digest covers the compiled code of a function, without line numbers, comments and docstring, its defaults, the
arguments that a ``functools.partial`` binds, the values of its closure, and the functions and constants that it uses of
its module. It is the same in every process of one minor version of Python; between two of them, whose compilers
differ, nothing can be said. What is of dlcore, the standard library or an installed package counts by its name.

It is taken when a fit begins, for a function may change what it has closed over.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import re
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlcore._core.configurable import Recorded, one_line
from dlcore.nn.module import Module
from dlcore.tensor import Tensor

__all__ = [
    "changed",
    "digest",
]

_Seen = dict[int, Any]
"""What has been told, by identity; kept, so that no other object gets the same one."""
_INSTALLED = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))
_PLAIN: Any = type(None) | bool | int | float | complex | str | bytes | types.EllipsisType


def changed(before: Mapping[str, Any], now: Mapping[str, Any], kind: str) -> list[str]:
    """What is other code "now", of the ``kind`` "same" or "near"; nothing where another Python has compiled it."""
    if before.get("python") != now["python"]:
        return []
    names = dict.fromkeys([*before[kind], *now[kind]])
    return [name for name in names if before[kind].get(name) != now[kind].get(name)]


def digest(value: Any) -> str:
    """Of all that is a user's own in a value; empty where there is nothing.

    >>> first, last = functools.partial(np.mean, axis=0), functools.partial(np.mean, axis=-1)
    >>> digest(first) == digest(functools.partial(np.mean, axis=0)), digest(first) == digest(last), digest(np.mean)
    (True, False, '')
    """
    found = list(_own(value, {}))
    return hashlib.blake2s("\n".join(found).encode(), digest_size=16).hexdigest() if found else ""


def _own(value: Any, seen: _Seen) -> Iterator[str]:
    """Descriptions of the functions, bound arguments and objects in a value that are a user's own."""
    if isinstance(value, Module | np.ndarray | Tensor | _PLAIN) or id(value) in seen:
        return  # layers are looked at one by one
    if isinstance(value, functools.partial | types.FunctionType | types.MethodType | type):
        if isinstance(value, functools.partial) or not _installed(value):
            yield _told(value, seen)
        return
    if not isinstance(value, Mapping | list | tuple) and not _installed(type(value)):
        yield _told(value, seen)
        return
    seen[id(value)] = value
    for name, part in _parts(value):
        yield from (f"{name}: {found}" for found in _own(part, seen))


def _parts(value: Any) -> list[tuple[Any, Any]]:
    """What was given to a value of dlcore or of an installed package, as far as it is known."""
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if isinstance(value, Recorded):
        return list(value.config.items())
    if isinstance(value, Mapping):
        return list(value.items())
    return list(vars(value).items()) if is_dataclass(value) and hasattr(value, "__dict__") else []


def _told(value: Any, seen: _Seen) -> str:
    """A value in words that are the same in every process."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, Tensor):
        value = value.data
    if hasattr(type(value), "__dlpack__") and not isinstance(value, np.ndarray):
        return f"array {value.dtype}{tuple(value.shape)}"  # elsewhere: its numbers are not brought here for this
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape} {hashlib.blake2s(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    several = functools.partial(_several, seen=seen)
    if isinstance(value, tuple | frozenset | set):  # equal ones may be one object or two
        told = [_told(item, seen) for item in value]
        return several("tuple", *told) if isinstance(value, tuple) else several("set", *sorted(told))
    if id(value) in seen:
        return "as above"
    seen[id(value)] = value
    if isinstance(value, Mapping):
        return several("of", *(f"{_told(key, seen)}: {_told(item, seen)}" for key, item in value.items()))
    if isinstance(value, list):
        return several("list", *(_told(item, seen) for item in value))
    if isinstance(value, functools.partial):
        return several("partial", value.func, value.args, value.keywords)
    if isinstance(value, types.MethodType):
        return several("method", value.__func__, value.__self__)
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, types.FunctionType | type) or not hasattr(value, "__dict__"):
        if isinstance(value, types.FunctionType) and not _installed(value):
            return _function(value, seen)
        if isinstance(value, type) and not _installed(value):
            return _class(value, seen)
        return _name(value)
    if isinstance(value, Module):
        return several("layer", type(value))
    if isinstance(value, Recorded) or _installed(type(value)):
        parts = _parts(value)  # what is kept besides may change by itself
        return several("object", type(value), dict(parts)) if parts or not _installed(type(value)) else _name(value)
    return several("object", type(value), vars(value))


def _several(kind: str, *parts: Any, seen: _Seen) -> str:
    return f"{kind}({', '.join(part if isinstance(part, str) else _told(part, seen) for part in parts)})"


def _function(function: types.FunctionType, seen: _Seen) -> str:
    values = [cell.cell_contents for cell in function.__closure__ or () if cell != types.CellType()]
    names = sorted(set(_global_names(function.__code__)) & function.__globals__.keys())
    found = {name: _constant(function.__globals__[name]) for name in names}
    return _several(
        "function", _code(function.__code__, function.__doc__, seen), [function.__defaults__, function.__kwdefaults__],
        values, found, seen=seen,
    )  # fmt: skip


def _class(kind: type, seen: _Seen) -> str:
    """The functions and constants of a class and of the user's own among its bases."""
    parts = []
    for owner in (owner for owner in kind.__mro__ if not _installed(owner)):
        for name, value in sorted(vars(owner).items()):
            if isinstance(value, staticmethod | classmethod):
                value = value.__func__
            if isinstance(value, property):
                value = [value.fget, value.fset]
            if isinstance(value, types.FunctionType | functools.partial | list | _PLAIN) and name not in _UNSAID:
                parts.append(f"{name}: {_told(value, seen)}")
    return _several("class", kind.__qualname__, *parts, seen=seen)


_HAS_DOCSTRING = 0x4000000  # in a code's flags, from Python 3.13 on
_UNSAID = ("__doc__", "__module__", "__qualname__", "__firstlineno__")


def _code(code: types.CodeType, doc: str | None, seen: _Seen) -> str:
    plain = code.co_consts
    if doc is not None and plain[:1] == (doc,):
        plain = (None, *plain[1:])  # as without a docstring
    consts = [_code(c, _doc_of(c), seen) if isinstance(c, types.CodeType) else _told(c, {}) for c in plain]
    flags = code.co_flags & ~_HAS_DOCSTRING
    shape = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, flags)
    return _several(
        "code", repr(shape), code.co_code.hex(), code.co_exceptiontable.hex(), repr(code.co_names), *consts, seen=seen
    )


def _doc_of(code: types.CodeType) -> str | None:
    """What may be the docstring of a function inside another one."""
    first = code.co_consts[0] if code.co_consts else None
    return first if isinstance(first, str) and code.co_name != "<lambda>" else None


def _global_names(code: types.CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname == "LOAD_GLOBAL":
            yield step.argval
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _global_names(const)


def _constant(value: Any) -> Any:
    """A global as it counts: what computes and what is a number, and of all else the kind."""
    if not isinstance(value, types.FunctionType | type):
        value = getattr(value, "__wrapped__", value)  # of functools.cache and the like
    if isinstance(
        value, types.FunctionType | functools.partial | type | np.ndarray | np.generic | dict | list | tuple | _PLAIN
    ):
        return value
    return _name(value) if _installed(type(value)) else [_name(value), type(value)]


def _name(value: Any) -> str:
    named = value if hasattr(value, "__qualname__") and hasattr(value, "__module__") else type(value)
    text = "" if named is value else re.sub(r" at 0x[0-9a-fA-F]+", "", one_line(value))
    return f"{named.__module__}.{named.__qualname__} {text}".strip()


def _installed(value: Any) -> bool:
    """Whether a function or class is of dlcore, the standard library or an installed package."""
    top = (getattr(value, "__module__", None) or "builtins").partition(".")[0]
    if top in ("dlcore", "backends") or top in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(top), "__file__", None)
    return file is not None and any(Path(file).is_relative_to(place) for place in _INSTALLED)
