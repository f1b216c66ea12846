"""The pass over rows of zeros in which the layers of a model learn their inputs and make their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore.errors import ConfigError, DlcoreError
from dlcore.functional.checks import NotIntegersError
from dlcore.nn.mode import evaluation
from dlcore.tensor import no_grad

if TYPE_CHECKING:
    from dlcore.nn.module import Module

__all__ = ["Build", "building", "in_progress", "run_as", "run_through", "with_size"]


@dataclass
class Build:
    """One build in progress."""

    seed: int
    shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)  # id of the module -> its output's shape
    prepared: list[Module] = field(default_factory=list)  # whose setup ran


_building: ContextVar[Build | None] = ContextVar("building", default=None)


def in_progress() -> Build | None:
    """The build in progress; None where there is none."""
    return _building.get()


def building() -> bool:
    """Whether a model is being built: its layers then learn their inputs, one by one.

    >>> building()
    False
    """
    return _building.get() is not None


def run_as(
    model: Module, seed: int, input_shape: Sequence[int | None], input_dtype: str | None
) -> tuple[dict[int, tuple[Any, ...]], str | None]:
    """As :func:`run_through`; with it the dtype that the inputs have in the model, None for floats.

    Integers are floats to every model that takes floats: those of an Embedding alone say which row is meant.
    """
    if input_dtype is None:
        return run_through(model, seed, input_shape, None), None
    try:
        return run_through(model, seed, input_shape, None), None
    except Exception as error:
        try:
            return run_through(model, seed, input_shape, input_dtype), input_dtype
        except Exception as other:
            raise (other if isinstance(error, NotIntegersError) else error) from None


def run_through(
    model: Module, seed: int, input_shape: Sequence[int | None], input_dtype: str | None
) -> dict[int, tuple[Any, ...]]:
    """Pass two rows of zeros through ``model`` in evaluation mode; each module's output shape, by its id.

    Raises ConfigError where ``forward`` leaves a layer out or calls one that is in no field. Whatever a layer raises
    comes with the shape of the inputs, and the layers can be built anew after it.
    """
    progress = Build(seed)
    try:
        with evaluation(), no_grad(), _set(progress):
            model(np.zeros((2, *with_size(2, input_shape)), dtype=input_dtype or "float32"))
            shapes = progress.shapes.copy()
            if None in input_shape:  # with another size: what changes with it is open in the outputs too
                model(np.zeros((2, *with_size(3, input_shape)), dtype=input_dtype or "float32"))
                shapes = {m: _open(shape, progress.shapes.get(m, shape)) for m, shape in shapes.items()}
        _check_reached(model, progress)
    except BaseException as error:
        for module in progress.prepared:  # so that another build starts anew
            module._ready = False
        if isinstance(error, DlcoreError):
            raise type(error)(f"build for inputs of shape {tuple(input_shape)}: {error}") from None
        raise
    return shapes


def _check_reached(model: Module, build: Build) -> None:
    """Every layer in the fields was called, and every layer that was called is in the fields."""
    modules = dict(model.named_modules())
    unreached = [path or type(m).__name__ for path, m in modules.items() if not m._ready]
    if unreached:
        raise ConfigError(
            f"forward never called {', '.join(unreached)}; call every layer, or leave it out of the fields"
        )
    known = {id(m) for m in modules.values()}
    foreign = [repr(m) for m in build.prepared if id(m) not in known]
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
