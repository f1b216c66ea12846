"""What a run's model.json says about the model, beside its layers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dlcore.losses import StandardizedMSE, named
from dlcore.train.config import config
from dlcore.train.config.classes import class_weights, classes_of, positives
from dlcore.train.config.targets import standardized
from dlcore.train.engine.class_weights import weighted

if TYPE_CHECKING:
    from dlcore.data import Splits

__all__ = ["about", "objective_of"]


def about(settings: config.Config, data: Splits) -> dict[str, Any]:
    """What those who use a model must know besides: how its inputs are made, and what its outputs mean.

    >>> settings = config.Config.of(data="penguins", target="sex")
    >>> known = about(settings, settings.data.load())
    >>> known["task"], known["loss"], known["classes"]
    ('binary', 'binary_cross_entropy', ['female', 'male'])
    """
    from dlcore.data.source import as_source, fingerprint

    scales = {name: asdict(scale) for name, scale in standardized(settings.seen(data)).items()}
    return {
        "data": data.name,
        "task": data.task,
        "loss": settings.loss(data),
        "targets": scales.get("", scales or None),
        "classes": _listed(data.classes),
        "positive": _positive(settings, data),
        "class_weight": _class_weights(settings, data),
        "normalizer": None if data.normalizer is None else data.normalizer.to_dict(),
        "inputs": None if data.inputs is None else data.inputs.to_dict(),
        "target": data.target if data.target is None or isinstance(data.target, str) else list(data.target),
        "lengths": getattr(data.train, "lengths", None) is not None,
        "fingerprints": {part: fingerprint(as_source(getattr(data, part))) for part in ("train", "dev", "test")},
    }


def objective_of(about: dict[str, Any]) -> Any:
    """The loss of a run, or by head its losses, from what :func:`about` says."""
    loss, scales = about.get("loss") or "mse", about.get("targets")
    weights = about.get("class_weight")
    if isinstance(loss, str):
        return StandardizedMSE(**scales) if scales else weighted(named(loss), tuple(weights)) if weights else loss
    loss = loss | {name: weighted(named(loss[name]), tuple(table)) for name, table in (weights or {}).items()}
    return loss | {name: StandardizedMSE(**scale) for name, scale in (scales or {}).items()}


def _positive(settings: config.Config, data: Splits) -> Any:
    """The positive class of two, or of several targets by name; None where precision, recall and f1 are macro averages,
    as they are in a run that records none."""
    if settings.data.rules == 1:
        return None
    names = classes_of(data)
    found = {head: names[head][label] for head, label in positives(data, settings.train.positive).items()}
    return found.get("", found or None)


def _class_weights(settings: config.Config, data: Splits) -> Any:
    found = class_weights(data, settings.train.class_weight)
    return {head: list(table) for head, table in found.items()} if isinstance(found, dict) else found


def _listed(classes: Any) -> Any:
    """Names of classes as JSON gives them back; of several targets by name."""
    if isinstance(classes, dict):
        return {name: list(names) for name, names in classes.items()}
    return None if classes is None else list(classes)
