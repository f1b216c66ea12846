"""Transfer learning: begin with the weights of a model that was trained on something else (notes 2.5).

The trunk is taken over, the head begins anew; what was taken over is frozen, or learns in smaller steps, and may be
unfrozen later::

    transfer_weights(model, "runs/digits-cnn-001")
    model.freeze("0").scale_lr("4", 0.1)
    trainer = dl.Trainer(model, callbacks=[dl.train.Unfreeze({5: "0"})])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlcore._core.configurable import did_you_mean
from dlcore.errors import CheckpointError, ConfigError
from dlcore.nn import Heads
from dlcore.nn.module import Module
from dlcore.nn.parameter import Buffer, Parameter
from dlcore.nn.patterns import meant, patterns_of
from dlcore.train.checkpoint.arrays import read_weights

__all__ = ["Transfer", "classes_of", "plan", "read_source", "transfer_weights"]


class Transfer(NamedTuple):
    """What becomes of every array in a transfer, by path.

    taken : of the model, set from the source
    anew : of the model, left as they were
    unused : of the source alone

    >>> from dlcore import nn
    >>> old = nn.Sequential(nn.Dense(4), nn.ReLU(), nn.Dense(10)).build((3,))
    >>> new = nn.Sequential(nn.Dense(4), nn.ReLU(), nn.Dense(2)).build((3,))
    >>> found = transfer_weights(new, old)
    >>> found.taken, found.anew
    (['0.w', '0.b'], ['2.w', '2.b'])
    """

    taken: list[str]
    anew: list[str]
    unused: list[str]


def transfer_weights(
    model: Module, source: Any, anew: str | Sequence[str] | None = None, *, runs: str | Path = "runs"
) -> Transfer:
    """Set the parameters and buffers of ``model`` from those of another model that have the same paths.

    model : built
    source : a run's folder, a file of weights or a checkpoint, a built Module, or arrays by path
    anew : patterns, as for ``model.freeze``, of what keeps its own values, such as a head of the same size as the
        former one. None: of the layers that give the output (the last one with parameters; all of ``Heads``), those
        that do not fit
    runs : folder in which ``source`` may be the name of a run

    All else must fit. Returns what was done. Raises CheckpointError, in one line, where the source is missing or
    damaged, or an array is missing or has another shape: the model is then unchanged.

    >>> from dlcore import nn
    >>> old = nn.Sequential(nn.Dense(4), nn.ReLU(), nn.Dense(10)).build((3,), seed=1)
    >>> new = nn.Sequential(nn.Dense(4), nn.ReLU(), nn.Dense(2)).build((3,), seed=2)
    >>> transfer_weights(new, old)
    Transfer(taken=['0.w', '0.b'], anew=['2.w', '2.b'], unused=['2.w', '2.b'])

    Source: notes, 2.5.
    """
    model.built()
    arrays, name = read_source(source, runs)
    planned = plan(model, arrays, anew, name)
    model.load_state_dict(model.state_dict() | {path: arrays[path] for path in planned.taken})
    return planned


def plan(model: Module, arrays: Mapping[str, Any], anew: str | Sequence[str] | None = None, name: str = "") -> Transfer:
    """What :func:`transfer_weights` would do with these arrays; it raises the same errors, which call them ``name``."""
    leaves = dict([*model.named_parameters(), *model.named_buffers()])
    if anew is None:
        own = [path for layer in _output_layers(model) for path in _unfit(layer, leaves, arrays)]
    else:
        own = [path for pattern in patterns_of(anew, "anew") for path in meant(pattern, list(leaves))]
    for path, leaf in leaves.items():
        if path not in own:
            _check(path, tuple(leaf.shape), arrays, name or "transfer_weights")
    taken = [path for path in leaves if path not in own]
    if not taken:
        raise CheckpointError(f"{name or 'transfer_weights'}: nothing would be taken over; name less as anew")
    return Transfer(taken, [path for path in leaves if path in own], [path for path in arrays if path not in taken])


def read_source(source: Any, runs: str | Path = "runs") -> tuple[Mapping[str, Any], str]:
    """The arrays of a source by path, and what to call it.

    source : as for :func:`transfer_weights`; also a run's name in the folder ``runs``
    """
    if isinstance(source, Module):
        return source.state_dict(), type(source).__name__
    if isinstance(source, Mapping):
        return source, "the arrays"
    if not isinstance(source, str | Path):
        raise ConfigError(
            f"transfer_weights: {source!r:.60} came but a run's folder, a file, a Module or arrays are expected"
        )
    path = Path(source).expanduser()
    if path.is_file() or path.suffix == ".safetensors":
        return read_weights(path), str(path)
    from dlcore.train.runs.run import Run

    run = Run.find(source, runs)
    return run.weights()[0], str(run.folder)


def classes_of(source: str | Path, runs: str | Path = "runs") -> Any:
    """The classes, or a text's characters, that the run of a source has learnt, as its ``model.json`` has them; None
    where there is no such file, and for numbers."""
    from dlcore.train.checkpoint.model_json import load_about

    path = Path(source).expanduser()
    for folder in (path, Path(runs).expanduser() / source, path.parent, path.parent.parent):
        if (folder / "model.json").is_file():
            return load_about(folder)[0].get("classes")
    return None


def _output_layers(model: Module) -> list[Module]:
    """The layers with parameters that give the output: the last one, or all of the last Heads."""
    heads = [module for _, module in model.named_modules() if isinstance(module, Heads)]
    below = [module for _, module in (heads[-1] if heads else model).named_modules() if _own(module)]
    return below if heads else below[-1:]


def _own(module: Module) -> list[Any]:
    return [value for _, value in module._members() if isinstance(value, Parameter | Buffer)]


def _unfit(layer: Module, leaves: Mapping[str, Any], arrays: Mapping[str, Any]) -> list[str]:
    """The paths of a layer's arrays where any of them is not there or has another shape, so that none is taken."""
    mine = {id(value) for value in _own(layer)}
    paths = [path for path, leaf in leaves.items() if id(leaf) in mine]
    fits = all(path in arrays and np.shape(arrays[path]) == tuple(leaves[path].shape) for path in paths)
    return [] if fits else paths


def _check(path: str, shape: tuple[int, ...], arrays: Mapping[str, Any], name: str) -> None:
    if path not in arrays:
        raise CheckpointError(
            f"{name}: there is no {path}{did_you_mean(path, arrays)}, but the model has one; there are "
            f"{', '.join(arrays) or 'no arrays'}; build the trunk as it was, or say what begins anew: anew={path!r}"
        )
    if np.shape(arrays[path]) != shape:
        raise CheckpointError(
            f"{name}: {path} has shape {np.shape(arrays[path])} but {shape} is expected; build the trunk as it was, "
            f"or say what begins anew: anew={path!r}"
        )
