"""One training step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore.tensor import Tensor
from dlcore.train.engine.objective import each
from dlcore.train.engine.recurrent_state import called

if TYPE_CHECKING:
    from dlcore.train.engine.batch import Batch
    from dlcore.train.engine.loss_scaling import Mixed
    from dlcore.train.engine.trainer import Trainer

__all__ = ["one_step"]


def one_step(trainer: Trainer, batch: Batch, check_labels: bool) -> None:
    """Forward, backward, update: nothing here waits for the device."""
    if trainer.mixed is None:
        _step(trainer, batch, check_labels)
    else:
        with np.errstate(over="ignore", invalid="ignore"):  # the loss scale is there for what overflows
            _step(trainer, batch, check_labels)


def _step(trainer: Trainer, batch: Batch, check_labels: bool) -> None:
    rows = batch.rows
    trainer.optimizer.lr = trainer.schedule(trainer.lr, trainer.epoch, trainer.step + 1)
    if trainer.augment is not None:
        first = trainer.model.clock.first_row
        batch = replace(batch, inputs=trainer.augment(batch.inputs, trainer.seed, trainer.step, first_row=first))
    if trainer.mixed is None:
        outputs, loss, penalty = _gradients(trainer, batch, check_labels)
    else:
        outputs, loss, penalty = _gradients_in_half(trainer, trainer.mixed, batch, check_labels)
    norm = None
    if trainer.clip is not None:
        trainer.clip(trainer.model)
        norm = getattr(trainer.clip, "norm", None)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    trainer.step += 1
    trainer.progress.add(loss, None if penalty is None else penalty.data, rows, norm, trainer.objectives.weight())
    trainer.progress.measured.add(outputs, batch.y, batch.lengths)


def _gradients(trainer: Trainer, batch: Batch, check_labels: bool) -> tuple[Any, Any, Tensor | None]:
    """The outputs, the whole loss as an array, and the penalty in it, after the backward pass."""
    outputs = called(trainer.model, batch.inputs, batch.lengths, trainer.progress.carried)
    if check_labels:
        known = None if batch.lengths is None else np.array(batch.lengths.values)
        trainer.objectives.check(batch.y, "train", each(lambda value: value.data, outputs), known)
    loss = trainer.objectives.loss(outputs, batch.targets, batch.lengths)
    penalty = None
    if trainer.penalty is not None:
        penalty = trainer.penalty(trainer.model, trainer.examples)
        loss = loss + penalty
    trainer.memory.sample()  # all that the backward pass needs is still there
    loss.backward()
    return outputs, loss.data, penalty


def _gradients_in_half(
    trainer: Trainer, mixed: Mixed, batch: Batch, check_labels: bool
) -> tuple[Any, Any, Tensor | None]:
    """The same in mixed precision; the penalty's gradient, of the master parameters, is added in float32."""
    outputs, loss = mixed.gradients(trainer, batch, check_labels)
    if trainer.penalty is None:
        return outputs, loss.data, None
    penalty = trainer.penalty(trainer.model, trainer.examples)
    if penalty.requires_grad:
        penalty.backward()
    return outputs, loss.data + penalty.data, penalty
