"""The pass over rows of zeros in which the layers of a model learn their inputs and make their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

from dlcore._core.configurable import one_line
from dlcore._core.input_tree import leaf_names, leaves, like
from dlcore.errors import ConfigError, DlcoreError
from dlcore.functional.checks import NotIntegersError
from dlcore.nn._inputs import several_shapes, zeros
from dlcore.nn.mode import evaluation
from dlcore.tensor import no_grad

if TYPE_CHECKING:
    from dlcore.nn.module import Module

__all__ = ["Build", "building", "in_progress", "run_as", "run_through", "with_size"]


@dataclass
class Build:
    """One build in progress."""

    seed: int
    dtype: str
    shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)  # id of the module -> its output's shape
    prepared: list[Module] = field(default_factory=list)  # whose setup ran
    inputs: list[Any] = field(default_factory=list)  # of the model

    def is_input(self, x: Any) -> bool:
        """Whether this is what the model was called with, and not what a layer has made of it."""
        return any(x is one for one in self.inputs)


_building: ContextVar[Build | None] = ContextVar("building", default=None)


in_progress = _building.get
"""The build in progress; None where there is none. A name for the variable's own method: layers ask it in each step."""


def building() -> bool:
    """Whether a model is being built: its layers then learn their inputs, one by one.

    >>> building()
    False
    """
    return _building.get() is not None


def run_as(model: Module, seed: int, shapes: Any, dtypes: Any, dtype: str) -> tuple[dict[int, tuple[Any, ...]], Any]:
    """As :func:`run_through`; with it the dtype that the inputs have in the model, None for floats.

    Integers are floats to every model that takes floats: those of an Embedding alone say which row is meant. Of several
    inputs, each is one or the other.
    """
    names = leaf_names(dtypes)
    whole = [name for name, dtype in zip(names, leaves(dtypes), strict=True) if dtype is not None]
    first: Exception | None = None
    last: Exception = ConfigError("build: there is no input")
    for ids in _choices(whole):
        wanted = like(dtypes, [d if name in ids else None for name, d in zip(names, leaves(dtypes), strict=True)])
        try:
            return run_through(model, seed, shapes, wanted, dtype), wanted
        except Exception as error:
            first, last = error if first is None else first, error
            if not whole or (len(whole) > 1 and not isinstance(first, NotIntegersError)):
                raise
    raise (first if first is not None and not isinstance(first, NotIntegersError) else last) from None


_MOST = 8
"""Inputs of integers of which every choice is tried."""


def _choices(names: list[Any]) -> Iterator[tuple[Any, ...]]:
    """Which inputs may say which row of an Embedding is meant: none, all, and then some of them."""
    yield ()
    if names:
        yield tuple(names)
    for count in range(1, len(names)) if len(names) <= _MOST else ():
        yield from combinations(names, count)


def run_through(model: Module, seed: int, shapes: Any, dtypes: Any, dtype: str) -> dict[int, tuple[Any, ...]]:
    """Pass two rows of zeros through ``model`` in evaluation mode; each module's output shape, by its id.

    shapes, dtypes : of one input, or of several in a tuple or a dict

    Raises ConfigError where ``forward`` leaves a layer out or calls one that is in no field. Whatever a layer raises
    comes with the shape of the inputs, and the layers can be built anew after it.
    """
    progress = Build(seed, dtype)
    try:
        with evaluation(), no_grad(), _set(progress):
            x = zeros(shapes, dtypes, 2, dtype)
            progress.inputs = leaves(x)
            model(x)
            found = progress.shapes.copy()
            if any(None in shape for shape in (leaves(shapes) if several_shapes(shapes) else [shapes])):
                model(zeros(shapes, dtypes, 3, dtype))  # what changes with the size is open in the outputs too
                found = {m: _open(shape, progress.shapes.get(m, shape)) for m, shape in found.items()}
        _check_reached(model, progress)
    except BaseException as error:
        for module in progress.prepared:  # so that another build starts anew
            module._ready = False
        if isinstance(error, DlcoreError):  # the same error, so that the traceback shows where forward stands
            taken = ", ".join(sorted({str(one) for one in leaves(dtypes) if one is not None}))
            taken = f", which an Embedding takes as {taken}" if taken else ""
            error.args = (f"build for inputs of shape {shapes}{taken}: {error}", *error.args[1:])
        raise
    return found


def _check_reached(model: Module, build: Build) -> None:
    """Every layer in the fields was called, and every layer that was called is in the fields."""
    modules = dict(model.named_modules())
    unreached = [path or type(m).__name__ for path, m in modules.items() if not m._ready]
    if unreached:
        raise ConfigError(
            f"forward never called {', '.join(unreached)}; call every layer, or leave it out of the fields"
        )
    known = {id(m) for m in modules.values()}
    foreign = [one_line(m) for m in build.prepared if id(m) not in known]
    if foreign:
        raise ConfigError(
            f"forward called {', '.join(foreign)}, which would never be trained, for it is in no field; keep every "
            "layer in a field, or in lists and dicts there"
        )


def with_size(size: Any, shape: Sequence[int | None]) -> tuple[Any, ...]:
    """``shape`` with ``size`` where it is open."""
    return tuple(size if n is None else n for n in shape)


def _open(shape: tuple[int, ...], other: tuple[int, ...]) -> tuple[Any, ...]:
    """None where two shapes of an output differ."""
    return tuple(n if n == m else None for n, m in zip(shape, other, strict=True))


@contextmanager
def _set(build: Build) -> Iterator[None]:
    token = _building.set(build)
    try:
        yield
    finally:
        _building.reset(token)
