"""Calls of the CUDA kernels on the host, beside the same calls of the references. Tests only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import shim
from arrays import Backend
from case import SUMS, Case, Tolerance, outputs
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.cuda.launch import real
from backends.dispatch import Kernel, explain, kernels
from backends.namespace import NUMPY
from backends.runtime.device import resolve

DTYPES = ("float32", "float64", "float16")
HALF = Tolerance(2, "computed in float32, and rounded to float16 once, or twice on the way of a gradient")

STEPS = Tolerance(16, "of each step sums of some units and the states are rounded, and go through the steps behind it")


def tolerance(kernel: str, result: np.ndarray, otherwise: Tolerance) -> Tolerance:
    """How far a result may be off; ``otherwise`` where it is not of float16."""
    if result.dtype != np.float16:
        return otherwise
    return STEPS if kernel in ("rnn", "lstm", "gru") else HALF


KINKED = ("conv2d_relu", "linear_relu")
"""Kernels whose gradient goes another way where a rounded number behind a sum is."""


def place(arrays: Backend, host: list[Any]) -> list[Any]:
    return [arrays.place(x) if isinstance(x, np.ndarray) else x for x in host]


def widened(host: list[Any]) -> list[Any]:
    return [x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in host]


def of_outputs(y: Any, dy: Any) -> Any:
    """``dy`` as the gradient of the first of the outputs, where there are several."""
    return (dy, *[None] * (len(y) - 1)) if isinstance(y, tuple) else dy


def both_passes(pair: Any, xp: Any, inputs: list[Any], needed: list[bool], dy: Any, **params: Any) -> list[Any]:
    """The outputs and the gradients."""
    y, saved = pair.forward(xp, *inputs, needed=needed, **params)
    if not any(needed):
        return [*outputs(y)]
    dx = pair.backward(xp, of_outputs(y, dy), saved, needed=needed, **params)
    return [*outputs(y), *(dx[position] for position, wanted in enumerate(needed) if wanted)]


def alternative(name: str, arrays: Backend, inputs: list[Any], params: dict[str, Any]) -> Any:
    """The CUDA pair for the inputs, which must be taken."""
    kernel = kernels()[name]
    pair = kernel.choose(arrays.device.xp, inputs, params)
    assert pair is not kernel, explain(kernel, *inputs, **params)
    return pair


def in_float64(
    name: str, host: list[Any], needed: list[bool], **params: Any
) -> tuple[np.ndarray, list[np.ndarray], int]:
    """A gradient of the first output, what the reference gives in float64, and how many of that are outputs."""
    reference, wide = kernels()[name], widened(host)
    assert isinstance(reference, Kernel)
    y = outputs(reference.forward(NUMPY, *wide, needed=needed, **params)[0])
    dy = np.asarray(np.random.default_rng(11).standard_normal(y[0].shape)).astype(floating(host))
    return dy, both_passes(reference, NUMPY, wide, needed, dy.astype(np.float64), **params), len(y)


def floating(host: list[Any]) -> np.dtype[Any]:
    """The dtype of the numbers."""
    return next(x.dtype for x in host if isinstance(x, np.ndarray) and x.dtype.kind == "f")


def on_host(
    arrays: Backend, name: str, host: list[Any], needed: list[bool], dy: np.ndarray, count: int, **params: Any
) -> list[np.ndarray]:
    """What the CUDA kernels give: ``count`` outputs, and the gradients for ``dy``; the inputs stay as they are."""
    reference, dtype = kernels()[name], floating(host)
    inputs = place(arrays, host)
    pair = alternative(name, arrays, inputs, params)
    results = both_passes(pair, arrays.device.xp, inputs, needed, arrays.place(dy), **params)
    for before, after in zip(host, inputs, strict=True):
        if isinstance(before, np.ndarray):
            np.testing.assert_array_equal(arrays.host(after), before, "an input was written into")
    assert all(arrays.device.holds(result) for result in results)
    for position, result in enumerate(results):  # statistics, which are other outputs, are never of float16
        statistic = 0 < position < count and not reference.rounds_all
        assert result.dtype == (real(dtype) if statistic else dtype), position
    return [arrays.host(result) for result in results]


def on_host_and_in_float64(
    arrays: Backend, name: str, host: list[Any], needed: list[bool], **params: Any
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What the CUDA kernels give, and what the reference gives in float64 for the same, rounded, inputs."""
    dy, expected, count = in_float64(name, host, needed, **params)
    return on_host(arrays, name, host, needed, dy, count, **params), expected


