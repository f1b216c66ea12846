"""The inputs of the convolution kernels; their oracles go by SciPy's correlation, channel by channel."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from case import Case, Tolerance, case, normal
from scipy import signal

__all__ = ["as_pair", "as_sides", "convolutions", "fused_convolutions"]


def as_pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def as_sides(padding: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    return padding if isinstance(padding, tuple) else ((padding, padding), (padding, padding))


def _conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, *, stride, padding, dilation) -> np.ndarray:
    kh, kw, channels, filters = w.shape
    spread = np.zeros(((kh - 1) * dilation[0] + 1, (kw - 1) * dilation[1] + 1, channels, filters))
    spread[:: dilation[0], :: dilation[1]] = w
    images = np.pad(x, ((0, 0), *padding, (0, 0)))
    maps = [
        sum(signal.correlate(image[:, :, c], spread[:, :, c, k], "valid", "direct") for c in range(channels))
        for image, k in itertools.product(images, range(filters))
    ]
    y = np.array(maps)[:, :: stride[0], :: stride[1]]  # (N K, OH, OW)
    y = y.reshape(len(x), filters, *y.shape[1:]).transpose(0, 2, 3, 1)
    return y if b is None else y + b


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {  # x, w, parameters
    "valid": ((2, 5, 6, 3), (3, 3, 3, 4), {}),
    "same": ((2, 5, 6, 2), (3, 3, 2, 3), {"padding": 1}),
    "padding of one side": ((1, 4, 5, 2), (3, 2, 2, 3), {"padding": ((0, 1), (2, 0))}),
    "padding wider than the kernel": ((1, 3, 3, 1), (2, 2, 1, 2), {"padding": ((3, 2), (2, 3))}),
    "stride": ((2, 7, 7, 2), (3, 3, 2, 3), {"stride": 2}),
    "stride that leaves pixels over": ((2, 6, 8, 2), (3, 3, 2, 3), {"stride": (2, 3)}),
    "stride beyond the kernel": ((1, 7, 7, 2), (2, 2, 2, 2), {"stride": 3}),
    "stride of one axis": ((1, 6, 5, 2), (3, 3, 2, 2), {"stride": (1, 2), "padding": 1}),
    "dilation": ((1, 7, 8, 2), (3, 3, 2, 2), {"dilation": 2}),
    "dilation of one axis": ((1, 5, 8, 2), (3, 3, 2, 2), {"dilation": (1, 3)}),
    "all at once": (
        (2, 8, 7, 2), (3, 2, 2, 3), {"stride": (2, 1), "padding": ((2, 1), (0, 2)), "dilation": (1, 2)},
    ),
    "even kernel": ((2, 5, 5, 2), (2, 2, 2, 3), {}),
    "even kernel, same": ((1, 4, 5, 1), (4, 2, 1, 2), {"padding": ((1, 2), (0, 1))}),
    "1x1": ((2, 3, 4, 3), (1, 1, 3, 2), {}),
    "1x1 with a stride": ((2, 4, 5, 3), (1, 1, 3, 2), {"stride": 2}),
    "1x1 with padding": ((1, 2, 3, 2), (1, 1, 2, 2), {"padding": 1}),
    "kernel as large as the image": ((3, 4, 5, 2), (4, 5, 2, 3), {}),
    "a row as kernel": ((2, 4, 6, 2), (1, 3, 2, 2), {}),
    "a column as kernel": ((2, 6, 4, 2), (3, 1, 2, 2), {}),
    "one image": ((1, 5, 5, 3), (3, 3, 3, 2), {}),
    "one channel": ((2, 5, 5, 1), (3, 3, 1, 2), {}),
    "one filter": ((2, 5, 5, 2), (3, 3, 2, 1), {}),
    "one of each": ((1, 3, 3, 1), (1, 1, 1, 1), {}),
    "one pixel": ((1, 1, 1, 2), (3, 3, 2, 2), {"padding": 1}),
    "a deep window": ((2, 9, 10, 20), (5, 4, 20, 3), {"padding": 2}),
    "more channels than a piece": ((1, 4, 5, 270), (2, 1, 270, 3), {"stride": 2}),
    "more filters than a stripe": ((1, 3, 4, 5), (2, 2, 5, 270), {}),
}  # fmt: skip


TILED = Tolerance(
    128, "sums of up to six hundred terms; an alternative that works by tiles of 4 × 4 also subtracts large sums"
)
MANY_CHANNELS: dict[str, tuple[tuple[int, ...], tuple[int, ...], Any]] = {  # x, w, padding
    "sixteen channels, whole tiles": ((2, 8, 8, 16), (3, 3, 16, 16), 1),
    "seventeen channels, valid": ((2, 7, 9, 17), (3, 3, 17, 19), 0),
    "seventeen channels, same": ((2, 6, 7, 17), (3, 3, 17, 33), 1),
    "more filters than channels, padding of one side": ((1, 5, 6, 18), (3, 3, 18, 50), ((0, 2), (1, 0))),
    "more channels than filters, wide padding": ((1, 3, 4, 70), (3, 3, 70, 16), ((3, 2), (1, 4))),
    "many images": ((9, 7, 6, 16), (3, 3, 16, 18), 1),
    "two pixels": ((1, 2, 1, 16), (3, 3, 16, 17), ((1, 1), (2, 2))),
}


def convolutions() -> Iterator[Case]:
    for name, (x, w, params) in CONVOLUTIONS.items():
        how = {"stride": as_pair(params.get("stride", 1)), "padding": as_sides(params.get("padding", 0))}
        how["dilation"] = as_pair(params.get("dilation", 1))
        yield case("conv2d", name, normal(*x), normal(*w), normal(w[-1]), oracle=_conv2d, **how)
        if name in ("valid", "1x1", "all at once"):
            yield case("conv2d", f"{name}, no bias", normal(*x), normal(*w), None, oracle=_conv2d, **how)
    for name, (x, w, padding) in MANY_CHANNELS.items():
        how = {"stride": (1, 1), "padding": as_sides(padding), "dilation": (1, 1)}
        b = None if name == "many images" else normal(w[-1])
        yield case(
            "conv2d", name, normal(*x), normal(*w), b, oracle=_conv2d, tolerance=TILED, gradient_tolerance=TILED, **how
        )


def _conv2d_relu(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, *, pool, **how) -> np.ndarray:
    y = np.maximum(_conv2d(x, w, b, **how), 0)
    if pool is None:
        return y
    n, h, width, k = y.shape
    down, right = h // pool[0], width // pool[1]
    y = y[:, : down * pool[0], : right * pool[1]].reshape(n, down, pool[0], right, pool[1], k)
    return y.max(axis=(2, 4))


def _gradient(dy: np.ndarray, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, *, pool, **how) -> tuple[Any, ...]:
    """The gradients, tap by tap: each window's goes to its first largest element, where that is above 0."""
    y = np.maximum(_conv2d(x, w, b, **how), 0)
    above = np.zeros_like(y)
    height, width = pool or (1, 1)
    for n, i, j, k in np.ndindex(*dy.shape):
        window = y[n, i * height : (i + 1) * height, j * width : (j + 1) * width, k]
        u, v = np.unravel_index(np.argmax(window), window.shape)
        above[n, i * height + u, j * width + v, k] = dy[n, i, j, k] * (window[u, v] > 0)
    (top, _), (left, _) = how["padding"]
    padded = np.pad(x, ((0, 0), *how["padding"], (0, 0)))
    dx, dw = np.zeros_like(padded), np.zeros_like(w)
    for u, v in np.ndindex(*w.shape[:2]):
        rows = u * how["dilation"][0] + how["stride"][0] * np.arange(y.shape[1])
        columns = v * how["dilation"][1] + how["stride"][1] * np.arange(y.shape[2])
        place = np.ix_(range(len(x)), rows, columns)
        dx[place] += above @ w[u, v].T
        dw[u, v] = np.einsum("nijc,nijk->ck", padded[place], above)
    dx = dx[:, top : top + x.shape[1], left : left + x.shape[2]]
    return dx, dw, None if b is None else above.sum(axis=(0, 1, 2))


