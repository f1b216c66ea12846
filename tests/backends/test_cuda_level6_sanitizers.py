"""Level 6: launches of every kernel, recorded under the shim, run again in threads of the host under the sanitizers.

AddressSanitizer and UndefinedBehaviorSanitizer see each array in memory of its own exact size and alignment;
ThreadSanitizer sees whatever two threads of a block do without a barrier between. Their absence fails.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import shim
from arrays import Backend
from cuda_samples import sample
from shim import build

from backends.cuda import compile

pytestmark = pytest.mark.level6

UNITS = {name: (code, options) for name, code, options in compile.sources()}


@pytest.fixture
def record(host_cuda: Backend) -> Callable[[str], list[shim.Launch]]:
    """The launches of a unit's sample."""

    def launches(unit: str) -> list[shim.Launch]:
        with shim.recorded() as found:
            sample(host_cuda, *unit.split("."))
        found = [launch for launch in found if launch.unit == UNITS[unit]]  # and none that lies in another
        assert {launch.kernel for launch in found} == set(build.kernels(UNITS[unit][0]))
        return found

    return launches


def clean(unit: str, sanitizer: str, launches: list[shim.Launch], folder: Path) -> None:
    shim.write_launches(folder / "launches", launches)
    status, output = build.replay(build.program(*UNITS[unit], sanitizer), folder / "launches")
    assert (status, output) == (0, ""), output


FLOAT32 = [unit for unit in UNITS if unit.endswith("float32") or unit == "mixed.float16"]
OTHERS = [unit for unit in UNITS if unit not in FLOAT32]


@pytest.mark.parametrize("sanitizer", build.SANITIZERS)
@pytest.mark.parametrize("unit", FLOAT32)
def test_every_kernel_is_clean(
    unit: str, sanitizer: str, record: Callable[[str], list[shim.Launch]], tmp_path: Path
) -> None:
    clean(unit, sanitizer, record(unit), tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("sanitizer", build.SANITIZERS)
@pytest.mark.parametrize("unit", OTHERS)
def test_every_kernel_is_clean_in_the_other_dtypes(
    unit: str, sanitizer: str, record: Callable[[str], list[shim.Launch]], tmp_path: Path
) -> None:
    clean(unit, sanitizer, record(unit), tmp_path)


@pytest.mark.parametrize("unit", [unit for unit in FLOAT32 if "__sync" in UNITS[unit][0]])
def test_the_thread_sanitizer_sees_every_missing_barrier(
    unit: str, record: Callable[[str], list[shim.Launch]], tmp_path: Path
) -> None:
    launches = [launch for launch in record(unit) if launch.barriers]
    program = build.program(*UNITS[unit], "thread")
    for kernel, line in {(launch.kernel, line) for launch in launches for line in launch.barriers}:
        mine = [launch for launch in launches if launch.kernel == kernel][:1]
        shim.write_launches(tmp_path / "launches", mine)
        status, output = build.replay(program, tmp_path / "launches", skipped=line)
        assert status, f"{kernel} without its barrier at line {line}"
        assert "data race" in output
