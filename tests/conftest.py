"""Fixtures that every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import shim
from arrays import KINDS, Backend, backend
from hypothesis import HealthCheck, settings
from shim import build

from backends.cuda import compile
from backends.dispatch import Kernel
from backends.errors import DeviceError
from backends.runtime.device import Device, resolve

pytest_plugins = ["fake_cupy", "full_report", "pytester"]

# A busy machine is no failure: no example has a deadline. What must end has a limit of its own.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


@pytest.fixture(params=[pytest.param(name, marks=getattr(pytest.mark, level)) for name, level in KINDS.items()])
def arrays(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Each kind of array in turn: a test that asks for it runs on all of them."""
    with backend(request.param) as kind:
        yield kind


@pytest.fixture
def cuda() -> Device:
    """A real GPU. Without one the test is skipped, or fails where DLCORE_REQUIRE_CUDA=1 says that there must be one."""
    try:
        return resolve("cuda")
    except DeviceError as error:
        if os.environ.get("DLCORE_REQUIRE_CUDA") == "1":
            pytest.fail(f"DLCORE_REQUIRE_CUDA=1 but {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def build_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where this session compiles CUDA sources for the host: one folder for all its processes."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "host-cuda"
    folder.mkdir(exist_ok=True)
    build.use_folder(folder)


@pytest.fixture(scope="session")
def built_units(build_folder: None) -> None:
    """All units of the CUDA kernels compiled for the host, side by side."""
    build.build_all([(code, options) for _, code, options in compile.sources()])


@pytest.fixture
def host_cuda(build_folder: None) -> Iterator[Backend]:
    """The CuPy stand-in with the project's CUDA kernels, run on the host."""
    with shim.installed():
        yield Backend("host-cuda", resolve("cuda"))


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels that run, in their order."""
    names: list[str] = []
    choose = Kernel.choose

    def watch(self: Kernel, *args: Any) -> Any:
        names.append(self.name)
        return choose(self, *args)

    monkeypatch.setattr(Kernel, "choose", watch)
    return names


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    """Compile the CPU kernels before the first test: they say so, and that would stand in some test's output.

    Two workers begin at either end of the list, and each finds on disk what the other has compiled.
    """
    from backends import cpu

    if not cpu.WHY_NOT:
        from backends.cpu.codegen.compile import Compiled

        Compiled.compile_all(backwards=os.environ.get("PYTEST_XDIST_WORKER") == "gw1")


@pytest.fixture(autouse=True)
def _no_device_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test decides itself which device it asks for and where data are looked for."""
    for name in ("DLCORE_DEVICE", "DLCORE_DATA", "DLCORE_TRUST"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def _state_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests train and trust is not the user's: processes that they start inherit the folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLCORE_STATE", str(tmp_path_factory.mktemp("state")))
        yield
