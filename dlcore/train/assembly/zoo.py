"""The models that the command line knows by name, and those that a user's own file builds."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dlcore import nn
from dlcore._core.regular import read_regular
from dlcore.errors import ConfigError
from dlcore.train.checkpoint import trust
from dlcore.train.checkpoint.imports import CheckedSource

if TYPE_CHECKING:
    from dlcore.data._change import Change
    from dlcore.train.config.config import ModelConfig

Outputs = int | dict[str, int]

__all__ = ["build", "cnn", "from_file", "linear", "logistic", "mlp", "recurrent"]


def build(outputs: Outputs, config: ModelConfig, text: bool = False, change: Change | None = None) -> nn.Module:
    """The model that a resolved ``config`` names: one of this module's, or ``file.py:function``.

    outputs : logits of a classification, 1 for a binary task or one number; a dict of them, by head, for several tasks
    text : whether the outputs are those of each step of a text
    change : of a series, so that the model of this module predicts the change from a window's last value

    >>> from dlcore.train.config.config import ModelConfig
    >>> build(10, ModelConfig(model="mlp", hidden=(32,)))
    Sequential(
      0: Flatten()
      1: Dense(units=32)
      2: ReLU()
      3: Dense(units=10)
    )
    """
    name = config.model or ""
    if name == "knn":
        raise ConfigError("knn is no network and has no trainer; take dlcore.neighbors.KNNClassifier")
    if ".py" in name:
        return from_file(name, outputs)
    if name in ("rnn", "lstm", "gru"):
        model = characters(outputs, config) if text and isinstance(outputs, int) else recurrent(outputs, config)
    else:
        model = {"cnn": cnn, "mlp": mlp, "logistic": logistic, "linear": linear}[name](outputs, config)
    if change is None:
        return model
    return nn.FromLast(model, change.changes, change.spread, change.levels, change.carry, change.bound)


def cnn(outputs: Outputs, config: ModelConfig) -> nn.Sequential:
    """3 × 3 convolutions, each with batch norm, activation and 2 × 2 max-pooling; then dropout and a dense layer.

    config : channels, activation, dropout; global_pool, by which the dense layer takes the mean of each channel over
        the image (Lin, Chen and Yan, 2014) and not the activation of each channel at each place

    The convolutions have no bias: batch norm would take it away again (notes 3.9).

    >>> from dlcore.train.config.config import ModelConfig
    >>> model = cnn(10, ModelConfig(channels=(16, 32), dropout=0.5)).build((28, 28, 1))
    >>> [type(layer).__name__ for layer in model.layers][:4], model.count()
    (['Conv2D', 'BatchNorm', 'ReLU', 'MaxPool2D'], 20538)
    """
    blocks = [
        layer
        for filters in config.channels or ()
        for layer in (
            nn.Conv2D(filters, 3, padding="same", bias=False, init=_init(config)),
            nn.BatchNorm(),
            _activation(config),
            nn.MaxPool2D(2),
        )
    ]
    joined = nn.GlobalAvgPool2D() if config.global_pool else nn.Flatten()
    return nn.Sequential(*blocks, joined, *_dropout(config), _last(outputs))


def mlp(outputs: Outputs, config: ModelConfig) -> nn.Sequential:
    """Dense layers, each with activation and dropout; then a dense layer for the outputs.

    config : hidden, activation, dropout

    >>> from dlcore.train.config.config import ModelConfig
    >>> mlp(1, ModelConfig(hidden=(32, 16), activation="tanh")).build((8,)).count()  # 8·32 + 32 + 32·16 + 16 + 16 + 1
    833
    """
    blocks = [
        layer
        for units in config.hidden or ()
        for layer in (nn.Dense(units, init=_init(config)), _activation(config), *_dropout(config))
    ]
    return nn.Sequential(nn.Flatten(), *blocks, _last(outputs))


def linear(outputs: Outputs, config: ModelConfig) -> nn.Sequential:
    """One dense layer: linear regression where the loss is mse.

    >>> from dlcore.train.config.config import ModelConfig
    >>> linear(1, ModelConfig()).build((8,)).count()
    9
    """
    return nn.Sequential(nn.Flatten(), _last(outputs))


def logistic(outputs: Outputs, config: ModelConfig) -> nn.Sequential:
    """One dense layer, whose outputs the cross-entropy losses take as logits: logistic or softmax regression.

    >>> from dlcore.train.config.config import ModelConfig
    >>> logistic(3, ModelConfig()).build((8,)).output_shape
    (3,)
    """
    return linear(outputs, config)


def recurrent(outputs: Outputs, config: ModelConfig) -> nn.Sequential:
    """Recurrent layers with dropout after each; then a dense layer on the last state: many to one.

    config : model, hidden (one number a layer), bidirectional, dropout

    >>> from dlcore.train.config.config import ModelConfig
    >>> recurrent(9, ModelConfig(model="gru", hidden=(32,), bidirectional=True)).build((None, 12)).output_shape
    (9,)
    """
    layer = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[config.model or "gru"]
    hidden, both = config.hidden or (), bool(config.bidirectional)
    blocks = [
        one
        for place, units in enumerate(hidden, start=1)
        for one in (layer(units, return_sequences=place < len(hidden), bidirectional=both), *_dropout(config))
    ]
    return nn.Sequential(*blocks, _last(outputs))


def characters(symbols: int, config: ModelConfig) -> nn.CharacterModel:
    """A model of text.

    config : model, hidden (equal numbers, one a layer), dropout
    """
    hidden = config.hidden or (192,)
    if len(set(hidden)) > 1 or config.bidirectional:
        raise ConfigError(
            f"hidden is {hidden} and bidirectional {bool(config.bidirectional)}, but a model of text takes layers of "
            "one size that read forwards; change them"
        )
    return nn.CharacterModel(symbols, hidden[0], len(hidden), config.dropout or 0.0, config.model or "lstm")


def _last(outputs: Outputs) -> nn.Module:
    """A dense layer for the outputs, or one for each head above the same trunk."""
    if isinstance(outputs, int):
        return nn.Dense(outputs)
    return nn.Heads({name: nn.Dense(units) for name, units in outputs.items()})


def _activation(config: ModelConfig) -> nn.Module:
    layers = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
    return layers[config.activation or "relu"]()


def _init(config: ModelConfig) -> str:
    return "xavier_normal" if config.activation in ("sigmoid", "tanh") else "he_normal"


def _dropout(config: ModelConfig) -> list[nn.Module]:
    return [nn.Dropout(config.dropout)] if config.dropout else []


# One's own -----------------------------------------------------------------------------------------------------------


def from_file(reference: str, outputs: Outputs, folder: Path | None = None, *, of_run: bool = False) -> nn.Module:
    """The model that a function in a Python file makes.

    reference : "file.py:build", the file's path and the function's name
    outputs : as in :func:`build`, passed to the function where it takes an argument:
        ``def build(outputs)``, or just ``def build()``
    folder : where the file's own imports are found; the file's folder by default
    of_run : a run brought the file along, so that :mod:`dlcore.train.checkpoint.trust` must know it; else it is the
    user's own,
        and becomes known

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
