"""Kernels that write: three steps of each against its formula on Python numbers, in place, and nowhere else."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
from arrays import Backend, backend
from update_rules import RULES, STEPS, TOLERANCE, Numbers, Rule, gradients, start

import backends.cpu.requirements
import backends.reference
from backends.dispatch import UpdateKernel, kernels, reference_only
from backends.namespace import NUMPY
from backends.runtime import copies

every_rule = pytest.mark.parametrize("rule", RULES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def writable(arrays: Backend, host: np.ndarray) -> Any:
    """An array that may be written into, also where the inputs are read-only."""
    return copies.to_device(host.copy(), arrays.device)


def by_formula(rule: Rule, first: list[np.ndarray], grads: list[np.ndarray]) -> list[Numbers]:
    """The written arrays after all steps, each element on its own."""
    results = []
    for i in range(len(first[0])):
        values = tuple(float(array[i]) for array in first)
        for t, grad in enumerate(grads, start=1):
            values = rule.formula(*values, float(grad[i]), t, **rule.params)
        results.append(values)
    return [list(column) for column in zip(*results, strict=True)]


def run(rule: Rule, arrays: Backend, written: list[Any], grads: list[np.ndarray]) -> None:
    """All steps by the kernel, with the gradient beyond its reach and nothing copied or waited for."""
    kernel = kernels()[rule.kernel]
    assert isinstance(kernel, UpdateKernel)
    for t, host in enumerate(grads, start=1):
        grad = arrays.place(host)
        before = copies.counts()
        with copies.guard("forbid"):
            assert kernel(*written, grad, **rule.at(t)) is None
        assert copies.counts() == before
        np.testing.assert_array_equal(arrays.host(grad), host, "the gradient was written into")


def test_every_update_kernel_is_tested_here():
    defined = {
        name
        for name, k in kernels().items()
        if isinstance(k, UpdateKernel) and k.__module__.startswith("backends.reference.")
    }
    in_half = {"cast_", "unscale_", "keep_"}  # see test_mixed_kernels.py
    apart = {"clip_", "clip_by_norm_", "add_rows_"}  # the last in test_embedding.py
    assert {rule.kernel for rule in RULES} | apart | in_half == defined


@every_rule
@every_dtype
def test_three_steps_equal_the_formula(rule: Rule, dtype: str, arrays: Backend):
    first, grads = start(rule, 7, dtype), gradients(7, dtype)
    written = [writable(arrays, host) for host in first]
    run(rule, arrays, written, grads)
    for name, array, expected in zip(rule.written, written, by_formula(rule, first, grads), strict=True):
        assert arrays.device.holds(array)
        result = arrays.host(array)
        assert result.dtype == dtype
        TOLERANCE.check(result, expected, f"{rule}, {name}")


@every_rule
def test_slices_of_one_vector_are_updated_in_place(rule: Rule, arrays: Backend):
    """As in the flat vector of parameters: what lies before and after a run stays as it was."""
    first, grads = start(rule, 5, "float64"), gradients(5, "float64")
    flat = [np.full(12, 7.0) for _ in first]
    for whole, part in zip(flat, first, strict=True):
        whole[4:9] = part
    vectors = [writable(arrays, host) for host in flat]
    run(rule, arrays, [vector[4:9] for vector in vectors], grads)
    for vector, expected in zip(vectors, by_formula(rule, first, grads), strict=True):
        result = arrays.host(vector)
        TOLERANCE.check(result[4:9], expected, str(rule))
        assert (result[:4] == 7.0).all()
        assert (result[9:] == 7.0).all()


@every_rule
def test_strided_views_and_several_axes_are_updated_in_place(rule: Rule, arrays: Backend):
    first, grads = start(rule, 6, "float64"), gradients(6, "float64")
    vectors = [writable(arrays, np.repeat(host, 2)) for host in first]
    xp = arrays.device.xp
    run(rule, arrays, [xp.reshape(v, (2, 3, 2))[:, :, 0] for v in vectors], [g.reshape(2, 3) for g in grads])
    for vector, before, expected in zip(vectors, first, by_formula(rule, first, grads), strict=True):
        result = arrays.host(vector)
        TOLERANCE.check(result[::2], expected, str(rule))
        np.testing.assert_array_equal(result[1::2], before)


@pytest.mark.parametrize("n", [1, 16, 33, 40_007])
@every_rule
def test_every_alternative_gives_the_bits_of_the_reference(rule: Rule, n: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backends.cpu.requirements, "too_few", lambda x, least: None)  # small arrays are taken here too
    kernel, first, grads = kernels()[rule.kernel], start(rule, n, "float32"), gradients(n, "float32")
    kernel.choose(NUMPY, [*first, grads[0]], rule.at(1))  # imports what there is
    with reference_only(), backend("numpy") as arrays:
        expected = [host.copy() for host in first]
        run(rule, arrays, expected, grads)
    for alternative in kernel.alternatives.get("numpy", ()):
        written = [host.copy() for host in first]
        for t, grad in enumerate(grads, start=1):
            assert alternative.unless(*written, grad, **rule.at(t)) is None
            alternative.pair.forward(NUMPY, *written, grad, **rule.at(t))
        for name, one, other in zip(rule.written, written, expected, strict=True):
            assert one.tobytes() == other.tobytes(), f"{alternative.name}, {name}"


@every_rule
@every_dtype
def test_zeros_stay_zeros(rule: Rule, dtype: str, arrays: Backend):
    """The gaps between parameters: no value, no gradient, and never a NaN from 0 / 0."""
    written = [writable(arrays, np.zeros(4, dtype)) for _ in rule.written]
    run(rule, arrays, written, [np.zeros(4, dtype)] * STEPS)
    for array in written:
        np.testing.assert_array_equal(arrays.host(array), np.zeros(4))


@every_dtype
def test_clip_brings_every_element_into_the_limits(dtype: str, arrays: Backend):
    host = np.array([9.0, -0.5, -2.0, 2.0, 2.5, 0.0, -3e30, 9.0], dtype)
    vector = writable(arrays, host)
    before = copies.counts()
    with copies.guard("forbid"):
        kernels()["clip_"](vector[1:7], limit=2.0)
    assert copies.counts() == before
    result = arrays.host(vector)
    assert result.dtype == dtype
    assert result.tolist() == [9.0, -0.5, -2.0, 2.0, 2.0, 0.0, -2.0, 9.0]


def test_clip_keeps_nan(arrays: Backend):
    vector = writable(arrays, np.array([math.nan, 5.0, math.inf, -math.inf]))
    kernels()["clip_"](vector, limit=2.0)
    np.testing.assert_array_equal(arrays.host(vector), [math.nan, 2.0, 2.0, -2.0])


@every_dtype
@pytest.mark.parametrize("values", [[3.0, -4.0, 12.0], [0.3, 0.4, 0.0], [0.0, 0.0, 0.0], [1e-30, 0.0, 0.0]], ids=str)
@pytest.mark.parametrize("limit", [0.25, 13.0, 100.0])
def test_clip_by_norm_shortens_what_is_longer(values: Numbers, limit: float, dtype: str, arrays: Backend):
    host = np.array([7.0, *values, 7.0], dtype)
    vector, norm = writable(arrays, host), writable(arrays, np.array(-1.0, dtype))
    before = copies.counts()
    with copies.guard("forbid"):
        assert kernels()["clip_by_norm_"](vector[1:4], norm, limit=limit) is None
    assert copies.counts() == before
    result, length = arrays.host(vector), arrays.host(norm)
    assert result.dtype == length.dtype == dtype
    expected = math.hypot(*(float(v) for v in host[1:4]))
    if expected > 1e-20:  # in float32 the square of 1e-30 is 0, and the vector is short in any case
        TOLERANCE.check(length, expected)
    TOLERANCE.check(result[1:4], [float(v) * (limit / expected if expected > limit else 1.0) for v in host[1:4]])
    assert result[0] == result[4] == 7.0


def test_clip_by_norm_takes_the_norm_of_all_axes(arrays: Backend):
    matrix, norm = writable(arrays, np.full((2, 8), 2.0)), writable(arrays, np.array(0.0))
    kernels()["clip_by_norm_"](matrix, norm, limit=4.0)
    assert arrays.host(norm) == 8.0
    np.testing.assert_array_equal(arrays.host(matrix), np.full((2, 8), 1.0))


def test_clip_by_norm_leaves_a_nan_to_be_found(arrays: Backend):
    vector, norm = writable(arrays, np.array([math.nan, 1.0])), writable(arrays, np.array(0.0))
    kernels()["clip_by_norm_"](vector, norm, limit=4.0)
    assert np.isnan(arrays.host(norm))
    assert np.isnan(arrays.host(vector)).any()


@every_dtype
@pytest.mark.parametrize(
    ("values", "clipped"),
    [
        ([1.0, math.inf, -2.0], [0.0, 4.0, 0.0]),
        ([-math.inf, 3.0, math.inf], [-4.0 / math.sqrt(2), 0.0, 4.0 / math.sqrt(2)]),
        ([math.inf] * 4, [2.0] * 4),
        ([-math.inf, 3e38], [-4.0, 0.0]),
    ],
)
def test_clip_by_norm_of_infinities_keeps_their_direction(
    values: Numbers, clipped: Numbers, dtype: str, arrays: Backend
):
    vector, norm = writable(arrays, np.array(values, dtype)), writable(arrays, np.array(0.0, dtype))
    with np.errstate(invalid="ignore"):
        kernels()["clip_by_norm_"](vector, norm, limit=4.0)
    assert arrays.host(norm) == math.inf
    TOLERANCE.check(arrays.host(vector), clipped)


def test_clip_by_norm_of_an_infinity_and_nan_changes_nothing(arrays: Backend):
    vector, norm = writable(arrays, np.array([math.nan, math.inf, 1.0])), writable(arrays, np.array(0.0))
    with np.errstate(invalid="ignore"):
        kernels()["clip_by_norm_"](vector, norm, limit=4.0)
    assert np.isnan(arrays.host(norm))
    np.testing.assert_array_equal(arrays.host(vector), [math.nan, math.inf, 1.0])


EXTREME = [math.inf, -math.inf, math.nan, 1e-40, -1e-42, 1e4, -1e4, 0.0, -0.0, 1.5]


@pytest.mark.parametrize("where", ["gradient", "written"])
@every_rule
def test_extreme_numbers_give_what_the_formula_says(rule: Rule, where: str, monkeypatch: pytest.MonkeyPatch):
    """By the reference in both dtypes, and by every alternative, of which each gives the reference's bits."""
    monkeypatch.setattr(backends.cpu.requirements, "too_few", lambda x, least: None)
    kernel, n = kernels()[rule.kernel], len(EXTREME)
    for dtype in ("float64", "float32"):
        first, grads = start(rule, n, dtype), gradients(n, dtype)[:1]
        spoilt = np.array(EXTREME, dtype)
        if where == "gradient":
            grads = [spoilt]
        else:
            first[0] = spoilt
        with np.errstate(all="ignore"):
            expected = by_formula(rule, [x.astype(np.float64) for x in first], grads)
            with reference_only(), backend("numpy") as arrays:
                found = [x.copy() for x in first]
                run(rule, arrays, found, grads)
            for result, values in zip(found, expected, strict=True):
                TOLERANCE.check(result, values, f"{rule}, {dtype}")
            for alternative in kernel.alternatives.get("numpy", ()) if dtype == "float32" else ():
                written = [x.copy() for x in first]
                alternative.pair.forward(NUMPY, *written, grads[0], **rule.at(1))
                for one, other in zip(written, found, strict=True):
                    np.testing.assert_array_equal(one, other, alternative.name)


@pytest.mark.parametrize("n", [1, 17, 16_385, 40_007])
@pytest.mark.parametrize("kind", ["ordinary", "short", "zero", "huge", "denormal", "infinite", "NaN"])
def test_clip_by_norm_compiled_gives_what_the_reference_gives(n: int, kind: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backends.cpu.requirements, "too_few", lambda x, least: None)
    x = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    x *= {"short": np.float32(1e-4 / n), "zero": np.float32(0), "huge": np.float32(1e37)}.get(kind, np.float32(1))
    x[n // 2] = {"infinite": -math.inf, "NaN": math.nan, "denormal": 1e-42}.get(kind, x[n // 2])
    kernel, results = kernels()["clip_by_norm_"], []
    assert isinstance(kernel, UpdateKernel)
    with np.errstate(all="ignore"):
        for alone in (False, True):
            vector, norm = x.copy(), np.zeros((), np.float32)
            with reference_only() if alone else contextlib.nullcontext():
                kernel(vector, norm, limit=2.0)
            results.append((vector, norm))
    (compiled, length), (expected, true) = results
    TOLERANCE.check(length, true, kind)
    TOLERANCE.check(compiled, expected, kind)
