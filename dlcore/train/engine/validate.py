"""What can be wrong with a trainer's arguments and data, said before the first launch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore._core.configurable import one_line
from dlcore._core.input_tree import several, steps_of
from dlcore._core.quiet import quiet
from dlcore.data import Source, Stream, Text
from dlcore.errors import ConfigError, DataError
from dlcore.functional import Lengths
from dlcore.functional.checks import channels_first
from dlcore.nn.layers import BatchNorm
from dlcore.tensor import no_grad
from dlcore.train.engine.objective import Measured, each

if TYPE_CHECKING:
    from dlcore.train.engine.trainer import Trainer

__all__ = [
    "NORMALISES_ONE",
    "check_schedule",
    "check_set",
    "examples_of",
    "instance",
    "least_rows",
    "steps_of_epoch",
]


NORMALISES_ONE = "BatchNorm cannot normalise one position, as 1 example gives it here"
"""Why a batch of one example may not do."""


def instance(name: str, value: Any, kind: Any, example: str) -> None:
    """Refuse an argument that is no object of its kind."""
    if not isinstance(value, kind):
        raise ConfigError(f"Trainer: {name} is {one_line(value):.60} but an object is expected, {example}")


def check_set(trainer: Trainer, data: Source | Stream, name: str) -> None:
    """What can be wrong with a set for this model, said before the first launch."""
    if isinstance(data, Source) and not len(data):
        raise DataError(f"{name}: the set is empty; at least one example is expected")
    expected = trainer.model.input_shape
    if not fits(data.shape, expected):
        came = data.shape if several(data.shape) else tuple(data.shape)
        raise DataError(
            f"{name}: examples have shape {came} but the model was built for {expected}; "
            f"{channels_first(came, expected) or 'rebuild the model, or reshape the data'}"
        )
    with trainer.place(), no_grad():  # two rows through all that follows, so that what does not fit shows now
        x, y, *rest = data.first() if isinstance(data, Stream) else data.rows(np.arange(min(2, len(data))))
        inputs = trainer.upload(x)
        if trainer.augment is not None and name == "train":
            trainer.augment(inputs)
        lengths = Lengths(rest[0], steps_of(x), name) if rest else None
        outputs = trainer.forward(inputs, lengths)
        labels = getattr(data, "y", None)
        known = getattr(data, "lengths", None) if labels is not None else rest[0] if rest else None
        trainer.objectives.check(y if labels is None else labels, name, each(lambda value: value.data, outputs), known)
        trainer.objectives.loss(outputs, each(trainer.upload, y), lengths)
        measured = Measured(trainer.objectives)
        measured.add(outputs, y, lengths)
        with quiet():  # a figure of two examples may be undefined
            measured.metrics()


def fits(shape: Any, expected: Any) -> bool:
    """Whether examples of a shape are what a model was built for, where None stands for any size.

    >>> fits((7, 3), (None, 3)), fits({"a": (3,)}, {"a": (3,)}), fits(((3,), (4,)), ((3,), (5,)))
    (True, True, False)
    """
    if isinstance(expected, Mapping):
        return (
            isinstance(shape, Mapping)
            and shape.keys() == expected.keys()
            and all(fits(shape[name], expected[name]) for name in expected)
        )
    if isinstance(shape, Mapping) or len(shape) != len(expected):
        return False
    return all(
        isinstance(n, tuple | list) and fits(n, e) if isinstance(e, tuple) else e in (None, n)
        for n, e in zip(shape, expected, strict=True)
    )


def check_schedule(trainer: Trainer) -> None:
    """Warn where the epochs to come lie behind the end of the schedule: at a rate of 0 nothing is learnt."""
    ends, begins = trainer.schedule.ends, trainer.first_epoch
    if ends is None or max(trainer.epochs, trainer.epoch + 1) <= ends or trainer.epoch >= trainer.epochs:
        return
    rate = trainer.schedule(trainer.lr, ends, trainer.step + 1)
    if rate and begins < ends:
        return  # the rate stays where the schedule has brought it
    effect = f"stays {rate:g}" if rate else "is 0: no weight changes"
    warnings.warn(
        f"fit: the schedule {trainer.schedule!r} ended after epoch {ends}, and in epochs {max(begins, ends) + 1} to "
        f"{trainer.epochs} the learning rate {effect}; give trainer.schedule one that lasts for {trainer.epochs} "
        "epochs, or begin again with a new trainer",
        stacklevel=3,
    )


def steps_of_epoch(trainer: Trainer, train: Source | Stream) -> int:
    """Steps of an epoch, 0 where only a stream's end will tell. Refuses a last batch that cannot be trained on."""
    if trainer.least_rows > 1 and (trainer.batch_size == 1 or (isinstance(train, Source) and len(train) == 1)):
        raise DataError(
            f"train: {NORMALISES_ONE}; take batches of at least 2 examples: batch_size is {trainer.batch_size}"
            + (f", and there are {len(train)} examples" if isinstance(train, Source) else "")
        )
    if isinstance(train, Stream):
        return 0
    if isinstance(train, Text):
        return train.steps(trainer.batch_size)
    examples, size = len(train), trainer.batch_size
    if trainer.drop_last and examples < size:
        raise DataError(f"train: {examples} examples make no batch of {size} with drop_last; lower batch_size")
    alone = trainer.least_rows > 1 and not trainer.drop_last and (examples - 1) % size == 0
    if alone:
        warnings.warn(
            f"train: the last batch of each epoch holds 1 of {examples} examples and is left out: {NORMALISES_ONE}; "
            "another batch_size takes all in",
            stacklevel=3,
        )
    return examples // size if trainer.drop_last or alone else -(-examples // size)


def examples_of(trainer: Trainer, train: Source | Stream) -> int | None:
    """The m of the penalty: as it says, or the training set's length. ConfigError where neither is known."""
    penalty = trainer.penalty
    if penalty is not None and penalty.examples is not None:
        return penalty.examples
    if isinstance(train, Source):
        return len(train)
    if penalty is not None:
        name = type(penalty).__name__
        raise ConfigError(
            f"Trainer: the penalty {name} divides lam by the number of training examples, which an iterable does not "
            f"tell; give it, as in {name}(lam, examples=1000)"
        )
    return None


def least_rows(trainer: Trainer, train: Source | Stream) -> int:
    """Examples that a training batch needs: 2 where a BatchNorm that learns sees one position of each, else 1."""
    learning = [m for _, m in trainer.model.named_modules() if isinstance(m, BatchNorm) and m.gamma.requires_grad]
    size, text = trainer.batch_size, isinstance(train, Text)
    last = not (trainer.drop_last or text) and (isinstance(train, Stream) or len(train) % size == 1)
    if not learning or not (size == 1 or last):
        return 1  # and no batch has one
    x, _, *rest = train.first() if isinstance(train, Stream) else train.rows(np.arange(1))
    positions: list[int] = []

    def seen(forward: Any) -> Any:
        def call(x: Any, *args: Any, **kwargs: Any) -> Any:
            positions.append(math.prod(x.shape[:-1]))
            return forward(x, *args, **kwargs)

        return call

    for module in learning:
        module.forward = seen(module.forward)
    try:
        with trainer.place(), no_grad():
            inputs = trainer.upload(x)
            if trainer.augment is not None:
                inputs = trainer.augment(inputs)
            trainer.forward(inputs, Lengths(rest[0], steps_of(x), "train") if rest else None)
    finally:
        for module in learning:
            del module.forward
    return 2 if 1 in positions else 1
