"""The sections on a model's mistakes: the confusion matrix, and the worst ones with their pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np

from dlcore._core.escapes import escape
from dlcore.report.examine import Examination, Mistake
from dlcore.report.parts import section, share, table

__all__ = ["confusion_section", "mistakes_section", "png"]

MAX_CLASSES = 50
"""A matrix of more classes is no longer readable: the most confused pairs are listed instead."""
MAX_WIDE = 12
"""A matrix of more classes is set smaller."""
MAX_LETTERS = 4
"""Where a class's name has more, the names stand upright above the columns."""
PAIRS = 20
SIDE = 96
"""Pixels a side of a picture: smaller ones are enlarged by whole factors, larger ones made smaller."""


def confusion_section(found: Examination, classes: Sequence[str] | None) -> str:
    """Which class is taken for which, as a table shaded by the share of each row; or the most confused pairs."""
    if found.confusion is None:
        return ""
    counts = found.confusion
    names = [_name(label, classes) for label in range(len(counts))]
    right, total = int(np.trace(counts)), int(counts.sum())
    said = f"{right:,} of {total:,} examples of the development set are right, {share(right / max(total, 1))}."
    drawn = _matrix(counts, names) if len(names) <= MAX_CLASSES else _pair_table(counts, names)
    pairs = _pairs(counts, 1)
    if pairs and len(names) > 2:
        true, predicted = pairs[0]
        times = int(counts[true, predicted])
        said += (
            f" Most often, <b>{names[true]}</b> is taken for <b>{names[predicted]}</b>: {times:,} "
            f"time{'s' * (times != 1)}, {share(times / counts[true].sum())} of that class."
        )
    if len(names) <= MAX_CLASSES:
        said += " The shade is the share of a row; the last column is the share of the class that is found."
    return section("Confusion matrix", f"<p>{said}</p>\n{drawn}")


def _matrix(counts: np.ndarray, names: list[str]) -> str:
    rows = []
    for true, name in enumerate(names):
        total = max(int(counts[true].sum()), 1)
        cells = "".join(_cell(int(n), int(n) / total, true == i) for i, n in enumerate(counts[true]))
        own = share(counts[true, true] / total) if counts[true].any() else "–"
        rows.append(f'<tr><th scope="row">{name}</th>{cells}<td class="share">{own}</td></tr>')
    heads = "".join(f'<th scope="col"><span>{name}</span></th>' for name in names)
    long = max(map(len, names)) > MAX_LETTERS
    kind = "confusion" + " dense" * (len(names) > MAX_WIDE) + " turned" * long
    lines = "\n".join(rows)
    return f"""<div class="scroll" tabindex="0">
<table class="{kind}">
<caption>Rows: true class. Columns: predicted class.</caption>
<thead><tr><td></td>{heads}<th scope="col"><span>Found</span></th></tr></thead>
<tbody>
{lines}
</tbody>
</table>
</div>"""


def _cell(count: int, part: float, right: bool) -> str:
    """A count with a shade: the root of its share, so that rare mistakes show too."""
    if not count:
        return '<td class="none">0</td>'
    shade = part**0.5
    kind = ("hit" if right else "miss") + (" deep" if shade > 0.6 else "")
    return f'<td class="{kind}" style="--shade:{shade:.2f}">{count:,}</td>'


