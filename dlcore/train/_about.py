"""What a model.json says about its model: each key is of the kind that its readers count on."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

from dlcore.errors import CheckpointError, DlcoreError
from dlcore.train._bounds import brief

__all__ = ["check_about"]

Fits = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return (type(value) is float and isfinite(value)) or (type(value) is int and abs(value) < 2**53)


def _is_name(value: Any) -> bool:
    """Of a class: text, or a number or a truth value of a label."""
    return value is None or isinstance(value, str | int | float)


def _each(fits: Fits) -> Fits:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _by_name(fits: Fits) -> Fits:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def _or_none(fits: Fits) -> Fits:
    return lambda value: value is None or fits(value)


def _either(*choices: Fits) -> Fits:
    return lambda value: any(fits(value) for fits in choices)


def _is_scale(value: Any) -> bool:
    fits = isinstance(value, dict) and value.keys() == {"mean", "std"} and all(map(_is_number, value.values()))
    return fits and value["std"] > 0


_KINDS: dict[str, tuple[Fits, str]] = {
    "data": (_is_text, "a name"),
    "task": (_is_text, "a name"),
    "model": (_is_text, "a name"),
    "loss": (_either(_is_text, _by_name(_is_text)), "a name, or names by head"),
    "targets": (_either(_is_scale, _by_name(_is_scale)), "a mean and a std > 0, or these by head"),
    "classes": (_either(_each(_is_name), _by_name(_or_none(_each(_is_name)))), "a list of names, or lists by head"),
    "positive": (_either(_is_name, _by_name(_is_name)), "a class, or classes by head"),
    "class_weight": (_either(_each(_is_number), _by_name(_each(_is_number))), "a list of numbers, or lists by head"),
    "normalizer": (lambda value: isinstance(value, dict), "an object"),
    "inputs": (lambda value: isinstance(value, dict), "an object"),
    "target": (_either(_is_text, _each(_is_text)), "a name, or a list of names"),
    "lengths": (lambda value: isinstance(value, bool), "true or false"),
    "fingerprints": (_by_name(_is_text), "texts by part"),
}
"""By key, what it may hold besides null, and that in words. Other keys are whoever saved the model's own."""


def check_about(path: Path, about: dict[str, Any]) -> None:
    """Raise a CheckpointError that names the file and the key of what is of another kind.

    >>> check_about(Path("model.json"), {"task": "binary", "classes": ["no", "yes"], "mine": 3})
    >>> check_about(Path("model.json"), {"classes": 3})
    Traceback (most recent call last):
    dlcore.errors.CheckpointError: model.json: damaged: classes is 3, but a list of names, or lists by head, is \
expected; use another copy
    """
    for key, (fits, words) in _KINDS.items():
        value = about.get(key)
        if value is not None and not fits(value):
            raise CheckpointError(
                f"{path}: damaged: {key} is {brief(value)}, but {words}, is expected; use another copy"
            )
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
