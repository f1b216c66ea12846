"""Why a CUDA device cannot be used and what to do about it, on machines that are broken one way each."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import pytest
from fake_cupy import CAUSES, INSTALL, refusal

from backends.runtime import device as devices
from backends.runtime.device import CPU, describe, resolve
from backends.runtime.installation import install_line

pytestmark = pytest.mark.usefixtures("bare_machine")


@pytest.mark.parametrize(("machine", "cause", "fix"), CAUSES.values(), ids=CAUSES)
def test_cuda_that_cannot_be_used_says_why_and_what_to_do(install, machine, cause, fix):
    install(**machine)
    error = refusal("cuda")
    assert cause in error.cause
    assert fix in error.fix
    assert error.fix.endswith(", or --device cpu")
    assert str(error) == f"device 'cuda' cannot be used; cause: {error.cause}; fix: {error.fix}"


@pytest.mark.parametrize(("machine", "cause", "fix"), CAUSES.values(), ids=CAUSES)
def test_auto_takes_the_cpu_and_keeps_the_cause(install, machine, cause, fix):
    install(**machine)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        device = resolve("auto")
    assert device == CPU
    assert cause in device.why
    assert not caught


@pytest.mark.parametrize(("machine", "cause", "fix"), CAUSES.values(), ids=CAUSES)
def test_auto_warns_where_nvidia_hardware_is_there_and_fails(install, monkeypatch, machine, cause, fix):
    install(**machine)
    monkeypatch.setattr(devices, "_nvidia_hardware", lambda: True)
    with pytest.warns(UserWarning, match="an NVIDIA GPU is present but cannot be used") as caught:
        device = resolve("auto")
    (warning,) = caught
    assert device == CPU
    assert device.why in str(warning.message)
    assert fix in str(warning.message)
    assert warning.filename == __file__


def test_a_missing_cupy_is_a_cause_and_no_failure(monkeypatch):
    monkeypatch.setattr(devices, "_nvidia_hardware", lambda: True)
    error = refusal("cuda:1")
    assert error.cause == "cupy is not installed"
    assert error.fix.startswith(INSTALL)
    assert error.fix.endswith(", or --device cpu")
    assert describe(resolve("auto")) == "device: cpu (cupy is not installed)"


@pytest.mark.parametrize(
    ("release", "extra"), [("580.65.06", "cuda13"), ("590.1", "cuda13"), ("575.64.03", "cuda12"), ("535.1", "cuda12")]
)
def test_the_install_line_suits_the_driver(monkeypatch, release, extra):
    monkeypatch.setattr(devices, "_driver_release", lambda: release)
    assert refusal("cuda").fix == f"{install_line(extra)}, or --device cpu"


def test_no_package_is_recommended_on_macos(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "macOS" in refusal("cuda").fix
    assert "pip install" not in refusal("cuda").fix


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ImportError("libcuda.so.1: cannot open shared object file"), "ImportError: libcuda.so.1: cannot open"),
        (ModuleNotFoundError("No module named 'fastrlock'", name="fastrlock"), "No module named 'fastrlock'"),
        (
            ImportError("\n=====\nFailed to import CuPy.\n\nOriginal error:\n  ImportError: undefined symbol\n=====\n"),
            "cupy does not import: ImportError: undefined symbol",
        ),
        (UserWarning("\n-----\n\n  CuPy may not function correctly because\n"), "CuPy may not function correctly"),
    ],
)
def test_a_cupy_that_does_not_import_is_a_cause(monkeypatch, error, cause):
    class Broken:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            if name == "cupy":
                raise error

    monkeypatch.delitem(sys.modules, "cupy")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    refused = refusal("cuda")
    assert cause in refused.cause
    assert refused.fix.startswith("pip uninstall")
    assert INSTALL in refused.fix
    assert resolve("auto").why == refused.cause


@pytest.mark.parametrize(
    ("count", "visible", "words", "fix"),
    [
        (1, None, "there is no CUDA device 99: 1 device is visible", "ask for cuda:0, or"),
        (2, None, "there is no CUDA device 99: 2 devices are visible", "ask for cuda:0 to cuda:1, or"),
        (1, "3", "1 device is visible with CUDA_VISIBLE_DEVICES='3'", "ask for cuda:0, or"),
    ],
)
def test_a_number_beyond_the_devices_says_how_many_there_are(install, monkeypatch, count, visible, words, fix):
    cupy = install(count=count)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    error = refusal("cuda:99")
    assert words in error.cause
    assert fix in error.fix
    assert not cupy.launches


@pytest.mark.parametrize("visible", ["", "-1", " ", "-1,0", "NoDevFiles"])
def test_devices_that_are_hidden_on_purpose_are_a_cause_and_no_failure(install, monkeypatch, visible):
    install(count=0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(devices, "_nvidia_hardware", lambda: True)
    error = refusal("cuda")
    assert error.cause == f"CUDA_VISIBLE_DEVICES={visible!r} hides every CUDA device"
    assert error.fix == "unset CUDA_VISIBLE_DEVICES, or --device cpu"
    assert resolve("auto").why == error.cause


def test_visible_devices_that_do_not_exist_are_named(install, monkeypatch):
    install(count=0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert "finds no device with CUDA_VISIBLE_DEVICES='7'" in refusal("cuda").cause


def test_one_broken_device_leaves_the_other_usable(install):
    install(count=2, broken={"synchronize": RuntimeError("cudaErrorECCUncorrectable: ECC")}, broken_devices=(0,))
    assert refusal("cuda:0").cause == "cudaErrorECCUncorrectable: ECC"
    assert resolve("cuda:1").name == "cuda:1"
