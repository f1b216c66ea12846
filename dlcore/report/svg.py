"""A drawing of Matplotlib's as an element of an HTML page."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from dlcore._core.escapes import escape

__all__ = ["inline"]


def inline(svg: str, label: str, colours: Mapping[str, str]) -> str:
    """An SVG file as an ``<svg>`` element: without prologue, metadata and size, with ids of its own.

    label : what it shows, for those who do not see it
    colours : by name, as ``#rrggbb``; each becomes the CSS variable ``--name`` with this default

    >>> inline('<?xml version="1.0"?><svg width="9pt" style="fill: #ffffff"/>', "A", {"paper": "#ffffff"})
    '<svg role="img" aria-label="A" style="fill: var(--paper, #ffffff)"/>'
    """
    own = f"c{hashlib.sha256(svg.encode()).hexdigest()[:8]}-"  # the ids of two drawings in one page must differ
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*<style type=\"text/css\">[^<]*</style>", "", svg)  # it would hold for the whole page
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
    svg = re.sub(r"font-family: [^;\"]+", "font-family: inherit", svg)
    svg = re.sub(r'\bid="', f'id="{own}', svg)
    svg = svg.replace("url(#", f"url(#{own}").replace('href="#', f'href="#{own}')
    for name, colour in colours.items():
        svg = re.sub(rf"(?<=: ){colour}\b", f"var(--{name}, {colour})", svg, flags=re.IGNORECASE)
    return svg
