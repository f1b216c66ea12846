"""A model as a tree that JSON can hold, made of the arguments that its layers were constructed with.

===============================================  ==================================================================
in the tree                                      what it stands for
===============================================  ==================================================================
null, true, 3, 0.5, "same", [...]                None, bool, int, finite float, str, list
{"float": "inf"}                                 inf, -inf or nan, for which JSON has no number
{"tuple": [...]}                                 a tuple
{"dict": [[key, value], ...]}                    a dict
{"init": "normal", "arguments": {"scale": 0.1}}  an initialiser of ``dlcore.nn.init``
{"layer": "Dense", "arguments": {"units": 3}}    a layer of ``dlcore.nn``; one's own is "package.module:Class"
{"layer": ..., "id": 1} and {"same": 1}          a layer that is used in several places, and its second place
===============================================  ==================================================================
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from dlcore import nn
from dlcore._core.configurable import did_you_mean
from dlcore.errors import CheckpointError, ConfigError, in_one_line
from dlcore.nn import init as initializers
from dlcore.nn.init import Initializer
from dlcore.train.checkpoint import trust
from dlcore.train.checkpoint.imports import imported, sources_of

__all__ = ["FORMAT", "describe", "rebuild", "written"]

FORMAT = 1
"""Of the tree and of ``model.json``; a reader refuses a larger number."""

_DEPTH = 100
"""Levels of nesting; a list that holds itself has no end."""

_LAYERS = 20_000
"""In one model; a layer that is used in several places counts in each."""

_LONGEST_NAME = 500
"""Characters of the name of a layer, an argument or an initialiser."""

_FILE = "build it in a file and train with --model file.py:build"


def describe(model: nn.Module) -> dict[str, Any]:
    """The type and the constructor's arguments of ``model`` and of all layers in them, as a tree for JSON.

    A layer that is used twice is one layer in the tree too. Weights are not in it. Raises ConfigError where an argument
    cannot be written down, or where a class cannot be found again in another process, with the place of the layer.

    >>> describe(nn.Sequential(nn.Dense(3)))["arguments"]["layers"]["tuple"][0]["arguments"]["units"]
    3
    """
    return {"format": FORMAT, **_Describing().layer(model, "", 0)}


def rebuild(description: Any) -> nn.Module:
    """The model, not yet built, that :func:`describe` wrote down.

    Imports the modules of one's own classes, which :mod:`dlcore.train.checkpoint.trust` must know. Raises
    CheckpointError, in one line, where it does not, where a layer is not known, its arguments do not fit, or the tree
    is not one of :func:`describe`.

    >>> rebuild(describe(nn.Dense(3, bias=False)))
    Dense(units=3, bias=False)
    """
    if not isinstance(description, dict) or "format" not in description:
        raise CheckpointError("the description of a model is damaged: its format is missing")
    if description["format"] != FORMAT:
        raise CheckpointError(
            f"the description of a model has format {description['format']!r:.20} but {FORMAT} is expected; "
            "use the dlcore that wrote it"
        )
    return _Rebuilding().layer({key: value for key, value in description.items() if key != "format"}, "", 0)


def written(value: Any) -> Any:
    """One value as the tree holds it; a ConfigError where it cannot be written down."""
    return _Describing().value(value, "value", _Place("", "value"), 0)


class _Place:
    """Where a layer is in the model, for messages: "layer inner.2 (Dense)"."""

    def __init__(self, trail: str, kind: str) -> None:
        self.trail, self.kind = trail, kind.rpartition(":")[2]

    def __str__(self) -> str:
        return f"layer {self.trail} ({self.kind})" if self.trail else self.kind

    def below(self, name: str, parameters: Mapping[str, inspect.Parameter]) -> str:
        """The trail of an argument; the layers of a Sequential are known by their numbers alone."""
        several = name in parameters and parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
        return self.trail if several else _join(self.trail, name)


def _join(trail: str, name: Any) -> str:
    return f"{trail}.{name}" if trail else str(name)


def _parameters(kind: type) -> dict[str, inspect.Parameter]:
    """The arguments of a class's constructor by name, without self."""
    if kind.__init__ is object.__init__:
        return {}
    return dict(list(inspect.signature(kind.__init__).parameters.items())[1:])


