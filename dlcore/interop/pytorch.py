"""Weights that PyTorch's layers were trained with, from a safetensors file, into a model of the same layers.

=====================  ==================================  ===========================================================
layer here             PyTorch's names                     what is done
=====================  ==================================  ===========================================================
Dense                  weight (K, D), bias                 w is the transpose (D, K)
Dense, flattened maps  the same, D as C · H · W            rows brought into the order H · W · C
Conv2D                 weight (K, C, kh, kw), bias         w (kh, kw, C, K)
BatchNorm              weight, bias, running_mean,         gamma, beta, running_mean, running_variance; of flattened
                       running_var                         maps in the order H · W · C
Embedding              weight (V, D)                       w as it is
RNN, LSTM, GRU         weight_ih_l0 (4 H, D),              u, w the transposes; b the sum of both biases; of a GRU's n
                       weight_hh_l0 (4 H, H), bias_ih_l0,  b is bias_ih_l0's part and bn that of bias_hh_l0; 0 where
                       bias_hh_l0, ..., _l1, ..._reverse   the file has neither
=====================  ==================================  ===========================================================

PyTorch itself is not needed. ``num_batches_tracked`` is left out. What the file does not say must be the same in both
models: padding, strides, the eps of batch norm (1e-5 here and there). Convolutions in groups, and recurrent layers with
ReLU or a projection, are not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import is_zipfile

import numpy as np

from dlcore import nn
from dlcore._core.configurable import did_you_mean
from dlcore.errors import CheckpointError, ConfigError
from dlcore.interop._channels import orders
from dlcore.nn.module import Module, matches
from dlcore.nn.parameter import Buffer, Parameter
from dlcore.train.checkpoint.arrays import DamagedError, read_arrays

__all__ = ["load"]


class _Entry(NamedTuple):
    """One array of a model, and the tensors that it is made of.

    target : its path
    names : of the tensors, with the layer's path before them
    shapes : of the tensors
    made : the array from the tensors
    optional : whether the file may lack all the tensors, for zeros
    """

    target: str
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    made: Callable[..., np.ndarray]
    optional: bool = False


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
    expected, holds no floating-point numbers or has another shape, ConfigError for a mapping or a pattern that matches
    nothing, for layers that are not in the table above and for maps whose order cannot be told, such as those that are
    made from rows; the model is then unchanged.

    >>> import tempfile
    >>> from safetensors.numpy import save_file
    >>> path = f"{tempfile.mkdtemp()}/linear.safetensors"
    >>> save_file({"fc.weight": np.array([[1, 2, 3]], np.float32), "fc.bias": np.array([4], np.float32)}, path)
    >>> load(nn.Sequential(nn.Dense(1)).build((3,)), path, {"fc": "0"})([[1.0, 1.0, 1.0]]).numpy()
    array([[10.]], dtype=float32)

    Source: notes, 2.5, for what it is good for.
    """
    model.built()
    tensors = _read(path)
    found = {new: (old, tensors[old]) for old, new in _renamed(path, tensors, mapping or {})}
    own = [anew] if isinstance(anew, str) else list(anew)
    state = model.state_dict()
    for pattern in own:
        if not any(matches(name, pattern) for name in state):
            raise ConfigError(
                f"anew: {pattern!r} matches nothing{did_you_mean(pattern, state)}; there are {', '.join(state)}"
            )
    wanted = [entry for entry in _entries(model, own) if not any(matches(entry.target, pattern) for pattern in own)]
    absent = {entry.target for entry in wanted if entry.optional and not any(name in found for name in entry.names)}
    names = list(dict.fromkeys(name for entry in wanted if entry.target not in absent for name in entry.names))
    missing = [name for name in names if name not in found]
    unexpected = [name for name in found if name not in names]
    if missing or unexpected:
        raise CheckpointError(f"{path}: {_misfit(missing, unexpected, found)}")
    for entry in wanted:
        if entry.target in absent:
            state[entry.target] = np.zeros_like(state[entry.target])
            continue
        for name, shape in zip(entry.names, entry.shapes, strict=True):
            _check(path, *found[name], shape, entry.target)
        state[entry.target] = entry.made(*(found[name][1] for name in entry.names))
    model.load_state_dict(state)
    return model


def _read(path: str | Path) -> dict[str, np.ndarray]:
    try:
        return read_arrays(path)[0]
    except DamagedError:
        if is_zipfile(path):
            raise CheckpointError(
                f"{path}: a file of torch.save, which is not read; write the weights by "
                "safetensors.torch.save_file(model.state_dict(), path)"
            ) from None
        raise


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


def _entries(model: Module, anew: Sequence[str]) -> Iterator[_Entry]:
    """An entry for each array of the model; ``anew`` are patterns of those that do not matter."""
    layers = [(path, layer, _arrays(layer)) for path, layer in model.named_modules()]
    layers = [(path, layer, arrays) for path, layer, arrays in layers if arrays]
    for path, layer, _ in layers:
        if type(layer) not in _KINDS:
            raise ConfigError(
                f"pytorch.load: {path or 'the model'} is a {type(layer).__name__}, which is not read yet; "
                f"read are {', '.join(kind.__name__ for kind in _KINDS)}"
            )
    needed = [
        path
        for path, _, arrays in layers
        if not all(any(matches(_joined(path, key), pattern) for pattern in anew) for key in arrays)
    ]
    order = orders(model, needed)
    seen: set[int] = set()
    for path, layer, arrays in layers:
        for entry in _KINDS[type(layer)](layer, order.get(path)):
            if id(array := arrays[entry.target]) not in seen:
                seen.add(id(array))
                names = tuple(_joined(path, name) for name in entry.names)
                yield entry._replace(target=_joined(path, entry.target), names=names)


