"""How far the epoch that is running has come, and what its steps have measured so far."""

from __future__ import annotations

from typing import Any

import numpy as np

from backends import transfer
from backends.namespace import namespace_of
from dlcore.train.objectives import Measured, Objectives

__all__ = ["Progress"]


class Progress:
    """Losses and predictions of the steps of one epoch; the losses wait on the device until they are read.

    batches : trained on
    sums : of loss · rows, of penalty · rows, and of rows, over the losses that have been read
    seconds : spent, before an interruption included
    measured : the predictions, for the metrics
    """

    def __init__(self, objectives: Objectives) -> None:
        self.batches = 0
        self.sums = [0.0, 0.0, 0.0]
        self.seconds = 0.0
        self.measured = Measured(objectives)
        self._ring: list[tuple[Any, Any, int]] = []

    def add(self, loss: Any, penalty: Any, rows: int) -> None:
        """One step: its loss, and the penalty in it or None, both scalars on the device."""
        self.batches += 1
        self._ring.append((loss, penalty, rows))

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
        columns = [[loss for loss, _, _ in self._ring]]
        if self._ring[0][1] is not None:
            columns.append([penalty for _, penalty, _ in self._ring])
        host = transfer.to_host(xp.stack([xp.stack([xp.asarray(v) for v in column]) for column in columns]))
        losses, *penalties = host.astype(np.float64)
        counts = [rows for _, _, rows in self._ring]
        self._ring.clear()
        bad = np.flatnonzero(~np.isfinite(losses)).tolist()
        first = (len(losses) - 1 - bad[0], float(losses[bad[0]])) if bad else None
        if bad and not leave_out:
            return first
        shares = penalties[0].tolist() if penalties else [0.0] * len(counts)
        # One addition a step, so that the sum does not depend on when the losses were read.
        for step, (loss, penalty, rows) in enumerate(zip(losses.tolist(), shares, counts, strict=True)):
            if step not in bad:
                for i, value in enumerate((loss * rows, penalty * rows, rows)):
                    self.sums[i] += value
        return first

    def state_dict(self) -> dict[str, Any] | None:
        """What a resumed epoch needs, all losses read; None where it has not begun."""
        if not self.batches:
            return None
        return {
            "batches": self.batches,
            "sums": self.sums,
            "seconds": self.seconds,
            "measured": self.measured.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any] | None, upload: Any) -> None:
        """Go on from what :meth:`state_dict` gave; ``upload`` brings an array to the device."""
        if state is not None:
            self.batches = int(state["batches"])
            self.sums = [float(value) for value in state["sums"]]
            self.seconds = float(state["seconds"])
            self.measured.load_state_dict(state["measured"], upload)
