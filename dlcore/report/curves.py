"""Training and development curves over the epochs, with the best epoch marked: a PNG file, or SVG for a page.

Figures are made without pyplot, so that no global state of Matplotlib changes; it is imported with the first figure.

Source: notes, 2.3: early stopping plots both errors over the iterations, and takes their joint minimum.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcore._core.quiet import quiet
from dlcore.report.svg import inline
from dlcore.train.checkpoint.arrays import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["best_of", "curves_svg", "draw_curves", "figure", "heading", "metric_of", "style"]

Record = Mapping[str, Any]

NO_METRICS = ("epoch", "loss", "penalty", "lr", "seconds", "examples_per_second", "loss_scale", "skipped_steps")
COLOURS = {
    "ink": "#1d232c",
    "muted": "#68717e",
    "grid": "#e4e7ec",
    "paper": "#ffffff",
    "training": "#3f6ea8",
    "development": "#d0700f",
    "train-dev": "#7a5aa6",
}
"""Of the PNG file. In SVG each is a CSS variable with this default, so that a page in dark mode can change it."""
STYLE: dict[Any, Any] = {
    "axes.edgecolor": COLOURS["muted"],
    "axes.facecolor": COLOURS["paper"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": COLOURS["ink"],
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.unicode_minus": True,
    "figure.facecolor": COLOURS["paper"],
    "font.family": "sans-serif",
    "font.size": 9,
    "legend.fontsize": 9,
    "savefig.bbox": "standard",
    "savefig.facecolor": "auto",
    "savefig.transparent": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "dlcore",
    "text.color": COLOURS["ink"],
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
}
MAX_DECADES = 2
"""Values that span more decades than this are drawn on a logarithmic axis."""
FEW = 20
"""Up to so many epochs have a dot each."""
LIMIT = 1e100
"""Values beyond it, of no use in a plot, are left out as infinite ones are."""


@dataclass(frozen=True)
class _Panel:
    """One pair of axes: ``lines`` maps "training", "train-dev" and "development" to values, NaN where there is none."""

    name: str
    lines: dict[str, list[float]]
    shares: bool = False  # a metric of at most 1, which no logarithm makes clearer


def draw_curves(
    path: str | Path,
    history: Iterable[Record],
    *,
    best_epoch: int | None = None,
    stopped_epoch: int | None = None,
    metrics: Sequence[str] = (),
) -> Path:
    """Draw the loss and the first metric over the epochs to a PNG file, which appears whole or not at all.

    path : of the file; its folder is made where it is missing
    history : one record an epoch, as :class:`dlcore.train.History` gives them; a figure that is None, NaN or infinite
        leaves a gap
    best_epoch : from 0; by default that of the smallest development loss
    stopped_epoch : from 0, where early stopping ended the run
    metrics : those to draw instead of the first one, by their names in the records, a panel each

    The panels show the training and the development set over the epochs, counted from 1. The axis is logarithmic
    where the values span more than two decades. Returns the path; raises CheckpointError where it cannot be written.

    >>> import tempfile
    >>> records = [{"epoch": 0, "loss": 0.9, "dev_loss": 1.0}, {"epoch": 1, "loss": 0.5, "dev_loss": 0.8}]
    >>> draw_curves(Path(tempfile.mkdtemp()) / "curves.png", records).name
    'curves.png'
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    with style():
        drawn = figure(history, best_epoch=best_epoch, stopped_epoch=stopped_epoch, metrics=metrics)
        FigureCanvasAgg(drawn)
        drawn.savefig(buffer, format="png", dpi=180)
    return write_atomically(Path(path), buffer.getvalue)