def _arrays(layer: Module) -> dict[str, Parameter | Buffer]:
    """The arrays of a layer itself by name."""
    return {key: value for key, value in layer._members() if isinstance(value, Parameter | Buffer)}


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _misfit(missing: list[str], unexpected: list[str], found: Mapping[str, tuple[str, Any]]) -> str:
    """What is missing and what is not expected, with a mapping that would bring the first two together."""
    parts = []
    if missing:
        parts.append(f"it has no {', '.join(missing)}")
    if unexpected:
        parts.append(f"no layer takes {', '.join(found[name][0] for name in unexpected)}")
    layers = [[name.rpartition(".")[0] or name for name in names] for names in (unexpected, missing)]
    if missing and unexpected:
        parts.append(f"map one to the other, such as mapping={{{layers[0][0]!r}: {layers[1][0]!r}}}")
    elif missing:
        parts.append(f"say what begins anew, such as anew={layers[1][0]!r}")
    else:
        parts.append(f"leave it out by mapping={{{layers[0][0]!r}: None}}")
    return "; ".join(parts)


# Layers: an entry for each of their arrays, with names as in the layer. order: where the channels-first maps are that a
# layer reads as rows.


def _dense(layer: nn.Dense, order: np.ndarray | None) -> Iterator[_Entry]:
    rows, units = layer.w.shape
    order = np.arange(rows) if order is None else order
    yield _Entry("w", ("weight",), ((units, rows),), lambda weight: weight.T[order])  # (K, D) -> (D, K)
    if layer.b is not None:
        yield _Entry("b", ("bias",), ((units,),), np.asarray)


def _conv2d(layer: nn.Conv2D, order: np.ndarray | None) -> Iterator[_Entry]:
    height, width, channels, filters = layer.w.shape
    shape = (filters, channels, height, width)
    yield _Entry("w", ("weight",), (shape,), lambda weight: weight.transpose(2, 3, 1, 0))  # -> (kh, kw, C, K)
    if layer.b is not None:
        yield _Entry("b", ("bias",), ((filters,),), np.asarray)


def _batch_norm(layer: nn.BatchNorm, order: np.ndarray | None) -> Iterator[_Entry]:
    (channels,) = layer.gamma.shape
    order = np.arange(channels) if order is None else order
    names = {"gamma": "weight", "beta": "bias", "running_mean": "running_mean", "running_variance": "running_var"}
    for key, name in names.items():
        yield _Entry(key, (name,), ((channels,),), lambda values: values[order])


def _embedding(layer: nn.Embedding, order: np.ndarray | None) -> Iterator[_Entry]:
    yield _Entry("w", ("weight",), (tuple(layer.w.shape),), np.asarray)


def _recurrent(layer: nn.RNN, order: np.ndarray | None) -> Iterator[_Entry]:
    """Gates stand side by side in the same order here and there, and a GRU's r multiplies W_n h + b_n in both."""
    gates, hidden = layer.gates * layer.hidden, layer.hidden
    for key in layer._keys():
        number, _, reverse = key.partition(".")
        end = f"_l{number}{'_reverse' if reverse else ''}"
        here = f".{key}" if layer._several() else ""
        features = layer._of("u", key).shape[0]
        yield _Entry(f"u{here}", (f"weight_ih{end}",), ((gates, features),), np.transpose)
        yield _Entry(f"w{here}", (f"weight_hh{end}",), ((gates, hidden),), np.transpose)
        biases = (f"bias_ih{end}", f"bias_hh{end}"), ((gates,), (gates,))
        if isinstance(layer, nn.GRU):
            inside = np.arange(gates) >= 2 * hidden  # of n, whose second bias is multiplied by r
            yield _Entry(f"b{here}", *biases, lambda b, bh, inside=inside: np.where(inside, b, b + bh), True)
            yield _Entry(f"bn{here}", *biases, lambda b, bh, inside=inside: bh[inside], True)
        else:
            yield _Entry(f"b{here}", *biases, np.add, True)


_KINDS: dict[type, Callable[[Any, np.ndarray | None], Iterator[_Entry]]] = {
    nn.Dense: _dense,
    nn.Conv2D: _conv2d,
    nn.BatchNorm: _batch_norm,
    nn.Embedding: _embedding,
    nn.RNN: _recurrent,
    nn.LSTM: _recurrent,
    nn.GRU: _recurrent,
}
"""By layer, its entries."""


def _check(path: str | Path, name: str, tensor: np.ndarray, shape: tuple[int, ...], target: str) -> None:
    """Raise CheckpointError where a tensor is not what its layer has."""
    if tensor.dtype.kind != "f":
        raise CheckpointError(
            f"{path}: {name} holds {tensor.dtype} but floating-point numbers are expected for {target}; save the "
            "weights before they are quantised"
        )
    if tensor.shape == shape:
        return
    if len(shape) == 4 and tensor.ndim == 4 and 1 < shape[1] != tensor.shape[1] and shape[1] % tensor.shape[1] == 0:
        advice = "convolutions in groups are not read: build the model without groups"
    else:
        advice = "build the model that it was trained in"
    raise CheckpointError(
        f"{path}: {name} has shape {tensor.shape} but {shape} is expected for {target}; {advice}, or let it begin "
        f"anew: anew={target.rpartition('.')[0] or target!r}"
    )
