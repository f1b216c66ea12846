"""What the pictures of a folder become: the size, grey or colour, and the depth of 16-bit grey, decided by all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dlcore.data.readers.images.decode import DEPTH, Look

__all__ = ["Form", "form_of", "size_for"]

_LARGEST = 1 << 20  # pixels of a size that nobody asked for
_SHORTER = 64  # pixels of the shorter side, where the pictures have no size in common


@dataclass(frozen=True)
class Form:
    """What a picture becomes.

    size : H and W
    channels : 1 for grey, 3 for colour
    undecided : whether the files can hold colour, so that their pixels have to say whether there is any
    depth : bits that 16-bit grey uses
    words : what was decided by the pictures, for people
    """

    size: tuple[int, int]
    channels: int
    undecided: bool = False
    depth: int = DEPTH
    words: tuple[str, ...] = ()


def form_of(looks: Sequence[Look], size: tuple[int, int] | None, color: str | None) -> Form:
    """The form for pictures of which these are the looks.

    size, color : where they are given, "grey" or "rgb"

    >>> grey, deep = Look((28, 28), 1, 0), Look((28, 28), 1, 4000)
    >>> form_of([grey, grey], None, None)
    Form(size=(28, 28), channels=1, undecided=False, depth=16, words=())
    >>> form_of([grey, deep], None, None).words
    ('16-bit grey of 0 to 4,095 (12 bits) is scaled to 8 bits',)
    """
    words: list[str] = []
    if size is None:
        size, said = size_for([look.size for look in looks])
        words += [said] if said else []
    channels = {"grey": 1, "rgb": 3}.get(color or "") or max(look.channels for look in looks)
    white = max(look.white for look in looks)
    depth = DEPTH if not white else min(max(white.bit_length(), 9), DEPTH)
    if white:
        words.append(f"16-bit grey of 0 to {(1 << depth) - 1:,} ({depth} bits) is scaled to 8 bits")
    return Form(size, channels, color is None and channels == 3, depth, tuple(words))


def size_for(sizes: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], str]:
    """The size for pictures of these sizes (H, W), and the rule by which it was chosen, where there was a choice.

    That of more than half of the pictures; where there is none, or it has more than 2^20 pixels, the median height and
    width, scaled so that the shorter side has at most 64 pixels.

    >>> size_for([(28, 28), (28, 28), (30, 20)])
    ((28, 28), '2 of 3 pictures have this size, the others are scaled and cropped; --image-size chooses another')
    >>> size_for([(480, 640), (600, 800), (300, 500)])[0]
    (64, 85)
    """
    (common, count), *others = Counter(sizes).most_common()
    if 2 * count > len(sizes) and common[0] * common[1] <= _LARGEST:
        if not others:
            return common, ""
        return common, (
            f"{count:,} of {len(sizes):,} pictures have this size, the others are scaled and cropped; --image-size "
            "chooses another"
        )
    height, width = (float(np.median([size[axis] for size in sizes])) for axis in (0, 1))
    scale = min(1.0, _SHORTER / min(height, width))
    most = _LARGEST // _SHORTER
    chosen = (min(max(round(height * scale), 1), most), min(max(round(width * scale), 1), most))
    low, high = (tuple(f(size[axis] for size in sizes) for axis in (0, 1)) for f in (min, max))
    found = (
        f"sizes from {low[0]:,} × {low[1]:,} to {high[0]:,} × {high[1]:,}"
        if others
        else (f"all {common[0]:,} × {common[1]:,}")
    )
    small = f" with a shorter side of {_SHORTER}" if scale < 1 else ""
    return chosen, (
        f"the pictures have {found} pixels, and are scaled and cropped to their median{small}; --image-size chooses "
        "another size"
    )
