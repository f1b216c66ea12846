"""What a model.json says about its model: each key is of the kind that its readers count on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlcore.errors import CheckpointError, DlcoreError
from dlcore.train.checkpoint.kinds import (
    FLAG,
    LABEL,
    NUMBER,
    OBJECT,
    TEXT,
    Kind,
    brief,
    by_name,
    each,
    either,
    kind,
    or_none,
)

__all__ = ["check_about"]


def _is_scale(value: Any) -> bool:
    fits = isinstance(value, dict) and value.keys() == {"mean", "std"}
    return fits and not any(NUMBER(number, "") for number in value.values()) and value["std"] > 0


_SCALE = kind(_is_scale, "a mean and a std > 0")

_KINDS: dict[str, Kind] = {
    "data": TEXT,
    "task": TEXT,
    "model": TEXT,
    "loss": either("a name, or names by head,", TEXT, by_name(TEXT)),
    "targets": either("a mean and a std > 0, or these by head,", _SCALE, by_name(_SCALE)),
    "classes": either("a list of names, or lists by head,", each(LABEL), by_name(or_none(each(LABEL)))),
    "positive": either("a class, or classes by head,", LABEL, by_name(LABEL)),
    "class_weight": either("a list of numbers, or lists by head,", each(NUMBER), by_name(each(NUMBER))),
    "normalizer": OBJECT,
    "inputs": OBJECT,
    "target": either("a name, or a list of names,", TEXT, each(TEXT)),
    "lengths": FLAG,
    "fingerprints": by_name(TEXT),
}
"""By key, what it may hold besides null. Other keys are whoever saved the model's own."""


def check_about(path: Path, about: dict[str, Any]) -> None:
    """Raise a CheckpointError that names the file and the key of what is of another kind.

    >>> check_about(Path("model.json"), {"task": "binary", "classes": ["no", "yes"], "mine": 3})
    >>> check_about(Path("model.json"), {"classes": 3})
    Traceback (most recent call last):
    dlcore.errors.CheckpointError: model.json: damaged: classes is 3, but a list of names, or lists by head, is \
expected; use another copy
    """
    for key, of in _KINDS.items():
        if wrong := or_none(of)(about.get(key), key):
            raise CheckpointError(f"{path}: damaged: {wrong}; use another copy")
    _check_together(path, about)
    for key, made in (("loss", _losses), ("normalizer", _normalizer), ("inputs", _inputs)):
        try:
            if about.get(key) is not None:
                made(about[key])
        except DlcoreError as error:
            raise CheckpointError(f"{path}: damaged: {key}: {error!s:.300}; use another copy") from error


def _check_together(path: Path, about: dict[str, Any]) -> None:
    """Of several heads everything is by head, and a class has a weight."""
    loss, classes, weights = (about.get(key) for key in ("loss", "classes", "class_weight"))
    if "fingerprints" in about and not loss and about.get("model") != "knn":  # of a run
        raise CheckpointError(f"{path}: damaged: loss is {brief(loss)}, but a name is expected; use another copy")
    for key in ("classes", "class_weight"):
        if about.get(key) is not None and loss and isinstance(about[key], dict) != isinstance(loss, dict):
            raise CheckpointError(
                f"{path}: damaged: {key} is {brief(about[key])} beside the loss {brief(loss)}, but both or none are by "
                "head; use another copy"
            )
    if isinstance(loss, dict) and isinstance(classes, dict) and not classes.keys() <= loss.keys():
        heads = ", ".join(map(repr, classes.keys() - loss.keys()))
        raise CheckpointError(f"{path}: damaged: loss has none for {heads:.60}, which has classes; use another copy")
    by_head = weights if isinstance(weights, dict) else {"": weights}
    for head, found in by_head.items():
        names = classes.get(head) if isinstance(classes, dict) else classes
        if found is not None and names is not None and len(found) != len(names):
            raise CheckpointError(
                f"{path}: damaged: class_weight has {len(found)} numbers for {len(names)} classes; use another copy"
            )


def _losses(saved: Any) -> None:
    from dlcore.losses import named

    for name in saved.values() if isinstance(saved, dict) else [saved]:
        named(name)


def _normalizer(saved: Any) -> None:
    from dlcore.data import Normalizer

    Normalizer.from_dict(saved)


def _inputs(saved: Any) -> None:
    from dlcore.data import Inputs
    from dlcore.data._series_inputs import SeriesInputs

    if saved:
        (SeriesInputs if saved.get("kind") == "series" else Inputs).from_dict(saved)
