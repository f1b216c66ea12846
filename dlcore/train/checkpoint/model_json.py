"""``model.json``: what is needed to build a run's model again, in another process and another folder.

The model is written down as the arguments of its layers (:mod:`dlcore.train.checkpoint.description`), or, where a
function in the user's own file built it, as a copy of that file, ``model.py``, with the function's name. What is
written is checked first: a model that would come out otherwise is not written down, and the file says why.

Building a model again runs code: the copied file, and the modules of one's own layers. What was not saved here by the
same user is refused until the user trusts it (:mod:`dlcore.train.checkpoint.trust`).

A file from somebody else costs no more memory and time than the weights beside it account for: what it announces is
compared with them before a layer is made.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from backends.runtime.device import Device, resolve
from dlcore._core.input_tree import leaves, mapped, several
from dlcore._core.regular import read_regular
from dlcore.errors import CheckpointError, ConfigError, DeviceError, in_one_line
from dlcore.nn._inputs import as_shapes, several_shapes
from dlcore.nn.module import Module
from dlcore.nn.parameter import Parameter
from dlcore.train.checkpoint import user_model
from dlcore.train.checkpoint.about import check_about
from dlcore.train.checkpoint.arrays import write_atomically
from dlcore.train.checkpoint.bounds import check_inputs, check_sizes, check_values, check_weights
from dlcore.train.checkpoint.description import FORMAT, describe, rebuild, written
from dlcore.train.checkpoint.kinds import brief
from dlcore.train.checkpoint.trust import trusting
from dlcore.version import __version__

__all__ = ["describe", "load_about", "rebuild", "save_about", "save_model"]

_MODEL, _SOURCE = "model.json", "model.py"
_LARGEST = 16 * 2**20
"""Bytes of a model.json; a real one has a few thousand."""

_LARGEST_SHAPE, _LARGEST_EXAMPLE, _MOST_AXES = 2**36, 2**25, 32
"""Numbers in one parameter, and in one example; axes of either."""


def save_model(
    path: str | Path,
    model: Module,
    *,
    reference: str | None = None,
    outputs: int | dict[str, int] | None = None,
    about: dict[str, Any] | None = None,
) -> Path:
    """Write what :func:`dlcore.train.load_model` needs to build ``model`` again; not its weights.

    path : of the file, ``model.json`` in the run's folder
    model : built
    reference : "file.py:build" where that function built the model; the file is copied to ``model.py`` beside ``path``
    outputs : that the function was called with
    about : what else a reader needs, such as task and classes: anything that JSON holds; it comes back from
        :func:`dlcore.train.load_model` as JSON gives it, a tuple as a list

    The model is built again before anything is written, and compared layer by layer. Where it comes out otherwise, or
    cannot be built, the file holds the reason in its place, and a UserWarning says it. Returns the path. Raises
    ConfigError for a model that is not built or an ``about`` that JSON does not hold, CheckpointError where the folder
    cannot be written.

    >>> from dlcore.train import load_model
    >>> import tempfile
    >>> from dlcore import nn
    >>> folder = tempfile.mkdtemp()
    >>> path = save_model(f"{folder}/model.json", nn.Dense(3).build((2,)), about={"task": "regression"})
    >>> load_model(folder)
    (Dense(units=3), {'task': 'regression'})
    """
    path = Path(path)
    vector = model.built()
    content: dict[str, Any] = {
        "format": FORMAT,
        "dlcore": __version__,
        "model": None,
        "input_shape": mapped(list, model.input_shape) if several(model.input_dtype) else list(model.input_shape),
        "input_dtype": mapped(lambda dtype: None if dtype is None else np.dtype(dtype).name, model.input_dtype),
        "dtype": str(vector.dtype).rpartition(".")[2],
        "parameters": _shapes(model.named_parameters()),
        "about": _plain(about or {}),
    }
    try:
        content["model"] = _checked(path, model, reference, outputs, content)
    except CheckpointError as error:
        reason = in_one_line(error)
        content["why"] = reason
        warnings.warn(
            f"{path.name}: {type(model).__name__} cannot be rebuilt by evaluate and predict: {reason}", stacklevel=2
        )
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    if len(text) > _LARGEST:
        raise ConfigError(f"{path}: it would have {len(text):,} bytes; keep large things out of about")
    return write_atomically(path, lambda: text)


def new_model(
    folder: str | Path, *, device: Device | str = "cpu", trust: bool = False
) -> tuple[Module, dict[str, Any]]:
    """The model of a run's folder as it was before training, in training mode, and its ``about``.

    Arguments and errors are those of :func:`dlcore.train.load_model`; its weights are new ones.

    >>> import tempfile
    >>> from dlcore import nn
    >>> folder = tempfile.mkdtemp()
    >>> _ = save_model(f"{folder}/model.json", nn.Dense(3).build((2,)))
    >>> new_model(folder)[0].training
    True
    """
    device = resolve(device)
    path = Path(folder) / _MODEL
    content = _read(path)
    check_weights(path, content["parameters"])
    check_sizes(path, content)
    try:
        with trusting(trust):
            model = _rebuilt(content["model"], path.parent)
        _build(model, content, device)
    except DeviceError:
        raise
    except Exception as error:  # whatever a damaged description, or one's own code, comes to
        raise CheckpointError(f"{path}: {in_one_line(error)}") from error
    return model, content["about"]


def save_about(path: str | Path, shape: Sequence[int], about: dict[str, Any], why: str) -> Path:
    """Write the ``model.json`` of what is no Module: its examples' shape, and ``about`` as :func:`save_model` takes it.

    why : :func:`dlcore.train.load_model` does not rebuild it, in words

    Raises ConfigError and CheckpointError as :func:`save_model`. Returns the path.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> path = save_about(f"{folder}/model.json", (2,), {"task": "binary"}, "it has no layers")
    >>> load_about(folder)
    ({'task': 'binary'}, (2,))
    """
    content = {
        "format": FORMAT,
        "dlcore": __version__,
        "model": None,
        "input_shape": list(shape),
        "input_dtype": None,
        "dtype": "float32",
        "parameters": [],
        "about": _plain(about),
        "why": why,
    }
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    return write_atomically(Path(path), lambda: text)


def load_about(folder: str | Path) -> tuple[dict[str, Any], tuple[int, ...]]:
    """What the ``model.json`` of a run says about its model, and the shape of an example; the model is not rebuilt.

    Raises CheckpointError as :func:`dlcore.train.load_model`, and where a key that every run has, such as classes,
    holds what it never does.

    >>> import tempfile
    >>> from dlcore import nn
    >>> folder = tempfile.mkdtemp()
    >>> _ = save_model(f"{folder}/model.json", nn.Dense(3).build((2,)), about={"task": "classification"})
    >>> load_about(folder)
    ({'task': 'classification'}, (2,))
    """
    path = Path(folder) / _MODEL
    content = _read(path, rebuildable=False)
    check_about(path, content["about"])
    return content["about"], as_shapes(content["input_shape"])


def is_of(path: Path, model: Module) -> bool:
    """Whether a ``model.json`` is of a model with these parameters. Raises CheckpointError where it cannot be read."""
    return _read(path, rebuildable=False)["parameters"] == _shapes(model.named_parameters())


# Writing -------------------------------------------------------------------------------------------------------------


def _checked(
    path: Path,
    model: Module,
    reference: str | None,
    outputs: int | dict[str, int] | None,
    content: dict[str, Any],
) -> Any:
    """The model written down, after it was built from that again; a CheckpointError that says why it cannot be."""
    if reference is None:
        try:
            node = describe(model)
        except ConfigError as error:
            raise CheckpointError(in_one_line(error)) from error
        _check_again(model, node, path.parent, content)
        return node
    if outputs is None:
        raise ConfigError(f"save_model: {reference} needs the outputs that it was called with")
    file, name = user_model._split(reference)
    copy = path.parent / _SOURCE
    try:
        source = read_regular(file, follow=True)
        there = read_regular(copy) if copy.exists() or copy.is_symlink() else None
    except OSError as error:
        raise CheckpointError(f"{error.filename} cannot be read ({error.strerror})") from None
    node = {"file": _SOURCE, "function": name, "outputs": outputs, "folder": str(file.resolve().parent)}
    if there not in (None, source) and not path.exists():
        raise CheckpointError(f"{copy} is in the way: it is no copy that a run made; save in another folder")
    write_atomically(copy, lambda: source)
    try:
        with _module_kept(f"_dlcore_model_{copy.stem}"):
            _check_again(model, node, path.parent, content)
    except CheckpointError:
        if there is None:
            copy.unlink()
        raise
    return node


@contextmanager
def _module_kept(name: str) -> Iterator[None]:
    """Leave the module of that name as it was: the model's own classes may be of a file that is called model.py too."""
    module = sys.modules.get(name)
    try:
        yield
    finally:
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


