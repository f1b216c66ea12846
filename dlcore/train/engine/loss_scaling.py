"""Training in mixed precision: passes in float16, everything that adds up in float32, and a loss scale between.

A step of it:

1. the master parameters, float32, are rounded to float16 in one launch;
2. forward and backward run in float16; the outputs are widened before the loss, which is computed in float32 and
   multiplied by the loss scale for the backward pass;
3. the gradients are divided by the scale into float32, and where one is not finite, the step is marked on the device;
4. penalty, clipping and the optimiser work in float32; a marked step changes no parameter, no state and no running
   statistic, and Adam's t does not count it. The scale is halved then, and doubled after ``grow_every`` steps in a row
   that were taken.

The host waits for none of it: the trainer reads scale and counts with the losses. Evaluation, prediction and files take
the master parameters, so a model that was trained so gives the same numbers when it is loaded as an ordinary one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from backends.array_ops import device_of
from backends.float16 import is_half
from backends.namespace import isdtype, namespace_of
from backends.reference import mixed
from backends.runtime import copies
from backends.runtime.device import Device
from dlcore._core.input_tree import mapped
from dlcore.errors import ConfigError
from dlcore.nn.half import Half
from dlcore.nn.module import Module
from dlcore.nn.parameter import Buffer
from dlcore.optim import Optimizer
from dlcore.tensor import Tensor, apply
from dlcore.train.engine.objective import each
from dlcore.train.engine.recurrent_state import called

if TYPE_CHECKING:
    from dlcore.train.engine.batch import Batch
    from dlcore.train.engine.trainer import Trainer

__all__ = ["PRECISIONS", "Mixed"]

PRECISIONS = ("float32", "mixed", "float64")


class Mixed:
    """The state of mixed precision between the steps of a trainer.

    start : the loss scale of the first step; like all of them a power of two
    grow_every : steps in a row that must have been taken before the scale is doubled
    least, most : its limits. A step that overflows at ``least`` has another cause, and ends the training
    """

    def __init__(
        self, start: float = 2.0**15, grow_every: int = 200, least: float = 1.0, most: float = 2.0**24
    ) -> None:
        self.start, self.grow_every, self.least, self.most = start, grow_every, least, most
        self.half: Half | None = None
        self.scale: Any = None
        """(1,) float32, on the device."""
        self.counts: Any = None
        """(5,) int32, on the device; see :mod:`backends.reference.mixed`."""
        self.told = 0
        """Steps left out that the records of earlier epochs have told of."""
        self._last = (start, 0)  # the scale and the steps left out, as they were read last

    def attach(self, model: Module, optimizer: Optimizer) -> None:
        """Give the model its twin in float16, and the optimiser the counts, where they do not have them."""
        vector = model.built()
        self._buffers: list[Buffer] = [buffer for _, buffer in model.named_buffers()]
        if self.half is None or not self.half.is_of(vector) or optimizer.counts is not self.counts:
            self.half = Half(vector)
            scale, skipped = self._last
            self._place(vector.device, scale, [1, optimizer.steps, 0, skipped, 0])
            optimizer.counts = self.counts

    def _place(self, device: Device, scale: float, counts: list[int]) -> None:
        """Write scale and counts to the device, in place where they are there already: the optimiser holds them too."""
        new_scale = copies.to_device(np.array([scale], np.float32), device)
        new_counts = copies.to_device(np.array(counts, np.int32), device)
        if self.counts is not None and device.holds(self.counts):
            self.scale[...], self.counts[...] = new_scale, new_counts
        else:
            self.scale, self.counts = new_scale, new_counts
        self._last = (scale, counts[3])

    def _attached(self) -> Half:
        if self.half is None:
            raise ConfigError("mixed precision: attach(model, optimizer) must come first")
        return self.half

    # --- a step

    def gradients(self, trainer: Trainer, batch: Batch, check_labels: bool) -> tuple[Any, Tensor]:
        """The outputs and the loss of a batch, in float32; its gradients are then those of the master parameters."""
        half, scale = self._attached(), self.scale
        before = [namespace_of(buffer.data).asarray(buffer.data, copy=True) for buffer in self._buffers]
        with half.shown():
            carried = trainer.progress.carried
            carried.change(_narrowed)
            outputs = each(_widened, called(trainer.model, mapped(_narrowed, batch.inputs), batch.lengths, carried))
            if check_labels:
                known = None if batch.lengths is None else np.array(batch.lengths.values)
                trainer.objectives.check(batch.y, "train", each(lambda value: value.data, outputs), known)
            loss = trainer.objectives.loss(outputs, batch.targets, batch.lengths)
            trainer.memory.sample()
            loss.backward(namespace_of(scale).reshape(scale, ()))
        limits = {"grow_every": self.grow_every, "least": self.least, "most": self.most}
        mixed.unscale_(half.vector.grad, scale, self.counts, half.grad, **limits)
        for buffer, old in zip(self._buffers, before, strict=True):  # an overflow in the forward pass shows there too
            mixed.keep_(buffer.data, old, self.counts)
        return outputs, loss

    # --- what the host is told

    def read(self, optimizer: Optimizer) -> int | None:
        """Bring scale and counts to the host: a wait for the device.

        Returns None, or how many steps ago one was left out at the least scale.
        """
        scale, (_, taken, _, skipped, failed) = self._read()
        self._last = (scale, skipped)
        optimizer.steps = taken
        return taken + skipped - failed if failed else None

    def _read(self) -> tuple[float, list[int]]:
        return float(copies.to_host(self.scale)[0]), copies.to_host(self.counts).tolist()

    def record(self) -> dict[str, int]:
        """For the record of an epoch: the loss scale, and how many of its steps were left out, as read last."""
        scale, skipped = self._last
        before, self.told = self.told, skipped
        return {"loss_scale": int(scale), "skipped_steps": skipped - before}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        scale, counts = self._read()
        return {"scale": scale, "counts": counts, "told": self.told}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave, once attached."""
        counts = [int(count) for count in state["counts"]]
        if len(counts) != 5:
            raise ValueError(f"the counts of mixed precision are {counts}, but 5 are expected")
        self._place(self._attached().vector.device, float(state["scale"]), counts)
        self.told = int(state["told"])


class _Widen:
    """In the place of a kernel: float16 as float32 forward, and back to float16 backward."""

    name = "widen"
    __module__ = __name__

    def choose(self, *_: Any) -> _Widen:
        return self

    def forward(self, xp: Any, x: Any, *, needed: Any) -> tuple[Any, None]:
        return xp.astype(x, xp.float32), None

    def backward(self, xp: Any, dy: Any, saved: None, *, needed: Any) -> tuple[Any]:
        return (xp.astype(dy, xp.float16),)


_WIDEN: Any = _Widen()


def _widened(y: Tensor) -> Tensor:
    return apply(_WIDEN, y) if is_half(namespace_of(y.data), y.data) else y


def _narrowed(x: Any) -> Any:
    """Floats rounded to float16, and integers, such as the ids of an Embedding, as they are."""
    xp = namespace_of(x)
    if not isdtype(xp, x.dtype, "real floating"):
        return x
    half = xp.zeros(x.shape, dtype=xp.float16, device=device_of(x))
    mixed.cast_(half, x)
    return half
