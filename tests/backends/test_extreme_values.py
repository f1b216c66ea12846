"""Infinities, NaN, denormals, ±1e4 and zeros: every kernel against the oracles, in float64, in float32 and compiled."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from case import Case, implementations, outputs
from cases import CASES
from extreme_cases import BEHIND_A_MASK, EXTREMES, behind_a_mask

import backends.cpu.elementwise
import backends.cpu.requirements
from backends.dispatch import kernels
from backends.namespace import NUMPY

KERNELS = list(dict.fromkeys(case.kernel for case in CASES))


@pytest.fixture(autouse=True)
def _small_calls_too(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The alternatives take small arrays here; and that a number is not finite is what is asked for."""
    monkeypatch.setattr(backends.cpu.requirements, "too_few", lambda x, least: None)
    monkeypatch.setattr(backends.cpu.requirements, "too_little", lambda work, least: None)
    monkeypatch.setattr(backends.cpu.requirements, "too_narrow", lambda side, least: None)
    monkeypatch.setattr(backends.cpu.elementwise, "_LEAST", 0)
    with np.errstate(all="ignore"):
        yield


def wanted(case: Case) -> list[bool]:
    return [position in case.differentiable for position in range(len(case.arrays))]


def both_passes(case: Case, pair: Any, inputs: list[Any], dtype: str) -> tuple[tuple[Any, ...], Any, np.ndarray]:
    """Outputs, gradients, and the gradient of the first output that they are for."""
    y, saved = pair.forward(NUMPY, *inputs, needed=wanted(case), **case.params)
    dy = np.asarray(np.random.default_rng(11).standard_normal(outputs(y)[0].shape).astype(np.float32), dtype)
    if not case.differentiable:
        return outputs(y), [None] * len(inputs), dy
    dys = (dy, *[None] * (len(y) - 1)) if isinstance(y, tuple) else dy
    return outputs(y), pair.backward(NUMPY, dys, saved, needed=wanted(case), **case.params), dy


def test_every_kernel_has_extreme_cases():
    assert {case.kernel for case in EXTREMES} == set(KERNELS)


@pytest.mark.parametrize("kernel", KERNELS)
def test_float32_compiled_and_reference_and_float64_agree_with_the_oracle(kernel: str):
    for case in (case for case in EXTREMES if case.kernel == kernel):
        for dtype in ("float64", "float32"):
            host = case.host(dtype)
            expected = case.expected(dtype)
            slopes = None
            for name, pair in implementations(case, NUMPY, host):
                context = f"{name}, {dtype}"
                results, gradients, dy = both_passes(case, pair, host, dtype)
                for result, value in zip(results, expected, strict=True):
                    case.tolerance.check(np.asarray(result), value, context)
                if slopes is None:
                    wide = [
                        x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in host
                    ]
                    if case.gradient is None:
                        slopes = both_passes(case, kernels()[kernel], wide, "float64")[1]
                    else:
                        slopes = case.gradient(dy.astype(np.float64), *wide, **case.params)
                for position in case.differentiable:
                    case.gradient_tolerance.check(
                        np.asarray(gradients[position]), slopes[position], f"{context}, gradient {position}"
                    )


def gradients_for(case: Case, pair: Any, host: list[Any], dy: np.ndarray, dtype: str) -> list[np.ndarray]:
    y, saved = pair.forward(NUMPY, *host, needed=wanted(case), **case.params)
    dy = dy.astype(dtype)
    found = pair.backward(
        NUMPY, (dy, *[None] * (len(y) - 1)) if isinstance(y, tuple) else dy, saved, needed=wanted(case), **case.params
    )
    return [np.asarray(found[position]) for position in case.differentiable]


@pytest.mark.parametrize("kernel", BEHIND_A_MASK)
def test_an_infinite_gradient_behind_a_mask_is_nothing(kernel: str):
    found = list(behind_a_mask(kernel))
    assert found
    for (case, sick, sound), dtype in itertools.product(found, ("float64", "float32")):
        host = case.host(dtype)
        for name, pair in implementations(case, NUMPY, host):
            one, other = (gradients_for(case, pair, host, dy, dtype) for dy in (sick, sound))
            for a, b in zip(one, other, strict=True):
                np.testing.assert_array_equal(a, b, f"{name}, {dtype}")