def _check_again(model: Module, node: dict[str, Any], folder: Path, content: dict[str, Any]) -> None:
    """Raise a CheckpointError where ``node`` gives another model than ``model``."""
    try:
        with trusting(True):  # this process runs that code already
            again = _rebuilt(node, folder)
        ours = {id(module) for _, module in model.named_modules()}
        if any(id(module) in ours for _, module in again.named_modules()):
            raise CheckpointError("it gives the same layers each time that it is called; make new ones in the function")
        _build(again, {**content, "parameters": None}, resolve("cpu"))
    except Exception as error:
        raise CheckpointError(in_one_line(error)) from error
    different = _difference(model, again)
    if different and "file" in node:
        raise CheckpointError(f"{node['function']} of its file gives another model: {different}; change no layer after")
    if different:
        raise CheckpointError(
            f"its constructor's arguments give another model: {different}; pass layers and settings to the "
            "constructor, and change none of them afterwards"
        )


def _difference(model: Module, again: Module) -> str:
    """The first thing in which two built models differ: layers, their settings, parameters, buffers; "" for none."""
    mine, other = ([(path, type(m).__qualname__) for path, m in each.named_modules()] for each in (model, again))
    for (path, kind), (other_path, other_kind) in zip(mine, other, strict=False):
        if (path, kind) != (other_path, other_kind):
            return f"layer {path} ({kind}) becomes {f'{other_path} ({other_kind})'.strip()}"
    if len(mine) != len(other):
        return f"it has {len(mine)} layers, but {len(other)} come"
    pairs = zip(model.named_modules(), again.named_modules(), strict=True)
    for (path, layer), (_, other_layer) in reversed(list(pairs)):  # a layer before the one that holds it
        settings, other_settings = _settings(layer), _settings(other_layer)
        changed = sorted(name for name in settings if settings[name] != other_settings.get(name))
        if changed:
            return f"{changed[0]} of {f'layer {path}'.strip()} ({type(layer).__name__}) is another"
    for kind in ("named_parameters", "named_buffers"):
        expected, came = _shapes(getattr(model, kind)()), _shapes(getattr(again, kind)())
        if came != expected:
            return _unlike(came, expected)
    return ""


