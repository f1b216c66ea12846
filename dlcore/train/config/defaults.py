"""What the choices of a configuration take, and the defaults that follow from them: tables, and nothing that acts."""

from __future__ import annotations

from typing import Any

__all__ = [
    "BATCH_SIZE",
    "CHOICES",
    "CLIP_NORM",
    "DECAY",
    "EPOCHS",
    "FEW_EXAMPLES",
    "LARGE",
    "LARGE_IMAGES",
    "RECURRENT",
    "RULES",
    "TASKS",
    "TEXT",
]

CHOICES: dict[str, dict[str, dict[str, Any]]] = {
    "model": {
        "cnn": {"channels": (16, 30), "activation": "relu", "dropout": 0.5, "global_pool": False},
        "mlp": {"hidden": (128,), "activation": "relu", "dropout": 0.0},
        "gru": {"hidden": (64,), "bidirectional": True, "dropout": 0.3},
        "lstm": {"hidden": (64,), "bidirectional": True, "dropout": 0.3},
        "rnn": {"hidden": (64,), "bidirectional": True, "dropout": 0.3},
        "logistic": {},
        "linear": {},
        "knn": {"neighbors": 5, "distance": "l2", "votes": "uniform"},
    },
    "optimizer": {
        "sgd": {},
        "momentum": {"beta": 0.9, "bias_correction": False, "nesterov": False},
        "rmsprop": {"beta": 0.9, "eps": 1e-8},
        "adam": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
        "adamw": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01},
        "adagrad": {"eps": 1e-8},
    },
    "schedule": {
        "constant": {},
        "inverse_time": {"lr_decay": 0.1},
        "exponential": {"lr_base": 0.95},
        "inverse_sqrt": {"lr_k": 1.0, "lr_per": "epoch"},
        "staircase": {"lr_factor": 0.5, "lr_every": 10},
        "cosine": {"lr_floor": 0.0},
    },
    "penalty": {"none": {}, "l1": {"lam": 1.0}, "l2": {"lam": 1.0}},
}
"""By setting and choice, the other settings that the choice takes, with their defaults."""

_MACRO = ("macro_f1", "macro_precision", "macro_recall")
TASKS: dict[str, dict[str, Any]] = {
    "classification": {"loss": "cross_entropy", "metrics": ("accuracy", "f1", "precision", "recall", *_MACRO, "top_k")},
    "binary": {"loss": "binary_cross_entropy", "metrics": ("accuracy", "f1", "precision", "recall", *_MACRO)},
    "regression": {"loss": "mse", "metrics": ("r2", "mse")},
    "text": {"loss": "cross_entropy", "metrics": ("perplexity", "accuracy")},
}
"""By task, the loss and the metrics; the first metric is the default."""

LARGE_IMAGES = 48
"""From so many pixels of the shorter side on, a cnn is of this kind: what is on them may be anywhere."""
LARGE = {"channels": (16, 32, 64), "global_pool": True}
"""What a cnn for large images has in the place of the other defaults."""
FEW_EXAMPLES = 2000
"""Below this a training set has few batches: the second number of EPOCHS, BATCH_SIZE and DECAY holds."""
RECURRENT = ("gru", "lstm", "rnn")
TEXT = {"hidden": (192,), "bidirectional": False, "dropout": 0.4, "epochs": 28, "batch_size": 32}
"""What a model of text has in the place of the other defaults."""
EPOCHS = (12, 40)
BATCH_SIZE = (32, 16)
DECAY = (0.3, 1.0)
"""Weight decay of an mlp on a table: without it, a network this large learns the noise of a small table."""
RULES = 2
"""The version of the rules by which data are read, split and normalised; a run of version 0.1 records none: 1."""
CLIP_NORM = 5.0
"""Of recurrent models, whose gradients may explode (notes 5)."""
