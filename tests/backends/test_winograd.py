"""Convolution by Winograd's algorithm: its errors, any shape, pooling, NaN, and processors with narrower vectors."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from convolution_cases import MANY_CHANNELS, as_sides
from hypothesis import example, given, settings
from hypothesis import strategies as st
from llvmlite import binding

import backends.cpu.requirements
from backends.cpu.codegen.simd import LANES, integers, linear
from backends.cpu.codegen.thread_pool import launch, reads, task, writes
from backends.cpu.conv.winograd import Conv2dByWinograd, Conv2dReluByWinograd
from backends.dispatch import explain, kernels
from backends.namespace import NUMPY

ROOT = Path(__file__).resolve().parents[2]
ALL = (True, True, True)
ERROR = 2e-5  # of the largest element; the largest seen in 5,000 cases was 9.5e-6

Padding = tuple[tuple[int, int], tuple[int, int]]


def kernel(name: str) -> Any:
    return kernels()[name]


def how(padding: Padding, **params: Any) -> dict[str, Any]:
    return {"stride": (1, 1), "padding": padding, "dilation": (1, 1), **params}


def inputs(rng: np.random.Generator, n: int, h: int, w: int, c: int, k: int) -> list[np.ndarray]:
    return [rng.standard_normal(shape).astype(np.float32) for shape in ((n, h, w, c), (3, 3, c, k), (k,))]


def reference(arrays: list[np.ndarray], params: dict[str, Any], dy: np.ndarray | None = None) -> list[np.ndarray]:
    """Output and gradients of the plain convolution in float64, by the reference, which SciPy checks elsewhere."""
    pair = kernel("conv2d")
    y, saved = pair.forward(NUMPY, *(x.astype(np.float64) for x in arrays), needed=ALL, **params)
    dy = np.ones(y.shape) if dy is None else dy.astype(np.float64)
    return [y, *pair.backward(NUMPY, dy, saved, needed=ALL, **params)]


def error(result: np.ndarray, exact: np.ndarray) -> float:
    """The largest error, in parts of the largest element."""
    assert result.shape == exact.shape
    assert result.dtype == np.float32
    return float(np.abs(result - exact).max() / np.abs(exact).max())


def test_errors_are_bounded_over_a_thousand_cases():
    rng, worst = np.random.default_rng(0), 0.0
    for _ in range(1000):
        n, h, w, c, k = (int(rng.integers(*ends)) for ends in ((1, 4), (1, 10), (1, 10), (16, 50), (16, 50)))
        params = how(((1, 1), (1, 1)) if min(h, w) < 3 or rng.random() < 0.5 else ((0, 0), (0, 0)))
        arrays = inputs(rng, n, h, w, c, k)
        y, saved = Conv2dByWinograd.forward(NUMPY, *arrays, needed=ALL, **params)
        dy = rng.standard_normal(y.shape).astype(np.float32)
        results = [y, *Conv2dByWinograd.backward(NUMPY, dy, saved, needed=ALL, **params)]
        worst = max(worst, *map(error, results, reference(arrays, params, dy)))
    assert 0 < worst < ERROR


sides = st.tuples(st.integers(0, 3), st.integers(0, 3))


@settings(max_examples=60)
@given(
    n=st.integers(1, 3), h=st.integers(1, 14), w=st.integers(1, 14), c=st.integers(1, 70), k=st.integers(1, 70),
    padding=st.tuples(sides, sides), pooled=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
@example(n=1, h=1, w=1, c=1, k=1, padding=((0, 3), (0, 3)), pooled=True, seed=14)
def test_relu_and_pool_go_with_the_plain_convolution(
    n: int, h: int, w: int, c: int, k: int, padding: Padding, pooled: bool, seed: int
):
    """The fused kernel gives the bits of the steps; its gradients are those of the plain one, where dy gets through."""
    down, right = h + sum(padding[0]) - 2, w + sum(padding[1]) - 2
    if min(down, right) < (2 if pooled else 1):
        return
    rng = np.random.default_rng(seed)
    arrays, plain = inputs(rng, n, h, w, c, k), how(padding)
    params = {**plain, "pool": (2, 2) if pooled else None}
    before, _ = Conv2dByWinograd.forward(NUMPY, *arrays, needed=ALL, **plain)
    assert error(before, reference(arrays, plain)[0]) < ERROR
    y, saved = Conv2dReluByWinograd.forward(NUMPY, *arrays, needed=ALL, **params)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    passed = np.zeros_like(before)  # the gradient before ReLU and pooling
    expected = np.maximum(before, 0)
    if pooled:
        windows = expected[:, : down // 2 * 2, : right // 2 * 2].reshape(n, down // 2, 2, right // 2, 2, k)
        windows = windows.transpose(0, 1, 3, 5, 2, 4).reshape(*y.shape, 4)
        expected, number = windows.max(-1), windows.argmax(-1)
        for t in range(4):
            place = np.s_[:, t // 2 : down // 2 * 2 : 2, t % 2 : right // 2 * 2 : 2]
            passed[place] = np.where((number == t) & (expected > 0), dy, 0)
    else:
        passed = np.where(before > 0, dy, np.float32(0))
    assert y.tobytes() == expected.tobytes()
    gradients = Conv2dReluByWinograd.backward(NUMPY, dy, saved, needed=ALL, **params)
    for result, exact in zip(gradients, reference(arrays, plain, passed)[1:], strict=True):
        if exact.any():
            assert error(result, exact) < ERROR
        else:  # as what got through meets padding alone: nothing but the rounding of a tile's other numbers is left
            assert np.abs(result).max() <= ERROR * np.abs(passed).max() * max(np.abs(x).max() for x in arrays)


def test_a_group_of_tiles_may_be_longer_than_a_block():
    """Then the sums of the filters' gradient are taken up again, and of many channels by slices."""
    rng, params = np.random.default_rng(1), how(((1, 1), (1, 1)))
    for shape in ((40, 8, 9, 16, 16), (9, 8, 9, 130, 70)):
        arrays = inputs(rng, *shape)
        y, saved = Conv2dByWinograd.forward(NUMPY, *arrays, needed=ALL, **params)
        dy = rng.standard_normal(y.shape).astype(np.float32)
        results = [y, *Conv2dByWinograd.backward(NUMPY, dy, saved, needed=ALL, **params)]
        assert max(map(error, results, reference(arrays, params, dy))) < ERROR


