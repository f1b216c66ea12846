"""``dlcore doctor``: each line where all is well, and its fix where something is not; the self-test's exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import standin

from backends.diagnostics import libraries
from backends.diagnostics.libraries import Finding
from backends.dispatch import Alternative, kernels
from backends.runtime.installation import install_line
from dlcore.cli import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUPY_ACCELERATORS", "CUPY_CACHE_DIR", "CUPY_CACHE_IN_MEMORY"):
        monkeypatch.delenv(name, raising=False)


def report(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(["doctor", *words]) == code
    return " ".join(capsys.readouterr().out.split())


def finding(label: str, found: Any) -> Finding:
    (one,) = (one for one in found if one.label == label)
    return one


# --- the CPU


def test_blas_numba_and_the_folder_of_compiled_kernels_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    out = report(capsys)
    assert "BLAS openblas" in out
    assert "compiled kernels kept in" in out
    assert "compiled kernels on" in out
    assert "not compiled" not in out


@pytest.mark.parametrize(
    ("why", "fix"),
    [
        ("NUMBA_DISABLE_JIT is set", "unset NUMBA_DISABLE_JIT"),
        ("numba is not installed", "pip install --upgrade numba"),
    ],
)
def test_without_numba_the_reason_and_the_fix_are_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, why: str, fix: str
) -> None:
    monkeypatch.setattr("backends.cpu.WHY_NOT", why)
    out = report(capsys)
    assert f"no compiled kernels: {why} fix: {fix}" in out


def test_what_does_not_compile_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(pair: Any) -> Any:
        if pair.__name__ == "ReluByPieces":
            raise NotImplementedError("no vectors\nhere")
        return ()

    from backends import cpu

    cpu._why_not_compiled.cache_clear()
    monkeypatch.setattr("backends.cpu.codegen.thread_pool.compiled_parts", broken)
    try:
        out = report(capsys)
    finally:
        cpu._why_not_compiled.cache_clear()
    assert "not compiled ReluByPieces, whose reference runs: it does not compile here: NotImpl" in out
    assert "fix: pip install --upgrade numba" in out
    assert out.count("not compiled") == 1


def test_a_folder_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.cpu.codegen.compile.cache_folder", lambda: None)
    found = finding("compiled kernels", libraries.cpu())
    assert "anew" in found.text
    assert "NUMBA_CACHE_DIR" in found.fix


def test_a_numpy_without_a_known_blas_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.runtime.threads.loaded_blas", list)
    assert "reinstall numpy" in finding("BLAS", libraries.cpu()).fix


# --- CUDA


def test_without_cupy_nothing_is_said_of_its_libraries(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(libraries, "_packages", list)
    out = report(capsys)
    assert "cuda not usable: cupy is not installed fix: pip install" in out
    assert "CUDA libraries" not in out


@pytest.mark.level2
def test_with_a_gpu_all_lines_are_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "not" / "there yet"))
    with standin.installed() as cupy:
        monkeypatch.setattr(cupy.cuda, "nvrtc", SimpleNamespace(getVersion=lambda: (13, 2)), raising=False)
        monkeypatch.setattr(cupy.cuda, "get_cuda_path", lambda: "/usr/local/cuda")
        monkeypatch.setattr(cupy.cuda, "cub", SimpleNamespace(available=True), raising=False)
        out = report(capsys)
    assert "cuda:0 usable" in out
    assert f"NVRTC 13.2 CUB on CUDA kernels kept in {tmp_path}" in out
    assert not (tmp_path / "not").exists(), "looking changes nothing"


@pytest.mark.level2
@pytest.mark.parametrize(
    ("setting", "text", "fix"),
    [
        ({"CUPY_ACCELERATORS": ""}, "off, by CUPY_ACCELERATORS=''", "unset CUPY_ACCELERATORS"),
        ({"CUPY_ACCELERATORS": "cutensor"}, "off, by CUPY_ACCELERATORS='cutensor'", "unset"),
        ({"CUPY_ACCELERATORS": "cutensor,cub"}, "on", ""),
        ({"available": False}, "built without it", "reinstall cupy"),
        ({"path": None}, "off for some reductions", "set CUDA_PATH to it, or pip install "),
    ],
)
def test_what_turns_cub_off_is_told(
    monkeypatch: pytest.MonkeyPatch, setting: dict[str, Any], text: str, fix: str
) -> None:
    with standin.installed() as cupy:
        monkeypatch.setattr(cupy.cuda, "get_cuda_path", lambda: setting.get("path", "/usr/local/cuda"))
        cub = SimpleNamespace(available=setting.get("available", True))
        monkeypatch.setattr(cupy.cuda, "cub", cub, raising=False)
        if "CUPY_ACCELERATORS" in setting:
            monkeypatch.setenv("CUPY_ACCELERATORS", setting["CUPY_ACCELERATORS"])
        found = finding("CUB", libraries.cuda())
    assert text in found.text
    assert fix in found.fix
    assert bool(found.fix) == bool(fix)


@pytest.mark.level2
def test_a_missing_nvrtc_is_told_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise RuntimeError("libnvrtc.so.13 is not here")

    with standin.installed() as cupy:
        monkeypatch.setattr(cupy.cuda, "nvrtc", SimpleNamespace(getVersion=missing), raising=False)
        found = finding("NVRTC", libraries.cuda())
    assert "no kernel compiles" in found.text
    assert found.fix == f"{install_line('cuda13')}, which brings the CUDA libraries"


@pytest.mark.level2
def test_the_folder_of_cuda_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    with standin.installed():
        monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "a file"))
        assert "set CUPY_CACHE_DIR" in finding("CUDA kernels", libraries.cuda()).fix
        monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
        assert not finding("CUDA kernels", libraries.cuda()).fix
        monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "1")
        assert "unset CUPY_CACHE_IN_MEMORY" in finding("CUDA kernels", libraries.cuda()).fix


@pytest.mark.level2
def test_two_packages_of_cupy_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["cupy-cuda12x", "cupy-cuda13x", "cupyish", "numpy"]
    packages = [SimpleNamespace(metadata={"Name": name}) for name in names]
    monkeypatch.setattr(libraries.metadata, "distributions", lambda: packages)
    with standin.installed():
        found = finding("cupy", libraries.cuda())
    assert "2 packages" in found.text
    assert found.fix.startswith("pip uninstall cupy-cuda12x cupy-cuda13x, then pip install")


@pytest.mark.level3
def test_the_real_wheel_answers_with_and_without_a_driver() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    names = "import cupy; print(cupy.cuda.nvrtc.getVersion, cupy.cuda.cub.available, cupy.cuda.get_cuda_path())"
    for command in (["-c", names], ["-m", "dlcore", "doctor"]):
        words = [sys.executable, *command]
        result = subprocess.run(words, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=120)
        assert result.returncode == 0, result.stderr
    assert "\nCUDA libraries\n  cupy" in result.stdout
    for label in ("NVRTC", "CUB", "CUDA kernels"):
        assert f"\n  {label} " in result.stdout


# --- the self-test


def test_the_self_test_prints_each_kernel_and_gives_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--self-test", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "device: cpu (asked for)"
    assert all(len(line) <= 80 for line in lines)
    printed = {line.split()[0] for line in lines[3:-1]}
    assert printed == {
        name for name, kernel in kernels().items() if kernel.__module__.startswith("backends.reference.")
    }
    assert any(line.split()[:2] == ["relu", "ReluByPieces"] for line in lines)
    assert lines[-1].startswith("self-test: ")
    assert lines[-1].endswith("are within bounds on cpu")


@pytest.mark.level2
def test_the_self_test_of_another_device(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCORE_DEVICE", "cuda")
    with standin.installed():
        out = report(capsys, "--self-test")
    assert out.startswith("device: cuda:0")
    assert out.endswith("within bounds on cuda:0")


def test_a_kernel_that_is_wrong_gives_1_and_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tanh = kernels()["tanh"]

    class Wrong:
        backward = staticmethod(tanh.backward)

        @staticmethod
        def forward(xp: Any, x: Any, *, needed: Any) -> Any:
            y, saved = tanh.forward(xp, x, needed=needed)
            return y * y.dtype.type(1.00001), saved

    monkeypatch.setitem(tanh.alternatives, "numpy", [Alternative("Wrong", "numpy", Wrong, lambda *_, **__: None)])
    assert main(["doctor", "--self-test", "--device", "cpu"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines if line.endswith("OUT")] == [["tanh", "Wrong"]]
    assert lines[-1] == "self-test: out of bounds on cpu: tanh (Wrong)"


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (["--device", "cpu"], 2, ["--device goes with --self-test"]),
        (["--self-test", "--device", "gpu"], 1, ["'gpu'", "did you mean cuda"]),
        (["--self-test", "--device", "cuda"], 1, ["cupy is not installed", "fix: pip install"]),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, parts: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main(["doctor", *words]) == code
    (line,) = capsys.readouterr().err.splitlines()
    for part in parts:
        assert part in line
