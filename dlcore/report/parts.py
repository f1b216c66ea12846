"""What the sections of a page are made of: the text comes escaped."""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["section", "share", "table"]


def section(title: str, content: str) -> str:
    """A section with its heading, or nothing where it has no content."""
    return f"<section>\n<h2>{title}</h2>\n{content}\n</section>\n" if content else ""


def table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, kind: str = "", marked: Collection[int] = ()
) -> str:
    """A table whose first column names its rows, in a box that scrolls sideways where the screen is narrow.

    kind : a class of the table; "own" makes much of the first row, "words" has no numbers
    marked : places of rows to be marked
    """
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    lines = "\n".join(
        f'<tr{" class=marked" if place in marked else ""}><th scope="row">{row[0]}</th>'
        f"{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>"
        for place, row in enumerate(rows)
    )
    return (
        f'<div class="scroll" tabindex="0">\n<table{f" class={kind}" if kind else ""}>\n<caption>{caption}</caption>\n'
        f"<thead><tr>{names}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>\n</div>"
    )


def share(value: float) -> str:
    """A share in percent, as HTML, which is 0 % or 100 % only where it is exactly that.

    >>> share(0.5), share(1.0), share(0.9999), share(0.0001), share(float("nan"))
    ('50%', '100%', '&gt;99.9%', '&lt;0.1%', '–')
    """
    if value != value:
        return "–"
    if value in (0.0, 1.0) or f"{value:.1%}" not in ("0.0%", "100.0%"):
        return f"{value:.1%}".replace(".0%", "%")
    return "&lt;0.1%" if value < 0.5 else "&gt;99.9%"
