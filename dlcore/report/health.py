"""The section on the health of the gradients: how they come back through the layers, and what a step changes."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlcore._core.escapes import escape
from dlcore.report.curves import COLOURS, style
from dlcore.report.parts import section, share, table
from dlcore.report.svg import inline
from dlcore.train.callbacks.gradient_health import EXPLODING, REMEDIES, VANISHING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["health_section", "health_svg", "record_of"]

Record = Mapping[str, Any]

FLOOR, CEILING = 1e-9, 1e9
"""Beyond these a signal is drawn at the edge."""
NAMED = 12
"""Up to so many layers are named at the axis; more are counted."""


def record_of(records: Sequence[Record], epoch: int | None) -> Record | None:
    """The record of an epoch, from 0: of the weights that were kept; the last one where there is none of it."""
    found = [record for record in records if record["epoch"] == epoch]
    return (found or list(records) or [None])[-1]


def health_section(records: Sequence[Record], best_epoch: int | None = None) -> str:
    """The section, empty where nothing was measured.

    records : of :class:`dlcore.train.GradientHealth`
    best_epoch : from 0, whose weights early stopping has kept
    """
    record = record_of(records, best_epoch)
    if record is None or not record["layers"]:
        return ""
    layers = record["layers"]
    ill = list(dict.fromkeys(verdict for layer in layers for verdict in layer["verdicts"]))
    said = "every layer is healthy" if not ill else f"there are layers with a verdict: {', '.join(ill)}"
    head = ["Layer", "Signal", "‖dW‖ / ‖W‖", "‖ΔW‖ / ‖W‖", "Dead units", "Verdict"]
    rows = [_row(layer) for layer in layers]
    marked = [place for place, layer in enumerate(layers) if layer["verdicts"]]
    drawn = table(f"After epoch {record['epoch'] + 1:,}: {said}", head, rows, kind="health", marked=marked)
    steps = "".join(f"<li>{escape(verdict)}: {escape(REMEDIES[verdict])}</li>" for verdict in ill)
    advice = f"<p>What the notes recommend:</p>\n<ul>{steps}</ul>" if steps else ""
    caption = (
        "The signal is the length of the gradient for a layer's output over that for the model's output; the loss is "
        f"on the right. Below {VANISHING:g} it has vanished, above {EXPLODING:,g} exploded. ΔW is the last step of an "
        "epoch. A unit is dead that gives 0 for every example of a fixed batch."
    )
    picture = f'<figure class="curves">\n<div>\n{health_svg(records, record)}\n</div>\n'
    return section(
        "Gradient health", f"{picture}<figcaption>{escape(caption)}</figcaption>\n</figure>\n{drawn}\n{advice}"
    )


def health_svg(records: Sequence[Record], kept: Record) -> str:
    """Two ``<svg>`` elements: the signal and the update of a step by layer, of the first epoch and of one more.

    kept : of the records, the one that counts
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    parts = []
    for draw, label in ((_signal, "Signal on the way back, by layer"), (_update, "Update of a step, by layer")):
        buffer = io.StringIO()
        with style():
            figure = Figure(figsize=(4.6, 3.3), layout="constrained")
            axes = figure.subplots()
            draw(axes, [records[0], *([] if kept is records[0] else [kept])])
            FigureCanvasSVG(figure)
            figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
        parts.append(inline(buffer.getvalue(), label, COLOURS))
    return "\n".join(parts)


def _row(layer: Record) -> list[str]:
    weight, gradient = layer["weight"], layer["gradient"]
    relative = gradient / weight if weight and gradient is not None else None
    figures = [_number(value) for value in (layer["signal"], relative, layer["update"])]
    dead = "–" if layer["dead"] is None else share(layer["dead"])
    verdict = ", ".join(layer["verdicts"]) or ("not dead" if weight is None else "healthy")
    return [escape(layer["layer"]), *figures, dead, escape(verdict)]


def _signal(axes: Axes, records: Sequence[Record]) -> None:
    from matplotlib.ticker import FixedLocator

    learning = _lines(axes, records, "signal")
    axes.set_ylim(FLOOR / 4, CEILING * 4)
    axes.yaxis.set_major_locator(FixedLocator([10.0**power for power in range(-9, 10, 3)]))
    for limit, word in ((EXPLODING, "exploded"), (VANISHING, "vanished")):
        axes.axhline(limit, color=COLOURS["muted"], linestyle="dashed", linewidth=1.0, zorder=1)
        axes.annotate(
            word, (len(learning) - 0.6, limit), xytext=(0, 4 if limit > 1 else -4), textcoords="offset points",
            ha="right", va="bottom" if limit > 1 else "top", color=COLOURS["muted"],
        )  # fmt: skip
    axes.set_title("Signal on the way back", loc="left", pad=20)
    _legend(axes)


def _update(axes: Axes, records: Sequence[Record]) -> None:
    _lines(axes, records, "update")
    axes.set_title("Update of a step, ‖ΔW‖ / ‖W‖", loc="left", pad=20)
    _legend(axes)


def _lines(axes: Axes, records: Sequence[Record], name: str) -> list[Record]:
    """One line for each epoch over the layers with weights, the last one in full colour; these layers."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    learning = [layer for layer in records[-1]["layers"] if layer["weight"] is not None]
    names = [layer["layer"] for layer in learning]
    axes.set_yscale("log")
    for place, record in enumerate(records):
        by_name = {layer["layer"]: layer for layer in record["layers"]}
        values = [_drawn(by_name.get(one, {}), name) for one in names]
        last = place == len(records) - 1
        axes.plot(
            range(len(names)), values, label=f"epoch {record['epoch'] + 1:,}", marker="o", markersize=3.5,
            color=COLOURS["training" if last else "muted"], linewidth=1.8 if last else 1.1, zorder=3 + last,
        )  # fmt: skip
    axes.set_xlim(-0.5, len(names) - 0.5)
    if len(names) <= NAMED:
        axes.set_xticks(range(len(names)), [_short(one) for one in names])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value + 1:,.0f}"))
    axes.set_xlabel("layer, from the input on")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y", color=COLOURS["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    return learning


def _drawn(layer: Record, name: str) -> float:
    """A figure as it is drawn: within the edges, what has exploded beyond all numbers at the upper one."""
    value = layer.get(name)
    if name == "signal" and value is None and "exploding" in layer.get("verdicts", ()):
        return CEILING
    if value is None or (name == "update" and not value):
        return math.nan
    return min(max(value, FLOOR), CEILING)


def _legend(axes: Axes) -> None:
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0.2, borderpad=0,
        handlelength=1.4, handletextpad=0.5, columnspacing=1.2,
    )  # fmt: skip


def _short(name: str) -> str:
    """The path of a layer, of several that are computed in one go the first.

    >>> _short("1 + 2 (BatchNorm + ReLU)"), _short("body.dense (Dense)")
    ('1', 'dense')
    """
    return name.partition(" (")[0].partition(" + ")[0].rpartition(".")[2]


def _power(value: float) -> str:
    power = round(math.log10(value)) if value > 0 else 0
    return f"10{str(power).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}" if power else "1"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}".replace("-", "−")
