"""Level 3: the real CuPy wheel, without a driver: the stand-in's surface is the wheel's, and so are its errors.

The wheel comes with the ``test`` extra, so its absence fails. All of it runs in one process of its own, where the two
CuPys cannot be mistaken for each other.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.level3

INSTALL = "pip install 'cupy-cuda13x>=14.2,<14.3' (the `test` extra has it)"
REGENERATE = "after a look at the difference, freeze it: `python -m standin.make_spec` in tests/"


@pytest.fixture(scope="module")
def comparison() -> dict[str, Any]:
    """What ``standin.compare`` reports."""
    command = [sys.executable, "-m", "standin.compare"]
    process = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=300)
    if "No module named 'cupy'" in process.stderr:
        pytest.fail(f"the CuPy wheel is missing: {INSTALL}", pytrace=False)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def real_gpus() -> int:
    """The number of GPUs that the driver reports, asked without CuPy; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def test_names_signatures_and_loops_are_the_wheels(comparison: dict[str, Any]) -> None:
    assert not comparison["surface"], "\n".join([REGENERATE, *comparison["surface"]])


def test_every_combination_of_dtypes_takes_the_wheels_loop(comparison: dict[str, Any]) -> None:
    assert not comparison["loops"], "\n".join(comparison["loops"])


def test_cudas_errors_have_the_wheels_words(comparison: dict[str, Any]) -> None:
    assert not comparison["errors"], "\n".join(comparison["errors"])


def test_the_wheel_sees_a_gpu_where_there_is_one(comparison: dict[str, Any]) -> None:
    assert comparison["available"] == (real_gpus() > 0)


def test_without_a_driver_the_wheel_imports_and_fails_as_the_stand_in_does(comparison: dict[str, Any]) -> None:
    if real_gpus():
        pytest.skip("a real GPU is present")
    assert not comparison["available"]
    assert not comparison["without_driver"], "\n".join(comparison["without_driver"])
