"""Level 5: the CUDA kernels that write into their arrays, on the host against the references."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import shim
from arrays import Backend, backend
from case import EXACT, SUMS, Tolerance
from host_cuda import alternative, half_steps
from update_rules import RULES, Rule, gradients, start

from backends.dispatch import kernels, reference_only
from backends.runtime import copies

pytestmark = [pytest.mark.level5, pytest.mark.usefixtures("built_units")]


every_rule = pytest.mark.parametrize("rule", RULES, ids=str)


def update(arrays: Backend, rule: Rule, written: list[Any], grads: list[Any]) -> None:
    """All steps by the CUDA kernel."""
    for t, grad in enumerate(grads, start=1):
        pair = alternative(rule.kernel, arrays, [*written, grad], rule.at(t))
        with copies.guard("forbid"):
            pair.forward(arrays.device.xp, *written, grad, **rule.at(t))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_rule
def test_a_step_gives_the_bits_of_the_reference(rule: Rule, dtype: str, host_cuda: Backend):
    """At the start of a vector, where it can be read in packs of 16 bytes, and one element further, where it cannot."""
    for n, offset, seed in ((1, 0, 0), (7, 1, 1), (64, 0, 7), (1030, 0, 0), (1030, 64, 1), (333, 3, 7)):
        first, grads = start(rule, n, dtype), gradients(n, dtype)
        expected = [x.copy() for x in first]
        with reference_only():
            for t, grad in enumerate(grads, start=1):
                kernels()[rule.kernel](*expected, grad, **rule.at(t))
        wide = [host_cuda.place(np.pad(x, (offset, 5), constant_values=7.0)) for x in [*first, *grads]]
        views = [x[offset : offset + n] for x in wide]
        with shim.schedule(seed):
            update(host_cuda, rule, views[: len(first)], views[len(first) :])
        for whole, value in zip(wide, expected, strict=False):
            result = host_cuda.host(whole)
            assert result[offset : offset + n].tobytes() == value.tobytes(), (n, offset)
            assert (result[:offset] == 7.0).all()
            assert (result[offset + n :] == 7.0).all()


# expm1 is good to a unit or two, here and in NumPy, and three of them are in the rate of a step.
CORRECTED = Tolerance(16, "1 - beta**t is computed on the device")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.kernel != "running_average_"], ids=str)
def test_a_step_that_counts_let_be_taken(rule: Rule, dtype: str, host_cuda: Backend):
    """Their t counts, not the step that is given; and where they leave it out, no bit changes."""
    for n, seed in ((7, 0), (1030, 7)):
        first, grads = start(rule, n, dtype), gradients(n, dtype)
        written = [host_cuda.place(x) for x in first]
        with reference_only(), backend("numpy") as arrays:
            expected = [arrays.place(x) for x in first]
            for t, grad in enumerate(grads, start=1):
                kernels()[rule.kernel](*expected, grad, np.int32([1, t, 0, 0, 0]), **rule.at(99))
        for t, grad in enumerate(grads, start=1):
            for taken in (0, 1):
                kept = [host_cuda.host(x).copy() for x in written]
                counts = host_cuda.place(np.int32([taken, t, 0, 0, 0]))
                dtheta = host_cuda.place(grad if taken else np.full_like(grad, np.nan))
                arguments = [*written, dtheta, counts]
                pair = alternative(rule.kernel, host_cuda, arguments, rule.at(99))
                with shim.schedule(seed), copies.guard("forbid"):
                    pair.forward(host_cuda.device.xp, *arguments, **rule.at(99))
                if not taken:
                    assert all(a.tobytes() == host_cuda.host(b).tobytes() for a, b in zip(kept, written, strict=True))
        corrected = rule.counts_steps and rule.params.get("bias_correction", True)
        for array, value in zip(written, expected, strict=True):
            (CORRECTED if corrected else EXACT).check(host_cuda.host(array), value.astype(np.float64))


def test_counts_of_another_kind_are_left_to_the_reference(host_cuda: Backend):
    x = host_cuda.place(np.ones(3, np.float32))
    choice = kernels()["sgd_"].explain(x, x, host_cuda.place(np.ones(5, np.int64)), lr=0.1)
    assert "counts of int64" in str(choice)
    half = host_cuda.place(np.ones(6, np.float16))
    assert "theta is of float16" in str(kernels()["cast_"].explain(half, half))
    assert "one piece" in str(kernels()["cast_"].explain(half[::2], x))


@pytest.mark.parametrize("n", [1, 255, 4096, 4097, 9001])
@pytest.mark.parametrize("spoilt", [False, True])
def test_kernels_of_mixed_precision_give_the_bits_of_the_references(n: int, spoilt: bool, host_cuda: Backend):
    with backend("numpy") as arrays:
        expected = half_steps(arrays, n, spoilt)
    for seed in shim.SCHEDULES:
        with shim.recorded() as launches, shim.schedule(seed):
            results = half_steps(host_cuda, n, spoilt)
        assert [launch.kernel for launch in launches] == ["unscale", "judge", "cast", "keep"]
        for result, value in zip(results, expected, strict=True):
            assert result.tobytes() == value.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 5, 257, 16_384, 16_385, 40_000])
def test_clip_by_norm_of_any_size(n: int, dtype: str, host_cuda: Backend):
    rng = np.random.default_rng(n)
    for scale, seed in ((1.0, 0), (1e30, 1), (1e-30, 7)):
        host = (scale * rng.standard_normal(n)).astype(dtype)
        length = math.sqrt(math.fsum((host.astype(float) / scale) ** 2)) * scale
        for limit in (0.5 * length, 2.0 * length):
            x, norm = host_cuda.place(host), host_cuda.place(np.zeros((), dtype))
            with shim.schedule(seed), copies.guard("forbid"):
                alternative("clip_by_norm_", host_cuda, [x, norm], {"limit": limit}).forward(
                    host_cuda.device.xp, x, norm, limit=limit
                )
            SUMS.check(host_cuda.host(norm), np.array(length))
            SUMS.check(host_cuda.host(x), host * min(1.0, limit / length))


def test_clip_by_norm_of_zeros_and_of_what_is_not_finite(host_cuda: Backend):
    for values in ([0.0, 0.0], [math.nan, 1.0], [1.0, math.inf, -2.0], [math.inf, math.inf]):
        by_cuda, by_reference = [], []
        for arrays in (by_cuda, by_reference):
            arrays += [host_cuda.place(np.array(values, np.float32)), host_cuda.place(np.zeros((), np.float32))]
        kernels()["clip_by_norm_"](*by_cuda, limit=1.5)
        with reference_only():
            kernels()["clip_by_norm_"](*by_reference, limit=1.5)
        for one, other in zip(by_cuda, by_reference, strict=True):
            np.testing.assert_array_equal(host_cuda.host(one), host_cuda.host(other))


def test_clip_brings_every_element_into_the_limits(host_cuda: Backend):
    host = np.array([9.0, -0.5, -2.0, 2.0, 2.5, math.nan, -3e30, math.inf, -math.inf], np.float32)
    x = host_cuda.place(host)
    alternative("clip_", host_cuda, [x], {"limit": 2.0}).forward(host_cuda.device.xp, x, limit=2.0)
    np.testing.assert_array_equal(host_cuda.host(x), np.clip(host, -2.0, 2.0))
