"""Level 5: the shim catches what it is for: kernels with a fault, and some that show what a right one may do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shim
from shim import build

pytestmark = pytest.mark.level5

# One unit: each kernel takes an array x, and its name says what it does.
KERNELS = {
    "total": """__shared__ float sums[64];
        sums[threadIdx.x] = x[threadIdx.x];
        for (int half = 32; half > 0; half /= 2) {
            __syncthreads();
            if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        }
        if (threadIdx.x == 0) x[0] = sums[0];""",
    "set_to_one": "x[threadIdx.x] = 1;",
    "write_the_first": "x[0] = threadIdx.x;",
    "count_all": """const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
        const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
        x[block * 24 + thread] += block * 24 + thread;""",
    "show_shared": """__shared__ float own[32];
        x[blockIdx.x] = own[threadIdx.x];
        __syncthreads();
        own[threadIdx.x] = 1;""",
    "turn_round": """extern __shared__ float own[];
        own[threadIdx.x] = threadIdx.x;
        __syncthreads();
        x[threadIdx.x] = own[31 - threadIdx.x];""",
    "exchange": """const int i = threadIdx.x;
        const float across = __shfl_xor_sync(~0u, float(i), 5), down = __shfl_down_sync(~0u, float(i), 3);
        x[i] = 10000 * across + 100 * down + __shfl_sync(~0u, float(i % 32), 7);""",
    # What must be refused.
    "two_barriers": "if (threadIdx.x < 16) __syncthreads();\nelse __syncthreads();",
    "half_a_barrier": "if (threadIdx.x < 16) __syncthreads();",
    "mixed_barriers": "if (threadIdx.x < 16) __syncthreads(); else __syncwarp();",
    "outside_its_mask": "x[0] = __shfl_xor_sync(0xffffu, x[0], 1);",
    "from_an_absent_lane": "if (threadIdx.x != 3) x[0] = __shfl_xor_sync(~0u, x[0], 1);",
    "two_meetings": "if (threadIdx.x < 16) x[0] = __shfl_xor_sync(~0u, x[0], 1);\nelse __syncwarp();",
    "from_the_other_half": "x[0] = __shfl_xor_sync(~0u, x[0], 16);",
    # What the sanitizers must see.
    "beyond_the_end": "x[threadIdx.x + 1] = 0;",
    "before_the_start": "x[threadIdx.x] = x[int(threadIdx.x) - 1];",
    "beyond_shared": "__shared__ float s[8];\ns[threadIdx.x] = 0;\nx[threadIdx.x] = s[threadIdx.x];",
    "not_aligned": "x[0] = *reinterpret_cast<const double*>(x + 1);",
    "overflow": "x[0] = int(threadIdx.x) + 0x7fffffff;",
    "race_in_shared": "__shared__ float s[32];\ns[threadIdx.x] = 1;\nx[threadIdx.x] = s[31 - threadIdx.x];",
    "race": "x[threadIdx.x / 2] = threadIdx.x;",
}
CODE = "".join(f'extern "C" __global__ void {name}(float* x) {{\n{body}\n}}\n' for name, body in KERNELS.items())


@pytest.fixture
def run(build_folder: None) -> Iterator[Callable[..., Any]]:
    """(kernel, arguments, block=32, grid=1) -> the arrays after it."""
    with shim.installed() as cupy:

        def call(
            name: str, *arguments: Any, block: Any = 32, grid: Any = 1, code: str = CODE, **how: Any
        ) -> list[np.ndarray]:
            placed = [cupy.asarray(x) if isinstance(x, np.ndarray) else x for x in arguments]
            sizes = [(n,) if isinstance(n, int) else n for n in (grid, block)]
            cupy.RawModule(code=code).get_function(name)(*sizes, tuple(placed), **how)
            return [x.get() for x in placed if isinstance(x, cupy.ndarray)]

        yield call


def zeros(n: int = 32) -> np.ndarray:
    return np.zeros(n, np.float32)


def test_a_sum_over_a_block(run: Callable[..., Any]):
    for seed in shim.SCHEDULES:
        with shim.schedule(seed):
            assert run("total", np.arange(64, dtype=np.float32), block=64)[0][0] == 2016.0


@pytest.mark.parametrize(
    ("kernel", "error"),
    [
        ("two_barriers", "different lines"),
        ("half_a_barrier", "16 threads left the kernel while 16 wait"),
        ("mixed_barriers", "elsewhere"),
        ("outside_its_mask", "its own mask leaves out"),
        ("from_an_absent_lane", "takes no part"),
        ("two_meetings", "different lines"),
    ],
)
def test_threads_that_miss_each_other(kernel: str, error: str, run: Callable[..., Any]):
    for seed in shim.SCHEDULES:
        with shim.schedule(seed):
            with pytest.raises(shim.ShimError, match=error):
                run(kernel, zeros())
            assert (run("set_to_one", zeros())[0] == 1).all()  # the next launch is none the worse


def test_a_shuffle_needs_a_whole_warp(run: Callable[..., Any]):
    with pytest.raises(shim.ShimError, match="takes no part"):
        run("from_the_other_half", zeros(), block=20)


def test_shuffles_exchange_what_they_say(run: Callable[..., Any]):
    lanes, first = np.arange(64) % 32, np.arange(64) // 32 * 32
    expected = 10000 * ((lanes ^ 5) + first) + 100 * (np.where(lanes + 3 < 32, lanes + 3, lanes) + first) + 7
    for seed in shim.SCHEDULES:
        with shim.schedule(seed):
            np.testing.assert_array_equal(run("exchange", zeros(64), block=64)[0], expected)


def test_shared_memory_holds_nan_at_the_start_of_each_block(run: Callable[..., Any]):
    assert np.isnan(run("show_shared", zeros(3), grid=3)[0]).all()


def test_dynamic_shared_memory(run: Callable[..., Any]):
    np.testing.assert_array_equal(run("turn_round", zeros(), shared_mem=128)[0], np.arange(32)[::-1])
    with pytest.raises(shim.ShimError, match="48 KiB"):
        run("turn_round", zeros(), shared_mem=49_153)


def test_threads_and_blocks_have_three_axes(run: Callable[..., Any]):
    result = run("count_all", zeros(120 * 24), block=(2, 3, 4), grid=(4, 5, 6))[0]
    np.testing.assert_array_equal(result, np.arange(120 * 24))


def test_arguments_are_those_of_the_kernel(run: Callable[..., Any]):
    code = 'extern "C" __global__ void f(const double* x, float* y, int n, float a) {}'
    x, y, n, a = np.ones(2), zeros(2), np.int32(2), np.float32(1)
    run("f", x, y, n, a, code=code)
    wrong = [(x, y, n), (y, y, n, a), (x, y, 2, a), (x, y, n, 1.0), (x, y, np.int64(2), a), (x, y, n, np.int32(1))]
    for arguments in wrong:
        with pytest.raises(shim.ShimError):
            run("f", *arguments, code=code)
    with pytest.raises(shim.ShimError, match="no kernel g"):
        run("g", x, y, n, a, code=code)


def test_a_kernel_that_gpp_refuses_shows_its_error(run: Callable[..., Any]):
    with pytest.raises(AssertionError, match="undefined_name"):
        run("f", zeros(), code='extern "C" __global__ void f(float* x) { x[0] = undefined_name; }')


def test_a_missing_compiler_fails(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AssertionError, match=r"g\+\+ is missing"):
        run("f", zeros(), code='extern "C" __global__ void f(float* x) { x[0] = 3; }')


def test_half_is_numpys_float16(run: Callable[..., list[np.ndarray]]):
    """Every number of 16 bits to float32 and back, and those between them."""
    code = """
    extern "C" __global__ void widen(const __half* x, float* y) { y[blockIdx.x] = __half2float(x[blockIdx.x]); }
    extern "C" __global__ void narrow(const float* x, __half* y) { y[blockIdx.x] = __float2half_rn(x[blockIdx.x]); }
    """
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    wide = every.astype(np.float32)
    result = run("widen", every, np.zeros_like(wide), block=1, grid=2**16, code=code)[1]
    np.testing.assert_array_equal(result, wide)
    assert (np.signbit(result) == np.signbit(wide)).all()
    finite = np.sort(wide[np.isfinite(wide)])
    between = (finite[1:] + finite[:-1]) / 2
    values = np.concatenate(
        [finite, between, np.nextafter(between, np.float32(9e9)), np.nextafter(between, -np.float32(9e9))]
    )
    values = np.concatenate([values, np.array([65519.9, 65520, 1e30, -1e30, np.inf, np.nan, 1e-30], np.float32)])
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16)
    result = run("narrow", values, np.zeros_like(expected), block=1, grid=len(values), code=code)[1]
    np.testing.assert_array_equal(result, expected)


def test_the_missing_barrier_of_a_sum_is_seen(run: Callable[..., Any]):
    with shim.recorded() as launches:
        run("total", np.arange(64, dtype=np.float32), block=64)
    (line,) = launches[0].barriers
    assert "__syncthreads" in CODE.splitlines()[line - 1]
    assert all(launches[0].again(seed=seed) for seed in shim.SCHEDULES)
    assert not all(launches[0].again(seed=seed, skipped=line) for seed in shim.SCHEDULES)


def test_the_orders_differ(run: Callable[..., Any]):
    """A kernel with a race shows its last writer."""
    last = []
    for seed in shim.SCHEDULES:
        with shim.schedule(seed):
            last.append(run("write_the_first", zeros(1))[0][0])
    assert last[:2] == [31.0, 0.0]
    assert 0.0 < last[2] < 31.0


@pytest.mark.level6
@pytest.mark.parametrize(
    ("kernel", "sanitizer"),
    [
        ("beyond_the_end", "address"),
        ("before_the_start", "address"),
        ("beyond_shared", "address"),
        ("not_aligned", "address"),
        ("overflow", "address"),
        ("race", "thread"),
        ("race_in_shared", "thread"),
    ],
)
def test_the_sanitizers_see(kernel: str, sanitizer: str, run: Callable[..., Any], tmp_path: Path):
    with shim.recorded() as launches:
        run("set_to_one", zeros())
    program, file = build.program(CODE, (), sanitizer), tmp_path / "launches"
    shim.write_launches(file, launches)
    assert build.replay(program, file) == (0, "")
    launches[0].kernel = kernel
    shim.write_launches(file, launches)
    status, output = build.replay(program, file)
    assert status != 0
    assert "Sanitizer" in output or "runtime error" in output, output


@pytest.mark.level6
def test_the_sanitizers_see_a_missing_barrier(run: Callable[..., Any], tmp_path: Path):
    with shim.recorded() as launches:
        run("total", np.ones(64, np.float32), block=64)
    program = build.program(CODE, (), "thread")
    shim.write_launches(tmp_path / "launches", launches)
    assert build.replay(program, tmp_path / "launches") == (0, "")
    status, output = build.replay(program, tmp_path / "launches", skipped=launches[0].barriers[0])
    assert status != 0
    assert "data race" in output