@pytest.mark.parametrize("pool", [None, (2, 2)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nan_reaches_its_outputs_and_no_others_than_its_tiles(pool: tuple[int, int] | None, value: float):
    params = how(((1, 1), (1, 1)), pool=pool)
    x, w, b = inputs(np.random.default_rng(2), 2, 12, 12, 16, 16)
    y, _ = Conv2dReluByWinograd.forward(NUMPY, x, w, b, needed=ALL, **params)
    x[1, 5, 6, 3] = value
    sick, _ = Conv2dReluByWinograd.forward(NUMPY, x, w, b, needed=ALL, **params)
    edge = 4 if pool is None else 2
    tile = np.s_[1, edge : 2 * edge, edge : 2 * edge]  # outputs 4 to 7, for which pixels 3 to 8 are read
    assert np.isnan(sick[tile]).all()
    sick[tile] = y[tile]
    assert sick.tobytes() == y.tobytes()


def test_gradients_are_zero_where_the_relu_lets_nothing_through():
    params = how(((1, 1), (1, 1)), pool=(2, 2))
    x, w, _ = inputs(np.random.default_rng(3), 2, 8, 8, 16, 16)
    b = np.full(16, -1e4, np.float32)
    y, saved = Conv2dReluByWinograd.forward(NUMPY, x, w, b, needed=ALL, **params)
    assert not y.any()
    for gradient in Conv2dReluByWinograd.backward(NUMPY, np.ones_like(y), saved, needed=ALL, **params):
        assert not gradient.any()


# --- the vectors' transforms

MATRIX = ((1, 1, 2, 0), (1, 1, -2, 0), (3, -3, 0, 5), (-1, 1, 0.5, 0), (0, 0, 0, 0.25))  # alike rows, and alike columns


@task(x=reads("n lanes"), y=writes("m lanes"))
def _transformed(number, arguments):
    x, y, _, lanes = integers(arguments, 0, 4)
    _transform(x, lanes, y, lanes)


_transform = linear(MATRIX)


@pytest.mark.parametrize("lanes", [LANES, 3 * LANES])
def test_linear_multiplies_by_the_matrix(lanes: int):
    x = np.random.default_rng(4).integers(-99, 99, (4, lanes)).astype(np.float32)
    y = np.full((5, lanes), np.nan, np.float32)
    launch(_transformed, 1, (x, y))
    assert (y[:, :LANES] == np.array(MATRIX) @ x[:, :LANES]).all()  # whole numbers and halves: nothing is rounded
    assert np.isnan(y[:, LANES:]).all()


# --- what it takes


def image(
    c: int = 32, k: int = 32, *, n: int = 4, size: int = 16, window: int = 3, dtype: str = "float32"
) -> list[np.ndarray]:
    return [np.ones(shape, dtype) for shape in ((n, size, size, c), (window, window, c, k), (k,))]


@pytest.mark.parametrize(
    ("arrays", "params", "reason"),
    [
        (image(window=5), {}, "5×5"),
        (image(), {"stride": (2, 1)}, "stride"),
        (image(), {"dilation": (1, 2)}, "dilation"),
        (image(), {"pool": (3, 3)}, "pool"),
        (image(c=15), {}, "15 channels"),
        (image(k=3), {}, "3 filters"),
        (image(dtype="float64"), {}, "float64"),
        (image(n=0), {}, "no output"),
        (image(n=1), {}, "fewer than"),
        (image(n=900, size=2), {}, "2×2"),
        (image(size=1), {"padding": ((0, 1), (1, 1))}, "no output"),
    ],
)
def test_calls_that_do_not_suit_are_declined_with_the_reason(arrays: Any, params: dict[str, Any], reason: str):
    choice = explain(kernel("conv2d_relu"), *arrays, **{**how(((1, 1), (1, 1)), pool=None), **params})
    assert reason in dict(choice.declined)["Conv2dReluByWinograd"]


def test_the_cases_of_many_channels_are_taken(monkeypatch: pytest.MonkeyPatch):
    """Else the table of all kernels would not compare them."""
    monkeypatch.setattr(backends.cpu.requirements, "too_few", lambda x, least: None)
    for x, w, padding in MANY_CHANNELS.values():
        arrays = [np.zeros(shape, np.float32) for shape in (x, w, w[-1:])]
        params = how(as_sides(padding))
        assert explain(kernel("conv2d"), *arrays, **params).taken == "Conv2dByWinograd"
        assert explain(kernel("conv2d_relu"), *arrays, pool=None, **params).taken == "Conv2dReluByWinograd"


# --- other processors


def digest() -> str:
    """Of an output and the gradient of its image."""
    rng, params = np.random.default_rng(0), how(((1, 0), (1, 1)), pool=(2, 2))
    y, saved = Conv2dReluByWinograd.forward(NUMPY, *inputs(rng, 5, 11, 10, 37, 70), needed=ALL, **params)
    dx, dw, db = Conv2dReluByWinograd.backward(NUMPY, y + 1, saved, needed=ALL, **params)
    assert dw.any()
    assert db.any()
    return hashlib.sha256(y.tobytes() + dx.tobytes()).hexdigest()


def has(*features: str) -> bool:
    """Whether the processor has them, so that code for them runs here."""
    try:
        found = binding.get_host_cpu_features()
    except RuntimeError:
        return False
    return all(found.get(feature) for feature in features)


AVX2 = "+avx2,+fma,+avx,+sse4.2,+sse4.1,+bmi,+bmi2,+popcnt,+lzcnt,+f16c,+sse,+sse2,+sse3,+ssse3"


@pytest.mark.skipif(not has("avx2", "fma"), reason="a processor without AVX2")
def test_narrower_vectors_give_the_same_bits(tmp_path: Path):
    """With AVX2 a tile of a product is 6 × 16; an element of the output is the same chain of operations."""
    script = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}, {str(ROOT / "tests" / "backends")!r}]
import test_winograd
from backends.cpu.codegen.gemm import COLUMNS, ROWS
print(ROWS, COLUMNS, test_winograd.digest())
"""
    narrow = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": AVX2, "NUMBA_CACHE_DIR": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, **narrow}, timeout=120
    )
    assert result.stdout == f"6 16 {digest()}\n", result.stderr