def curves_svg(
    history: Iterable[Record],
    *,
    best_epoch: int | None = None,
    stopped_epoch: int | None = None,
    metrics: Sequence[str] = (),
) -> str:
    """The panels of :func:`draw_curves` as ``<svg>`` elements for an HTML page, one a panel, so that they can wrap.

    Arguments as in :func:`draw_curves`. They load nothing, their ids occur once in a page, the text is text, in the
    page's font, and the colours are the CSS variables ``--ink``, ``--muted``, ``--grid``, ``--paper``, ``--training``,
    ``--train-dev`` and ``--development``, where the page sets them.

    >>> curves_svg([{"epoch": 0, "loss": 0.9, "dev_loss": 1.0}]).count("<svg")
    1
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    records = list(history)
    parts = []
    for number, panel in enumerate(_panels(records, metrics)):
        buffer = io.StringIO()
        with style():
            drawn = figure(records, best_epoch=best_epoch, stopped_epoch=stopped_epoch, metrics=metrics, only=number)
            FigureCanvasSVG(drawn)
            drawn.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
        parts.append(inline(buffer.getvalue(), f"{heading(panel.name)} over the epochs", COLOURS))
    return "\n".join(parts)


def figure(
    history: Iterable[Record],
    *,
    best_epoch: int | None = None,
    stopped_epoch: int | None = None,
    metrics: Sequence[str] = (),
    only: int | None = None,
) -> Figure:
    """The Matplotlib figure of :func:`draw_curves`, of all panels or of ``only`` one, on no canvas of a window."""
    from matplotlib.figure import Figure

    records = list(history)
    epochs = _epochs(records)
    best = best_of(records) if best_epoch is None else best_epoch
    panels = _panels(records, metrics)
    shown = panels if only is None else panels[only : only + 1]
    drawn = Figure(figsize=(4.6 * max(len(shown), 1), 3.3), layout="constrained")
    engine: Any = drawn.get_layout_engine()
    engine.set(w_pad=0.12, h_pad=0.08)  # inches
    for axes, panel in zip(drawn.subplots(1, max(len(shown), 1), squeeze=False)[0], shown, strict=False):
        _draw(axes, panel, epochs, best, stopped_epoch)
    return drawn


def best_of(history: Iterable[Record]) -> int | None:
    """The epoch, from 0, of the smallest development loss, the first of equal ones; None where there is none.

    >>> best_of([{"epoch": 0, "dev_loss": 0.4}, {"epoch": 1, "dev_loss": 0.3}, {"epoch": 2, "dev_loss": 0.3}])
    1
    """
    records = list(history)
    losses = [(_number(record.get("dev_loss")), epoch) for record, epoch in zip(records, _epochs(records), strict=True)]
    return min(((loss, epoch) for loss, epoch in losses if not math.isnan(loss)), default=(0.0, None))[1]


def metric_of(history: Iterable[Record]) -> str | None:
    """The name of the first metric in the records, None where there is none."""
    names = (name.removeprefix("train_dev_").removeprefix("dev_") for record in history for name in record)
    return next((name for name in names if name not in NO_METRICS), None)


def heading(name: str) -> str:
    """A recorded figure's name as a heading.

    >>> heading("dev_loss"), heading("r2"), heading("dev_body_mass_r2")
    ('Development loss', 'R²', 'Development body mass R²')
    """
    special = {"r2": "R²", "mse": "mean squared error", "lr": "learning rate"}
    base = name.removeprefix("train_dev_").removeprefix("dev_")
    *head, last = base.split("_")  # of several heads a metric has the head's name before it
    words = " ".join([*head, special.get(last, last)])
    part = "train-dev " if name.startswith("train_dev_") else "" if base == name else "development "
    words = f"{part}{words}"
    return words[:1].upper() + words[1:]


# --- what is drawn


def _panels(records: list[Record], metrics: Sequence[str]) -> list[_Panel]:
    """Loss, and the metrics; without any the first one where there is one."""
    first = metric_of(records)
    panels = []
    for name in ["loss", *(metrics or ([] if first is None else [first]))]:
        sets = {"training": name, "train-dev": f"train_dev_{name}", "development": f"dev_{name}"}
        lines = {
            label: [_number(record.get(key)) for record in records]
            for label, key in sets.items()
            if any(key in record for record in records)
        }
        values = [value for line in lines.values() for value in line if not math.isnan(value)]
        if name == "loss" and "training" in lines and any("penalty" in record for record in records):
            lines = {f"{label}{', with penalty' * (label == 'training')}": line for label, line in lines.items()}
        if lines:
            panels.append(_Panel(name, lines, shares=name != "loss" and max(values, default=0.0) <= 1))
    return panels


def _epochs(records: list[Record]) -> list[int]:
    return [int(record.get("epoch", place)) for place, record in enumerate(records)]


def _number(value: Any) -> float:
    """A finite float, or NaN."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if abs(number) <= LIMIT else math.nan


