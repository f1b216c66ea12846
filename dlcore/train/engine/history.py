"""What a training run measured, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dlcore._core import markup
from dlcore._core.formatting import figure
from dlcore.train.checkpoint.lines import Growing

__all__ = ["History", "history_html", "history_text"]

_NOT_MEASURED = ("epoch", "lr", "seconds", "examples_per_second")
_NO_METRICS = ("epoch", "loss", "penalty", "lr", "seconds", "examples_per_second", "grad_norm", "grad_norm_max")
_NO_METRICS += ("loss_scale", "skipped_steps")
_PARTS = {"training": "", "development": "dev_", "train-dev": "train_dev_"}


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
        return history_text(self)

    def _repr_html_(self) -> str:
        """Curves and figures, for notebooks."""
        return history_html(self)


def history_text(history: History) -> str:
    """``repr`` of a history: how many epochs there are, and the figures of the last one."""
    count = len(history)
    if not count:
        return "History(no epochs)"
    said = ", ".join(f"{name} {value}" for name, value in _measured(history.records[-1]).items())
    best = "" if history.best_epoch is None else f"; weights of epoch {history.best_epoch + 1}"
    return f"History({_epochs(count)}; the last: {said}{best})"


def history_html(history: History) -> str:
    """Curves of the loss and the first metric, and a table of the last and the best epoch."""
    if not len(history):
        return markup.together(markup.title("History", "no epochs"))
    records, mark = history.records, history.best_epoch
    names = list(dict.fromkeys(name for record in records for name in record))
    metric = next((n for n in names if n not in _NO_METRICS and not n.startswith(("dev_", "train_dev_"))), None)
    drawn = []
    for name in filter(None, ["loss", metric]):
        lines = {part: history[f"{before}{name}"] for part, before in _PARTS.items() if f"{before}{name}" in names}
        drawn.append(markup.curves(name.replace("_", " "), lines, mark))
    chosen = {"last epoch": records[-1]}
    if mark is not None and mark < len(records):
        chosen[f"epoch {mark + 1}, whose weights are kept"] = records[mark]
    columns = [_measured(record) for record in chosen.values()]
    rows = [(name.replace("_", " "), *(column.get(name, "") for column in columns)) for name in columns[0]]
    return markup.together(
        markup.title("History", _epochs(len(history))),
        *drawn,
        markup.table(("", *chosen), rows, numbers=range(1, len(chosen) + 1)),
    )


def _measured(record: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: figure(value)
        for name, value in record.items()
        if name not in _NOT_MEASURED and isinstance(value, int | float)
    }


def _epochs(count: int) -> str:
    return f"{count:,} epoch{'s' * (count != 1)}"
