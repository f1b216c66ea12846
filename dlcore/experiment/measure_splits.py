"""What a trained model reaches on each part of its data, with one and the same weights: what a diagnosis goes by."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore.data.source import Source, as_source
from dlcore.train.config.classes import with_names

if TYPE_CHECKING:
    from dlcore.data import Splits
    from dlcore.train.engine.trainer import Trainer

__all__ = ["MOST", "measure_parts"]

MOST = 10_000
"""Examples of a part that are measured at most: they tell an error to within a hundredth."""


class _Some:
    """Evenly spaced examples of a source."""

    def __init__(self, source: Source, count: int) -> None:
        self.source, self.shape, self.dtype = source, source.shape, source.dtype
        self.places = np.unique(np.linspace(0, len(source) - 1, count).astype(int))

    def __len__(self) -> int:
        return len(self.places)

    def rows(self, index: Any) -> tuple[Any, ...]:
        return self.source.rows(self.places[index])


def measure_parts(trainer: Trainer, data: Splits) -> dict[str, dict[str, Any]]:
    """The figures of a trainer's model on the training, train-dev and development set, in evaluation mode.

    Of a part of more than 10,000 examples, as many are taken, evenly spaced. Each part's ``examples`` says how many
    were measured, its ``ms_per_image`` how long one took, in batches of 256, metrics included. Of heads there are
    ``labels`` by metric, how many were known, and of R² ``standard_errors`` by metric. Classes
    that are never predicted, and outputs that are NaN, are as :func:`dlcore.train.config.classes.with_names` gives
    them.

    >>> import dlcore as dl
    >>> data = dl.data.load("digits")
    >>> trainer = dl.Trainer(dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(10)), device="cpu")
    >>> [(part, found["examples"]) for part, found in measure_parts(trainer, data).items()]
    [('train', 1078), ('dev', 360)]
    """
    found = {}
    for name in ("train", "train_dev", "dev"):
        part = getattr(data, name)
        if part is None:
            continue
        source = as_source(part)
        source = _Some(source, MOST) if isinstance(source, Source) and len(source) > MOST else source
        begin = time.perf_counter()
        figures, measured = trainer.measure(source)
        seconds = time.perf_counter() - begin
        count = len(source)  # pyright: ignore[reportArgumentType]  of Splits: never a stream
        found[name] = {
            **figures,
            "examples": count,
            "ms_per_image": 1000 * seconds / count,
            **measured.chance(),
            **with_names(data, measured.faults()),
        }
    return found