# Describing ----------------------------------------------------------------------------------------------------------


class _Describing:
    """One model on its way into a tree."""

    def __init__(self) -> None:
        self.known: dict[int, dict[str, Any]] = {}
        self.shared = 0

    def layer(self, module: nn.Module, trail: str, depth: int) -> dict[str, Any]:
        node = self.known.get(id(module))
        if node is not None:
            if "id" not in node:
                self.shared += 1
                node["id"] = self.shared
            return {"same": node["id"]}
        kind = type(module)
        place, parameters = _Place(trail, kind.__name__), _parameters(kind)
        node = self.known[id(module)] = {"layer": _name(kind, place)}
        node["arguments"] = {
            name: self.value(value, name, place, depth + 1, place.below(name, parameters))
            for name, value in module.config.items()
        }
        return node

    def value(self, value: Any, name: str, place: _Place, depth: int, trail: str = "") -> Any:
        """``value`` as the tree holds it. ``name`` is the argument that it came in, ``trail`` leads to it."""
        if depth > _DEPTH:
            raise ConfigError(f"{place}: {name} is nested deeper than {_DEPTH} levels; nest less, or {_FILE}")
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, nn.Module):
            return self.layer(value, trail, depth)
        if isinstance(value, Initializer):
            return _initializer(value, name, place)
        if type(value) is int and value.bit_length() > 64:
            raise ConfigError(f"{place}: {name} is a whole number of more than 64 bits; use a smaller one")
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, list | tuple) and type(value) in (list, tuple):  # a named tuple has more to it
            items = [self.value(item, name, place, depth + 1, _join(trail, i)) for i, item in enumerate(value)]
            return items if isinstance(value, list) else {"tuple": items}
        if isinstance(value, Mapping):
            pairs = [(self.value(key, name, place, depth + 1), key, item) for key, item in value.items()]
            return {"dict": [[key, self.value(v, name, place, depth + 1, _join(trail, k))] for key, k, v in pairs]}
        raise _refusal(value, name, place)


def _name(kind: type, place: _Place) -> str:
    """The name that a class is found by in another process."""
    name, module = kind.__qualname__, kind.__module__
    if getattr(nn, name, None) is kind:
        return name
    if module.startswith("_dlcore_model_"):
        raise ConfigError(
            f"{place}: {name} is known to its file alone; name the function that builds it, file.py:build"
        )
    if module == "__main__":
        raise ConfigError(f"{place}: {name} is defined in the program that is run; {_FILE}")
    if "<locals>" in name:
        raise ConfigError(f"{place}: {kind.__name__} is defined inside a function; define it in a module, or {_FILE}")
    try:
        found = _imported(f"{module}:{name}")
    except Exception:
        found = None
    if found is not kind:
        raise ConfigError(f"{place}: {module} has no such class {name} when it is imported; {_FILE}")
    return f"{module}:{name}"


def _initializer(value: Initializer, name: str, place: _Place) -> dict[str, Any]:
    arguments = {key: _Describing().value(number, name, place, 1) for key, number in value.arguments}
    try:
        known = _known_initializer(value.name, arguments)
    except (AttributeError, TypeError):
        known = None
    if known is None or known.arguments != value.arguments or _drawn_by(known) != _drawn_by(value):
        raise ConfigError(f"{place}: {name} is an initialiser of your own; use one of dl.nn.init, or {_FILE}")
    return {"init": value.name, "arguments": arguments}


