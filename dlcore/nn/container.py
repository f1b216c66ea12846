"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, overload

from dlcore._core.configurable import one_line
from dlcore._core.input_tree import several
from dlcore.errors import ConfigError, ShapeError
from dlcore.functional import Lengths
from dlcore.nn._build import in_progress
from dlcore.nn.module import Module
from dlcore.tensor import Tensor, as_tensor

__all__ = ["Heads", "Residual", "Sequential"]


class Sequential(Module):
    """Layers one after the other; their paths are their numbers: "0.w", "0.b", "2.w".

    ``lengths``, the valid steps of sequences, are passed on to the layers that take them. ``model[0]`` is a layer, and
    ``model[:2]`` a Sequential of the same layers, which shares their parameters.

    >>> from dlcore import nn
    >>> nn.Sequential(nn.Dense(4), nn.ReLU(), nn.Dense(2))([[1.0, 2.0]]).shape
    (1, 2)

    Source: notes, 1.1.
    """

    def __init__(self, *layers: Module) -> None:
        for i, layer in enumerate(layers):
            _check_module("Sequential", f"layer {i}", layer)
        if not layers:
            raise ConfigError("Sequential: no layers came; pass at least one")
        self.layers = layers

    def _members(self) -> Iterator[tuple[str, Any]]:
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    def __len__(self) -> int:
        return len(self.layers)

    @overload
    def __getitem__(self, i: int) -> Module: ...
    @overload
    def __getitem__(self, i: slice) -> Sequential: ...
    def __getitem__(self, i: int | slice) -> Module:
        if not isinstance(i, slice):
            return self.layers[i]
        part = Sequential(*self.layers[i])
        if self._ready:  # its layers stay those of this model, as a single layer does
            part._ready, part.training, part.clock = True, self.training, self.clock
        return part

    @property
    def takes_lengths(self) -> bool:
        return any(layer.takes_lengths for layer in self.layers)

    def _entry(self) -> Any:
        return self.layers[0]._entry()

    def forward(self, x: Any, lengths: Any = None) -> Any:
        if in_progress() is not None:  # each layer by itself learns its input and tells its output
            for layer in self.layers:
                x = layer(x)
            return x
        if lengths is not None and not self.takes_lengths:
            raise ConfigError("Sequential: lengths came but no layer takes them; add a recurrent layer or leave them")
        if lengths is not None and not several(x):
            shape = as_tensor(x).shape  # once for all layers: they share what is uploaded
            lengths = Lengths.of("Sequential", lengths, *shape[:2]) if len(shape) > 1 else lengths
        i = 0
        while i < len(self.layers):
            layer = self.layers[i]
            taken, how = layer.takes_over(self.layers[i + 1 : i + 3])
            if lengths is not None and layer.takes_lengths:
                how = {**how, "lengths": lengths}
            x = layer(x, **how)
            i += 1 + taken
        return x


class Residual(Module):
    """x + inner(x), or shortcut(x) + inner(x) where the shapes differ (He et al., 2016).

    >>> from dlcore import nn
    >>> Residual(nn.ReLU())([[-1.0, 2.0]]).numpy()
    array([[-1.,  4.]], dtype=float32)
    """

    def __init__(self, inner: Module, shortcut: Module | None = None) -> None:
        _check_module("Residual", "inner", inner)
        if shortcut is not None:
            _check_module("Residual", "shortcut", shortcut)
        self.inner = inner
        self.shortcut = shortcut

    def forward(self, x: Any) -> Tensor:
        y = self.inner(x)
        x = x if self.shortcut is None else self.shortcut(x)
        if tuple(x.shape) != tuple(y.shape):
            raise ShapeError(
                f"Residual: the input has shape {tuple(x.shape)} but the inner output {tuple(y.shape)}; "
                "give a shortcut that makes them equal"
            )
        return x + y


class Heads(Module):
    """Several outputs from one input, for several tasks: a dict of modules gives a dict of outputs.

    heads : modules by the name of their task

    >>> from dlcore import nn
    >>> heads = Heads({"species": nn.Dense(3), "sex": nn.Dense(1)})
    >>> {name: y.shape for name, y in heads([[1.0, 2.0]]).items()}
    {'species': (1, 3), 'sex': (1, 1)}

    Source: notes, 2.5 (multi-task learning); Caruana (1997).
    """

    def __init__(self, heads: Mapping[str, Module]) -> None:
        if not isinstance(heads, Mapping) or not heads:
            raise ConfigError(f"Heads: {one_line(heads):.80} came but a dict of names and modules is expected")
        for name, head in heads.items():
            _check_module("Heads", f"{name!r}", head)
        self.heads = dict(heads)

    def _members(self) -> Iterator[tuple[str, Any]]:
        return iter(self.heads.items())

    def forward(self, x: Any) -> dict[str, Any]:
        return {name: head(x) for name, head in self.heads.items()}


def _check_module(owner: str, name: str, value: Any) -> None:
    if not isinstance(value, Module):
        came = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
        raise ConfigError(f"{owner}: {name} is {came} but a Module is expected, such as nn.Dense(3)")
