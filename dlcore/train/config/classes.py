"""What a configuration does about the classes of a data set: which is positive, what each weighs, which are rare.

Of several targets each has its classes, by its name; one target has the name "". NumPy is imported where something is
counted, and not before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlcore._core.configurable import did_you_mean
from dlcore.errors import ConfigError
from dlcore.train.config.targets import tasks_of

if TYPE_CHECKING:
    from dlcore.data import Splits

__all__ = ["OF_A_CLASS", "class_weights", "classes_of", "counts", "positives", "with_names"]

OF_A_CLASS = ("precision", "recall", "f1")
"""Metrics that are of the positive class, where there are two classes."""


def classes_of(data: Splits) -> dict[str, tuple[str, ...]]:
    """The names of the classes of each target that has any; without names they are 0 and 1. A text's characters are
    none.

    >>> from dlcore.data import load
    >>> classes_of(load("penguins", target="sex")), classes_of(load("cars"))
    ({'': ('female', 'male')}, {})
    """
    found = {}
    for head, task in tasks_of(data).items():
        if task in ("classification", "binary"):
            names = data.classes.get(head) if isinstance(data.classes, Mapping) else data.classes
            found[head] = tuple(map(str, names or ("0", "1")))
    return found


def counts(data: Splits) -> dict[str, dict[str, int]]:
    """By target, how many training examples each class has.

    >>> from dlcore.data import load
    >>> counts(load("penguins", target="sex"))
    {'': {'female': 99, 'male': 101}}
    """
    import numpy as np

    found = {}
    for head, names in classes_of(data).items():
        y = np.asarray(_labels(data.train, head), dtype=np.float64).ravel()
        number = np.bincount(y[y >= 0].astype(np.int64), minlength=len(names))  # NaN and -1 are missing
        found[head] = dict(zip(names, number.tolist(), strict=True))
    return found


def positives(data: Splits, positive: str | None) -> dict[str, int]:
    """By target of two classes, the label of the positive one: of the name ``positive``, else the second in order.

    Raises ConfigError for a name that no such target has.

    >>> from dlcore.data import load
    >>> positives(load("penguins", target="sex"), "female"), positives(load("digits"), None)
    ({'': 0}, {})
    """
    pairs = {head: names for head, names in classes_of(data).items() if len(names) == 2}
    known = [name for names in pairs.values() for name in names]
    if positive is not None and positive not in known:
        there = f"they are {' and '.join(known)}" if known else f"{data.name} has no target of two classes"
        raise ConfigError(
            f"positive is {positive!r:.60} but one of two classes is expected, and {there}"
            f"{did_you_mean(positive, known)}"
        )
    return {head: names.index(positive) if positive in names else 1 for head, names in pairs.items()}


def class_weights(data: Splits, words: Sequence[str] | None) -> Any:
    """The weights of the classes as a trainer takes them, from "balanced" or from ``CLASS=WEIGHT``; None for equal
    ones. With several targets "balanced" is for each that has classes.

    >>> from dlcore.data import load
    >>> class_weights(load("penguins", target="sex"), ("male=2",))
    (1.0, 2.0)
    """
    from dlcore.train.config.sections import pairs

    if words is None:
        return None
    names = classes_of(data)
    if not names:
        raise ConfigError(f"class_weight is for classes, but {data.name} ({data.task}) has none; leave it out")
    if tuple(words) == ("balanced",):
        from dlcore.train.engine.class_weights import balanced

        found = {head: balanced(_labels(data.train, head), len(classes)) for head, classes in names.items()}
        return found.get("", found)
    if "" not in names:
        raise ConfigError(
            f"class_weight is {' '.join(words):.60} but with heads balanced is expected, for each of {', '.join(names)}"
        )
    given = pairs("class_weight", words)
    for name in given:
        if name not in names[""]:
            raise ConfigError(
                f"class_weight has {name!r:.60}, but the classes of {data.name} are {', '.join(names[''][:12])}"
                f"{', ...' if len(names['']) > 12 else ''}{did_you_mean(name, names[''])}"
            )
    return tuple(given.get(name, 1.0) for name in names[""])


def with_names(data: Splits, faults: Mapping[str, Any]) -> dict[str, Any]:
    """What :meth:`Measured.faults` gives, with the names of the classes in the place of their labels; a text has none.

    >>> from dlcore.data import load
    >>> with_names(load("penguins", target="sex"), {"never_predicted": {"": {1: 20}}})
    {'never_predicted': {'': {'male': 20}}}
    """
    names, found = classes_of(data), dict(faults)
    never = {
        head: {names[head][label]: number for label, number in labels.items() if label < len(names[head])}
        for head, labels in found.pop("never_predicted", {}).items()
        if head in names
    }
    return ({"never_predicted": never} if never else {}) | found


def _labels(part: Any, head: str) -> Any:
    return part.y[head] if head else part.y
