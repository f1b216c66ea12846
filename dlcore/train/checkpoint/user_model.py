"""A model from a user's own file."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from dlcore import nn
from dlcore._core.regular import read_regular
from dlcore.errors import ConfigError
from dlcore.train.checkpoint import trust
from dlcore.train.checkpoint.imports import CheckedSource

__all__ = ["Outputs", "check_known", "from_file"]

Outputs = int | dict[str, int]
"""How many outputs a model has; by head where there are several."""


def from_file(reference: str, outputs: Outputs, folder: Path | None = None, *, of_run: bool = False) -> nn.Module:
    """The model that a function in a Python file makes.

    reference : "file.py:build", the file's path and the function's name
    outputs : as in :func:`dlcore.train.assembly.zoo.build`, passed to the function where it takes an argument:
        ``def build(outputs)``, or just ``def build()``
    folder : where the file's own imports are found; the file's folder by default
    of_run : a run brought the file along, so that :mod:`dlcore.train.checkpoint.trust` must know it; else it is the
        user's own, and becomes known

    That folder is on the path meanwhile, as it is for a script. Raises ConfigError where the file or the function
    is missing, where it raises, naming file and line, and where it returns something else than a Module;
    UnknownCodeError for code of a run that nobody trusts.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "own.py"
    >>> _ = file.write_text("from dlcore import nn\\ndef build(outputs):\\n    return nn.Dense(outputs)\\n")
    >>> from_file(f"{file}:build", outputs=3)
    Dense(units=3)
    """
    path, name = _split(reference)
    source, code = _read(path, name, folder, of_run)
    with trust.trusting(not of_run):
        trust.require(code)
    with _importing(folder or path.parent):
        with _naming_the_line(path, f"{path} cannot be imported"):
            module = _load(path, source)
        function = getattr(module, name, None)
        if not callable(function):
            there = [key for key, value in vars(module).items() if inspect.isfunction(value) and key[0] != "_"]
            raise ConfigError(f"model: {path} has no function {name}; its functions are {', '.join(there) or 'none'}")
        takes = _takes_outputs(function, reference)
        with _naming_the_line(path, f"{reference} failed"):
            model = function(outputs) if takes else function()
    if not isinstance(model, nn.Module):
        raise ConfigError(f"model: {reference} returned {model!r:.60} but a dlcore.nn.Module is expected")
    return model


def check_known(reference: str | None) -> None:
    """Raise UnknownCodeError where the settings of a run name a file of one's own that is neither known nor trusted."""
    if reference is not None and ".py" in reference:
        trust.require(_read(*_split(reference), None, False)[1])


def _read(path: Path, function: str, folder: Path | None, of_run: bool) -> tuple[bytes, trust.Code]:
    try:
        source = read_regular(path, follow=not of_run)
    except OSError as error:
        raise ConfigError(f"model: {path} cannot be read ({error.strerror})") from None
    place = str(path.resolve().parent if folder is None else folder)
    return source, trust.of_file(path.name if of_run else str(path), source, function, place)


def _split(reference: str) -> tuple[Path, str]:
    file, colon, name = reference.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise ConfigError(f"model is {reference!r} but file.py:build is expected, a file and a function in it")
    path = Path(file).expanduser()
    if not path.is_file():
        raise ConfigError(f"model: there is no file {path}; check the path in {reference}")
    return path, name


def _load(path: Path, source: bytes) -> ModuleType:
    """The module in a file, under a name that no import takes."""
    name = f"_dlcore_model_{path.stem}"
    loader = CheckedSource(name, str(path.resolve()), source)
    spec = importlib.util.spec_from_file_location(name, path.resolve(), loader=loader)
    if spec is None or spec.loader is None:
        raise ConfigError(f"model: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _takes_outputs(function: Callable[..., Any], reference: str) -> bool:
    """Whether the function wants the number of outputs: as its one required argument, or as one called outputs."""
    parameters = inspect.signature(function).parameters.values()
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(required) > 1:
        raise ConfigError(
            f"model: {reference} needs {', '.join(required)}, but is called with the number of outputs alone: "
            "def build(outputs)"
        )
    return bool(required) or next((p.name for p in parameters), "") == "outputs"


@contextmanager
def _importing(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.resolve()))


@contextmanager
def _naming_the_line(path: Path, what: str) -> Iterator[None]:
    """Turn an exception of the user's code into a ConfigError that says where in ``path`` it was raised."""
    try:
        yield
    except Exception as error:
        line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
        if line is None:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path.resolve()]
            line = frames[-1].lineno if frames else None
        place = f"{path}:{line}" if line else str(path)
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ConfigError(f"model: {what} at {place}: {type(error).__name__}: {reason}") from error
