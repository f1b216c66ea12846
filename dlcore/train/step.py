"""One training step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlcore.train.objectives import each

if TYPE_CHECKING:
    from dlcore.train.feed import Batch
    from dlcore.train.trainer import Trainer

__all__ = ["one_step"]


def one_step(trainer: Trainer, batch: Batch, check_labels: bool) -> None:
    """Forward, backward, update: nothing here waits for the device."""
    rows, y, inputs = len(batch.x), batch.y, batch.inputs
    trainer.optimizer.lr = trainer.schedule(trainer.lr, trainer.epoch, trainer.step + 1)
    if trainer.augment is not None:
        inputs = trainer.augment(inputs, trainer.seed, trainer.step, first_row=trainer.model.clock.first_row)
    outputs = trainer.model(inputs)
    if check_labels:
        trainer.objectives.check(y, "train", each(lambda value: value.data, outputs))
    loss = trainer.objectives.loss(outputs, batch.targets)
    penalty = None
    if trainer.penalty is not None:
        penalty = trainer.penalty(trainer.model, rows)
        loss = loss + penalty
    loss.backward()
    if trainer.clip is not None:
        trainer.clip(trainer.model)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    trainer.step += 1
    trainer.progress.add(loss.data, None if penalty is None else penalty.data, rows)
    trainer.progress.measured.add(outputs, y)
