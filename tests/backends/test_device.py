"""Device names, precedence, and what is said where a device cannot be used.

No GPU takes part: a small double of CuPy stands for each machine, a real one, a broken one or none.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_cupy import refusal
from standin import counts, installed

from backends import namespace
from backends.runtime import device as devices
from backends.runtime.copies import to_device
from backends.runtime.device import CPU, describe, resolve

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("bare_machine")


# Names ---------------------------------------------------------------------------------------------------------------


def test_cpu_is_numpy_and_was_asked_for():
    device = resolve("cpu")
    assert device == CPU
    assert (device.name, device.native, device.why) == ("cpu", None, "asked for")
    assert device.xp is namespace.namespace_of(np.ones(1))


def test_a_device_is_its_own_resolution():
    assert resolve(CPU) is CPU


@pytest.mark.parametrize(("name", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1), ("cuda:10", 10)])
def test_cuda_names_a_device_on_which_a_kernel_has_run(install, name, index):
    cupy = install(count=11)
    device = resolve(name)
    assert device.name == f"cuda:{index}"
    assert device.native == cupy.cuda.Device(index)
    assert device.xp.__name__ == "array_api_compat.cupy"
    assert device.why == f"asked for; NVIDIA Imaginary {index}"
    assert cupy.launches == [index]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("gpu", "cuda"),
        ("GPU", "cuda"),
        ("gpu:1", "cuda:1"),
        ("nvidia", "cuda"),
        ("CUDA", "cuda"),
        ("Cpu", "cpu"),
        (" cpu", "cpu"),
        ("cuda\n", "cuda"),
        ("cud", "cuda"),
        ("cuda:", "cuda:0"),
        ("cuda:x", "cuda:0"),
        ("cuda:-1", "cuda:0"),
        ("cuda:1.0", "cuda:0"),
        ("cuda:01", "cuda:1"),
        ("cuda:+1", "cuda:0"),
        ("cuda:١", "cuda:0"),  # a digit, but not an ASCII one
        ("cuda1", "cuda:1"),
        ("1", "cuda:1"),
        (1, "cuda:1"),
        ("cuda:" + "9" * 5000, "cuda:0"),
    ],
)
def test_a_name_that_is_nearly_one_is_refused_with_the_one_it_may_mean(install, name, meant):
    install(count=2)
    message = str(refusal(name))
    assert message.startswith(f"device {name!r} is not known: expected cpu, cuda, cuda:N")
    assert message.endswith(f"did you mean {meant}?")


@pytest.mark.parametrize("name", ["", "mps", "rocm", "tpu", "gpus", True, 1.5, object, np.ones((3, 3)), ["cpu"]])
def test_a_name_that_is_like_none_is_refused_without_a_guess(name):
    message = str(refusal(name))
    assert "expected cpu, cuda, cuda:N with N = 0, 1, 2, ... or auto" in message
    assert "did you mean" not in message


# Precedence ----------------------------------------------------------------------------------------------------------


def test_the_argument_comes_before_the_environment(install, monkeypatch):
    install()
    monkeypatch.setenv("DLCORE_DEVICE", "cuda")
    assert resolve("cpu").name == "cpu"
    assert resolve("auto").why == "CUDA device 0: NVIDIA Imaginary 0"


def test_the_environment_comes_before_auto(install, monkeypatch):
    install()
    monkeypatch.setenv("DLCORE_DEVICE", "cpu")
    assert resolve() == CPU
    assert resolve().why == "DLCORE_DEVICE=cpu"


@pytest.mark.parametrize("value", [None, "", "auto"])
def test_without_a_name_auto_decides(install, monkeypatch, value):
    install()
    if value is not None:
        monkeypatch.setenv("DLCORE_DEVICE", value)
    assert resolve().name == "cuda:0"


def test_the_environment_is_read_when_asked(monkeypatch):
    monkeypatch.setenv("DLCORE_DEVICE", "cpu")
    before = resolve().why
    monkeypatch.setenv("DLCORE_DEVICE", "auto")
    assert (before, resolve().why) == ("DLCORE_DEVICE=cpu", "cupy is not installed")


@pytest.mark.parametrize("value", ["gpu", "cuda", "cuda:7"])
def test_an_error_that_comes_from_the_environment_names_the_variable(monkeypatch, value):
    monkeypatch.setenv("DLCORE_DEVICE", value)
    assert f"device '{value}' (from DLCORE_DEVICE)" in str(refusal())
    assert "DLCORE_DEVICE" not in str(refusal(value))


# Arrays --------------------------------------------------------------------------------------------------------------


def test_the_cpu_holds_numpy_arrays_and_scalars():
    assert CPU.holds(np.ones(2))
    assert CPU.holds(np.float32(1))
    assert not CPU.holds(1.0)


def test_a_cuda_device_holds_its_own_arrays_only(install, monkeypatch):
    class Array:
        def __init__(self, device: Any) -> None:
            self.device = device

    cupy = install(count=2)
    first, second = resolve("cuda:0"), resolve("cuda:1")
    monkeypatch.setitem(namespace._TABLE, Array, second.xp)
    x = Array(cupy.cuda.Device(1))
    assert second.holds(x)
    assert not first.holds(x)
    assert not CPU.holds(x)
    assert not second.holds(np.ones(2))


# The stand-in --------------------------------------------------------------------------------------------------------


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AbstractContextManager[Any]]:
    monkeypatch.delitem(sys.modules, "cupy")
    return installed


@pytest.mark.level2
def test_arrays_of_the_stand_in_belong_to_the_device_that_they_were_sent_to(standin):
    with standin(devices=2):
        first, second = resolve("cuda:0"), resolve("cuda:1")
        x = to_device(np.ones(3), second)
        assert second.holds(x)
        assert not first.holds(x)
        assert not CPU.holds(x)


@pytest.mark.level2
def test_the_probe_waits_for_its_kernel_copies_nothing_and_leaves_the_current_device_alone(standin):
    with standin(devices=2) as cupy:
        resolve("cuda:1")
        assert cupy.cuda.runtime.getDevice() == 0
        assert (counts().sync, counts().h2d, counts().d2h) == (1, 0, 0)


@pytest.mark.level2
@pytest.mark.parametrize("stage", ["allocation", "launch", "synchronize"])
def test_a_stand_in_that_counts_its_device_and_cannot_use_it_is_refused(standin, stage):
    error = "cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable"
    with standin(devices=1, broken=error, broken_at=stage) as cupy:
        assert cupy.is_available()
        assert refusal("cuda").cause == error
        assert resolve("auto").why == error


@pytest.mark.level2
@pytest.mark.parametrize(
    ("machine", "cause"),
    [({"devices": 0}, "no CUDA driver"), ({"devices": 0, "driver": 13020}, "the CUDA driver finds no device")],
)
def test_a_stand_in_without_a_device_is_refused(standin, machine, cause):
    with standin(**machine):
        assert refusal("cuda").cause == cause
        assert describe(resolve("auto")) == f"device: cpu ({cause})"


# Processes of their own ----------------------------------------------------------------------------------------------


def python(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("DLCORE_DEVICE", None)
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_asking_for_the_cpu_does_not_import_cupy():
    code = "import sys, backends.runtime.device as d; d.resolve('cpu'); print('cupy' in sys.modules)"
    assert python(code) == "False\n"


@pytest.mark.level3
@pytest.mark.skipif(devices._nvidia_hardware(), reason="there is a GPU, and perhaps a driver")
def test_the_real_wheel_without_a_driver_is_no_cuda_driver():
    code = """
from backends.runtime.device import describe, resolve, survey
print(describe(resolve("auto")))
try:
    resolve("cuda")
except Exception as error:
    print(type(error).__name__, error.cause)
print(survey()[1].facts["driver"])
"""
    assert python(code) == "device: cpu (no CUDA driver)\nDeviceError no CUDA driver\nnone\n"
