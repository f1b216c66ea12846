"""Device names, precedence, and what is said where a device cannot be used.

No GPU takes part: a small double of CuPy stands for each machine, a real one, a broken one or none.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from standin import counts, installed

from backends import device as devices
from backends import namespace
from backends.device import CPU, Device, DeviceReport, describe, resolve, survey
from backends.errors import DeviceError
from backends.transfer import to_device
from dlcore.cli.doctor import doctor

ROOT = Path(__file__).resolve().parents[2]
INSUFFICIENT_DRIVER = "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
NO_DEVICE = "cudaErrorNoDevice: no CUDA-capable device is detected"
nvidia_hardware, driver_release = devices._nvidia_hardware, devices._driver_release  # every test replaces them
NVRTC = 'Failure finding "libnvrtc.so.13": No such file: libnvrtc.so.13\n'


class FakeDevice:
    def __init__(self, index: int, machine: FakeCupy) -> None:
        self.id, self._machine = index, machine

    def __enter__(self) -> FakeDevice:
        return self

    def __exit__(self, *exception: object) -> None: ...

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FakeDevice) and self.id == other.id

    def __hash__(self) -> int:
        return self.id

    def synchronize(self) -> None:
        self._machine.fail_at("synchronize", self.id)
        self._machine.launches.append(self.id)

    @property
    def compute_capability(self) -> str:
        return self._machine.capability

    @property
    def mem_info(self) -> tuple[int, int]:
        return 3 * 2**30, 4 * 2**30


class FakeCupy(types.ModuleType):
    """What the probe uses of cupy, on a machine with ``count`` devices; ``broken`` maps a stage to what it raises."""

    __version__ = "14.2.0"

    def __init__(
        self,
        count: int = 1,
        driver: int = 13000,
        capability: str = "90",
        broken: dict[str, Exception] | None = None,
        broken_devices: tuple[int, ...] = tuple(range(8)),
    ) -> None:
        super().__init__("cupy")
        self.capability, self.broken, self.broken_devices = capability, broken or {}, broken_devices
        self.launches: list[int] = []
        runtime = types.SimpleNamespace(
            driverGetVersion=lambda: driver,
            runtimeGetVersion=lambda: 13020,
            getDeviceCount=lambda: self._count(count, driver),
            getDeviceProperties=lambda index: {"name": f"NVIDIA Imaginary {index}".encode()},
        )
        self.cuda = types.SimpleNamespace(runtime=runtime, Device=lambda index: FakeDevice(int(index), self))

    def fail_at(self, stage: str, index: int = 0) -> None:
        if stage in self.broken and index in self.broken_devices:
            raise self.broken[stage]

    def _count(self, count: int, driver: int) -> int:
        self.fail_at("count")
        if driver < 13000:
            raise RuntimeError(INSUFFICIENT_DRIVER)
        if not count:
            raise RuntimeError(NO_DEVICE)
        return count

    def is_available(self) -> bool:
        """As in CuPy: an error is no device."""
        self.fail_at("is_available")
        try:
            return self.cuda.runtime.getDeviceCount() > 0
        except Exception:
            return False

    def arange(self, n: int) -> np.ndarray:
        self.fail_at("arange")
        return np.arange(n)


@pytest.fixture(autouse=True)
def _machine_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DLCORE_DEVICE", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(devices, "_nvidia_hardware", lambda: False)
    monkeypatch.setattr(devices, "_driver_release", lambda: "")
    monkeypatch.setitem(sys.modules, "cupy", None)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeCupy]:
    """Put a machine under the test: ``install(count=2)``."""

    def install(**machine: Any) -> FakeCupy:
        cupy = FakeCupy(**machine)
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setitem(sys.modules, "array_api_compat.cupy", types.ModuleType("array_api_compat.cupy"))
        return cupy

    return install


def refusal(name: Any = None) -> DeviceError:
    with pytest.raises(DeviceError) as caught:
        resolve(name)
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


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
    assert device.xp is sys.modules["array_api_compat.cupy"]
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


# Causes --------------------------------------------------------------------------------------------------------------

INSTALL = "pip install 'dlcore-xp[cuda13]'"
CAUSES = {
    "driver": ({"count": 0, "driver": 0}, "no CUDA driver", "install the NVIDIA driver"),
    "old driver": ({"driver": 12040}, "supports CUDA up to 12.4", "'dlcore-xp[cuda12]'"),
    "very old driver": ({"driver": 11080}, "supports CUDA up to 11.8", "update the NVIDIA driver, or --device"),
    "no device": ({"count": 0}, "the CUDA driver finds no device", "nvidia-smi"),
    "driver mismatch": (
        {"broken": {"count": RuntimeError("cudaErrorSystemDriverMismatch: versions differ\nmore")}},
        "cudaErrorSystemDriverMismatch: versions differ",
        "nvidia-smi",
    ),
    "question": ({"broken": {"is_available": OSError("dead\nand gone")}}, "OSError: dead", "nvidia-smi"),
    "allocation": (
        {"broken": {"arange": MemoryError("Out of memory allocating 512 bytes\n(allocated so far: 0)")}},
        "MemoryError: Out of memory allocating 512 bytes",
        "nvidia-smi",
    ),
    "launch": ({"broken": {"synchronize": RuntimeError()}}, "RuntimeError", "nvidia-smi"),
    "libraries": ({"broken": {"arange": RuntimeError(NVRTC)}}, "libnvrtc.so.13", INSTALL),
    "old chip": (
        {"capability": "70", "broken": {"arange": RuntimeError("nvrtc: error: invalid value for --gpu-architecture")}},
        "CUDA 13 needs compute capability 7.5 and CUDA device 0 has 7.0",
        "'dlcore-xp[cuda12]'",
    ),
}


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
    assert refusal("cuda").fix == f"pip install 'dlcore-xp[{extra}]', or --device cpu"


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


# Reports -------------------------------------------------------------------------------------------------------------


def test_the_info_line_gives_the_device_and_the_reason(install):
    assert describe(resolve("auto")) == "device: cpu (cupy is not installed)"
    install()
    assert describe(resolve("auto")) == "device: cuda:0 (CUDA device 0: NVIDIA Imaginary 0)"
    assert describe(Device("cpu", np)) == "device: cpu"


def test_the_survey_reports_the_cpu_first_and_its_facts():
    cpu, cuda = survey()
    assert (cpu.name, cpu.usable, cpu.cause, cpu.fix) == ("cpu", True, "", "")
    assert cpu.facts["name"]
    assert (cuda.name, cuda.usable, cuda.cause) == ("cuda", False, "cupy is not installed")
    assert INSTALL in cuda.fix


def test_the_survey_reports_each_device(install, monkeypatch):
    monkeypatch.setattr(devices, "_driver_release", lambda: "580.65.06")
    install(count=2, broken={"synchronize": RuntimeError("cudaErrorECCUncorrectable: ECC")}, broken_devices=(1,))
    _, good, bad = survey()
    facts = {
        "name": "NVIDIA Imaginary 0",
        "memory": "4.0 GiB, 3.0 GiB free",
        "compute capability": "9.0",
        "driver": "580.65.06 (CUDA up to 13.0)",
        "runtime": "CUDA 13.2",
        "cupy": "14.2.0",
    }
    assert good == DeviceReport("cuda:0", True, facts=facts)
    assert (bad.name, bad.usable, bad.cause) == ("cuda:1", False, "cudaErrorECCUncorrectable: ECC")
    assert bad.fix.endswith(", or --device cpu")
    assert bad.facts == facts | {"name": "NVIDIA Imaginary 1"}


@pytest.mark.parametrize(("machine", "cause", "fix"), CAUSES.values(), ids=CAUSES)
def test_the_survey_never_raises(install, machine, cause, fix):
    install(**machine)
    cpu, cuda = survey()
    assert cpu.usable
    assert not cuda.usable
    assert cause in cuda.cause
    assert fix in cuda.fix


def test_a_fact_that_cannot_be_told_is_left_out(install):
    cupy = install()
    cupy.cuda.runtime = types.SimpleNamespace(getDeviceCount=lambda: 1)
    _, cuda = survey()
    assert cuda.usable
    assert set(cuda.facts) == {"name", "memory", "compute capability", "cupy"}
    assert resolve("auto").why == "CUDA device 0: a CUDA device"


# The machine ---------------------------------------------------------------------------------------------------------


def make(root: Path, *files: str, text: str = "") -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text)
    return root


@pytest.mark.parametrize("file", ["proc/driver/nvidia/gpus/0000:01:00.0/information", "dev/nvidia0", "dev/nvidia12"])
def test_the_kernel_knows_the_hardware(tmp_path, monkeypatch, file):
    monkeypatch.setattr(sys, "platform", "linux")
    assert nvidia_hardware(make(tmp_path, file))


def test_nvidia_smi_alone_is_no_hardware_except_where_the_kernel_tells_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(devices.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(sys, "platform", "linux")
    assert not nvidia_hardware(make(tmp_path, "dev/nvidiactl", "proc/driver/nvidia/version"))
    assert nvidia_hardware(make(tmp_path / "subsystem", "dev/dxg"))
    monkeypatch.setattr(sys, "platform", "win32")
    assert nvidia_hardware(tmp_path)


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n", "535.104.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.82.07  Release Build\nGCC 13\n", "580.82.07"),
        ("unreadable", ""),
    ],
)
def test_the_driver_tells_its_release(tmp_path, text, release):
    assert driver_release(make(tmp_path, "proc/driver/nvidia/version", text=text)) == release


def test_no_driver_has_no_release(tmp_path):
    assert driver_release(tmp_path) == ""


# dlcore doctor -------------------------------------------------------------------------------------------------------


def test_the_doctor_prints_versions_devices_and_data(install, capsys):
    install(count=2, broken={"synchronize": RuntimeError("cudaErrorECCUncorrectable: ECC")}, broken_devices=(1,))
    assert doctor() == 0
    text = capsys.readouterr().out
    for label in ("python", "numpy", "BLAS", "threads", "array-api-compat"):
        assert re.search(rf"^  {label} +\S", text, re.MULTILINE)
    assert re.search("cpu +usable", text)
    assert re.search("cuda:0 +usable", text)
    assert re.search("cuda:1 +not usable: cudaErrorECCUncorrectable: ECC", text)
    assert "NVIDIA Imaginary 1" in text
    assert "full Fashion-MNIST: " in text


@pytest.mark.parametrize(("value", "said"), [("cpu", "cpu (DLCORE_DEVICE=cpu)"), ("gpu", "'gpu' (from DLCORE_DEVICE)")])
def test_the_doctor_says_what_a_run_would_take(monkeypatch, capsys, value, said):
    monkeypatch.setenv("DLCORE_DEVICE", value)
    assert doctor() == 0
    text = capsys.readouterr().out
    assert "fix: " + INSTALL in text
    assert said in text


def test_the_doctor_fails_only_without_a_cpu(monkeypatch, capsys):
    monkeypatch.setattr(devices, "survey", lambda: (DeviceReport("cpu", False, "no numpy", "install numpy"),))
    assert doctor() == 1
    text = capsys.readouterr().out
    assert re.search("cpu +not usable: no numpy", text)
    assert "fix: install numpy" in text


def test_the_doctor_reports_a_numpy_that_does_not_import(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert doctor() == 1
    assert "cpu: not usable; cause: ModuleNotFoundError" in capsys.readouterr().out


def test_the_doctor_finds_the_data(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("DLCORE_DATA", str(tmp_path))
    assert doctor() == 0
    assert f"full Fashion-MNIST: load: $DLCORE_DATA is {tmp_path}" in capsys.readouterr().out


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
    monkeypatch.setitem(namespace._TABLE, Array, sys.modules["array_api_compat.cupy"])
    first, second = resolve("cuda:0"), resolve("cuda:1")
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
    code = "import sys, backends.device as d; d.resolve('cpu'); print('cupy' in sys.modules)"
    assert python(code) == "False\n"


@pytest.mark.level3
@pytest.mark.skipif(devices._nvidia_hardware(), reason="there is a GPU, and perhaps a driver")
def test_the_real_wheel_without_a_driver_is_no_cuda_driver():
    code = """
from backends.device import describe, resolve, survey
print(describe(resolve("auto")))
try:
    resolve("cuda")
except Exception as error:
    print(type(error).__name__, error.cause)
print(survey()[1].facts["driver"])
"""
    assert python(code) == "device: cpu (no CUDA driver)\nDeviceError no CUDA driver\nnone\n"
