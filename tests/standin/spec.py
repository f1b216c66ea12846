"""The public surface of CuPy as ``make_spec`` froze it: which names there are, their signatures, their loops.

The stand-in gives out no name and takes no keyword that is not in here; a test compares the file with the wheel.
"""

from __future__ import annotations

import functools
import inspect
import json
from pathlib import Path
from typing import Any

SPEC_FILE = Path(__file__).with_name("spec.json")

# bool, the integers, float16, float32, float64, complex64, complex128: the dtypes that CuPy has.
DTYPE_CHARACTERS = "?bhilqBHILQefdFD"


@functools.cache
def load() -> dict[str, Any]:
    """The whole frozen surface."""
    return json.loads(SPEC_FILE.read_text(encoding="utf-8"))


def module(name: str) -> dict[str, Any]:
    """What the module ``name`` has, by kind: functions, ufuncs, gufuncs, numpy, other, synchronizes, all."""
    return load()["modules"][name]


def names(name: str) -> frozenset[str]:
    """Every public name of the module ``name``."""
    kinds = module(name)
    return frozenset().union(*(kinds.get(kind, ()) for kind in ("functions", "ufuncs", "gufuncs", "numpy", "other")))


def class_names(name: str) -> frozenset[str]:
    """Every public and special attribute of the class ``name``."""
    kinds = load()["classes"][name]
    return frozenset(kinds["methods"]) | frozenset(kinds["attributes"])


@functools.cache
def signature(parameters: str) -> inspect.Signature:
    """The signature that the frozen text ``a, axis=None, *, dtype=None`` describes."""
    return inspect.signature(eval(f"lambda {parameters}: None"))  # our own file, not an input


def bind(name: str, parameters: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
    """The arguments of a call by the frozen signature.

    Raises TypeError for a keyword or a number of arguments that CuPy's ``name`` does not take.
    """
    try:
        return signature(parameters).bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name}() {error}; CuPy {load()['version']} has {name}({parameters})") from None


def words(text: str) -> frozenset[str]:
    """The set of the words in ``text``."""
    return frozenset(text.split())
