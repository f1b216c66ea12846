"""Level 4: every CUDA source compiled by NVRTC for every chip, with limits on what a kernel may take of it.

NVRTC comes with the `test` extra, so its absence fails. Nothing runs: this shows that there is machine code, not that
it is right.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from concurrent.futures import ThreadPoolExecutor

import nvrtc
import pytest
from shim.build import kernels

from backends.cuda import compile

pytestmark = pytest.mark.level4

CHIPS = (75, 90, 120)  # the oldest that CUDA 13 compiles for, the data centres' own, the newest
OTHER_CHIPS = (80, 86, 89, 100)  # between them; a source knows nothing of the chip that it is compiled for
UNITS = {name: (code, options) for name, code, options in compile.sources()}

# A multiprocessor has 65,536 registers: with 64 a thread, four blocks of 256 threads fit, half of what the chips take.
# A float64 takes two registers, and with 80 there are three blocks.
REGISTERS = {"float16": 64, "float32": 64, "float64": 80}
SHARED = 8 * 1024  # bytes a block; 48 KiB are what a launch may have without asking
STACK = 0  # bytes a thread: arrays stay in registers, and nothing is spilled


@functools.cache
def assembly(unit: str) -> str:
    """A unit for chips of 8.0 before registers are chosen: PTX."""
    return nvrtc.compile(*UNITS[unit], "compute_80")[0].decode()


def reports(chips: tuple[int, ...]) -> dict[tuple[str, int], tuple[bytes, str]]:
    """Machine code and report of each unit for each chip: one compilation each, side by side."""
    keys = list(itertools.product(UNITS, chips))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda key: nvrtc.compile(*UNITS[key[0]], f"sm_{key[1]}"), keys)
        return dict(zip(keys, results, strict=True))


@pytest.mark.parametrize("chips", [CHIPS, pytest.param(OTHER_CHIPS, marks=pytest.mark.full)])
def test_every_kernel_is_machine_code_within_the_limits(chips: tuple[int, ...]) -> None:
    for (unit, chip), (code, log) in reports(chips).items():
        assert code.startswith(b"\x7fELF")
        found = nvrtc.resources(log)
        assert set(found) == set(kernels(UNITS[unit][0]))
        for kernel, taken in found.items():
            context = f"{kernel} of {unit} on sm_{chip}: {taken}"
            assert 0 < taken.registers <= REGISTERS[unit.rpartition(".")[2]], context
            assert taken.shared <= SHARED, context
            assert (taken.stack, taken.spilled) == (STACK, 0), context


@pytest.mark.parametrize("unit", UNITS)
def test_nothing_is_computed_in_float64_but_float64(unit: str) -> None:
    """A literal without its f would do it, and the chips are 32 or 64 times as slow at it."""
    doubles = [line for line in assembly(unit).splitlines() if re.search(r"^\s+\w[\w.]*\.f64\b", line)]
    assert bool(doubles) == unit.endswith("float64"), doubles[:5]


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.split(".")[0] in ("elementwise", "optim")])
def test_packs_are_read_and_written_at_once(unit: str) -> None:
    """16 bytes in one access."""
    for kernel, text in re.findall(r"\.entry (\w+)\((.*?)^\}", assembly(unit), re.MULTILINE | re.DOTALL):
        widths = [
            int(count) * int(bits)
            for count, bits in re.findall(r"ld\.global(?:\.nc)?\.v(\d)\.[a-z](\d+)", text)
        ]  # fmt: skip
        assert 128 in widths, kernel
        if kernel != "squares_by_blocks":
            assert re.search(r"st\.global\.v", text), kernel


@pytest.mark.parametrize(
    ("unit", "kernel"),
    [(unit, kernel) for unit in UNITS for kernel in ("adam", "resample") if kernel in kernels(UNITS[unit][0])],
)
def test_products_and_sums_are_rounded_apart(unit: str, kernel: str) -> None:
    """Or a step would not give the bits of the reference, and a place in an image not its pixel."""
    entry = re.search(rf"\.entry {kernel}\((.*?)^\}}", assembly(unit), re.MULTILINE | re.DOTALL)
    assert entry is not None
    assert "fma" not in entry[1]


def test_no_float_atomics() -> None:
    """Their sums have another order at every run."""
    for unit in UNITS:
        assert not re.search(r"\b(?:atom|red)\.", assembly(unit)), unit


def test_a_fault_fails_and_names_the_line() -> None:
    with pytest.raises(nvrtc.NVRTCError, match=r"kernel.cu\(2\).*undefined_name"):
        nvrtc.compile('extern "C" __global__ void f(float* x) {\n x[0] = undefined_name; }', (), "sm_80")
    with pytest.raises(nvrtc.NVRTCError, match="FLOAT16, FLOAT32 or FLOAT64"):
        nvrtc.compile(UNITS["pool.float32"][0], (), "sm_80")


def test_the_report_shows_what_a_kernel_takes() -> None:
    code = """extern "C" __global__ void greedy(float* x, int i) {
        __shared__ float s[300];
        float own[200];
        for (int k = 0; k < 200; ++k) own[k] = x[k];
        s[threadIdx.x] = own[i];
        __syncthreads();
        for (int k = 0; k < 200; ++k) x[k] = own[(i * k) % 200] + s[k];
    }"""
    taken = nvrtc.resources(nvrtc.compile(code, (), "sm_80")[1])["greedy"]
    assert (taken.shared, taken.stack) == (1200, 800)
    code, options = UNITS["norm.float64"]
    starved = nvrtc.resources(nvrtc.compile(code, (*options, "--maxrregcount=16"), "sm_80")[1])
    assert any(taken.spilled for taken in starved.values())
