"""What a training run measured, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dlcore.train.checkpoint.lines import Growing
from dlcore.train.engine import shown

__all__ = ["History"]


class History:
    """One record an epoch: a dict of ``epoch`` (from 0), ``loss``, the metrics, ``dev_...``, ``lr``, ``seconds``, ....

    ``history["loss"]`` is the list over epochs, with None where an epoch has no such figure; iterating gives the
    records.

    >>> history = History()
    >>> history.append({"epoch": 0, "loss": 0.5}); history["loss"]
    [0.5]
    >>> history
    History(1 epoch; the last: loss 0.5000)
    """

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = Growing()
        self.examples: dict[str, int] = {}
        """How many there are, by "train", "dev" and "train_dev", as far as it is known."""
        self.best_epoch: int | None = None
        """The epoch whose weights were restored, where early stopping did."""
        self.stopped_epoch: int | None = None
        """The last epoch, where early stopping ended the run."""

    def append(self, record: dict[str, Any]) -> None:
        """Take in the record of one more epoch."""
        self.records.append(record)

    def forget_after(self, epoch: int) -> None:
        """Keep the records of the epochs before ``epoch``, from which training goes on.

        >>> history = History()
        >>> history.append({"epoch": 0, "loss": 0.5}); history.append({"epoch": 1, "loss": 0.7})
        >>> history.forget_after(1); history["loss"]
        [0.5]
        """
        self.records[:] = [record for record in self.records if record.get("epoch", -1) < epoch]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.records)

    def __getitem__(self, name: str) -> list[Any]:
        names = dict.fromkeys(key for record in self.records for key in record)
        if self.records and name not in names:
            raise KeyError(f"{name} was not recorded; there are {', '.join(names)}")
        return [record.get(name) for record in self.records]

    def __repr__(self) -> str:
        return shown.history_text(self)

    def _repr_html_(self) -> str:
        """Curves and figures, for notebooks."""
        return shown.history_html(self)
