"""What a model.json may announce: no more than its weights and inputs account for, before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, prod
from pathlib import Path
from typing import Any

from dlcore._core.regular import is_regular
from dlcore.errors import CheckpointError, DlcoreError
from dlcore.train.checkpoint import snapshot
from dlcore.train.checkpoint.arrays import DamagedError, shapes_of
from dlcore.train.checkpoint.kinds import brief

__all__ = ["check_inputs", "check_sizes", "check_values", "check_weights"]

_LONGEST_TEXT = 100_000
"""Characters of one text in a model.json, such as the name of a class."""

_MOST_LAYERS, _LARGEST_PADDING, _LARGEST_WINDOW = 1000, 1024, 2**16
"""Of a recurrent layer; on each side of a picture; of a pool or a convolution, in pixels."""

_MOST_WORK = 2**32
"""Pixels of a window times numbers of an example: the terms that a pool adds up for one."""


def check_values(path: Path, content: dict[str, Any]) -> None:
    """No text is longer than any name, and no number is NaN or infinite, which JSON does not have."""
    rest: list[tuple[str, Any]] = [("", content)]
    while rest:
        where, value = rest.pop()
        if isinstance(value, str) and len(value) > _LONGEST_TEXT:
            raise CheckpointError(f"{path}: damaged: {where} is a text of {len(value):,} characters; use another copy")
        if isinstance(value, float) and not isfinite(value):
            raise CheckpointError(f"{path}: damaged: {where} is {value}, no number of JSON; use another copy")
        if isinstance(value, dict):
            rest += [(f"{where}.{key:.40}".lstrip("."), one) for key, item in value.items() for one in (key, item)]
        elif isinstance(value, list):
            rest += [(f"{where}.{i}", item) for i, item in enumerate(value)]


def check_inputs(path: Path, content: dict[str, Any]) -> None:
    """What files become is what the model takes: the size of pictures, the columns of a table."""
    from dlcore.data import Inputs

    match content["about"].get("inputs"), content["input_shape"]:
        case {"kind": "images", "size": size, "channels": depth}, [_, _, _]:
            made = [*size, depth] if isinstance(size, list) else [size, depth]
        case {"kind": "table"} as table, [_]:
            try:
                made = [*Inputs.from_dict(table).shape]
            except DlcoreError as error:
                raise CheckpointError(f"{path}: damaged: inputs: {error!s:.300}; use another copy") from error
        case _:
            return
    if made != content["input_shape"]:
        raise CheckpointError(
            f"{path}: damaged: by its inputs a file becomes {brief(made)} but by its input_shape the model takes "
            f"{brief(content['input_shape'])}; use another copy"
        )


def check_weights(path: Path, parameters: list[list[Any]]) -> None:
    """The first file of weights in the folder that can be read has the parameters that model.json announces."""
    folder = path.parent
    files = [folder / snapshot.WEIGHTS, *reversed(snapshot.paths(folder).values())]
    fault: CheckpointError | None = None
    for file in filter(is_regular, files):
        try:
            held = shapes_of(file)
        except DamagedError as error:
            fault = fault or error
            continue
        for name, shape in parameters:
            if held.get(name) != tuple(shape):
                there = f"has shape {held[name]}" if name in held else "is not there"
                raise CheckpointError(
                    f"{file}: weights do not fit the model: {name:.80} {there}, but {tuple(shape)} is in the "
                    f"parameters of {path.name}"
                )
        return
    if fault is not None:
        raise fault


def check_sizes(path: Path, content: dict[str, Any]) -> None:
    """Numbers that cost memory or time without a parameter in the weights."""
    example = max((prod(n for n in shape if n) for shape in _shapes(content["input_shape"])), default=1)
    for name, numbers in _sizes(content["model"]):
        window = prod(numbers) if len(numbers) > 1 else max(numbers, default=0) ** 2
        limits = {
            "layers": max(numbers, default=0) <= _MOST_LAYERS,
            "padding": max(numbers, default=0) <= _LARGEST_PADDING,
            "kernel_size": window <= _LARGEST_WINDOW and window * example <= _MOST_WORK,
        }
        if not limits[name]:
            raise CheckpointError(f"{path}: damaged: {name} is {brief(numbers)}; use another copy")


def _shapes(value: Any) -> Iterator[list[int]]:
    """The shapes of one input or of several."""
    inner = list(value.values()) if isinstance(value, dict) else value
    if any(isinstance(part, list | dict) for part in inner):
        for part in inner:
            yield from _shapes(part)
    else:
        yield inner


def _sizes(tree: Any) -> Iterator[tuple[str, list[int]]]:
    """The whole numbers of those arguments of our own layers that :func:`check_sizes` looks at, by name."""
    rest = [tree]
    while rest:
        node = rest.pop()
        if isinstance(node, list):
            rest += node
        elif isinstance(node, dict):
            rest += node.values()
            match node:
                case {"layer": str(layer), "arguments": dict(arguments)} if ":" not in layer:
                    for name in arguments.keys() & {"layers", "padding", "kernel_size"}:
                        yield name, list(_whole(arguments[name]))


def _whole(value: Any) -> Iterator[int]:
    """A whole number, or those of a tuple; layers themselves are none."""
    if type(value) is int:
        yield abs(value)
    elif isinstance(value, list):
        for item in value:
            yield from _whole(item)
    elif isinstance(value, dict) and value.keys() == {"tuple"}:
        yield from _whole(value["tuple"])