def _pairs(counts: np.ndarray, most: int) -> list[tuple[int, int]]:
    """(true, predicted) of the ``most`` frequent confusions, the largest first."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(order, counts.shape)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if wrong[i, j]]


def _pair_table(counts: np.ndarray, names: list[str]) -> str:
    rows = [
        [names[true], names[predicted], f"{counts[true, predicted]:,}", share(counts[true, predicted] / total)]
        for true, predicted in _pairs(counts, PAIRS)
        for total in [int(counts[true].sum())]
    ]
    if not rows:
        return ""
    return table(
        "The most frequent confusions", ["What it is", "Taken for", "Times", "Share of the class"], rows, kind="pairs"
    )


def mistakes_section(found: Examination, classes: Sequence[str] | None) -> str:
    """The worst mistakes: cards where there are pictures, else a table."""
    mistakes = found.mistakes
    if not mistakes:
        return ""
    regression = mistakes[0].probability is None
    if mistakes[0].picture is not None:
        cards = "\n".join(_card(mistake, classes) for mistake in mistakes)
        drawn = f'<ol class="cards">\n{cards}\n</ol>'
    else:
        where = any(mistake.origin for mistake in mistakes)
        heads = ["True", "Predicted", "Error"] if regression else ["What it is", "Taken for", "How sure"]
        heads = ["Example", *heads, *["Where"] * where]
        rows = [[f"{m.position:,}", *_cells(m, classes), *[escape(m.origin)] * where] for m in mistakes]
        caption, kind = ("The largest first", "") if regression else ("The surest first", "examples")
        drawn = table(caption, heads, rows, kind=kind)
    said = (
        "The examples of the development set that are predicted worst."
        if regression
        else "Wrong, and sure of it: the examples of the development set whose wrong class is the most probable. "
        "They show where labels are doubtful, or what the model has not seen enough of."
    )
    of = f" The last column names {escape(found.origins)}." if found.origins else ""
    return section(
        "Largest errors" if regression else "Worst mistakes", f"<p>{said} Examples count from 0.{of}</p>\n{drawn}"
    )


def _cells(mistake: Mistake, classes: Sequence[str] | None) -> list[str]:
    if mistake.probability is None:
        error = _number(mistake.predicted - mistake.true, signed=True)
        return [_number(mistake.true), _number(mistake.predicted), error]
    return [_name(mistake.true, classes), _name(mistake.predicted, classes), _sure(mistake)]


def _card(mistake: Mistake, classes: Sequence[str] | None) -> str:
    if mistake.picture is None:
        return ""
    if mistake.probability is None:
        true, predicted = _number(mistake.true), _number(mistake.predicted)
        sure = ""
    else:
        true, predicted = _name(mistake.true, classes), _name(mistake.predicted, classes)
        sure = (
            f'<dt>How sure</dt><dd>{_sure(mistake)}<span class="bar" aria-hidden="true">'
            f'<span style="width:{100 * np.nan_to_num(mistake.probability):.1f}%"></span></span></dd>'
        )
    encoded = base64.b64encode(png(mistake.picture)).decode("ascii")
    small = max(mistake.picture.shape[:2]) < SIDE
    return (
        f'<li><img{" class=pixels" if small else ""} src="data:image/png;base64,{encoded}" '
        f'alt="Example {mistake.position}: {true}, taken for {predicted}">'
        f"<dl><dt>True</dt><dd>{true}</dd><dt>Predicted</dt><dd><b>{predicted}</b></dd>{sure}"
        f"<dt>Example</dt><dd>{mistake.position:,}</dd>{_origin(mistake)}</dl></li>"
    )


def _origin(mistake: Mistake) -> str:
    return f"<dt>From</dt><dd>{escape(mistake.origin)}</dd>" if mistake.origin else ""


def png(picture: np.ndarray) -> bytes:
    """A PNG file of about 96 pixels a side: small pictures are enlarged pixel by pixel, large ones are made smaller.

    picture : (H, W, 1) or (H, W, 3) uint8
    """
    from PIL import Image

    factor = max(1, SIDE // max(picture.shape[:2]))
    pixels = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _name(label: float, classes: Sequence[str] | None) -> str:
    """A class's name, escaped; its number where it has none."""
    known = classes is not None and 0 <= label < len(classes)
    return escape(str(classes[int(label)])) if classes is not None and known else str(int(label))


def _number(value: float, *, signed: bool = False) -> str:
    digits = ",.0f" if 1e4 <= abs(value) < 1e15 else ",.4g"
    return format(value, "+" * signed + digits).replace("-", "−")


def _sure(mistake: Mistake) -> str:
    return share(mistake.probability if mistake.probability is not None else float("nan"))
