"""The models that the command line knows by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlcore import nn
from dlcore.errors import ConfigError
from dlcore.train.checkpoint.user_model import Outputs, from_file

if TYPE_CHECKING:
    from dlcore.data._change import Change
    from dlcore.train.config.config import ModelConfig

__all__ = ["build", "cnn", "linear", "logistic", "mlp", "recurrent"]


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