FUSED: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, int] | None, dict[str, Any]]] = {
    "same": ((2, 5, 6, 2), (3, 3, 2, 3), None, {"padding": 1}),
    "same, pooled": ((2, 6, 8, 3), (3, 3, 3, 4), (2, 2), {"padding": 1}),
    "pool that leaves pixels over": ((2, 7, 5, 2), (3, 3, 2, 3), (2, 2), {"padding": 1}),
    "other pool": ((1, 8, 7, 2), (3, 3, 2, 2), (3, 2), {}),
    "one channel, pooled": ((2, 9, 9, 1), (3, 3, 1, 17), (2, 2), {"padding": 1}),
    "five by five": ((2, 8, 8, 2), (5, 5, 2, 3), (2, 2), {"padding": 2}),
    "stride and dilation": ((1, 9, 9, 2), (3, 2, 2, 3), (2, 2), {"stride": (2, 1), "dilation": (1, 2)}),
    "large pool": ((1, 13, 14, 5), (2, 2, 5, 18), (12, 12), {}),
    "many channels": ((2, 9, 10, 33), (3, 3, 33, 35), (2, 2), {"padding": 1}),
}  # fmt: skip


def fused_convolutions() -> Iterator[Case]:
    for name, (x, w, pool, params) in FUSED.items():
        how = {"stride": as_pair(params.get("stride", 1)), "padding": as_sides(params.get("padding", 0))}
        how |= {"dilation": as_pair(params.get("dilation", 1)), "pool": pool}
        how |= {"oracle": _conv2d_relu, "gradient": _gradient}
        yield case("conv2d_relu", name, normal(*x), normal(*w), normal(w[-1]), **how)
        if name.startswith("same"):
            yield case("conv2d_relu", f"{name}, no bias", normal(*x), normal(*w), None, **how)
    for (name, (x, w, padding)), pool in itertools.product(MANY_CHANNELS.items(), (None, (2, 2))):
        how = {"stride": (1, 1), "padding": as_sides(padding), "dilation": (1, 1), "pool": pool}
        b = None if name == "many images" else normal(w[-1])
        yield case(
            "conv2d_relu", f"{name}, pooled" if pool else name, normal(*x), normal(*w), b, oracle=_conv2d_relu,
            gradient=_gradient, tolerance=TILED, gradient_tolerance=TILED, **how,
        )  # fmt: skip
