"""Infinities, NaN, denormals, ±1e4 and zeros: every kernel against the oracles, in float64, in float32 and compiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from case import Case, implementations, outputs
from cases import CASES
from extreme_cases import EXTREMES

import backends.cpu.accept
import backends.cpu.elementwise
from backends.kernel import kernels
from backends.namespace import NUMPY

KERNELS = list(dict.fromkeys(case.kernel for case in CASES))


@pytest.fixture(autouse=True)
def _small_calls_too(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The alternatives take small arrays here; and that a number is not finite is what is asked for."""
    monkeypatch.setattr(backends.cpu.accept, "too_few", lambda x, least: None)
    monkeypatch.setattr(backends.cpu.accept, "too_little", lambda work, least: None)
    monkeypatch.setattr(backends.cpu.accept, "too_narrow", lambda side, least: None)
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
                    wide = [x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in host]
                    if case.gradient is None:
                        slopes = both_passes(case, kernels()[kernel], wide, "float64")[1]
                    else:
                        slopes = case.gradient(dy.astype(np.float64), *wide, **case.params)
                for position in case.differentiable:
                    case.gradient_tolerance.check(
                        np.asarray(gradients[position]), slopes[position], f"{context}, gradient {position}"
                    )
