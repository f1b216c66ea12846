"""How far the epoch that is running has come, and what its steps have measured so far."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from backends.namespace import namespace_of
from backends.runtime import copies
from dlcore.train.engine.objective import Measured, Objectives
from dlcore.train.engine.recurrent_state import Carried

__all__ = ["Progress"]


class Progress:
    """Losses and predictions of the steps of one epoch; the losses wait on the device until they are read.

    batches : trained on
    sums : of loss · rows, of penalty · rows, and of rows, over the losses that have been read
    weighted : where examples have weights, sums of weighted loss without the penalty, and of weights
    seconds : spent, before an interruption included
    measured : the predictions, for the metrics
    carried : the state of a recurrent model between two batches
    last : the loss of the last step, a scalar on the device; None before the first
    """

    def __init__(self, objectives: Objectives) -> None:
        self.batches = 0
        self.sums = [0.0, 0.0, 0.0]
        self.weighted = [0.0, 0.0]
        self.seconds = 0.0
        self.measured = Measured(objectives)
        self.carried = Carried()
        self.last: Any = None
        self._norms = [0.0, 0.0, 0.0]  # sum, largest and number of the gradients' norms that have been read
        self._ring: list[tuple[Any, Any, Any, Any, int]] = []

    def add(self, loss: Any, penalty: Any, rows: int, norm: Any = None, weight: Any = None) -> None:
        """One step: its loss, and the penalty in it or None, both scalars on the device.

        norm : of the gradient before clipping, on the device too, where the next step overwrites it; or None
        weight : sum of the weights of its examples, on the device; None where they are equal
        """
        self.batches += 1
        self.last = loss
        kept = None if norm is None else namespace_of(norm).asarray(norm, copy=True)
        self._ring.append((loss, penalty, kept, weight, rows))

    def norms(self) -> dict[str, float]:
        """For the record of an epoch: the mean and the largest norm of the gradients before clipping, as read last."""
        total, largest, count = self._norms
        return {"grad_norm": total / count, "grad_norm_max": largest} if count else {}

    def loss(self) -> float:
        """The loss of all examples so far, with the penalty, as read last; NaN where there is none."""
        loss, penalty, rows = self.sums
        total, weight = self.weighted
        known = rows or math.nan  # in mixed precision every loss of a short epoch may be left out
        return total / weight + penalty / known if weight else loss / known

    @property
    def waiting(self) -> int:
        """Steps whose losses have not been read."""
        return len(self._ring)

    def read(self, leave_out: bool = False) -> tuple[int, float] | None:
        """Bring the losses since the last read to the host and sum them up: one wait for the device.

        Returns None, or the first that is not finite: how many steps ago it was, and its value. With ``leave_out`` the
        others are summed up nevertheless.
        """
        if not self._ring:
            return None
        xp = namespace_of(self._ring[0][0])
        *columns, rows = zip(*self._ring, strict=True)
        there = [column[0] is not None for column in columns]
        arrays = [column for column, known in zip(columns, there, strict=True) if known]
        host = copies.to_host(xp.stack([xp.stack([xp.asarray(v) for v in column]) for column in arrays]))
        figures = iter(host.astype(np.float64))
        losses, penalties, norms, weights = (next(figures) if known else np.zeros(len(rows)) for known in there)
        self._ring.clear()
        bad = np.flatnonzero(~np.isfinite(losses)).tolist()
        first = (len(losses) - 1 - bad[0], float(losses[bad[0]])) if bad else None
        if bad and not leave_out:
            return first
        # One addition a step, so that the sum does not depend on when the losses were read.
        steps = zip(losses.tolist(), penalties.tolist(), norms.tolist(), weights.tolist(), rows, strict=True)
        for step, (loss, penalty, norm, weight, count) in enumerate(steps):
            if step not in bad:
                for i, value in enumerate((loss * count, penalty * count, count)):
                    self.sums[i] += value
                if weight:
                    self.weighted = [self.weighted[0] + (loss - penalty) * weight, self.weighted[1] + weight]
            if there[2] and math.isfinite(norm):  # in mixed precision a step may be left out
                total, largest, taken = self._norms
                self._norms = [total + norm, max(largest, norm), taken + 1]
        return first

    def state_dict(self) -> dict[str, Any] | None:
        """What a resumed epoch needs, all losses read; None where it has not begun."""
        if not self.batches:
            return None
        return {
            "batches": self.batches,
            "sums": self.sums,
            "weighted": self.weighted,
            "seconds": self.seconds,
            "measured": self.measured.state_dict(),
            "norms": self._norms,
            "carried": self.carried.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any] | None, upload: Any) -> None:
        """Go on from what :meth:`state_dict` gave; ``upload`` brings an array to the device."""
        if state is not None:
            self.batches = int(state["batches"])
            self.sums = [float(value) for value in state["sums"]]
            self.weighted = [float(value) for value in state.get("weighted", self.weighted)]
            self.seconds = float(state["seconds"])
            self.measured.load_state_dict(state["measured"], upload)
            self._norms = [float(value) for value in state.get("norms", self._norms)]
            self.carried.load_state_dict(state.get("carried"), upload)
