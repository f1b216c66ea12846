"""Elementwise functions: CuPy's loops, CuPy's way to choose one, NumPy's arithmetic.

CuPy takes the first loop of its list to which every argument can be cast safely; a Python scalar takes the dtype of
the arrays (NEP 50) unless it is of a higher kind than all of them. What no loop fits is refused, as by CuPy.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from standin import device, indexing
from standin.array import ndarray, own
from standin.spec import module

_KINDS = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 2}
_PYTHON_KINDS = {int: 1, float: 2, complex: 2}


class Loop(NamedTuple):
    """The dtypes of one loop."""

    inputs: tuple[np.dtype[Any], ...]
    outputs: tuple[np.dtype[Any], ...]


class ufunc:  # noqa: N801 (CuPy's name)
    """An elementwise function, ``cupy.add``: only ``out``, ``dtype`` and ``casting``, and only arrays and scalars."""

    def __init__(self, name: str, entry: dict[str, Any]) -> None:
        self.__name__ = name
        self.name = f"cupy_{name}"
        self.nin: int = entry["nin"]
        self.nout: int = entry["nout"]
        self.nargs = self.nin + self.nout
        self.types: list[str] = entry["types"].split()
        self._compares: bool = entry.get("compares", False)
        self._refused = _parse(entry.get("refused", ""))
        self._loops = _parse(entry["types"])
        self._dtype_loops = _parse(entry.get("dtype_types", entry["types"]))
        self._resolve = functools.cache(self._first_fit)

    def __repr__(self) -> str:
        return f"<ufunc '{self.name}'>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function of each element, in new arrays or in ``out``."""
        out, dtype = kwargs.pop("out", None), kwargs.pop("dtype", None)
        casting = kwargs.pop("casting", "same_kind")
        if kwargs:
            raise TypeError(f"Wrong arguments {kwargs}")
        if not self.nin <= len(args) <= self.nargs:
            raise TypeError(
                f"Wrong number of arguments for '{self.name}'. It must be either {self.nin} or {self.nargs} (with "
                f"outputs), but given {len(args)}."
            )
        inputs, outputs = args[: self.nin], self._outputs(args[self.nin :], out)
        loop = self.loop(tuple(_type_of(value) for value in inputs), dtype)
        with np.errstate(all="ignore"):
            hosts = [_cast(value, in_type) for value, in_type in zip(inputs, loop.inputs, strict=True)]
            results = getattr(np, self.__name__)(*hosts)
            results = results if isinstance(results, tuple) else (results,)
            results = [np.asarray(r).astype(t, copy=False) for r, t in zip(results, loop.outputs, strict=True)]
        call = f"cupy.{self.__name__}"
        stored = [_store(r, o, casting, call) for r, o in zip(results, outputs, strict=True)]
        return stored[0] if self.nout == 1 else tuple(stored)

    def _outputs(self, positional: Sequence[Any], out: Any) -> list[Any]:
        if out is not None and positional:
            raise ValueError("Cannot specify 'out' as both a positional and keyword argument")
        given = list(positional) if out is None else list(out) if isinstance(out, tuple) else [out]
        if out is not None and len(given) != self.nout:
            raise ValueError("The 'out' tuple must have exactly one entry per ufunc output")
        for array in given:
            if array is not None and not isinstance(array, ndarray):
                raise TypeError(f"Output arguments type must be cupy.ndarray, not {type(array)}")
        return given + [None] * (self.nout - len(given))

    def loop(self, types: tuple[Any, ...], dtype: Any = None) -> Loop:
        """The loop for arguments of ``types``, dtypes or the types of Python scalars, or the one that gives ``dtype``.

        Raises TypeError where CuPy has no such loop, or one that refuses.
        """
        if dtype is None:
            loop = self._resolve(types)
        else:
            wanted = np.dtype(dtype)
            loop = next((loop for loop in self._dtype_loops if all(t == wanted for t in loop.outputs)), None)
        if loop is None or loop in self._refused:
            raise TypeError(f"Wrong type ({types if dtype is None else dtype}) of arguments for {self.name}")
        return loop

    def _first_fit(self, types: tuple[Any, ...]) -> Loop | None:
        if not scalars_are_weak(types) or (self._compares and set(types) == {int, np.dtype(np.uint64)}):
            types = tuple(np.dtype(t) for t in types)
        for loop in self._loops:
            if all(_fits(given, wanted) for given, wanted in zip(types, loop.inputs, strict=True)):
                return loop
        return None

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        """``a[indices] = f(a[indices], b)``, where equal indices all count."""
        indexing.scatter(self.__name__, a, indices, b)

    def outer(self, A: Any, B: Any, **kwargs: Any) -> Any:
        """The function of every pair of elements."""
        return self(A.reshape(A.shape + (1,) * B.ndim), B, **kwargs)

    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """A sum or a product; CuPy reduces with no other function."""
        return getattr(array, self._named("reduce", add="sum", multiply="prod"))(axis, dtype, out, keepdims)

    def accumulate(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
        """A cumulative sum or product; CuPy accumulates with no other function."""
        return getattr(array, self._named("accumulate", add="cumsum", multiply="cumprod"))(axis, dtype, out)

    def _named(self, method: str, **methods: str) -> str:
        if self.__name__ not in methods:
            raise NotImplementedError(f"`{self.name}.{method}` is not supported yet")
        return methods[self.__name__]


@functools.cache
def get(name: str) -> ufunc:
    """``cupy.<name>``, one object a name."""
    return ufunc(name, module("cupy")["ufuncs"][name])


def _parse(types: str) -> tuple[Loop, ...]:
    loops = (text.split("->") for text in types.split())
    return tuple(Loop(tuple(map(np.dtype, ins)), tuple(map(np.dtype, outs))) for ins, outs in loops)


def _type_of(value: Any) -> Any:
    """The dtype of an array or of a NumPy scalar, the type of a Python scalar; TypeError for all else."""
    if isinstance(value, ndarray):
        device.check_use(value)
        return value.dtype
    if type(value) in _PYTHON_KINDS:
        return type(value)
    if isinstance(value, (bool, np.generic)):
        return np.dtype(type(value))
    raise TypeError(f"Unsupported type {type(value)}")


def scalars_are_weak(types: tuple[Any, ...]) -> bool:
    """Whether Python scalars among ``types`` follow the dtypes: no scalar is of a higher kind than all the arrays."""
    scalars = [_PYTHON_KINDS[t] for t in types if isinstance(t, type)]
    arrays = [_KINDS.get(t.kind, 3) for t in types if not isinstance(t, type)]
    return bool(scalars) and bool(arrays) and max(arrays) >= max(scalars)


def _fits(given: Any, wanted: np.dtype[Any]) -> bool:
    """Whether an argument can enter a loop: by a safe cast, or as a scalar that does not promote the loop's dtype."""
    if np.can_cast(np.dtype(given), wanted):
        return True
    return isinstance(given, type) and np.result_type(given(0), wanted) == wanted


def _cast(value: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """The argument in the loop's dtype; a Python integer that does not fit raises OverflowError."""
    return value._host.astype(dtype, copy=False) if isinstance(value, ndarray) else np.asarray(value, dtype)


def _store(result: np.ndarray, out: ndarray | None, casting: Any, call: str) -> ndarray:
    """A new array, or ``out`` with the result written into its memory."""
    if out is None:
        return own(result, call)
    device.check_use(out)
    if np.broadcast_shapes(result.shape, out.shape) != out.shape:
        raise ValueError("Out shape is mismatched")
    if not np.can_cast(result.dtype, out.dtype, casting):
        raise TypeError(
            f"Cannot cast output operand from {result.dtype!r} to {out.dtype!r} according to the rule '{casting}'"
        )
    device.launch(call)
    with np.errstate(all="ignore"):
        np.copyto(out._host, result, casting="unsafe")
    return out
