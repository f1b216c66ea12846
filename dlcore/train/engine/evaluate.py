"""Measuring a model on data, and its outputs for them: passes in evaluation mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from backends.runtime import copies
from dlcore._core.input_tree import leaves, rows_of
from dlcore.data import Dataset, Source, Stream, Text, batches
from dlcore.data.loader import numbers_of
from dlcore.data.source import BadExampleError
from dlcore.errors import DataError
from dlcore.functional._calls import Call
from dlcore.nn.mode import evaluation
from dlcore.tensor import Tensor
from dlcore.train.engine.batch import Batch
from dlcore.train.engine.objective import Measured, each
from dlcore.train.engine.recurrent_state import Carried, are_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlcore.nn.module import Module
    from dlcore.train.engine.trainer import Trainer

__all__ = ["examples", "measure", "predictions"]


def measure(
    trainer: Trainer, data: Source | Stream, batch_size: int = 256, pause: bool = False
) -> tuple[dict[str, float], Measured]:
    """The loss, each head's over its own known labels, and the metrics, with what these are of.

    pause : a fit may end here
    """
    objectives = trainer.objectives.twin()
    measured = Measured(objectives)
    means = {name: Mean() for name in objectives}
    carried = Carried.over(data)
    with trainer.place(), evaluation():
        passed, labels_unknown = batches(data, batch_size, shuffle=False), getattr(data, "y", None) is None
        with trainer._fed(passed) as fed:
            for number, batch in enumerate(fed):
                if pause:
                    trainer._pause()
                outputs = trainer.forward(batch.inputs, batch.lengths, carried)
                if labels_unknown and not isinstance(data, Text):
                    _check(objectives, data, batch, outputs, numbers_of(passed, number))
                rows = objectives.rows(batch.y, outputs, batch.lengths)
                for name, value in objectives.losses(outputs, batch.targets, batch.lengths).items():
                    means[name].add(value, rows[name], objectives[name].call)
                measured.add(outputs, batch.y, batch.lengths)
        measured.to_host()
        values = measured.metrics()
    loss = sum(objectives[name].weight * mean.total / (mean.count or 1) * mean.steps for name, mean in means.items())
    return {"loss": loss, **values}, measured


def _check(objectives: Any, data: Any, batch: Batch, outputs: Any, numbers: Sequence[int]) -> None:
    """The labels of a set that gives them batch by batch; an error names the example by its number in the set."""
    known = None if batch.lengths is None else np.array(batch.lengths.values)
    try:
        objectives.check(batch.y, getattr(data, "name", "data"), each(lambda value: value.data, outputs), known)
    except BadExampleError as error:
        raise error.at(numbers) from None


class Mean:
    """The mean loss of many batches: of all examples, not of batches, so that it does not depend on how these are cut.

    Where the examples have weights, a batch's loss is Σ w l / Σ w, and the whole is the sum of the first sums divided
    by that of the second.

    total, count : Σ w l and Σ w; equal weights are 1
    """

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0.0
        self._steps, self._sequences = 0.0, 0.0

    def add(self, value: Tensor, rows: int, call: Call | None) -> None:
        """One batch: its loss, how many examples it has, and how the loss came about where they have weights."""
        loss = copies.to_host(value.data).item()
        if call is None:
            self.total += loss * rows
            self.count += rows
            return
        weight = _number(call.weight)
        self.count += weight
        if call.sequences is not None:
            steps, sequences = map(_number, call.sequences)
            weight *= sequences / steps if steps else 0.0
            self._steps += steps
            self._sequences += sequences
        self.total += loss * weight

    @property
    def steps(self) -> float:
        """The mean number of steps of a sequence, where the loss sums over these and they have weights; else 1."""
        return self._steps / self._sequences if self._sequences else 1.0


def _number(figure: Any) -> float:
    return figure if isinstance(figure, float) else copies.to_host(figure).item()


def examples(x: Any, model: Module) -> Source:
    """What came to be predicted, as a source; raises DataError where it is no array on the host, or empty."""
    if isinstance(x, Source):
        return x
    if are_inputs(x, model):
        n = rows_of(x) if x and all(map(np.ndim, leaves(x))) else 0
        if not n:
            raise DataError("predict: no examples came; pass at least one")
        return Dataset(x, np.zeros(n, dtype=np.int64))
    try:
        x = np.asarray(x)
    except (TypeError, ValueError) as error:  # an array on another device; rows of different lengths
        raise DataError(f"predict: x cannot become a NumPy array on the host ({error})") from error
    if not x.ndim or not len(x):
        raise DataError("predict: no examples came; pass at least one")
    return Dataset(x, np.zeros(len(x), dtype=np.int64))


def predictions(trainer: Trainer, x: Source, batch_size: int = 256) -> Any:
    """The outputs for all of ``x`` on the host, by name where the model gives several."""
    carried = Carried.over(x)
    with trainer.place(), evaluation(), trainer._fed(batches(x, batch_size, shuffle=False), targets=False) as fed:
        outputs = (trainer.forward(batch.inputs, batch.lengths, carried) for batch in fed)
        parts = [each(lambda y: copies.to_host(y.data), one) for one in outputs]
    if isinstance(parts[0], dict):
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return {name: trainer.objectives.in_unit(values, name) for name, values in whole.items()}
    return trainer.objectives.in_unit(np.concatenate(parts))
