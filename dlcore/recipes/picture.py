"""How the recipes' pictures are drawn: lines, bars and images in one style.

Lines differ in colour, in dashes and in their marks, so that they can be told apart without colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore.report.curves import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["INK", "MUTED", "PALETTE", "bars", "image", "label", "legend", "lines", "note", "panels"]

PALETTE = (COLOURS["training"], COLOURS["development"], "#2b9a79", "#b3589a", "#7fb6dc", COLOURS["ink"])
"""Blue, orange, green, purple, light blue, black: they differ in lightness too."""
INK, MUTED = COLOURS["ink"], COLOURS["muted"]
_DASHES = ("-", "--", "-.", ":", (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (1, 1)))


def panels(figure: Figure, count: int, height: float = 3.6) -> Sequence[Axes]:
    """So many axes beside each other; ``height`` of the figure in inches."""
    figure.set_size_inches(4.6 * count if count < 3 else 3.7 * count, height)
    return list(figure.subplots(1, count, squeeze=False)[0])


def label(axes: Axes, title: str, x: str, y: str, *, log: str = "") -> None:
    """Title and axes; ``log`` names those that are logarithmic: "x", "y" or "xy". Epochs are whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    for letter in log:
        getattr(axes, f"set_{letter}scale")("log")
        _ticks(getattr(axes, f"{letter}axis"), *getattr(axes, f"get_{letter}lim")())
    if x == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=COLOURS["grid"], linewidth=0.8)
    axes.set_axisbelow(True)


def _ticks(axis: Any, low: float, high: float) -> None:
    """Numbers at the powers of ten, or within two decades also at 2 and 5 times them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0), numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))
    axis.set_minor_formatter(NullFormatter())


def power(value: float) -> str:
    """A number at an axis.

    >>> [power(value) for value in (0.002, 1.0, 5000.0, 1e-8, 1e6)]
    ['0.002', '1', '5,000', '10⁻⁸', '10⁶']
    """
    if 1e-4 < value < 1e5:
        return f"{value:,.5g}" if value < 1 else f"{value:,.0f}"
    exponent = f"{np.log10(value):.0f}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{exponent}"


def lines(
    axes: Axes, x: Any, named: Mapping[str, Iterable[float]], *, marks: bool = False, place: str = "best"
) -> None:
    """A line for each name, over ``x`` or, where that is None, over 1, 2, 3, ...; and what they are called."""
    for number, (name, values) in enumerate(named.items()):
        y = np.asarray(list(values), dtype=float)
        axes.plot(
            np.arange(1, len(y) + 1) if x is None else np.asarray(x)[: len(y)], y, label=name, linewidth=1.8,
            color=PALETTE[number % len(PALETTE)], linestyle=_DASHES[number % len(_DASHES)],
            marker="osD^vX"[number % 6] if marks else "", markersize=4.5,
        )  # fmt: skip
    legend(axes, place)


def legend(axes: Axes, place: str = "best") -> None:
    """What the lines are called; "none" leaves it out."""
    if place != "none":
        where: Any = place
        axes.legend(loc=where, frameon=True, framealpha=0.9, edgecolor=COLOURS["grid"], handlelength=2.6)


def bars(axes: Axes, groups: Sequence[str], named: Mapping[str, Sequence[float]], *, place: str = "best") -> None:
    """A group of bars for each word of ``groups``, one bar a name, with the numbers at their ends."""
    from matplotlib.patheffects import withStroke

    width, few = 0.8 / len(named), len(named) == 1
    halo = [withStroke(linewidth=2, foreground=COLOURS["paper"])]
    for number, (name, values) in enumerate(named.items()):
        at = np.arange(len(groups)) + (number - (len(named) - 1) / 2) * width
        drawn = axes.bar(
            at, values, width * 0.94, label=name, color=PALETTE[number % len(PALETTE)],
            hatch=("", "//", "..", "xx")[number % 4], edgecolor=COLOURS["paper"], linewidth=0,
        )  # fmt: skip
        labels = [f"{value:.{3 if few else 2}g}" for value in values]
        axes.bar_label(drawn, labels=labels, padding=2, fontsize=8 if few else 7, path_effects=halo)
    axes.set_xticks(range(len(groups)), groups)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.12)
    if len(named) > 1:
        legend(axes, place)


def image(axes: Axes, pixels: Any, title: str, *, signed: bool = False, numbers: bool = False) -> None:
    """An image (H, W), grey, or where it is ``signed`` blue for less than 0 and orange for more."""
    values = np.asarray(pixels, dtype=float)
    most = max(float(np.abs(values).max()), 1e-12)
    if signed:
        from matplotlib.colors import LinearSegmentedColormap

        colours = LinearSegmentedColormap.from_list("signed", [PALETTE[0], "#ffffff", PALETTE[1]])
        axes.imshow(values, cmap=colours, vmin=-most, vmax=most, interpolation="nearest")
    else:
        axes.imshow(values, cmap="gray", interpolation="nearest")
    axes.set_title(title, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(True)
    for (row, column), value in np.ndenumerate(values) if numbers else ():
        dark = abs(value) > most / 2 if signed else value < (values.min() + values.max()) / 2
        words = f"{value:g}".replace("-", "−")
        axes.text(column, row, words, ha="center", va="center", color="white" if dark else INK)


def note(axes: Axes, words: str, x: float, y: float, **how: Any) -> None:
    """Words at a place of the data."""
    axes.annotate(words, (x, y), **{"xytext": (6, 6), "textcoords": "offset points", "color": MUTED, **how})
