"""Weights that PyTorch's layers were trained with, from a safetensors file, into a model of the same layers.

=====================  ==================================  =====================================================
layer here             PyTorch's names                     what is done
=====================  ==================================  =====================================================
Dense                  weight (K, D), bias                 w is the transpose (D, K)
Dense, flattened maps  the same, D as C · H · W            rows brought into the order H · W · C
Conv2D                 weight (K, C, kh, kw), bias         w (kh, kw, C, K)
BatchNorm              weight, bias, running_mean,         gamma, beta, running_mean, running_variance; of flattened
                       running_var                         maps in the order H · W · C
Embedding              weight (V, D)                       w as it is
=====================  ==================================  =====================================================

PyTorch itself is not needed. ``num_batches_tracked`` is left out. What the file does not say must be the same in both
models: padding, strides, the eps of batch norm (1e-5 here and there).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlcore import nn
from dlcore.errors import CheckpointError, ConfigError
from dlcore.nn.module import Module, matches
from dlcore.nn.parameter import Buffer, Parameter
from dlcore.recorded import did_you_mean
from dlcore.tensor import Tensor
from dlcore.train.checkpoint import read_arrays

__all__ = ["load"]

_NAMES: dict[type, dict[str, str]] = {
    nn.Dense: {"w": "weight", "b": "bias"},
    nn.Conv2D: {"w": "weight", "b": "bias"},
    nn.BatchNorm: {
        "gamma": "weight", "beta": "bias", "running_mean": "running_mean", "running_variance": "running_var",
    },
    nn.Embedding: {"w": "weight"},
}  # fmt: skip
"""By layer, what each of its arrays is called there."""

_PASSED = ("relu", "leaky_relu", "sigmoid", "tanh", "batch_norm_fixed")
"""Kernels that leave each number at its place."""


def load(
    model: Module,
    path: str | Path,
    mapping: Mapping[str, str | None] | None = None,
    *,
    anew: str | Sequence[str] = (),
) -> Module:
    """Set the weights of ``model`` from a safetensors file of a PyTorch ``state_dict``.

    model : built
    mapping : PyTorch's names, or starts of names before a dot, to paths here: ``{"features": "0", "fc": "3"}`` takes
        "features.2.weight" to layer "0.2". None as a path leaves the tensors out. What is not in the mapping keeps its
        name, which suits a Sequential of the same layers in the same order
    anew : patterns, as for ``model.freeze``, of what keeps its own values: a new head

    Layers that read flattened maps are found by running the model on an example of its input shape. Returns the model.
    Raises CheckpointError, in one line, for a file that is missing or damaged, for a tensor that is missing, is not
    expected or has another shape, ConfigError for a mapping or a pattern that matches nothing and for layers that are
    not in the table above; the model is then unchanged.

    >>> import tempfile
    >>> from safetensors.numpy import save_file
    >>> path = f"{tempfile.mkdtemp()}/linear.safetensors"
    >>> save_file({"fc.weight": np.array([[1, 2, 3]], np.float32), "fc.bias": np.array([4], np.float32)}, path)
    >>> load(nn.Sequential(nn.Dense(1)).build((3,)), path, {"fc": "0"})([[1.0, 1.0, 1.0]]).numpy()
    array([[10.]], dtype=float32)

    Source: notes, 2.5, for what it is good for.
    """
    model.built()
    tensors, _ = read_arrays(path)
    found = {new: (old, tensors[old]) for old, new in _renamed(path, tensors, mapping or {})}
    own = [anew] if isinstance(anew, str) else list(anew)
    state = model.state_dict()
    for pattern in own:
        if not any(matches(name, pattern) for name in state):
            raise ConfigError(
                f"anew: {pattern!r} matches nothing{did_you_mean(pattern, state)}; there are {', '.join(state)}"
            )
    maps = _flattened(model)
    wanted = [entry for entry in _wanted(model) if not any(matches(entry[2], pattern) for pattern in own)]
    missing = [name for _, name, _, _ in wanted if name not in found]
    unexpected = [name for name in found if name not in {name for _, name, _, _ in wanted}]
    if missing or unexpected:
        raise CheckpointError(f"{path}: {_misfit(missing, unexpected, found)}")
    for layer, name, target, key in wanted:
        old, tensor = found[name]
        state[target] = _converted(path, old, tensor, layer, key, target, state[target].shape, maps.get(layer.path))
    model.load_state_dict(state)
    return model


def _renamed(
    path: str | Path, tensors: Mapping[str, Any], mapping: Mapping[str, str | None]
) -> Iterator[tuple[str, str]]:
    """Each tensor's name there, and the name it has with the path of its layer here."""
    used: set[str] = set()
    taken: dict[str, str] = {}
    for name in tensors:
        if name.rpartition(".")[2] == "num_batches_tracked":
            continue
        start = max((key for key in mapping if name == key or name.startswith(f"{key}.")), key=len, default=None)
        new: str | None = name
        if start is not None:
            used.add(start)
            place = mapping[start]
            new = None if place is None else f"{place}{name[len(start) :]}".removeprefix(".")
        if new is None:
            continue
        if new in taken:
            raise ConfigError(
                f"mapping: {taken[new]} and {name} of {path} both become {new}; give them paths of their own"
            )
        taken[new] = name
        yield name, new
    unused = [key for key in mapping if key not in used]
    if unused:
        raise ConfigError(
            f"mapping: {path} has no {unused[0]!r}{did_you_mean(unused[0], tensors)}; there are {', '.join(tensors)}"
        )


