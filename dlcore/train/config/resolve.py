"""What suits a data set: the model and the learning rate where none is given, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlcore._core.configurable import did_you_mean
from dlcore.errors import ConfigError
from dlcore.train.config.classes import class_weights, positives
from dlcore.train.config.defaults import LARGE_IMAGES, RECURRENT
from dlcore.train.config.targets import check_metrics

if TYPE_CHECKING:
    from dlcore.data import Splits
    from dlcore.nn import Module
    from dlcore.train.config.config import Config

__all__ = [
    "are_large",
    "baseline",
    "check_measures",
    "check_model",
    "check_text_model",
    "decays",
    "is_images",
    "learning_rate",
    "usual_model",
    "usual_optimizer",
]


def is_images(data: Splits) -> bool:
    return len(data.train.shape) == 3  # (H, W, C)


def _are_sequences(data: Splits) -> bool:
    """(T, D), of which it is known that the steps follow one another."""
    return len(data.train.shape) == 2 and (
        getattr(data.train, "lengths", None) is not None or data.last_value is not None
    )


def usual_model(data: Splits) -> str:
    if data.task == "text":
        return "lstm"
    if _are_sequences(data):
        return "gru"
    return "cnn" if is_images(data) else "mlp"


def check_model(model: str, data: Splits) -> None:
    if data.task == "text" and model not in RECURRENT and ".py" not in model:
        raise ConfigError(f"{model} is not for text, but {data.name} is one; take {', '.join(RECURRENT)}")
    if model in RECURRENT and data.task != "text" and len(data.train.shape) != 2:
        raise ConfigError(
            f"{model} is for sequences (T, D) and text, but {data.name} has examples of shape {data.train.shape}; "
            f"take {'cnn' if is_images(data) else 'mlp'}, or for a series give window"
        )
    if model == "cnn" and not is_images(data):
        raise ConfigError(
            f"cnn is for images (H, W, C), but {data.name} has examples of shape {data.train.shape}; take mlp"
        )
    if model in ("logistic", "knn") and data.task == "multitask":
        raise ConfigError(f"{model} is for one target, but {data.name} has several; take linear or mlp")
    if model in ("logistic", "knn") and data.task == "regression":
        raise ConfigError(f"{model} is for classes, but {data.name} has numbers to predict; take linear or mlp")


def check_text_model(name: str, model: Module, symbols: Any) -> None:
    """A built model of one's own must give the logits of the next character at each step."""
    shape = model.output_shape
    if shape is not None and (len(shape) != 2 or shape[-1] != symbols):
        raise ConfigError(
            f"model: {name} gives outputs of shape (N, {', '.join(map(str, shape))}) of a text, but (N, T, {symbols}) "
            "is expected: at each step the logits of the next character"
        )


def usual_optimizer(model: str, data: Splits) -> str:
    return "adamw" if decays(model, data) else "adam"


def decays(model: str, data: Splits) -> bool:
    """Whether the model is a dense network for rows of a table."""
    return model == "mlp" and len(data.train.shape) == 1


def are_large(data: Splits) -> bool:
    """Whether they are images of photographs' kind rather than of digits': by the shorter side."""
    return is_images(data) and min(data.train.shape[:2]) >= LARGE_IMAGES


def learning_rate(optimizer: str, model: str, task: str, few: bool, pixels: int = 0) -> float:
    """The default learning rate: sound rather than best.

    sgd and momentum follow the size of the gradient, and that of a squared error has no bound. The other rules take
    steps of about lr per parameter: few examples give few steps, and a single layer must go far in each. The decay of
    adamw is per unit of lr, and wants smaller ones.

    pixels : of an image, all channels: a step of a single layer moves its outputs by lr times as many inputs, so that
        the more there are, the smaller the steps
    """
    if optimizer in ("sgd", "momentum"):
        return 0.01 if task == "regression" else 0.1
    if model in RECURRENT:
        few = False  # an epoch has few examples, but each has many steps
    rate, rate_of_few = {
        "rmsprop": (1e-3, 5e-3), "adam": (3e-3, 15e-3), "adamw": (3e-3, 5e-3), "adagrad": (1e-2, 5e-2),
    }[optimizer]  # fmt: skip
    if model not in ("logistic", "linear"):
        return rate_of_few if few else rate
    return min(10 * (rate_of_few if few else rate), 25 / pixels if pixels else 1.0)


def baseline(model: str, data: Splits) -> str:
    """The next simpler model; a network for knn, the other way of learning. Of large images an mlp would be slower
    than the cnn, with a weight for each pixel and unit: there it is logistic regression."""
    if model == "knn":
        return "cnn" if is_images(data) else "mlp"
    if data.task == "text":
        return "none"
    if model in ("logistic", "linear"):
        return "none"
    if model != "mlp" and is_images(data) and not are_large(data):
        return "mlp"
    return "linear" if data.task in ("regression", "multitask") else "logistic"


def check_measures(config: Config, data: Splits) -> None:
    metrics = config.train.metrics or ()
    check_metrics(data, metrics)
    positives(data, config.train.positive)
    class_weights(data, config.train.class_weight)
    names = config.recorded(data)
    if config.train.patience and config.train.monitor not in names:
        raise ConfigError(
            f"monitor is {config.train.monitor!r} but one of {', '.join(names)} is expected"
            f"{did_you_mean(config.train.monitor, names)}"
        )
    if config.run.baseline not in (None, "none"):
        check_model(config.run.baseline, data)
