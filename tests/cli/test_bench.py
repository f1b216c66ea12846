"""``dlcore bench``: tables, files, pictures, exit codes; a GPU that is missing, and one that is played."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import standin
from PIL import Image

from dlcore.bench import starting
from dlcore.cli import main

QUICK = ["bench", "--quick", "--rounds", "2"]
TWO = [*QUICK, "--compare", "cpu", "cpu-reference", "--only"]


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start no fresh processes, which take a second each."""
    monkeypatch.setattr(starting, "measure", lambda *_, **__: {"error": "not in this test"})


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(words) == code
    return capsys.readouterr().out


@pytest.mark.draws
def test_one_device_with_its_first_calls_in_a_fresh_process_and_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, *QUICK, "kernels", "--only", "adam", "--device", "cpu", "--json", "a.json", "--picture", "a.svg")
    assert re.search(r"^cpu: \S.*\nmachine: .*, \d+ cores\ndlcore [\d.]+, Python [\d.]+, NumPy .*, commit \S+", out)
    assert re.search(r"^start cpu: import \d+\.\d\d s, first calls \d+\.\d\d s, with what is kept on disk$", out, re.M)
    assert re.search(r"^copies cpu: none", out, re.M)
    assert re.search(r"^adam 200000 +[\d.]+ +\d+% +[\d.]+ GB/s +\S+ +[\d.,]+ +(AdamInOnePass|reference)$", out, re.M)
    content = json.loads(Path("a.json").read_text())
    (one,) = content["benchmarks"]
    assert one["stats"]["rounds"] == 2
    first = content["dlcore"]["starting"]["cpu"]["cached"]
    assert first["import"] > 0.01
    assert first["first"].keys() == {"adam 200000"}
    assert Path("a.svg").read_text().count("adam 200000") >= 1


def test_two_devices_in_one_table_and_one_picture(capsys: pytest.CaptureFixture[str], no_processes: None) -> None:
    out = said(capsys, *TWO, "cross", "--json", "a.json", "--picture", "a.png")
    lines = out.splitlines()
    assert "cpu-reference: " in out
    assert "A: cpu, B: cpu-reference" in lines
    (row,) = (line for line in lines if line.startswith("cross_entropy 512x100"))
    times = {one["param"]: one["stats"]["median"] for one in json.loads(Path("a.json").read_text())["benchmarks"]}
    _, _, a, b, _, speed, *_ = row.split()
    assert (float(a), float(b)) == pytest.approx([1e3 * times["cpu"], 1e3 * times["cpu-reference"]], abs=6e-4, rel=1e-3)
    assert float(speed) == pytest.approx(times["cpu"] / times["cpu-reference"], abs=6e-3, rel=0.05)
    with Image.open("a.png") as picture:
        assert picture.format == "PNG"
    out = said(capsys, "bench", "compare", "a.json", "a.json")
    assert re.search(r"^cross_entropy 512x100\[cpu\] .* 1\.00 ", out, re.M)


# --- the GPU


def test_a_missing_gpu_is_said_with_cause_and_fix_and_the_cpu_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, no_processes: None
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delenv("DLCORE_REQUIRE_CUDA", raising=False)
    words = [*QUICK, "--compare", "cpu", "cuda", "--only", "sgd"]
    for order in (words, [*QUICK, "--compare", "cuda", "cpu", "--only", "sgd"]):
        out = said(capsys, *order)
        (line,) = (line for line in out.splitlines() if "cuda" in line)
        for part in ("device 'cuda' cannot be used", "cause: cupy is not installed", "fix: pip install"):
            assert part in line
        assert re.search(r"^sgd 200000 +[\d.]+ ", out, re.M)
    monkeypatch.setenv("DLCORE_REQUIRE_CUDA", "1")
    assert main(words) == 1
    assert "only cpu was measured" in capsys.readouterr().err
    monkeypatch.delenv("DLCORE_REQUIRE_CUDA")
    assert main([*words, "--fail-below", "0.01"]) == 1  # nothing was checked
    assert "only cpu was measured" in capsys.readouterr().err
    assert main([*QUICK, "--compare", "cuda", "cuda:1"]) == 1
    assert main([*QUICK, "--device", "cuda"]) == 1


