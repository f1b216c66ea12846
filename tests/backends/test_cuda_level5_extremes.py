"""Level 5: infinities, NaN, denormals, ±1e4 and zeros in the CUDA kernels on the host, against the oracles."""

from __future__ import annotations

import numpy as np
import pytest
import shim
from arrays import Backend
from case import outputs
from extreme_cases import BEHIND_A_MASK, EXTREMES, behind_a_mask
from host_cuda import HALF, in_float64, on_host, wanted, widened

from backends.cuda import compile
from backends.dispatch import Kernel, kernels

pytestmark = [pytest.mark.level5, pytest.mark.usefixtures("built_units")]

BY_CUBLAS = ("matmul",)  # and others without a source of their own, which have no units
FAMILIES = {
    name: kernel.__module__.rpartition(".")[2]
    for name, kernel in kernels().items()
    if isinstance(kernel, Kernel)
    and kernel.alternatives.get("cupy")
    and name not in BY_CUBLAS
    and kernel.__module__.rpartition(".")[2] in compile.DTYPES
}


@pytest.mark.parametrize(
    ("kernel", "dtype"),
    [(name, dtype) for name, family in FAMILIES.items() for dtype in compile.DTYPES[family] if dtype != "float16"],
)
def test_extreme_values_give_what_the_oracle_says(kernel: str, dtype: str, host_cuda: Backend):
    for case in (case for case in EXTREMES if case.kernel == kernel):
        host = case.host(dtype)
        with np.errstate(all="ignore"):
            dy, slopes, count = in_float64(kernel, host, wanted(case), **case.params)
            if case.gradient is not None:
                given = case.gradient(dy.astype(np.float64), *widened(host), **case.params)
                slopes[count:] = [given[position] for position in case.differentiable]
            with shim.schedule(shim.SCHEDULES[-1]):
                results = on_host(host_cuda, kernel, host, wanted(case), dy, count, **case.params)
            expected = case.expected(dtype)
        for result, value in zip(results, expected, strict=False):
            case.tolerance.check(result, value, f"{case}, {dtype}")
        for result, value in zip(results[count:], slopes[count:], strict=True):
            case.gradient_tolerance.check(result, value, f"{case}, {dtype}, gradient")


HALVES = [name for name, family in FAMILIES.items() if "float16" in compile.DTYPES[family] and name in (
    "relu", "leaky_relu", "sigmoid", "tanh", "dropout", "max_pool2d", "cross_entropy",
)]  # fmt: skip


@pytest.mark.parametrize("kernel", HALVES)
def test_infinities_and_nan_of_float16_give_what_the_oracle_says(kernel: str, host_cuda: Backend):
    for case in (case for case in EXTREMES if case.kernel == kernel and ("infinit" in case.name or "NaN" in case.name)):
        host = case.host("float16")
        with np.errstate(all="ignore"):
            dy, slopes, count = in_float64(kernel, host, wanted(case), **case.params)
            results = on_host(host_cuda, kernel, host, wanted(case), dy, count, **case.params)
            expected = outputs(case.oracle(*widened(host), **case.params))
        for result, value in zip(results, [*expected, *slopes[count:]], strict=True):
            HALF.check(result, value, f"{case}, float16")


@pytest.mark.parametrize("kernel", BEHIND_A_MASK)
def test_an_infinite_gradient_behind_a_mask_is_nothing(kernel: str, host_cuda: Backend):
    for case, sick, sound in behind_a_mask(kernel):
        host, count = case.host("float32"), len(case.expected("float32"))
        one, other = (
            on_host(host_cuda, kernel, host, wanted(case), dy.astype(np.float32), count, **case.params)[count:]
            for dy in (sick, sound)
        )
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b, str(case))
