"""A pytest plugin for tests of one's own: each on the CPU, and on a CUDA device where there is one.

It comes with the package; pytest finds it by itself.

========================  =========================================================================================
the fixture ``device``    a test that asks for it runs twice: with ``dl.device("cpu")`` and with ``dl.device("cuda")``
``@pytest.mark.cuda``     for a test that needs a CUDA device; the second run of every ``device`` test has it, so
                          ``pytest -m cuda`` runs what needs one, and ``pytest -m "not cuda"`` the rest
``DLCORE_REQUIRE_CUDA``   set to 1, what needs a CUDA device fails where there is none, instead of being skipped
========================  =========================================================================================

A project that registers a marker ``cuda`` of its own keeps its meaning: then only the fixture skips. pytest loads this
module in every project of an environment, so it imports nothing of dlcore before a test wants it.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING

import pytest

from dlcore import _backends_check

if TYPE_CHECKING:
    from backends.runtime.device import Device

__all__ = ["device"]

_MARKER = "cuda: needs a CUDA device: skipped without one, fails with DLCORE_REQUIRE_CUDA=1 (dlcore)"


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> Device:
    """The CPU, then the CUDA device 0, which is skipped with the reason where it cannot be used."""
    if request.param == "cuda":
        _need_cuda()
    from backends.runtime.device import resolve

    return resolve(request.param)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Where another ``backends`` hides dlcore's, forget dlcore: a test that imports it is told so, others run."""
    if _backends_check.hidden is not None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "dlcore"]:
            del sys.modules[name]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") is not None and not _is_the_projects_own(item.config):
        _need_cuda()


def _is_the_projects_own(config: pytest.Config) -> bool:
    """Whether the project has registered a marker of that name itself."""
    lines = (line for line in config.getini("markers") if line != _MARKER)
    return any(line.partition(":")[0].partition("(")[0].strip() == "cuda" for line in lines)


def _need_cuda() -> None:
    """Skip the test, or fail it, where no CUDA device can be used."""
    why = _why_no_cuda()
    if why and os.environ.get("DLCORE_REQUIRE_CUDA") == "1":
        pytest.fail(f"DLCORE_REQUIRE_CUDA=1 but {why}", pytrace=False)
    if why:
        pytest.skip(why)


@functools.cache
def _why_no_cuda() -> str:
    """Why no CUDA device can be used, with the fix; empty where one can. It is tried once a process."""
    from backends.runtime.device import resolve
    from dlcore.errors import DeviceError

    try:
        resolve("cuda")
    except DeviceError as error:
        return str(error)
    return ""