@pytest.mark.parametrize("infinite", [math.inf, -math.inf])
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((2, 0), (0, 1))])
def test_a_pool_gives_an_infinite_gradient_to_the_largest_pixel_alone(infinite: float, padding: Any):
    x = np.random.default_rng(0).permutation(5 * 6 * 2).reshape(1, 5, 6, 2).astype(np.float64)
    how = {"kernel": (3, 2), "stride": (3, 2), "padding": padding}  # windows side by side: no two add up
    for dtype in ("float64", "float32"):
        case = Case("max_pool2d", "infinite gradients", (x,), how, lambda x, **_: x, (0,))
        host = case.host(dtype)
        for name, pair in implementations(case, NUMPY, host):
            y = pair.forward(NUMPY, *host, needed=[True], **how)[0]
            (dx,) = gradients_for(case, pair, host, np.full(y.shape, infinite), dtype)
            np.testing.assert_array_equal(dx, np.where(np.isin(x, y), infinite, 0.0), f"{name}, {dtype}")


@pytest.mark.parametrize("value", [-math.inf, math.nan, -3.4028235e38])
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((2, 0), (0, 2))])
def test_padding_never_wins_and_takes_no_gradient(value: float, padding: Any):
    how = {"kernel": (3, 3), "stride": (2, 1), "padding": padding}
    for dtype in ("float64", "float32"):
        case = Case("max_pool2d", "one value", (np.full((2, 5, 4, 3), value),), how, lambda x, **_: x, (0,))
        host = case.host(dtype)
        for name, pair in implementations(case, NUMPY, host):
            y, _ = pair.forward(NUMPY, *host, needed=[True], **how)
            np.testing.assert_array_equal(y, np.full(y.shape, value, dtype), name)
            (dx,) = gradients_for(case, pair, host, np.ones(y.shape), dtype)
            assert dx.sum() == y.size, name


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 2)])
def test_the_largest_share_an_infinite_gradient_and_nothing_is_left_for_others(axis: Any):
    x = np.array([[[1.0, 3.0], [3.0, 2.0]], [[3.0, 0.0], [-1.0, 3.0]]])
    kernel: Any = kernels()["max_"]
    y, saved = kernel.forward(NUMPY, x, axis=axis, keepdims=False, needed=(True,))
    (dx,) = kernel.backward(NUMPY, np.full(y.shape, np.inf), saved, axis=axis, keepdims=False, needed=(True,))
    np.testing.assert_array_equal(dx, np.where(x == x.max(axis=axis, keepdims=True), np.inf, 0.0))


@pytest.mark.parametrize(("rows", "classes"), [(2, 3), (4000, 3), (3, 6000), (20_000, 40)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_masked_classes_have_no_part_in_the_loss_at_any_size(rows: int, classes: int, smoothing: float):
    """As where the classes did not exist; with smoothing the loss is infinite, for each class has a share."""
    rng = np.random.default_rng(1)
    kept = np.arange(classes) % 3 != 1
    logits = rng.standard_normal((rows, classes)).astype(np.float32)
    labels = rng.choice(np.flatnonzero(kept), rows)
    masked = np.where(kept, logits, -np.float32(math.inf))
    kernel: Any = kernels()["cross_entropy"]
    value = kernel(masked, labels, None, label_smoothing=smoothing)
    fewer = kernel(logits[:, kept], np.searchsorted(np.flatnonzero(kept), labels), None, label_smoothing=0.0)
    assert value == (math.inf if smoothing else pytest.approx(float(fewer), rel=1e-6))
    pair = kernel.choose(NUMPY, [masked, labels, None], {"label_smoothing": smoothing})
    _, saved = pair.forward(NUMPY, masked, labels, None, label_smoothing=smoothing, needed=(True, False, False))
    dlogits = pair.backward(NUMPY, np.float32(1.0), saved, label_smoothing=smoothing, needed=(True, False, False))[0]
    assert np.isfinite(dlogits).all()
    np.testing.assert_allclose(dlogits[:, ~kept], -smoothing / classes / rows, atol=1e-9)


@pytest.mark.parametrize("rows", [4, 30_000])
def test_an_example_of_weight_0_has_no_part_in_a_loss_whatever_it_is(rows: int):
    logits = np.random.default_rng(2).standard_normal((rows, 3)).astype(np.float32)
    labels, weight = np.zeros(rows, np.int64), np.ones(rows, np.float32)
    weight[1::2] = 0.0
    sick = logits.copy()
    sick[1::2] = [-math.inf, math.nan, math.inf]
    results = []
    for z in (logits, sick):
        inputs = [z, labels, weight]
        pair = kernels()["cross_entropy"].choose(NUMPY, inputs, {"label_smoothing": 0.0})
        y, saved = pair.forward(NUMPY, *inputs, label_smoothing=0.0, needed=(True, False, False))
        results += [y, pair.backward(NUMPY, np.float32(1), saved, label_smoothing=0.0, needed=(True, False, False))[0]]
    assert results[0] == results[2]
    np.testing.assert_array_equal(results[1], results[3])
