"""Images sampled at other places, one launch each; places are computed as the reference does it, to the bit."""

from __future__ import annotations

from math import prod

from backends.cuda import requirements
from backends.cuda.launch import by_elements, compact, real
from backends.reference import resample

_BORDERS = ("constant", "reflect", "symmetric", "nearest", "wrap")  # in the order of border.cuh


def _unsuited_maps(x, maps, **_) -> str | None:
    reason = requirements.unsuited("resample", x=x)
    if reason is None and maps.dtype not in (x.dtype, real(x.dtype)):
        return f"places in {maps.dtype}, and images of {x.dtype}"
    return reason


@resample.move_pixels.alternative(
    "cupy",
    unless=lambda x, rows, columns, **_: (
        requirements.unsuited("resample", x=x)
        or requirements.uncountable("the output", rows.size * columns.shape[1] * x.shape[3])
    ),
)
class PixelsInOnePass:
    """Whole pixels: nothing is rounded."""

    @staticmethod
    def forward(xp, x, rows, columns, *, fill, value, needed):
        shape = (rows.shape[0], rows.shape[1], columns.shape[1], x.shape[3])
        y = xp.empty(shape, dtype=x.dtype, device=x.device)
        places = (compact(xp, xp.astype(index, xp.int64, copy=False)) for index in (rows, columns))
        sizes = (y.size, *x.shape[1:], *shape[1:3], _BORDERS.index(fill), float(value))
        by_elements("resample", "move_pixels", (compact(xp, x), *places, y, *sizes), prod(shape), x.dtype)
        return y, None


@resample.resample.alternative("cupy", unless=_unsuited_maps)
class ResampledInOnePass:
    """Places in float32 for images of float16."""

    @staticmethod
    def forward(xp, x, maps, *, fill, value, interpolation, needed):
        y = xp.empty(x.shape, dtype=x.dtype, device=x.device)
        maps = compact(xp, xp.astype(maps, real(x.dtype), copy=False))
        how = (_BORDERS.index(fill), float(value), int(interpolation == "bilinear"))
        by_elements("resample", "resample", (compact(xp, x), maps, y, x.size, *x.shape[1:], *how), x.size, x.dtype)
        return y, None
