"""Arrays of float16: stored in 16 bits, computed in float32, and rounded once.

Sums of float16 lose what they add up, and exponentials leave its range; so a kernel that has no alternative for
float16 runs on float32 copies of its arrays, reference or alternative alike, and its result is rounded. That is done
here, once for all kernels: none of them knows of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["InFloat32", "all_half", "is_half"]

_HALF, _WIDER, _OTHER = "float16", "wider", "no float"
_KINDS: dict[Any, dict[Any, str]] = {}
"""What the dtypes of a library are, by namespace: those of two libraries are not to be compared."""


def is_half(xp: Any, x: Any) -> bool:
    """Whether ``x`` is an array of float16 of the library ``xp``.

    >>> import numpy as np
    >>> is_half(np, np.ones(2, np.float16)), is_half(np, np.ones(2))
    (True, False)
    """
    return _kind(_KINDS.setdefault(xp, {None: _OTHER}), x) is _HALF


def all_half(xp: Any, arrays: Sequence[Any]) -> bool:
    """Whether there are arrays of float16 among these, and no wider floats: those say how to compute, as everywhere.

    >>> import numpy as np
    >>> half, single = np.ones(2, np.float16), np.ones(2, np.float32)
    >>> all_half(np, [half, None]), all_half(np, [half, single])
    (True, False)
    """
    try:
        kinds = _KINDS[xp]
    except KeyError:
        kinds = _KINDS[xp] = {None: _OTHER}
    found = False
    for x in arrays:
        dtype = getattr(x, "dtype", None)
        kind = kinds[dtype] if dtype in kinds else _kind(kinds, x)
        if kind is _WIDER:
            return False
        found = found or kind is _HALF
    return found


def _kind(kinds: dict[Any, str], x: Any) -> str:
    dtype = getattr(x, "dtype", None)
    try:
        return kinds[dtype]
    except KeyError:
        name = str(dtype).rpartition(".")[2]
        kinds[dtype] = _HALF if name == "float16" else _WIDER if name.startswith(("float", "complex")) else _OTHER
        return kinds[dtype]


class InFloat32:
    """A kernel's pair for arrays of float16.

    Of several outputs the first is rounded to float16; the others, such as the statistics of a batch, stay float32,
    unless the kernel ``rounds_all``. A gradient has the dtype of its array.

    >>> import numpy as np
    >>> from backends.reference.linear import linear
    >>> x = np.ones((1, 4096), np.float16)
    >>> InFloat32(linear).widened(np, [x, None])[0].dtype
    dtype('float32')
    >>> linear(x, x.T, None)  # 2048 + 1 is 2048 in float16
    array([[4.096e+03]], dtype=float16)
    """

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel

    def widened(self, xp: Any, arrays: Sequence[Any]) -> list[Any]:
        """The arrays, with float32 in place of float16."""
        return [xp.astype(x, xp.float32) if is_half(xp, x) else x for x in arrays]

    def forward(self, xp: Any, *arrays: Any, needed: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        """The kernel's forward pass in float32; of its output, what is float16 again."""
        wide = self.widened(xp, arrays)
        pair = self.kernel.choose(xp, wide, params)
        output, saved = pair.forward(xp, *wide, needed=needed, **params)
        if isinstance(output, tuple):
            rounded = len(output) if self.kernel.rounds_all else 1
            return (*(_rounded(xp, y) for y in output[:rounded]), *output[rounded:]), (pair, saved)
        return _rounded(xp, output), (pair, saved)

    def backward(self, xp: Any, dy: Any, saved: Any, *, needed: Sequence[bool], **params: Any) -> tuple[Any, ...]:
        """The kernel's backward pass in float32; each gradient has the dtype of its array."""
        pair, saved = saved
        dy = self.widened(xp, dy) if isinstance(dy, tuple | list) else self.widened(xp, [dy])[0]
        return tuple(_rounded(xp, dx) for dx in pair.backward(xp, dy, saved, needed=needed, **params))


def _rounded(xp: Any, x: Any) -> Any:
    return xp.astype(x, xp.float16) if x is not None and x.dtype == xp.float32 else x
