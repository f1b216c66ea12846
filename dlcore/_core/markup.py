"""Small pieces of HTML for the objects that a notebook shows: tables, and curves as SVG.

All of it is complete in itself: no scripts, no style sheets, nothing to load, every text escaped. Text and lines take
the colour of the notebook, so that they are readable on a dark page and on a light one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dlcore._core.escapes import escape
from dlcore._core.formatting import figure

__all__ = ["curves", "figures", "table", "title", "together"]

_LINE = "1px solid rgba(128, 128, 128, 0.35)"
_COLOURS = ("#4a86c8", "#d97917", "#9673c4")
"""Of the curves; each has a contrast of at least 3 with white and with the grey of a dark page."""
_WIDTH, _HEIGHT = 330, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 26, 30
_POINTS = 500
"""More points of a curve than this are thinned out."""
_DECADES = 2
"""Values over more of them are drawn on a logarithmic axis."""


def title(text: str, detail: str = "") -> str:
    """A line above a table, the first part bold.

    >>> title("Trainer", "a < b")
    '<div style="margin: 0.3em 0"><b>Trainer</b> a &lt; b</div>'
    """
    return f'<div style="margin: 0.3em 0"><b>{_shown(text)}</b>{" " * bool(detail)}{_shown(detail)}</div>'


def table(
    head: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: Sequence[int] = (), indents: Sequence[int] = ()
) -> str:
    """A table; its cells are texts, which are escaped.

    head : of the columns; empty for none
    numbers : columns that are flush right
    indents : of the first cell of each row, in levels
    """
    top = "".join(_cell("th", text, i in numbers, 0) for i, text in enumerate(head))
    lines = [
        "".join(_cell("td", text, i in numbers, indents[n] if indents and not i else 0) for i, text in enumerate(row))
        for n, row in enumerate(rows)
    ]
    body = "".join(f'<tr style="background: none; border-top: {_LINE}">{line}</tr>' for line in lines)
    above = f'<thead><tr style="background: none">{top}</tr></thead>' if head else ""
    style = "border-collapse: collapse; color: inherit; margin: 0.3em 0; font-size: 0.95em"
    return f'<table style="{style}">{above}<tbody>{body}</tbody></table>'


def _cell(tag: str, text: Any, number: bool, indent: int) -> str:
    side = "right" if number else "left"
    space = f"{0.6 + 1.2 * indent:g}em"
    style = f"text-align: {side}; padding: 0.15em 0.6em 0.15em {space}; vertical-align: top; border: none"
    return f'<{tag} style="{style}">{_shown(text)}</{tag}>'


def together(*parts: str) -> str:
    """Pieces of HTML as one element."""
    return f'<div style="color: inherit">{"".join(parts)}</div>'


def _shown(text: Any) -> str:
    return escape(str(text))


def curves(name: str, lines: Mapping[str, Sequence[float | None]], mark: int | None = None) -> str:
    """Figures over the epochs as an SVG element.

    name : what is drawn
    lines : by name, a value an epoch; None, NaN and infinity leave a gap
    mark : an epoch, from 0, with a dashed line

    >>> picture = curves("loss", {"training": [0.9, 0.5, None, 0.2], "development": [1.0, 0.7, 0.6, 0.6]}, mark=2)
    >>> picture[:4], picture.count("<path"), "epoch 3" in picture
    ('<svg', 2, True)
    """
    values = {line: [_finite(value) for value in values] for line, values in lines.items()}
    every = [value for line in values.values() for value in line if value is not None]
    epochs = max(map(len, values.values()), default=0)
    if not every:
        return ""
    low, high = min(every), max(every)
    logarithmic = low > 0 and high / low > 10**_DECADES
    ticks = _log_ticks(low, high) if logarithmic else _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    bottom, top = (math.log10(low), math.log10(high)) if logarithmic else (low, high)
    wide, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def across(epoch: float) -> float:
        return _LEFT + wide * (epoch / (epochs - 1) if epochs > 1 else 0.5)

    def down(value: float) -> float:
        at = math.log10(value) if logarithmic else value
        return _TOP + tall * (1 - ((at - bottom) / (top - bottom) if top > bottom else 0.5))

    parts = [_text(_LEFT, 14, name, "start", bold=True)]
    for tick in ticks:
        y = down(tick)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" '
            'stroke-opacity="0.18"/>' + _text(_LEFT - 6, y + 3.5, f"{tick:.4g}", "end")
        )
    few = sorted({0, (epochs - 1) // 2, epochs - 1})
    for epoch, anchor in zip(few, ("middle", "middle", "end"), strict=False):
        parts.append(_text(across(epoch), _HEIGHT - _BOTTOM + 14, f"{epoch + 1:,}", anchor))
    parts.append(_text(_LEFT + wide / 2, _HEIGHT - 4, "epoch", "middle"))
    if mark is not None and 0 <= mark < epochs:
        x = across(mark)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" stroke="currentColor" '
            f'stroke-opacity="0.5" stroke-dasharray="3 3"><title>best: epoch {mark + 1}</title></line>'
        )
    right = _WIDTH - _RIGHT
    for colour, (line, points) in reversed(list(zip(_COLOURS, values.items(), strict=False))):
        parts.append(_curve(points, colour, across, down))
        parts.append(_text(right, 14, line, "end", colour=colour))
        right -= 6.2 * len(line) + 12
    label = escape(f"{name} over {epochs:,} epochs", quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" style="max-width: 100%; margin: 0.3em 1em 0.3em 0; color: inherit" '
        f'font-size="11" font-family="sans-serif">{"".join(parts)}</svg>'
    )


def _curve(points: Sequence[float | None], colour: str, across: Any, down: Any) -> str:
    """A line through the points, with gaps where there is no value and dots where a point stands alone."""
    step = max(1, -(-len(points) // _POINTS))
    kept = sorted({*range(0, len(points), step), len(points) - 1})
    path, dots, before = [], [], None
    for n, epoch in enumerate(kept):
        value = points[epoch]
        if value is not None:
            place = f"{across(epoch):.1f} {down(value):.1f}"
            path.append(("M" if before is None else "L") + place)
            after = points[kept[n + 1]] if n + 1 < len(kept) else None
            if before is None and after is None:
                x, y = place.split()
                dots.append(f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>')
        before = value
    return f'<path d="{" ".join(path)}" fill="none" stroke="{colour}" stroke-width="1.8"/>{"".join(dots)}'


def _text(x: float, y: float, text: str, anchor: str, *, bold: bool = False, colour: str = "currentColor") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{_shown(text)}</text>'


def _finite(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) or abs(value) > 1e100 else float(value)


def _ticks(low: float, high: float) -> list[float]:
    """Round values that enclose low and high."""
    if low == high:
        return [low]
    raw = (high - low) / 3
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{n * step:.12g}") for n in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, last + 1, max(1, (last - first) // 4))]


def figures(record: Mapping[str, Any]) -> dict[str, str]:
    """The numbers of a record as texts, by name."""
    return {name: figure(value) for name, value in record.items() if isinstance(value, int | float)}
