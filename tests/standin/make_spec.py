"""Freezes the public surface of the installed CuPy into ``spec.json``: ``python -m standin.make_spec``.

Run it in the folder that holds the package, with the real wheel installed; neither a driver nor a GPU is needed. With
``--print`` the surface goes to standard output, which is how the tests compare the wheel with the frozen file.

Names and signatures come from Python's own introspection where the object is written in Python, and from the first
line of the docstring where it is compiled: Cython puts the signature there. Loops of a ufunc that involve bfloat16
are left out, for CuPy has them only while the package ml_dtypes happens to be installed.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import sys
from types import ModuleType
from typing import Any

from standin.spec import DTYPE_CHARACTERS, SPEC_FILE, words

MODULES = (
    "cupy",
    "cupy._core._routines_linalg",
    "cupy.cuda",
    "cupy.cuda.device",
    "cupy.cuda.memory",
    "cupy.cuda.runtime",
    "cupy.fft",
    "cupy.lib.stride_tricks",
    "cupy.linalg",
    "cupyx",
)
CLASSES = (
    "cupy.ndarray",
    "cupy.cuda.Device",
    "cupy.cuda.Event",
    "cupy.cuda.MemoryPool",
    "cupy.cuda.Stream",
)

# What a class has by being a Python or a Cython class at all, and what differs from one Python version to the next.
_NOT_THE_CLASS_ITSELF = frozenset(dir(object)) | words(
    "__buffer__ __dict__ __firstlineno__ __getstate__ __module__ __pyx_vtable__ __reduce_cython__ "
    "__release_buffer__ __setstate__ __setstate_cython__ __slots__ __static_attributes__ __weakref__"
)
_NOT_OF_THE_MODULE = words("annotations np")  # a __future__ import and an import's short name
_PLAIN_TYPES = {bool: "bool", float: "float", int: "int"}


def surface() -> dict[str, Any]:
    """The public surface of the installed CuPy, in the layout of ``spec.json``."""
    cupy = importlib.import_module("cupy")
    modules = {name: _module(importlib.import_module(name)) for name in MODULES if name != "cupy.cuda.runtime"}
    modules["cupy.cuda.runtime"] = _module(importlib.import_module("cupy.cuda").runtime)
    classes = {}
    for name in CLASSES:
        owner, _, attribute = name.rpartition(".")
        classes[name] = _class(getattr(importlib.import_module(owner), attribute))
    return {"version": cupy.__version__, "modules": modules, "classes": classes}


def dump(frozen: dict[str, Any]) -> str:
    """The text of ``spec.json``: sorted, one name a line, so that a change of CuPy reads as a diff."""
    return json.dumps(frozen, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _module(module: ModuleType) -> dict[str, Any]:
    """Functions with their signatures, ufuncs with their loops, and what else the module has, by kind."""
    cupy, numpy = importlib.import_module("cupy"), importlib.import_module("numpy")
    found: dict[str, Any] = {"functions": {}, "ufuncs": {}, "gufuncs": {}, "numpy": [], "other": [], "synchronizes": []}
    for name in sorted(dir(module)):
        member = getattr(module, name)
        if name.startswith("_") or name in _NOT_OF_THE_MODULE or inspect.ismodule(member):
            continue
        if module is cupy and member is getattr(numpy, name, found):
            found["numpy"].append(name)
        elif isinstance(member, cupy.ufunc):
            found["ufuncs"][name] = _ufunc(member)
        elif type(member).__name__ == "_GUFunc":
            found["gufuncs"][name] = _signature(type(member).__call__)
        elif inspect.isclass(member) or not callable(member):
            found["other"].append(name)
        else:
            found["functions"][name] = _signature(member)
            if "may synchronize the device" in (member.__doc__ or ""):
                found["synchronizes"].append(name)
    if module.__name__.endswith("runtime"):  # hundreds of CUDA's constants, and none is of use here
        found["other"] = [name for name in found["other"] if inspect.isclass(getattr(module, name))]
    found["all"] = list(getattr(module, "__all__", ()))
    return {kind: members for kind, members in found.items() if members}


def _class(cls: type) -> dict[str, Any]:
    """Public and special methods with their signatures, and the other attributes."""
    methods: dict[str, str] = {}
    attributes = []
    for name in sorted(set(dir(cls)) - _NOT_THE_CLASS_ITSELF):
        special = name.startswith("__") and name.endswith("__")
        if name.startswith("_") and not special:
            continue
        member = getattr(cls, name)
        if not special and callable(member):
            methods[name] = _signature(member)
        else:
            attributes.append(name)
    return {"methods": methods, "attributes": attributes}


def _ufunc(ufunc: Any) -> dict[str, Any]:
    """Numbers of arguments, loops in the order of the search, loops that refuse, and what ``ufunc.at`` does.

    ``compares`` marks the ufuncs with loops of their own for the comparison of signed with unsigned integers.
    """
    entry: dict[str, Any] = {"nin": ufunc.nin, "nout": ufunc.nout, "types": _loops(ufunc._ops.ops)}
    if refused := _loops([op for op in ufunc._ops.ops if op.error_func is not None]):
        entry["refused"] = refused
    if ufunc._out_ops is not None:
        entry["dtype_types"] = _loops(ufunc._out_ops.ops)
    if ufunc._ops.promote_types is not None:
        entry["compares"] = True
    if ufunc._scatter_op is not None:
        entry["at"] = ufunc._scatter_op
    return entry


def _loops(ops: Any) -> str:
    """Loops as NumPy writes them, ``ff->f``, in one string."""
    loops = ["->".join("".join(t.char for t in types) for types in (op._in_dtypes, op._out_dtypes)) for op in ops]
    return " ".join(loop for loop in loops if set(loop) <= set(DTYPE_CHARACTERS + "->"))


def _signature(function: Any) -> str:
    """Parameters as they stand in a ``def``, without annotations; ``...`` for a default that is no literal."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return _signature_from_docstring(function)
    shown = []
    for parameter in parameters:
        if parameter.name == "self":
            continue
        default = parameter.default
        if default is not parameter.empty and not isinstance(default, (bool, int, float, str, tuple, type(None))):
            name = _PLAIN_TYPES.get(default) if isinstance(default, type) else None
            default = _Verbatim(name or "...")
        shown.append(parameter.replace(annotation=parameter.empty, default=default))
    return str(inspect.Signature(shown))[1:-1]


def _signature_from_docstring(function: Any) -> str:
    """The signature in the docstring's first line, without Cython's types: ``int axis=-1`` becomes ``axis=-1``."""
    line = (function.__doc__ or "").partition("\n")[0]
    match = re.match(r"[\w.]+\((.*)\)", line)
    if match is None:
        return "*args, **kwargs"
    return ", ".join(_plain(text) for text in re.split(r",\s*", match[1]) if text not in {"", "self"})


def _plain(parameter: str) -> str:
    """A parameter as Cython shows it, without its C type, and without a default that is no literal."""
    name, equals, default = re.sub(r"^(?:[\w.]+ )+(?=\w)", "", parameter).partition("=")
    try:
        ast.literal_eval(default or "None")
    except ValueError:
        default = "..."
    return name + equals + default


class _Verbatim:
    """A default value that ``inspect.Signature`` shows as the given text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def main() -> None:
    """Writes ``spec.json``, or prints the surface with ``--print``."""
    text = dump(surface())
    if "--print" in sys.argv[1:]:
        sys.stdout.write(text)
    else:
        SPEC_FILE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