def wanted(case: Case) -> list[bool]:
    return [position in case.differentiable for position in range(len(case.arrays))]


def cases_of(kernel: str, dtype: str) -> Iterator[tuple[Case, list[Any]]]:
    """The kernel's cases that are not empty and whose numbers a dtype can hold, and the inputs in it."""
    for case in CASES:
        if case.kernel == kernel:
            with np.errstate(over="ignore"):
                host = case.host(dtype)
            if all(x.size and np.isfinite(x).all() for x in host if isinstance(x, np.ndarray)):
                yield case, few_bits(host) if dtype == "float16" and kernel in KINKED else host


def few_bits(host: list[Any]) -> list[Any]:
    """Halves in [-4, 4]: their products are exact in float16, and so are sums of some hundred of them.

    Rounded to float16, two pixels of a window may become equal, and then another one is the largest; or one becomes 0.
    """
    return [x if x is None else (np.clip(np.round(2 * x), -8, 8) / 2).astype(x.dtype) for x in host]


def check_table(arrays: Backend, kernel: str, dtype: str, orders: Sequence[int] = shim.SCHEDULES) -> None:
    """Every case of a kernel in a dtype, in those orders of the threads."""
    for case, host in cases_of(kernel, dtype):
        dy, expected, count = in_float64(kernel, host, wanted(case), **case.params)
        oracle = outputs(case.oracle(*widened(host), **case.params))
        for seed in orders:
            context = f"{case}, {dtype}, order {seed}"
            with shim.schedule(seed):
                results = on_host(arrays, kernel, host, wanted(case), dy, count, **case.params)
            for result, value in zip(results, oracle, strict=False):
                tolerance(kernel, result, case.tolerance).check(result, value, context)
            for result, value in zip(results[count:], expected[count:], strict=True):
                tolerance(kernel, result, case.gradient_tolerance).check(result, value, f"{context}, gradient")


# --- random shapes


def on_random_shapes(check: Callable[..., None]) -> Callable[..., None]:
    """Run a check on examples, each on a fresh machine: a fixture would be shared by all of them."""

    @settings(max_examples=30, derandomize=True)
    @given(data=st.data(), dtype=st.sampled_from(DTYPES), seed=st.sampled_from(shim.SCHEDULES))
    def test(data: st.DataObject, dtype: str, seed: int, build_folder: None) -> None:
        with shim.installed(), shim.schedule(seed):
            check(Backend("host-cuda", resolve("cuda")), data.draw, dtype)

    test.__name__, test.__doc__ = check.__name__, check.__doc__
    return test


def numbers(draw: Any, dtype: str, *shape: int) -> np.ndarray:
    return np.random.default_rng(draw(st.integers(0, 99))).standard_normal(shape).astype(dtype)


def agree(arrays: Backend, name: str, host: list[Any], needed: list[bool], **params: Any) -> None:
    results, expected = on_host_and_in_float64(arrays, name, host, needed, **params)
    for result, value in zip(results, expected, strict=True):
        tolerance(name, result, SUMS).check(result, value, f"{name}, {host}, {params}")


# --- mixed precision


def half_steps(arrays: Backend, n: int, spoilt: bool) -> list[Any]:
    """A call of each kernel of mixed precision on ``n`` numbers, of which one is an infinity where ``spoilt``."""
    rng = np.random.default_rng(n)
    half = rng.standard_normal(n).astype(np.float16)
    if spoilt:
        half[n // 2] = np.inf
    grad, x, before = (rng.standard_normal(n).astype(np.float32) for _ in range(3))
    written = [arrays.place(grad), arrays.place(np.float32([4.0])), arrays.place(np.int32([1, 5, 2, 3, 0]))]
    limits = {"grow_every": 3, "least": 4.0, "most": 64.0}
    cast, kept = arrays.place(np.zeros(n, np.float16)), arrays.place(x)
    kernels()["unscale_"](*written, arrays.place(half), **limits)
    kernels()["cast_"](cast, arrays.place(grad))
    kernels()["keep_"](kept, arrays.place(before), written[2])
    return [arrays.host(array) for array in (*written, cast, kept)]