def _draw(axes: Axes, panel: _Panel, epochs: list[int], best: int | None, stopped: int | None) -> None:
    """One panel: its lines, its marks, and what they are called, above the axes."""
    x = [epoch + 1 for epoch in epochs]
    for label, values in panel.lines.items():
        kind = label.split(",")[0]
        dots = [len(x) <= FEW or alone for alone in _alone(values)]
        axes.plot(
            x, values, label=label, color=COLOURS[kind], linewidth=1.8, zorder=3 + (kind == "development"),
            marker="o", markersize=3.5, markevery=dots, solid_capstyle="round",
        )  # fmt: skip
    low, high = (x[0], x[-1]) if len(x) > 1 else (x[0] - 0.5, x[0] + 0.5)
    axes.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low))
    _scale(axes, panel, x)
    axes.set_xlabel("epoch")
    axes.grid(axis="y", color=COLOURS["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    rows = _mark(axes, panel, epochs, best, stopped)
    above = 7 + 13 * rows  # points
    axes.set_title(heading(panel.name), loc="left", pad=above)
    _legend(axes, above)


def _alone(values: list[float]) -> list[bool]:
    """Which values have no neighbour to draw a line to."""
    gap = [True, *(math.isnan(value) for value in values), True]
    return [before and after for before, after in zip(gap[:-2], gap[2:], strict=True)]


def _scale(axes: Axes, panel: _Panel, x: list[int]) -> None:
    """Ticks in whole epochs and plain numbers; a logarithmic axis where the values ask for one."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    ticks = MaxNLocator(7, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1).tick_values(x[0], max(x[-1], x[0] + 1))
    step = ticks[1] - ticks[0]
    axes.set_xticks([x[0], *(tick for tick in ticks if x[0] + step / 2 < tick <= x[-1])])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    values = [value for line in panel.lines.values() for value in line if not math.isnan(value)]
    if not values:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no finite figures", transform=axes.transAxes, ha="center", color=COLOURS["muted"])
        return
    low, high = min(values), max(values)
    if low > 1 / LIMIT and math.log10(high) - math.log10(low) > MAX_DECADES and not panel.shares:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}".replace("-", "−")))


def _mark(axes: Axes, panel: _Panel, epochs: list[int], best: int | None, stopped: int | None) -> int:
    """Mark the best epoch by a line and a point and the last one by a line; how many rows of words that took."""
    left, right = axes.get_xlim()
    label, values = list(panel.lines.items())[-1]  # of the development set where there is one
    marks = [("best epoch {}", best, "dashed"), ("stopped at {}", stopped, "dotted")]
    marks = [(words.format(f"{epoch + 1:,}"), epoch, dashes) for words, epoch, dashes in marks if epoch in epochs]
    places = [(epoch + 1 - left) / (right - left) for _, epoch, _ in marks]
    rows = 2 if len(marks) == 2 and abs(places[1] - places[0]) < 0.42 else min(len(marks), 1)
    for row, (place, (words, epoch, dashes)) in enumerate(zip(places, marks, strict=True)):
        axes.axvline(epoch + 1, color=COLOURS["muted"], linestyle=dashes, linewidth=1.1, zorder=2)
        axes.annotate(
            words, (epoch + 1, 1), xycoords=("data", "axes fraction"), xytext=(0, 4 + 13 * min(row, rows - 1)),
            textcoords="offset points", color=COLOURS["muted"], annotation_clip=False,
            ha="left" if place < 0.2 else "right" if place > 0.8 else "center",
        )  # fmt: skip
    if best in epochs and not math.isnan(value := values[epochs.index(best)]):
        axes.plot(
            best + 1, value, marker="o", markersize=8, color=COLOURS[label.split(",")[0]], zorder=6,
            markeredgecolor=COLOURS["paper"], markeredgewidth=1.6, label="_best",
        )  # fmt: skip
    return rows


def _legend(axes: Axes, above: float) -> None:
    """The lines' names, beside the title."""
    from matplotlib.transforms import ScaledTranslation

    parent: Any = axes.get_figure(root=True)
    raised = axes.transAxes + ScaledTranslation(0, (above - 2) / 72, parent.dpi_scale_trans)
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), bbox_transform=raised, ncols=3, frameon=False, borderaxespad=0,
        borderpad=0, handlelength=1.4, handletextpad=0.5, columnspacing=1.2,
    )  # fmt: skip


# --- how it is written


@contextmanager
def style() -> Iterator[None]:
    """The figure's style, for this figure alone, and silence about a metric's letters that no font has."""
    import matplotlib

    with quiet("Glyph .* missing from"), matplotlib.rc_context(STYLE):
        yield
