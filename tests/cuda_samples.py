"""Of each CUDA file some calls that reach all of its kernels: small, with a last block that is not full. Tests only.

The same calls run under the sanitizers of the host and under those of a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from arrays import Backend
from host_cuda import half_steps, of_outputs
from recurrent_cases import computed_rows
from update_rules import RULES, gradients, start

from backends.cuda import conv
from backends.dispatch import Kernel, kernels

__all__ = ["sample"]

Call = tuple[str, list[Any], dict[str, Any]]


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape)


POOL = {"kernel": (3, 2), "stride": (2, 1), "padding": ((1, 0), (0, 1))}
MOVED = {"fill": "constant", "value": 0.5}
FILTER = {"padding": ((1, 2), (2, 2)), "stride": (2, 1)}
LENGTHS = (2, 4, 1, 4, 3)
CONVOLUTION = {"stride": (1, 2), "padding": ((1, 0), (0, 1)), "dilation": (2, 1)}

CALLS: dict[str, list[Call]] = {
    "conv": [
        ("conv2d", [normal(1, 6, 4, 3), normal(2, 2, 3, 33), normal(33)], CONVOLUTION),
        ("conv2d_relu", [normal(2, 5, 4, 3), normal(2, 2, 3, 5), normal(5)], {**CONVOLUTION, "pool": (2, 2)}),
        ("conv2d_relu", [normal(1, 4, 4, 3), normal(1, 2, 3, 2), None], {**CONVOLUTION, "pool": None}),
    ],
    "distance": [(name, [normal(33, 9), normal(5, 9)], {}) for name in ("l1_distances", "squared_distances")],
    "dropout": [("dropout", [normal(5, 7)], {"rate": 0.4, "key": (1, 2), "first_row": 3})],
    "elementwise": [(name, [normal(n)], {}) for name in ("relu", "sigmoid", "tanh") for n in (1, 64, 83)]
    + [("leaky_relu", [normal(83)], {"alpha": 0.1})],
    "filter": [
        ("correlate2d", [normal(2, 5, 4, 3), normal(3, 2)], {**FILTER, "border": "reflect"}),
        ("correlate_separable", [normal(1, 5, 9, 34), normal(3), normal(5)], {**FILTER, "border": "wrap"}),
    ],
    "linear": [
        ("linear_relu", [normal(2, 3, 9), normal(9, 5), normal(5)], {}),
        ("linear_relu", [normal(70, 3), normal(3, 34), None], {}),
        ("linear_relu", [normal(600, 2), normal(2, 34), normal(34)], {}),
        ("linear", [normal(70, 3), normal(3, 34), normal(34)], {}),
        ("linear", [normal(1030, 2), normal(2, 5), normal(5)], {}),
    ],
    "loss": [
        ("cross_entropy", [normal(11, 37), np.arange(11) * 5 - 3, np.abs(normal(11))], {"label_smoothing": 0.1}),
        ("cross_entropy", [normal(300, 3), np.arange(300) % 3, None], {"label_smoothing": 0.0}),
    ],
    "mixed": [],
    "norm": [
        ("batch_norm", [normal(130, 3), normal(3), normal(3)], {"eps": 1e-5}),
        ("batch_norm", [normal(70, 34), normal(34), normal(34)], {"eps": 1e-5}),
        ("batch_norm_relu", [normal(3, 5, 4, 3), normal(3), normal(3)], {"eps": 1e-5, "pool": (2, 2)}),
        ("batch_norm_relu", [normal(300, 3), normal(3), normal(3)], {"eps": 1e-5, "pool": None}),
        ("batch_norm_fixed", [normal(70, 5), normal(5), normal(5), normal(5), np.abs(normal(5))], {"eps": 1e-5}),
    ],
    "optim": [],
    "pool": [(name, [normal(2, 6, 5, 3)], POOL) for name in ("max_pool2d", "avg_pool2d")],
    "recurrent": [
        (name, [normal(5, 4, 3), normal(3, 17 * gates), normal(17, 17 * gates), *vectors, *first, rows], how)
        for name, gates, vectors, states in (
            ("rnn", 1, [normal(17)], 1),
            ("lstm", 4, [normal(68)], 2),
            ("gru", 3, [normal(51), normal(17)], 1),
        )
        for first, rows, how in (
            ([normal(5, 17)] * states, computed_rows(LENGTHS, 4, True), {"lengths": LENGTHS, "reverse": True}),
            ([None] * states, None, {"lengths": None, "reverse": False}),
        )
    ],
    "resample": [
        ("move_pixels", [normal(2, 3, 4, 3), np.arange(-5, 5).reshape(2, 5), np.arange(-7, 7).reshape(2, 7)], MOVED),
        ("resample", [normal(2, 3, 4, 3), normal(2, 2, 3)], {**MOVED, "interpolation": "nearest"}),
        ("resample", [normal(2, 3, 4, 3), normal(2, 2, 3)], {**MOVED, "interpolation": "bilinear"}),
    ],
}
"""Of each file calls of its kernels, in float64: small, and with a last block that is not full."""


def call(arrays: Backend, name: str, host: list[Any], dtype: str, params: dict[str, Any]) -> None:
    """Both passes by the CUDA kernels."""
    inputs = [
        arrays.place(x.astype(dtype) if x.dtype.kind == "f" else x) if isinstance(x, np.ndarray) else x for x in host
    ]
    kernel, xp = kernels()[name], arrays.device.xp
    assert isinstance(kernel, Kernel)
    pair = kernel.choose(xp, inputs, params)
    assert pair is not kernel
    if not hasattr(pair, "backward"):
        pair.forward(xp, *inputs, needed=[False] * len(inputs), **params)
        return
    given = 3 if name == "batch_norm_fixed" else len(host)  # the statistics behind them have no gradient
    needed = [i < given and x is not None and x.dtype.kind == "f" for i, x in enumerate(host)]
    y, saved = pair.forward(xp, *inputs, needed=needed, **params)
    first = y[0] if isinstance(y, tuple) else y
    dy = arrays.place(np.asarray(normal(*first.shape)).astype(dtype))
    pair.backward(xp, of_outputs(y, dy), saved, needed=needed, **params)


def steps(arrays: Backend, dtype: str) -> None:
    """A step of every rule on a vector of packs, and on one that begins an element further."""
    for rule in RULES:
        if rule.kernel != "running_average_":
            for n, offset in ((70, 0), (70, 1)):
                host = [np.pad(x, (offset, 0)) for x in [*start(rule, n, dtype), gradients(n, dtype)[0]]]
                kernels()[rule.kernel](*(arrays.place(x)[offset:] for x in host), **rule.at(1))
                counts = arrays.place(np.int32([1, 3, 0, 0, 0]))
                kernels()[rule.kernel](*(arrays.place(x)[offset:] for x in host), counts, **rule.at(1))
    for n in (70, 17_000):
        x = arrays.place(normal(n).astype(dtype))
        kernels()["clip_by_norm_"](x, arrays.place(np.zeros((), dtype)), limit=1.0)
        x = arrays.place(np.where(np.arange(n) % 9 == 0, np.inf, normal(n)).astype(dtype))
        kernels()["clip_by_norm_"](x, arrays.place(np.zeros((), dtype)), limit=1.0)
    kernels()["clip_"](arrays.place(normal(70).astype(dtype)), limit=0.01)


def _extreme(x: np.ndarray) -> np.ndarray:
    """The array with infinities, NaN and the smallest numbers among the others."""
    x = x.copy()
    x.flat[::7], x.flat[3::7], x.flat[5::14], x.flat[6::14] = -np.inf, np.inf, np.nan, 1e-45
    return x


def sample(arrays: Backend, family: str, dtype: str) -> None:
    """The calls of a file in a dtype."""
    for name, host, params in CALLS[family]:
        call(arrays, name, host, dtype, params)
        if family in ("dropout", "elementwise", "loss", "norm", "pool"):
            with np.errstate(all="ignore"):
                call(arrays, name, [_extreme(host[0]), *host[1:]], dtype, params)
    if family == "conv":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(conv, "COLUMNS", 0)  # without columns
            call(arrays, *CALLS[family][0][:2], dtype, CALLS[family][0][2])
    if family == "optim":
        steps(arrays, dtype)
    if family == "mixed":
        for n, spoilt in ((70, False), (9001, True)):
            half_steps(arrays, n, spoilt)
    if family == "norm":
        average, value = (arrays.place(normal(70).astype(dtype)) for _ in range(2))
        kernels()["running_average_"](average, value, momentum=0.9)
