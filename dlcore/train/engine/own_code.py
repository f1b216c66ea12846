"""Which code of a user's own a trainer runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from dlcore.train.checkpoint.own_code import digest

if TYPE_CHECKING:
    from dlcore.train.engine.trainer import Trainer

__all__ = ["own_code"]


def own_code(trainer: Trainer) -> dict[str, Any]:
    """The digests of a trainer's own code, by what it is: without it a run is another one, or may be another one."""
    parts: dict[str, Any] = {
        "optimizer": trainer.optimizer, "penalty": trainer.penalty, "clip": trainer.clip,
        "augmentation": trainer.augment,
    }  # fmt: skip
    for head, objective in trainer.objectives.items():
        parts[f"loss {head}".strip()] = objective.loss
        parts |= {f"metric {objective.prefix}{metric.name}": metric for metric in objective.metrics}
    layers = dict(trainer.model.named_modules())
    parts |= {f"config of layer {path!r}": layer.config for path, layer in layers.items()}
    near: dict[str, Any] = {f"layer {path!r}": type(layer) for path, layer in layers.items()}
    near |= {"schedule": trainer.schedule}
    return {
        "python": ".".join(map(str, sys.version_info[:2])),
        "same": {name: found for name, value in parts.items() if (found := digest(value))},
        "near": {name: found for name, value in near.items() if (found := digest(value))},
    }
