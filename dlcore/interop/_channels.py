"""Where the numbers of flattened maps stand in a model that has the channels first.

PyTorch flattens maps (N, C, H, W), we flatten (N, H, W, C): a layer that reads them has its weights in another order.
Which one is found on the tape of one pass, from what the layer is given back over the kernels that move no number or
move it as a whole, such as a ReLU, a transpose or a concatenation, to the kernel that made the maps.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from dlcore import nn
from dlcore.errors import ConfigError
from dlcore.nn.module import Module
from dlcore.nn.parameter import Parameter
from dlcore.tape import Node
from dlcore.tensor import Tensor

__all__ = ["orders"]

_IN_PLACE = (
    "add", "subtract", "multiply", "divide", "power", "negative", "exp", "log", "sqrt", "absolute", "where", "relu",
    "leaky_relu", "sigmoid", "tanh", "softmax", "log_softmax", "batch_norm_fixed",
)  # fmt: skip
"""Kernels that leave each number at its place."""

_MIXING = ("linear", "linear_relu", "matmul", "embedding", "rnn", "lstm", "gru")
"""Kernels behind which the order of maps is not seen any more."""


def orders(model: Module, layers: Collection[str]) -> dict[str, np.ndarray]:
    """By path, for each layer that reads flattened maps (N, D): the places (D,) of its inputs with the channels first.

    layers : the paths that matter

    Raises ConfigError where the places cannot be told.

    >>> model = nn.Sequential(nn.Flatten(), nn.Dense(1)).build((1, 3, 2))
    >>> orders(model, ["1"])["1"].tolist()
    [0, 3, 1, 4, 2, 5]
    """
    if model.input_dtype is not None or None in (shape := model.input_shape):  # integers and sequences: no images
        return {}
    twin = copy.deepcopy(model).to("cpu").eval()
    given: list[tuple[str, Tensor]] = []
    makers: dict[int, str] = {}
    for path, module in twin.named_modules():
        if isinstance(module, nn.Dense | nn.BatchNorm | nn.RNN) and path in layers:
            _listen(module, given, makers)
    dtype = str(model.built().dtype).rpartition(".")[2]
    zeros = np.zeros((2, *(n for n in shape if n is not None)), dtype=dtype)
    outputs = twin(Tensor(zeros, requires_grad=True))
    for output in _tensors(outputs):
        _check_maps_of_rows(output, makers)
    found = {path: _order(x, path) for path, x in given}
    return {path: order for path, order in found.items() if order is not None}


def _listen(module: Module, given: list[tuple[str, Tensor]], makers: dict[int, str]) -> None:
    """Let a layer of the copy note what it is given, and the node of what it makes."""
    forward = module.forward

    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        y = forward(x, *args, **kwargs)
        given.append((module.path, x))
        makers[id(getattr(y, "node", None))] = module.path
        return y

    module.forward = call


def _order(x: Tensor, path: str) -> np.ndarray | None:
    """The places of a layer's inputs; None where they are not those of maps, or are read channel by channel."""
    places = _places(_origin(x), tuple(x.shape), path)
    if places is None or x.ndim == 4:
        return None
    if x.ndim == 2:
        return places[0]
    if (np.diff(places, axis=-1) < 0).any():
        raise _unclear(f"{path} reads the maps in steps")
    return None


def _places(origin: Any, shape: tuple[int, ...], path: str) -> np.ndarray | None:
    """(1, ...) for numbers of ``shape`` (N, ...): the place of each among those of its maps, channels first; None where
    they are not those of maps.

    origin : where a gradient for these numbers goes: to a leaf, or to a node and its output
    """
    if not isinstance(origin, tuple):
        return _channels_first(shape) if len(shape) == 4 and not isinstance(origin, Parameter) else None
    node: Node = origin[0]
    if node.name == "reshape":
        return _of_reshape(node, shape, path)
    if node.name == "transpose":
        axes = node.params["axes"]
        before = tuple(shape[axes.index(axis)] for axis in range(len(axes)))
        places = _places(node.parents[0], before, path)
        return None if places is None else places.transpose(axes)
    if node.name == "concat":
        return _of_concat(node, shape, path)
    if node.name in _IN_PLACE:
        operands = [one for one in node.parents if one is not None and not isinstance(one, Parameter)]
        of_each = [_places(one, shape, path) for one in operands]
        found = [places for places in of_each if places is not None]
        if len(shape) == 2 and 0 < len(found) < len(of_each):
            raise _unclear(f"{path} reads maps together with rows")
        if any((places != found[0]).any() for places in found[1:]):
            raise _unclear(f"{path} reads maps in two orders")
        return found[0] if found else None
    if len(shape) == 4:
        return _channels_first(shape)
    reduced = len(shape) == 2 and node.name in ("mean", "sum_", "max_")  # a number for each channel
    if node.name in _MIXING or reduced or not _maps_behind(node):
        return None
    raise _unclear(f"{path} reads maps through {node.name}")