@pytest.mark.level2
def test_a_played_gpu_is_compared_with_its_copies(
    capsys: pytest.CaptureFixture[str], no_processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standin.installed():
        out = said(capsys, *QUICK, "--compare", "cpu", "cuda", "--only", "sgd")
        assert standin.counts().sync > 2
    assert re.search(r"^copies cuda:0: to device [\d.]+ GB/s, to host [\d.]+ GB/s$", out, re.M)
    assert "A: cpu, B: cuda:0" in out
    assert re.search(r"^cuda:0: .*, driver .*, cupy ", out, re.M)


# --- limits


def _file(name: str, medians: dict[str, float], **more: Any) -> str:
    benchmarks = [{"name": key, "stats": {"median": median}} for key, median in medians.items()]
    Path(name).write_text(json.dumps({"benchmarks": benchmarks, **more}))
    return name


def test_files_compare_with_what_differs_and_fail_below_a_speed(capsys: pytest.CaptureFixture[str]) -> None:
    info = {"python_version": "3.11.7", "cpu": {"brand_raw": "one", "count": 2}}
    a = _file("a.json", {"x": 1.0, "y": 1.0, "z": 1.0}, machine_info=info, commit_info={"id": "1" * 40, "dirty": True})
    b = _file("b.json", {"x": 1.25, "y": 1.0, "w": 1.0}, machine_info={**info, "cpu": {"brand_raw": "two", "count": 4}})
    out = said(capsys, "bench", "compare", a, b, "--fail-below", "0.9", "--picture", "p.png", code=1)
    lines = out.splitlines()
    assert "different machine: one, 2 cores in A, two, 4 cores in B" in lines
    assert "different commit: 111111111111 with changes in A, unknown in B" in lines
    assert not [line for line in lines if line.startswith("different software")]
    assert "only in A: z" in lines
    assert "only in B: w" in lines
    assert lines[-1] == "below 0.9: x has speed 0.8"
    assert Path("p.png").exists()
    assert "below" not in said(capsys, "bench", "compare", a, b, "--fail-below", "0.8")
    assert "below" not in said(capsys, "bench", "compare", b, a, "--fail-below", "1")


def test_a_measured_device_that_is_too_slow_fails(
    capsys: pytest.CaptureFixture[str], no_processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = said(capsys, *TWO, "sgd", "--fail-below", "1000", code=1)
    assert re.search(r"^below 1000: sgd 200000 has speed [\d.]+$", out, re.M)


@pytest.mark.parametrize(
    ("words", "parts", "code"),
    [
        (["bench", "kernles"], ["no suite 'kernles'", "kernels, training", "did you mean kernels"], 2),
        (["bench", "--only", "lstm"], ["--only 'lstm'", "conv2d", "cnn"], 2),
        (["bench", "--rounds", "0"], ["--rounds is '0'", "from 1"], 2),
        (["bench", "--rounds", "1.5"], ["--rounds is '1.5'", "whole number"], 2),
        (["bench", "--threads", "0"], ["--threads is '0'"], 2),
        (["bench", "--compare", "cpu", "cpu"], ["--compare cpu cpu", "both are cpu"], 2),
        (["bench", "--compare", "cuda", "cuda"], ["both are cuda"], 2),
        (["bench", "--compare", "cpu"], ["--compare"], 2),
        (["bench", "--compare", "cpu", "gpu"], ["device 'gpu' is not known", "did you mean cuda"], 1),
        (["bench", "--compare", "cpu", "cpu-reference", "--device", "cpu"], ["takes no --device cpu"], 2),
        (["bench", "--device", "cpu-ref"], ["device 'cpu-ref' is not known", "did you mean cpu-reference"], 1),
        (["bench", "--fail-below", "0.9"], ["--fail-below goes with --compare"], 2),
        (["bench", "compare", "a", "b", "--fail-below", "0"], ["--fail-below is 0", "above 0"], 2),
        (["bench", "--compare", "cpu", "cuda", "--fail-below", "nan"], ["--fail-below is nan"], 2),
        (["bench", "--json", "no/a.json"], ["no/a.json", "the folder no does not exist"], 1),
        (["bench", "--picture", "a.gif"], ["--picture a.gif", ".png or .svg"], 2),
        (["bench", "compare", "a.json"], ["B"], 2),
        (["bench", "compare", "none.json", "none.json"], ["none.json", "cannot be read"], 1),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], parts: list[str], code: int
) -> None:
    assert main(words) == code
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    for part in parts:
        assert part in line
    assert out == ""
    assert list(Path().iterdir()) == []


# --- fresh processes


def test_a_process_that_fails_is_said_by_its_last_line() -> None:
    found = starting.measure("cuda:99", 1, ["kernels"], "sgd", True, cold=False)
    assert found.keys() == {"error"}
    assert "cuda:99" in found["error"]


def test_a_cold_process_compiles_into_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []
    run = starting.subprocess.run

    def watch(*words: Any, env: dict[str, str], **settings: Any) -> Any:
        seen.append(env)
        done = run(*words, env=env, **settings)
        written.append(bool(list(Path(env["NUMBA_CACHE_DIR"]).rglob("*.nbi"))))
        return done

    written: list[bool] = []
    monkeypatch.setattr(starting.subprocess, "run", watch)
    found = starting.measure("cpu", 1, ["kernels"], "rmsprop", True, cold=True)
    assert found["first"]["rmsprop 200000"] > 0
    from backends import cpu

    assert written == [not cpu.WHY_NOT]
    assert not Path(seen[0]["NUMBA_CACHE_DIR"]).exists()
