"""A layer that filters with a kernel that is given, not learnt."""

from __future__ import annotations

from typing import Any

from dlcore._core.configurable import settings
from dlcore.functional.checks import pair
from dlcore.functional.filter import BORDERS, MODES, Fixed, correlate2d, known
from dlcore.nn.module import Module
from dlcore.tensor import Tensor

__all__ = ["Filter2D"]


class Filter2D(Module):
    """Every channel correlated with one fixed kernel, such as a blur or an edge mask in front of learnt layers.

    kernel : (kh, kw) finite numbers, an array or nested lists; it is not flipped
    mode : "valid", "same" or "full"
    border : "zero", "reflect", "symmetric", "nearest" or "wrap": what stands beyond the image
    stride : int, or (vertical, horizontal), in pixels

    (N, H, W, C) -> (N, OH, OW, C), as :func:`dlcore.filters.correlate2d`. No parameters. Raises ConfigError.

    >>> Filter2D([[1, 0, -1]], mode="valid")([[[[1.0], [1.0], [1.0], [0.0]]]]).numpy().ravel()
    array([0., 1.], dtype=float32)

    Source: notes, 4.2.
    """

    def __init__(
        self, kernel: Any, mode: str = "same", border: str = "zero", stride: int | tuple[int, int] = 1
    ) -> None:
        with settings():
            self.kernel = Fixed("Filter2D", kernel)
            self.mode = known("Filter2D", "mode", mode, MODES)
            self.border = known("Filter2D", "border", border, BORDERS)
            self.stride = pair("Filter2D", "stride", stride)
        self.config["kernel"] = tuple(map(tuple, self.kernel.numbers.tolist()))  # which JSON can hold

    def forward(self, x: Any) -> Tensor:
        return correlate2d(x, self.kernel, mode=self.mode, border=self.border, stride=self.stride, operation="Filter2D")