def _of_reshape(node: Node, shape: tuple[int, ...], path: str) -> np.ndarray | None:
    if math.prod(_saved(node)[1:]) != math.prod(shape[1:]):  # what it gives is spread over a larger array
        return None
    places = _places(node.parents[0], _saved(node), path)
    if places is None:
        return None
    if len(shape) == len(_saved(node)) == 4 and shape[-1] != _saved(node)[-1]:
        raise _unclear(f"{path} reads maps that were reshaped to others")
    return places.reshape(1, *shape[1:])


def _of_concat(node: Node, shape: tuple[int, ...], path: str) -> np.ndarray | None:
    axis = node.params["axis"] % len(shape)
    sizes = [(*shape[:axis], size, *shape[axis + 1 :]) for size in _saved(node)]
    parts = [_places(parent, size, path) for parent, size in zip(node.parents, sizes, strict=True)]
    if all(part is None for part in parts):
        return None
    if len(shape) == 4:
        return _channels_first(shape)
    if len(shape) != 2 or axis != 1:
        raise _unclear(f"{path} reads maps through concat")
    starts = np.cumsum([0, *_saved(node)])
    plain = [np.arange(size)[None] if part is None else part for part, size in zip(parts, _saved(node), strict=True)]
    return np.concatenate([part + start for part, start in zip(plain, starts, strict=False)], axis=1)


def _channels_first(shape: tuple[int, ...]) -> np.ndarray:
    """(1, H, W, C) the places of maps as they are made."""
    _, h, w, c = shape
    return np.arange(c * h * w).reshape(1, c, h, w).transpose(0, 2, 3, 1)


def _behind(node: Node) -> Iterator[Node]:
    """The node and those that it was computed from, each once."""
    waiting, known = [node], {id(node)}
    while waiting:
        one = waiting.pop()
        yield one
        for parent in one.parents:
            if isinstance(parent, tuple) and id(parent[0]) not in known:
                known.add(id(parent[0]))
                waiting.append(parent[0])


def _saved(node: Node) -> Any:
    """Of a reshape or an indexing, the shape before; of a concatenation, the sizes of the parts."""
    return node.saved


def _maps_behind(node: Node) -> bool:
    for one in _behind(node):
        if "2d" in one.name or (one.name in ("reshape", "getitem") and len(_saved(one)) == 4):
            return True
        if any(isinstance(leaf, Tensor) and leaf.ndim == 4 and not isinstance(leaf, Parameter) for leaf in one.parents):
            return True
    return False


def _check_maps_of_rows(output: Tensor, makers: Mapping[int, str]) -> None:
    """Raise ConfigError where a layer's rows become maps, as in a decoder: its outputs then have another order there.

    makers : the layers by the node of their output
    """
    for node in _behind(output.node) if output.node is not None else ():
        shape = node.params["shape"] if node.name == "reshape" else ()
        if len(shape) != 4 or len(_saved(node)) == 4:
            continue
        channels = shape[-1] if shape[-1] > 0 else math.prod(_saved(node)) // -math.prod(shape)
        if channels == _saved(node)[-1] or channels == 1:
            continue
        maker = node.parents[0]
        while isinstance(maker, tuple) and maker[0].name in _IN_PLACE:
            maker = next((parent for parent in maker[0].parents if isinstance(parent, tuple)), None)
        if isinstance(maker, tuple) and id(maker[0]) in makers:
            raise _unclear(f"{makers[id(maker[0])]} gives rows that become maps")


def _tensors(outputs: Any) -> Iterator[Tensor]:
    """The tensors in what a model gives."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, dict | list | tuple):
        for one in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from _tensors(one)


def _origin(x: Tensor) -> Any:
    return x if x.node is None else (x.node, x.slot)


def _unclear(what: str) -> ConfigError:
    return ConfigError(
        f"pytorch.load: {what}, of which the order in a model with the channels first is not known; leave these "
        "tensors out by mapping and anew, and set them in the order of your model by load_state_dict"
    )
