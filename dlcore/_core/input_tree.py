"""The inputs of a model: one array, several in a row as a tuple, or several by name as a dict.

A tuple goes into ``forward`` as its positional arguments, and as one tuple where ``forward`` takes one argument alone.
A dict goes in as keyword arguments where ``forward`` has arguments of these names, and as one dict where it takes one
argument of another name. ``lengths`` and ``state`` are no inputs.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dlcore.errors import ConfigError

__all__ = [
    "NOT_INPUTS",
    "Signature",
    "by_keyword",
    "leaf_names",
    "leaves",
    "like",
    "mapped",
    "named_leaves",
    "rows_of",
    "several",
    "signature_of",
    "steps_of",
]

NOT_INPUTS = ("lengths", "state")
"""Arguments of ``forward`` that are no inputs: valid steps of sequences, and the state of the batch before."""


def several(x: Any) -> bool:
    """Whether ``x`` is a tuple or a dict of inputs.

    >>> several((1, 2)), several({"a": 1}), several([1, 2])
    (True, True, False)
    """
    return isinstance(x, tuple | Mapping)


def mapped(function: Callable[..., Any], x: Any, *others: Any) -> Any:
    """``function`` of each input, in the same structure; ``others`` are of that structure too, and go along.

    >>> mapped(lambda leaf, factor: leaf * factor, {"a": 1, "b": 2}, {"a": 10, "b": 20})
    {'a': 10, 'b': 40}
    """
    if isinstance(x, Mapping):
        return {name: function(leaf, *(other[name] for other in others)) for name, leaf in x.items()}
    if isinstance(x, tuple):
        return tuple([function(leaf, *(other[i] for other in others)) for i, leaf in enumerate(x)])
    return function(x, *others)


def leaf_names(x: Any) -> list[Any]:
    """The names of several inputs, or their positions; [None] for one.

    >>> leaf_names({"a": 1, "b": 2}), leaf_names((1, 2)), leaf_names(1)
    (['a', 'b'], [0, 1], [None])
    """
    return list(x) if isinstance(x, Mapping) else list(range(len(x))) if isinstance(x, tuple) else [None]


def leaves(x: Any) -> list[Any]:
    """The inputs in a list.

    >>> leaves({"a": 1, "b": 2}), leaves(3)
    ([1, 2], [3])
    """
    return [*x.values()] if isinstance(x, Mapping) else [*x] if isinstance(x, tuple) else [x]


def named_leaves(x: Any, name: str = "x") -> list[tuple[str, Any]]:
    """The inputs, each with what errors call it.

    >>> named_leaves({"a": 1}), named_leaves((1,)), named_leaves(1)
    ([("x['a']", 1)], [('x[0]', 1)], [('x', 1)])
    """
    if not several(x):
        return [(name, x)]
    return [(f"{name}[{key!r}]", leaf) for key, leaf in zip(leaf_names(x), leaves(x), strict=True)]


def like(x: Any, values: list[Any]) -> Any:
    """``values`` in the structure of ``x``.

    >>> like({"a": 1, "b": 2}, [3, 4])
    {'a': 3, 'b': 4}
    """
    if isinstance(x, Mapping):
        return dict(zip(x, values, strict=True))
    return tuple(values) if isinstance(x, tuple) else values[0]


def rows_of(x: Any) -> int:
    """How many examples a batch has."""
    first = leaves(x)[0] if several(x) else x
    return len(first) if hasattr(first, "__len__") else int(first.shape[0])  # the standard's arrays have no length


def steps_of(x: Any) -> int:
    """T, the steps of padded sequences: of several inputs those of the first (N, T, ...) with at least three axes, or
    of the first (N, T) where there is none.

    >>> import numpy as np
    >>> steps_of((np.zeros((2, 4)), np.zeros((2, 7, 3))))
    7
    """
    if not several(x):
        return x.shape[1]
    found = [leaf for least in (3, 2) for leaf in leaves(x) if len(leaf.shape) >= least]
    if not found:
        raise ConfigError("lengths came, but no input has an axis of steps, (N, T, ...); leave them out")
    return found[0].shape[1]


@dataclass(frozen=True)
class Signature:
    """What a ``forward`` takes.

    positional : the names of its arguments in their order
    inputs : those of them that can be inputs
    required : those inputs that have no default
    any_position, any_name : whether there are ``*args`` and ``**kwargs``
    """

    positional: tuple[str, ...]
    inputs: tuple[str, ...]
    required: tuple[str, ...]
    any_position: bool
    any_name: bool

    @property
    def one(self) -> bool:
        """Whether it takes one input alone, which may then be a whole tuple or dict."""
        return len(self.inputs) == 1 and not self.any_position and not self.any_name


@functools.lru_cache(maxsize=512)
def signature_of(forward: Callable[..., Any]) -> Signature:
    """Of a function of a class, ``forward(self, ...)``.

    >>> class Model:
    ...     def forward(self, a, b=None, *, lengths=None): ...
    >>> signature_of(Model.forward).inputs, signature_of(Model.forward).required
    (('a', 'b'), ('a',))
    """
    parameters = [*inspect.signature(forward).parameters.values()][1:]
    plain = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    inputs = [p for p in plain if p.name not in NOT_INPUTS]
    return Signature(
        tuple([p.name for p in plain if p.kind is not p.KEYWORD_ONLY]),
        tuple([p.name for p in inputs]),
        tuple([p.name for p in inputs if p.default is p.empty]),
        any(p.kind is p.VAR_POSITIONAL for p in parameters),
        any(p.kind is p.VAR_KEYWORD for p in parameters),
    )


@functools.lru_cache(maxsize=512)
def by_keyword(forward: Callable[..., Any], names: tuple[Any, ...]) -> bool:
    """Whether a dict of inputs with these names goes in as keyword arguments, and not as one dict.

    Raises ConfigError where ``forward`` names some of them but lacks others, or needs another one.
    """
    takes = signature_of(forward)
    if len(takes.required) <= 1 and not set(takes.inputs) & set(names) and not takes.any_name:
        return False
    missing = [f"{name} is missing" for name in takes.required if name not in names]
    foreign = [] if takes.any_name else [f"{name} is not among them" for name in names if name not in takes.inputs]
    if missing or foreign:
        raise ConfigError(
            f"{forward.__qualname__} takes the inputs {', '.join(takes.inputs)}, but {', '.join(map(str, names))} "
            f"came: {', '.join(missing + foreign)}; give both the same names, or let forward take one dict"
        )
    return True