def _settings(module: Module) -> dict[str, Any]:
    """The fields that are called as arguments of the constructor are, as far as they can be written down."""
    values = {}
    for name in module.config.keys() & vars(module).keys():
        try:
            values[name] = json.dumps(written(getattr(module, name)))
        except ConfigError:
            continue
    return values


def _shapes(leaves: Iterable[tuple[str, Any]]) -> list[list[Any]]:
    return [[path, list(leaf.shape)] for path, leaf in leaves]


def _unlike(came: list[list[Any]], expected: list[list[Any]]) -> str:
    """Where two lists of paths and shapes part."""
    for (path, shape), (expected_path, expected_shape) in zip(came, expected, strict=False):
        if path != expected_path:
            return f"{path} came where {expected_path} is expected"
        if shape != expected_shape:
            return f"{path} has shape {tuple(shape)} but {tuple(expected_shape)} is expected"
    return f"{len(came)} parameters or buffers came but {len(expected)} are expected"


def _plain(about: Any) -> dict[str, Any]:
    try:
        if not isinstance(about, dict):
            raise TypeError(f"a dict is expected, not {type(about).__name__}")
        return json.loads(json.dumps(about, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"save_model: about cannot be written as JSON: {in_one_line(error)}") from None


# Reading -------------------------------------------------------------------------------------------------------------

_EXPECTED: dict[str, tuple[type, ...]] = {
    "format": (int,),
    "dlcore": (str,),
    "model": (dict, type(None)),
    "input_shape": (list, dict),
    "input_dtype": (str, type(None), list, dict),
    "dtype": (str,),
    "parameters": (list,),
    "about": (dict,),
}


def _read(path: Path, rebuildable: bool = True) -> dict[str, Any]:
    """The content of a model.json, of which the outer layout is right; one without a model is refused if asked."""
    try:
        content = json.loads(read_regular(path, _LARGEST))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; give the folder of a run, such as runs/NAME") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a readable JSON file ({in_one_line(error)}); use another copy") from None
    if not isinstance(content, dict) or not {"format", "dlcore"} <= content.keys():
        raise CheckpointError(f"{path}: another program's file; one of dlcore has the keys format and dlcore")
    if type(content["format"]) is int and content["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: dlcore {content['dlcore']!s:.40} wrote format {content['format']}, but dlcore {__version__} "
            f"reads format {FORMAT}; install a newer one"
        )
    check_values(path, content)
    for key, types in _EXPECTED.items():
        if key not in content or type(content[key]) not in types:
            came = f"{key} is {brief(content[key])}" if key in content else f"{key} is missing"
            raise CheckpointError(f"{path}: damaged: {came}; use another copy")
    _check_shapes(path, content)
    check_inputs(path, content)
    if content["model"] is None and rebuildable:
        why = content.get("why") or "it holds no model"
        raise CheckpointError(f"{path}: the model cannot be rebuilt: {' '.join(f'{why!s:.400}'.split())}")
    return content