def _known_initializer(name: str, arguments: dict[str, Any]) -> Initializer:
    known = getattr(initializers, name) if name in initializers.__all__ else None
    if isinstance(known, Initializer) and not arguments:
        return known
    made = known(**arguments) if inspect.isfunction(known) and name != "named" else None
    if not isinstance(made, Initializer):
        raise AttributeError(name)
    return made


def _drawn_by(initializer: Initializer) -> Any:
    """What draws the numbers, comparable: a partial function is equal to itself alone."""
    draw = initializer.draw
    return (draw.func, draw.args, draw.keywords) if isinstance(draw, functools.partial) else draw


def _refusal(value: Any, name: str, place: _Place) -> ConfigError:
    if inspect.isclass(value):
        came = f"the class {value.__name__}"
    elif inspect.isroutine(value) or isinstance(value, functools.partial):
        came = "a function of your own" if name == "init" else "a function"
    else:
        came = f"of the type {type(value).__name__}"
    instead = "use an initialiser of dl.nn.init" if name == "init" else "pass numbers, strings and layers"
    return ConfigError(f"{place}: {name} is {came}, which cannot be written down; {instead}, or {_FILE}")


# Rebuilding ----------------------------------------------------------------------------------------------------------


class _Rebuilding:
    """One tree on its way to a model."""

    def __init__(self) -> None:
        self.known: dict[int, nn.Module] = {}
        self.kinds: dict[str, type[nn.Module]] = {}
        self.sizes: dict[int, int] = {}  # layers in a known one, itself among them
        self.layers = 0

    def layer(self, node: Any, trail: str, depth: int) -> nn.Module:
        name, arguments = node.get("layer"), node.get("arguments")
        place, before = _Place(trail, str(name)[:60]), self.layers
        if not isinstance(name, str) or not isinstance(arguments, dict) or node.keys() - {"layer", "arguments", "id"}:
            raise CheckpointError(f"the description of {place} is damaged: a layer and its arguments are expected")
        if any(len(text) > _LONGEST_NAME for text in (name, *arguments)):
            raise CheckpointError(f"the description of {place} is damaged: a name has over {_LONGEST_NAME} characters")
        kind = self.kinds[name] if name in self.kinds else self.kinds.setdefault(name, _class(name, place))
        parameters = _parameters(kind)
        values = {
            key: self.value(value, place, depth + 1, place.below(key, parameters)) for key, value in arguments.items()
        }
        module = _construct(kind, values, parameters, place)
        self._count(1, place)
        if "id" in node:
            number = node["id"]
            if type(number) is not int or number in self.known:
                raise CheckpointError(f"the description of {place} is damaged: its id {number!r:.20} is not its own")
            self.known[number] = module
            self.sizes[number] = self.layers - before
        return module

    def _count(self, layers: int, place: _Place) -> None:
        """Layers that share others can stand for any number of them in a few lines."""
        self.layers += layers
        if self.layers > _LAYERS:
            raise CheckpointError(f"the description of {place} is damaged: it has more than {_LAYERS:,} layers in all")

    def value(self, node: Any, place: _Place, depth: int, trail: str) -> Any:
        if depth > _DEPTH:
            raise CheckpointError(f"the description of {place} is damaged: it is nested deeper than {_DEPTH} levels")
        if isinstance(node, list):
            return [self.value(item, place, depth + 1, _join(trail, i)) for i, item in enumerate(node)]
        if not isinstance(node, dict):
            return node
        if "layer" in node:
            return self.layer(node, trail, depth)
        match node:
            case {"same": int(number), **rest} if not rest and number in self.known:
                self._count(self.sizes[number], place)
                return self.known[number]
            case {"float": "inf" | "-inf" | "nan" as number, **rest} if not rest:
                return float(number)
            case {"tuple": list(items), **rest} if not rest:
                return tuple(self.value(items, place, depth, trail))
            case {"dict": list(pairs), **rest} if not rest and all(isinstance(p, list) and len(p) == 2 for p in pairs):
                keys = [self.value(key, place, depth + 1, trail) for key, _ in pairs]
                values = [
                    self.value(v, place, depth + 1, _join(trail, k)) for k, (_, v) in zip(keys, pairs, strict=True)
                ]
                return _dict(keys, values, place)
            case {"init": str(name), "arguments": dict(arguments), **rest} if not rest:
                return _rebuilt_initializer(name, arguments, place)
        raise CheckpointError(f"the description of {place} is damaged: {', '.join(node) or 'an empty entry'!r:.60}")


