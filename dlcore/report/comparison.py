"""The curves of several runs in one picture: the loss and a metric, one colour a run.

The figure is made without pyplot, so that no global state of Matplotlib changes; it is imported with the first figure.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcore.report.curves import COLOURS, FEW, LIMIT, heading, metric_of, style
from dlcore.train.checkpoint.arrays import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["comparison", "draw_comparison"]

Records = Sequence[Mapping[str, Any]]

PALETTE = ("#3f6ea8", "#d0700f", "#2b9a79", "#b3589a", "#7fb6dc", "#1d232c")
"""They differ in lightness too; the seventh run has the first colour again, and other dashes."""
DASHES = ("solid", (0, (5, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1)))


def draw_comparison(path: str | Path, runs: Mapping[str, Records], metric: str | None = None) -> Path:
    """Draw the curves of several runs to a PNG file, which appears whole or not at all.

    runs : by name, one record an epoch, as :class:`dlcore.train.History` gives them
    metric : the second panel's; by default, and where no run recorded it, the first that one did

    The development set is drawn in full, the training set thin and pale. Returns the path; raises CheckpointError where
    it cannot be written.

    >>> import tempfile
    >>> runs = {name: [{"epoch": 0, "loss": 0.9, "dev_loss": loss}] for name, loss in (("a", 1.0), ("b", 0.8))}
    >>> draw_comparison(Path(tempfile.mkdtemp()) / "both.png", runs).name
    'both.png'
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    with style():
        drawn = comparison(runs, metric)
        FigureCanvasAgg(drawn)
        drawn.savefig(buffer, format="png", dpi=180)
    return write_atomically(Path(path), buffer.getvalue)


def comparison(runs: Mapping[str, Records], metric: str | None = None) -> Figure:
    """The Matplotlib figure of :func:`draw_comparison`, on no canvas of a window."""
    from matplotlib.figure import Figure

    records = [record for run in runs.values() for record in run]
    if metric is None or not any(f"dev_{metric}" in record for record in records):
        metric = metric_of(records)
    names = [name for name in dict.fromkeys(["loss", metric]) if name and _has(records, name)] or ["loss"]
    drawn = Figure(figsize=(4.6 * len(names) + 0.2, 3.5 + 0.22 * -(-len(runs) // 3)), layout="constrained")
    engine: Any = drawn.get_layout_engine()
    engine.set(w_pad=0.12, h_pad=0.08)  # inches
    panels = drawn.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        _panel(axes, runs, name)
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower left", ncols=3, frameon=False)
    return drawn


def _has(records: Records, name: str) -> bool:
    return any(key in record for record in records for key in (name, f"dev_{name}"))


def _panel(axes: Axes, runs: Mapping[str, Records], name: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    values: list[float] = []
    for place, (run, records) in enumerate(runs.items()):
        how: dict[str, Any] = {
            "color": PALETTE[place % len(PALETTE)], "linestyle": DASHES[place // len(PALETTE) % len(DASHES)],
            "marker": "o" if len(records) <= FEW else "", "solid_capstyle": "round",
        }  # fmt: skip
        epochs = [int(record.get("epoch", i)) + 1 for i, record in enumerate(records)]
        dev, train = ([_number(record.get(key)) for record in records] for key in (f"dev_{name}", name))
        axes.plot(epochs, train, linewidth=0.9, markersize=0, alpha=0.45, zorder=2, **how)
        axes.plot(epochs, dev, linewidth=1.8, markersize=3.5, zorder=3, label=run, **how)
        values += [value for value in (*dev, *train) if not math.isnan(value)]
    if name == "loss" and values and min(values) > 0 and max(values) > 100 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}".replace("-", "−")))
    axes.set_xlabel("epoch")
    axes.grid(axis="y", color=COLOURS["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title(f"{heading(name)}, development set", loc="left", pad=20)
    axes.annotate(
        "thin: training set", (0, 1), xycoords="axes fraction", xytext=(0, 6), textcoords="offset points",
        color=COLOURS["muted"],
    )  # fmt: skip


def _number(value: Any) -> float:
    """A finite float, or NaN."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if abs(number) <= LIMIT else math.nan
