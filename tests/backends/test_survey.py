"""What is told of the devices of a machine, and what its hardware and its driver tell."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
from fake_cupy import CAUSES, INSTALL

from backends.runtime import device as devices
from backends.runtime.device import Device, DeviceReport, describe, resolve, survey

pytestmark = pytest.mark.usefixtures("bare_machine")
nvidia_hardware, driver_release = devices._nvidia_hardware, devices._driver_release  # every test replaces them


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