def _check_shapes(path: Path, content: dict[str, Any]) -> None:
    shapes = content["input_shape"]
    if shapes == {}:
        raise CheckpointError(f"{path}: damaged: input_shape is empty; use another copy")
    of_each = leaves(tuple(shapes) if isinstance(shapes, list) else shapes) if several_shapes(shapes) else [shapes]
    of_inputs = [("input_shape", ["", _closed(shape)], _LARGEST_EXAMPLE) for shape in of_each]
    of_parameters = [("parameters", parameter, _LARGEST_SHAPE) for parameter in content["parameters"]]
    for key, entry, most in [*of_inputs, *of_parameters]:
        match entry:
            case [str(_), list(shape)] if len(shape) <= _MOST_AXES and (
                all(type(n) is int and 0 <= n <= most for n in shape) and prod(shape) <= most
            ):
                continue
        raise CheckpointError(f"{path}: damaged: {key}: {brief(entry)} is no name and shape; use another copy")


def _closed(shape: Any) -> Any:
    """A shape with 1 where any number of steps is meant."""
    return [1 if n is None else n for n in shape] if isinstance(shape, list) else shape


def _rebuilt(node: dict[str, Any], folder: Path) -> Module:
    """The model, not yet built, of what ``save_model`` wrote down."""
    if "file" not in node:
        return rebuild(node)
    match node:
        case {"file": "model.py", "function": str(name), "outputs": int() | dict() as outputs, "folder": str(origin)}:
            return user_model.from_file(f"{folder / _SOURCE}:{name}", outputs, Path(origin), of_run=True)
    raise CheckpointError("damaged: model does not name a function and the file of it; use another copy")


def _build(model: Module, content: dict[str, Any], device: Device) -> None:
    """Build ``model`` for the inputs it had, and compare its parameters with those it had, where they are given."""
    expected = content["parameters"]
    with _no_other_shapes(model, None if expected is None else {path: tuple(shape) for path, shape in expected}):
        model.build(
            as_shapes(content["input_shape"]), dtype=content["dtype"], device=device, input_dtype=content["input_dtype"]
        )
    came = _shapes(model.named_parameters())
    if expected is not None and came != expected:
        raise CheckpointError(f"the model that comes out is another: {_unlike(came, expected)}")


@contextmanager
def _no_other_shapes(model: Module, expected: dict[str, tuple[int, ...]] | None) -> Iterator[None]:
    """Refuse a parameter of another shape before it is made: a damaged number of units may ask for any memory."""
    modules = [] if expected is None else [module for _, module in model.named_modules()]
    for module in modules:
        vars(module)["parameter"] = _checking(module, expected or {})
    try:
        yield
    finally:
        for module in modules:
            del vars(module)["parameter"]


def _checking(module: Module, expected: dict[str, tuple[int, ...]]) -> Any:
    make = module.parameter

    def parameter(name: str, shape: tuple[int, ...], init: Any, decay: bool = True) -> Parameter:
        path = module._path_of(name)
        if expected.get(path) != tuple(shape):
            there = f"{expected[path]} is expected" if path in expected else "the parameters have none"
            raise CheckpointError(f"the model that comes out is another: {path} has shape {tuple(shape)} but {there}")
        return make(name, shape, init, decay)

    return parameter