def _dict(keys: list[Any], values: list[Any], place: _Place) -> dict[Any, Any]:
    try:
        return dict(zip(keys, values, strict=True))
    except TypeError:
        raise CheckpointError(f"the description of {place} is damaged: a dict has a key that cannot be one") from None


def _rebuilt_initializer(name: str, arguments: dict[str, Any], place: _Place) -> Initializer:
    name = name[:_LONGEST_NAME]
    if not all(type(value) in (int, float) for value in arguments.values()):
        raise CheckpointError(f"{place}: the arguments of the initialiser {name!r:.60} are not all numbers")
    try:
        return _known_initializer(name, arguments)
    except (AttributeError, TypeError):
        given = ", ".join(arguments) or "no arguments"
        raise CheckpointError(
            f"{place}: dl.nn.init has no {name!r:.60} of {given:.60}{did_you_mean(name, initializers.__all__)}"
        ) from None


def _class(name: str, place: _Place) -> type[nn.Module]:
    """The layer's class: one of dlcore.nn, or one's own, imported."""
    if ":" not in name:
        kind = getattr(nn, name, None) if name in nn.__all__ else None
        if not (inspect.isclass(kind) and issubclass(kind, nn.Module)):
            layers = [known for known in nn.__all__ if inspect.isclass(getattr(nn, known))]
            raise CheckpointError(f"{place}: dl.nn has no such layer{did_you_mean(name, layers)}")
        return kind
    try:
        kind = _own_class(name)
    except trust.UnknownCodeError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{place}: {name!r:.80} cannot be imported ({in_one_line(error)}); put its folder on PYTHONPATH"
        ) from error
    if not (inspect.isclass(kind) and issubclass(kind, nn.Module)):
        raise CheckpointError(f"{place}: {name!r:.80} is no subclass of dl.nn.Module")
    return kind


def _own_class(name: str) -> Any:
    """The class, from a module that is known or trusted, or that the program itself has imported."""
    module, _, qualname = name.partition(":")
    sources = sources_of(module)
    code = trust.of_modules(module, sources)
    if module not in sys.modules or trust.is_trusting():
        trust.require(code)
    found: Any = imported(module, sources)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _imported(name: str) -> Any:
    module, _, qualname = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _construct(
    kind: type[nn.Module], values: dict[str, Any], parameters: dict[str, inspect.Parameter], place: _Place
) -> nn.Module:
    unknown = sorted(values.keys() - parameters.keys())
    if unknown:
        takes = ", ".join(parameters) or "no arguments"
        raise CheckpointError(f"{place}: {unknown[0]!r:.60} is no argument of it; it takes {takes:.200}")
    expected: dict[Any, type] = {inspect.Parameter.VAR_POSITIONAL: tuple, inspect.Parameter.VAR_KEYWORD: dict}
    for name, value in values.items():
        if not isinstance(value, expected.get(parameters[name].kind, object)):
            raise CheckpointError(f"the description of {place} is damaged: {name} is a {type(value).__name__}")
    try:
        signature = inspect.Signature(list(parameters.values()))
        # In the signature's order: what stands before *layers has to be passed by position.
        bound = inspect.BoundArguments(signature, {name: values[name] for name in parameters if name in values})  # pyright: ignore[reportArgumentType]
        return kind(*bound.args, **bound.kwargs)
    except Exception as error:
        raise CheckpointError(f"{place}: cannot be constructed: {in_one_line(error)}") from error