def _wanted(model: Module) -> Iterator[tuple[Module, str, str, str]]:
    """For each array of the model: its layer, PyTorch's name with the layer's path, its path, its name in the layer."""
    seen: set[int] = set()
    for path, layer in model.named_modules():
        names = next((_NAMES[kind] for kind in _NAMES if type(layer) is kind), None)
        for key, value in layer._fields():
            if not isinstance(value, Parameter | Buffer) or id(value) in seen:
                continue
            seen.add(id(value))
            if names is None or key not in names:
                raise ConfigError(
                    f"pytorch.load: {path or 'the model'} is a {type(layer).__name__}, which is not read yet; "
                    f"read are {', '.join(kind.__name__ for kind in _NAMES)}"
                )
            yield layer, f"{path}.{names[key]}" if path else names[key], f"{path}.{key}" if path else key, key


def _misfit(missing: list[str], unexpected: list[str], found: Mapping[str, tuple[str, Any]]) -> str:
    """What is missing and what is not expected, with a mapping that would bring the first two together."""
    parts = []
    if missing:
        parts.append(f"it has no {', '.join(missing)}")
    if unexpected:
        parts.append(f"no layer takes {', '.join(found[name][0] for name in unexpected)}")
    layers = [[name.rpartition(".")[0] for name in names] for names in (unexpected, missing)]
    if missing and unexpected:
        parts.append(f"map one to the other, such as mapping={{{layers[0][0]!r}: {layers[1][0]!r}}}")
    elif missing:
        parts.append(f"say what begins anew, such as anew={layers[1][0]!r}")
    else:
        parts.append(f"leave it out by mapping={{{layers[0][0]!r}: None}}")
    return "; ".join(parts)


def _converted(
    path: str | Path,
    old: str,
    tensor: np.ndarray,
    layer: Module,
    key: str,
    target: str,
    shape: tuple[int, ...],
    maps: tuple[int, int, int] | None,
) -> np.ndarray:
    """One tensor as the layer has it. maps : (H, W, C) of the maps whose numbers in a row the layer reads"""
    given = tensor.shape
    expected: tuple[int, ...] = shape
    if isinstance(layer, nn.Dense) and key == "w":
        expected = shape[::-1]
    elif isinstance(layer, nn.Conv2D) and key == "w":
        expected = (shape[3], shape[2], shape[0], shape[1])
    if given != expected:
        raise CheckpointError(
            f"{path}: {old} has shape {given} but {expected} is expected for {target}; build the model that it was "
            f"trained in, or let it begin anew: anew={target.rpartition('.')[0]!r}"
        )
    if isinstance(layer, nn.Conv2D) and key == "w":
        return tensor.transpose(2, 3, 1, 0)  # (K, C, kh, kw) -> (kh, kw, C, K)
    if isinstance(layer, nn.Dense):
        tensor = tensor.T if key == "w" else tensor  # (K, D) -> (D, K)
        if key == "b" or maps is None:
            return tensor
    if maps is None:
        return tensor
    h, w, c = maps
    rows = tensor.reshape(c, h, w, -1).transpose(1, 2, 0, 3)  # (C, H, W, ...) -> (H, W, C, ...)
    return rows.reshape(shape)


def _flattened(model: Module) -> dict[str, tuple[int, int, int]]:
    """By path, the (H, W, C) of the maps that a layer reads as rows of numbers; of layers that read others, nothing.

    Found on the tape of a copy: from what each layer is given, back over kernels that move no number to a reshape.
    """
    if model.input_dtype is not None or None in (shape := model.input_shape):  # integers and sequences: no images
        return {}
    twin = copy.deepcopy(model).to("cpu").eval()
    found: dict[str, tuple[int, int, int]] = {}
    for _, module in twin.named_modules():
        if isinstance(module, nn.Dense | nn.BatchNorm):
            _listen(module, found)
    dtype = str(model.built().dtype).rpartition(".")[2]
    zeros = np.zeros((2, *(n for n in shape if n is not None)), dtype=dtype)
    twin(Tensor(zeros, requires_grad=True))
    return found


def _listen(module: Module, found: dict[str, tuple[int, int, int]]) -> None:
    """Let a layer of the copy note what it is given."""
    forward = module.forward

    def call(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        maps = _maps(x)
        if maps is not None:
            found[module.path] = maps
        return forward(x, *args, **kwargs)

    module.forward = call


def _maps(x: Tensor) -> tuple[int, int, int] | None:
    """The (H, W, C) of the maps that were reshaped into the rows ``x`` (N, H W C); None where they were not."""
    node: Any = x.node
    while node is not None and node.name in _PASSED:
        parent = node.parents[0]
        node = parent[0] if isinstance(parent, tuple) else None
    if x.ndim != 2 or node is None or node.name != "reshape" or len(node.saved) != 4:
        return None
    _, height, width, channels = node.saved
    return height, width, channels
