"""Figures as a drawing, PNG or SVG: the times of one or two, and the speed of the second.

Figures are made without pyplot, so that no global state of Matplotlib changes; it is imported with the first figure.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcore._core.quiet import quiet
from dlcore.errors import ConfigError, DataError
from dlcore.report.curves import COLOURS, STYLE
from dlcore.train.checkpoint.arrays import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["MOST", "Bars", "check_target", "draw", "figure"]

MOST = 60
"""Rows that a picture has at most; of more, those whose speeds are farthest from 1 are drawn."""

SUFFIXES = (".png", ".svg")


@dataclass(frozen=True)
class Bars:
    """One side: its name, and for each workload the median and the two quartiles, in seconds."""

    label: str
    medians: Sequence[float]
    q1s: Sequence[float]
    q3s: Sequence[float]

    def only(self, rows: Sequence[int]) -> Bars:
        """Some of the workloads."""
        return Bars(self.label, *([column[i] for i in rows] for column in (self.medians, self.q1s, self.q3s)))


def check_target(path: str, flag: str, suffixes: Sequence[str] = ()) -> None:
    """Refuse a file that could not be written, before anything is measured."""
    file = Path(path)
    if suffixes and file.suffix.lower() not in suffixes:
        raise ConfigError(f"bench: {flag} {path}: a name that ends in {' or '.join(suffixes)} is expected")
    if file.is_dir():
        raise DataError(f"{path}: a folder has this name; give another one")
    if not file.absolute().parent.is_dir():
        raise DataError(f"{path}: the folder {file.parent} does not exist; make it first")


def draw(path: str, names: Sequence[str], sides: Sequence[Bars], about: Sequence[str]) -> Path:
    """Draw one side or two to a PNG or SVG file, which appears whole or not at all.

    names : of the workloads
    about : lines below: devices, versions, commit
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer, kind = io.BytesIO(), Path(path).suffix.lower().removeprefix(".")
    with quiet("Glyph .* missing from"), matplotlib.rc_context(STYLE):
        drawn = figure(names, sides, about)
        (FigureCanvasSVG if kind == "svg" else FigureCanvasAgg)(drawn)
        drawn.savefig(buffer, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else {})
    return write_atomically(Path(path), buffer.getvalue)


def figure(names: Sequence[str], sides: Sequence[Bars], about: Sequence[str]) -> Figure:
    """The Matplotlib figure of :func:`draw`: times, and beside them, where there are two sides, speeds."""
    from matplotlib.figure import Figure

    rows, left_out = _rows(len(names), sides), ""
    if len(rows) < len(names):
        left_out = f"of {len(names)} workloads the {len(rows)} whose speeds are farthest from 1"
        names = [names[i] for i in rows]
        sides = [side.only(rows) for side in sides]
    wide = len(sides) == 2
    about = [row for line in about for row in textwrap.wrap(line, 165 if wide else 120, subsequent_indent="    ")]
    lines = [*([left_out] if left_out else []), *about]
    high = 1.3 + 0.27 * len(names) + 0.17 * len(lines)
    drawn = Figure(figsize=(9.6 if wide else 7.2, high), layout="constrained")
    engine: Any = drawn.get_layout_engine()
    below = (0.17 * len(lines) + 0.1) / high
    engine.set(w_pad=0.1, h_pad=0.08, rect=(0, below, 1, 1 - below))
    panels = drawn.subplots(1, len(sides), sharey=True, squeeze=False, width_ratios=(3, 2)[: len(sides)])[0]
    _times(panels[0], names, sides)
    if wide:
        _speeds(panels[1], [a / b for a, b in zip(sides[0].medians, sides[1].medians, strict=True)])
    drawn.text(0.012, 0.1 / high, "\n".join(lines), fontsize=7.5, color=COLOURS["muted"], va="bottom")
    return drawn


def _rows(count: int, sides: Sequence[Bars]) -> list[int]:
    """Which workloads are drawn, in their order."""
    if count <= MOST or len(sides) < 2:
        return list(range(min(count, MOST)))
    a, b = sides
    distance = [abs(math.log(a.medians[i] / b.medians[i])) for i in range(count)]
    return sorted(sorted(range(count), key=lambda i: -distance[i])[:MOST])


def _times(axes: Axes, names: Sequence[str], sides: Sequence[Bars]) -> None:
    """A dot at each median and a line from quartile to quartile, in milliseconds."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    colours = (COLOURS["training"], COLOURS["development"])
    for number, (side, colour) in enumerate(zip(sides, colours, strict=False)):
        y = [row + (number - (len(sides) - 1) / 2) * 0.3 for row in range(len(names))]
        ms = [1e3 * seconds for seconds in side.medians]
        below = [1e3 * (m - q) for m, q in zip(side.medians, side.q1s, strict=True)]
        above = [1e3 * (q - m) for m, q in zip(side.medians, side.q3s, strict=True)]
        axes.errorbar(
            ms, y, xerr=[below, above], fmt="o", markersize=4.5, linewidth=1.6, color=colour, label=side.label
        )
    axes.set_xscale("log")
    low, high = (500 * min(min(s.q1s) for s in sides), 2000 * max(max(s.q3s) for s in sides))  # half, and twice
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 200 * low else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=COLOURS["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("median time, ms; the line goes from quartile to quartile")
    axes.set_title("Time", loc="left")
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, borderaxespad=0.3, borderpad=0,
        handletextpad=0.3, columnspacing=1.2,
    )  # fmt: skip


def _speeds(axes: Axes, speeds: Sequence[float]) -> None:
    """A bar from 1 to the speed, and the number beside it."""
    from matplotlib.ticker import NullFormatter, NullLocator

    slower, faster = min(1.0, *speeds), max(1.0, *speeds)
    colours = [COLOURS["development"] if speed >= 1 else COLOURS["muted"] for speed in speeds]
    axes.set_xscale("log", base=2)
    axes.barh(range(len(speeds)), [s - 1 for s in speeds], left=1, height=0.55, color=colours)
    margin = 2 * (faster / slower) ** 0.2  # room for the numbers
    axes.set_xlim(slower / (margin if slower < 1 else 1.1), faster * (margin if faster > 1 else 1.1))
    axes.axvline(1, color=COLOURS["ink"], linewidth=1)
    for row, speed in enumerate(speeds):
        axes.annotate(
            f"{speed:.2f}" if speed < 100 else f"{speed:,.0f}", (speed, row), xytext=(4 if speed >= 1 else -4, 0),
            textcoords="offset points", ha="left" if speed >= 1 else "right", va="center", fontsize=8,
        )  # fmt: skip
    axes.xaxis.set_major_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel("A's time over B's; right of the line B is faster")
    axes.set_title("Speed of B", loc="left")
