"""Arrays of float16: every kernel computes in float32 and rounds, on every kind of array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from arrays import Backend, backend
from case import Case, Tolerance, outputs
from cases import CASES
from host_cuda import KINKED, few_bits

from backends.dispatch import Kernel, explain, kernels, reference_only
from backends.float16 import is_half
from backends.namespace import NUMPY
from backends.runtime import copies

ONCE = Tolerance(1, "rounded to float16 once; the errors of float32 are 8000 times as small")
MOVED = {"move_pixels", "resample", "l1_distances", "squared_distances"}  # on data, or beyond the range of float16


def floats(case: Case) -> bool:
    return any(isinstance(x, np.ndarray) and x.dtype == np.float64 for x in case.arrays)


def cases_of(kernel: str) -> list[Case]:
    return [case for case in CASES if case.kernel == kernel and floats(case)]


COMPUTED = [name for name in dict.fromkeys(c.kernel for c in CASES if floats(c)) if name not in MOVED]


def in_range(case: Case) -> bool:
    """Whether inputs and results are numbers of float16 that keep their digits."""
    with np.errstate(over="ignore"):
        arrays = [x for x in case.host("float16") if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
    values = [*arrays, *case.expected("float64")]
    return all(x.size and np.isfinite(x).all() and np.abs(x).max() < 6e4 for x in values)


def both(pair: Any, xp: Any, inputs: list[Any], dy: Any, case: Case) -> list[Any]:
    needed = [position in case.differentiable for position in range(len(inputs))]
    y, saved = pair.forward(xp, *inputs, needed=needed, **case.params)
    results = list(outputs(y))
    if any(needed):
        dys = (dy, *[None] * (len(results) - 1)) if isinstance(y, tuple) else dy
        results += [dx for dx, wanted in zip(pair.backward(xp, dys, saved, needed=needed, **case.params), needed,
                                             strict=True) if wanted]  # fmt: skip
    return results


@pytest.mark.parametrize("kernel", COMPUTED)
def test_the_result_is_that_of_float64_rounded_once(kernel: str, arrays: Backend) -> None:
    reference = kernels()[kernel]
    assert isinstance(reference, Kernel)
    for case in filter(in_range, cases_of(kernel)):
        host = case.host("float16")
        if kernel in KINKED:
            host = few_bits(host)
        wide = [x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype == np.float16 else x for x in host]
        count = len(case.expected("float64"))
        shape = case.expected("float64")[0].shape
        dy = np.asarray(np.random.default_rng(3).standard_normal(shape)).astype(np.float16)
        expected = both(reference, NUMPY, wide, dy.astype(np.float64), case)
        inputs = [arrays.place(x) if isinstance(x, np.ndarray) else x for x in host]
        pair = reference.choose(arrays.device.xp, inputs, case.params)
        results = both(pair, arrays.device.xp, inputs, arrays.place(dy), case)
        for position, (result, value) in enumerate(zip(results, expected, strict=True)):
            result = arrays.host(result)
            statistic = 0 < position < count and not reference.rounds_all
            assert result.dtype == (np.float32 if statistic else np.float16), case
            tolerance = case.tolerance if position < count else case.gradient_tolerance
            if not statistic and np.isfinite(value).all():
                slack = float(np.finfo(np.float32).eps / np.finfo(np.float16).eps) * tolerance.units
                Tolerance(ONCE.units + slack, ONCE.reason).check(result, value, str(case))


def test_a_sum_is_not_rounded_on_the_way(arrays: Backend) -> None:
    """In float16 ones would add up to 2048, where another one is lost."""
    ones = arrays.place(np.ones((4096, 1), np.float16))
    row = arrays.place(np.ones((1, 4096), np.float16))
    assert arrays.host(kernels()["sum_"](ones, axis=None, keepdims=False)) == 4096
    assert arrays.host(kernels()["linear"](row, ones, None))[0, 0] == 4096


def test_what_runs_is_named() -> None:
    half = np.ones((2, 3), np.float16)
    assert explain(kernels()["softmax"], half).taken == "reference, in float32"
    with reference_only():
        assert explain(kernels()["relu"], half).taken == "reference, in float32"


def test_wider_floats_among_the_arrays_say_how_to_compute(arrays: Backend) -> None:
    half, single = arrays.place(np.float16([1.0, 2.0])), arrays.place(np.float32([1e-4, 1e-4]))
    y = arrays.host(kernels()["add"](half, single))
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, np.float32([1.0, 2.0]) + np.float32(1e-4))


def test_given_statistics_stay_in_float32(arrays: Backend) -> None:
    """A variance beyond the range of float16."""
    x, one = arrays.place(np.float16([[1000.0], [-1000.0]])), arrays.place(np.ones(1, np.float16))
    mean, variance = arrays.place(np.zeros(1, np.float32)), arrays.place(np.float32([1e6]))
    kernel = kernels()["batch_norm_fixed"]
    y, saved = kernel.forward(arrays.device.xp, x, one, one, mean, variance, eps=0.0, needed=[True] * 3 + [False] * 2)
    assert arrays.host(y).tolist() == [[2.0], [0.0]]
    assert isinstance(kernel, Kernel)
    slopes = kernel.backward(arrays.device.xp, x, saved, eps=0.0, needed=[True] * 3 + [False] * 2)[:3]
    assert [arrays.host(slope).ravel().tolist() for slope in slopes] == [[1.0, -1.0], [2000.0], [0.0]]
    assert all(is_half(arrays.device.xp, slope) for slope in slopes)


# --- the update kernels of mixed precision


def unscaled(arrays: Backend, half: list[float], scale: float, counts: list[int], **limits: float) -> list[Any]:
    """grad, scale and counts after the kernel."""
    written = [np.full(len(half), 7.0, np.float32), np.float32([scale]), np.int32(counts)]
    held = [arrays.place(x) if arrays.name != "readonly" else x for x in written]
    how = {"grow_every": 3, "least": 1.0, "most": 2.0**24, **limits}
    source = arrays.place(np.float16(half))
    with copies.guard("forbid"):
        kernels()["unscale_"](*held, source, **how)
    return [arrays.host(x).tolist() for x in held]


@pytest.mark.parametrize(
    ("half", "before", "limits", "after"),
    [
        ([8.0, -1.0], (4.0, [0, 5, 1, 2, 0]), {}, (4.0, [1, 6, 2, 2, 0])),
        ([8.0, -1.0], (4.0, [1, 5, 2, 2, 0]), {}, (8.0, [1, 6, 0, 2, 0])),
        ([8.0, -1.0], (4.0, [1, 5, 2, 2, 0]), {"most": 4.0}, (4.0, [1, 6, 0, 2, 0])),
        ([8.0, np.inf], (4.0, [1, 5, 2, 2, 0]), {}, (2.0, [0, 5, 0, 3, 0])),
        ([np.nan, 1.0], (2.0, [1, 5, 2, 2, 0]), {}, (1.0, [0, 5, 0, 3, 0])),
        ([-np.inf, 1.0], (1.0, [0, 5, 0, 2, 0]), {}, (1.0, [0, 5, 0, 3, 8])),
        ([-np.inf, 1.0], (1.0, [0, 5, 0, 3, 8]), {}, (1.0, [0, 5, 0, 4, 8])),
    ],
)
def test_the_scale_follows_what_is_finite(half, before, limits, after, arrays: Backend) -> None:
    grad, scale, counts = unscaled(arrays, half, *before, **limits)
    np.testing.assert_array_equal(grad, np.array(half) / before[0])
    assert (scale[0], counts) == after


def test_parameters_are_rounded_to_the_nearest_even_and_beyond_the_range_to_infinity() -> None:
    with np.errstate(over="ignore"), backend("numpy") as arrays:
        half = arrays.place(np.zeros(4, np.float16))
        kernels()["cast_"](half, np.float32([1.0 + 2**-11, 1.0 + 3 * 2**-11, 1e-8, 1e5]))
    assert half.tolist() == [1.0, 1.0 + 2**-9, 0.0, np.inf]


def test_what_is_kept_is_kept_only_where_the_step_is_left_out(arrays: Backend) -> None:
    for taken, expected in ((1, [1.0, np.inf]), (0, [5.0, 6.0])):
        x = np.float32([1.0, np.inf])
        x = x if arrays.name == "readonly" else arrays.place(x)
        kernels()["keep_"](x, arrays.place(np.float32([5.0, 6.0])), arrays.place(np.int32([taken, 0, 0, 0, 0])))
        assert arrays.host(x).tolist() == expected
