"""``dlcore doctor`` on machines with devices, broken ones and none."""

from __future__ import annotations

import re
import sys

import pytest

from backends.runtime import device as devices
from backends.runtime.device import DeviceReport
from backends.runtime.installation import install_line
from dlcore.cli.commands.doctor import doctor

pytestmark = pytest.mark.usefixtures("bare_machine")


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
    assert "fix: " + install_line("cuda13") in text
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
