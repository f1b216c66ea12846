"""The suite of level 7 where there is no GPU: what it says then, and its parts on the host and against fakes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cuda_samples
import numpy as np
import pytest
from arrays import Backend
from case import SUMS

from backends.cuda import compile
from backends.dispatch import kernels
from gpu import facts, outside, runs, stream, suite, warm
from gpu import kernels as tables
from gpu.parts import PARTS, Part
from gpu.result import Result, judged

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


# --- the command


def test_without_a_gpu_it_says_cause_and_fix_in_one_line_and_writes_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
    found = subprocess.run(
        [HERE / "run_all.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 2, found.stderr
    assert found.stdout == ""
    (line,) = found.stderr.splitlines()
    assert line.startswith("level 7 needs a CUDA GPU: ")
    assert "cause: " in line
    assert "fix: " in line
    assert not list(tmp_path.iterdir())


def part(name: str, limit: float = 60) -> Part:
    return Part(name, f"the part {name}", lambda _: Result("passed", ""), limit)


def child(code: str) -> list[str]:
    return [sys.executable, "-c", f"import sys, json, time, os\nresult = sys.argv[1]\n{code}"]


def test_a_part_that_ends_badly_is_a_failure_with_its_last_words() -> None:
    good = 'open(result, "w").write(json.dumps({"state": "passed", "summary": "all", "found": {"n": 1}}))'
    found = suite.run_part(part("good"), child(good))
    assert (found["state"], found["summary"], found["found"]) == ("passed", "all", {"n": 1})
    found = suite.run_part(part("raises"), child("print('before')\nraise ValueError('an illegal address')"))
    assert (found["state"], found["summary"]) == ("failed", "exit status 1: ValueError: an illegal address")
    assert found["said"][0] == "before"
    assert "signal" in suite.run_part(part("dies"), child("os.abort()"))["summary"]
    assert "said nothing" in suite.run_part(part("leaves no result"), child("pass"))["summary"]


def is_gone(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    for _ in range(200):  # a process that is being killed takes a moment
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] in "ZX":
            return True
        time.sleep(0.05)
    return False


def test_a_part_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    started = "import subprocess\np = subprocess.Popen(['sleep', '60'])\n"
    started += f"open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid))\n"
    found = suite.run_part(part("hangs", limit=2.0), child(f"{started}time.sleep(60)"))
    assert (found["state"], found["summary"]) == ("failed", "not done within 2 s: it said nothing")
    assert is_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("bad", [None, "runs"])
def test_every_part_runs_whatever_failed_before(
    bad: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    host_cuda: Backend,
) -> None:
    def run_part(which: Part, command: Any) -> dict[str, Any]:
        assert command[1:] == ["-m", "gpu", "--part", which.name]
        missing = Result("not installed", "no such tool") if which.name == "memcheck" else judged(True, "fine", n=1)
        outcome = judged(False, "too far off", worst=["cnn: 0.5"]) if which.name == bad else missing
        return {**outcome.packed(), "seconds": 1.5, "said": []}

    monkeypatch.setattr(suite, "run_part", run_part)
    path = tmp_path / "report.json"
    assert suite.run_all(host_cuda.device, path) == (0 if bad is None else 1)
    found = json.loads(path.read_text())
    assert list(found["parts"]) == [one.name for one in PARTS]
    assert found["passed"] == (bad is None)
    assert found["parts"]["memcheck"]["state"] == "not installed"
    out = capsys.readouterr().out
    assert "NOT INSTALLED: memcheck" in out
    assert ("FAILED: runs" in out) == (bad == "runs")
    assert ("    cnn: 0.5" in out) == (bad == "runs")
    assert out.splitlines()[-1] == f"report: {path}"
    assert len(out.splitlines()) < 45, "a page"


def test_the_report_has_what_a_figure_belongs_to(host_cuda: Backend) -> None:
    about = {
        "device": facts.device(host_cuda.device),
        "libraries": facts.libraries(),
        "commit": {"id": "a", "dirty": True},
    }
    found = suite.report(about, datetime.now(UTC), {"runs": {**judged(True, "").packed(), "seconds": 1.0}})
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found) == {
        "format", "level", "begun", "seconds", "device", "libraries", "commit", "machine", "parts", "to come", "passed",
    }  # fmt: skip
    device = found["device"]
    assert device["name"]
    for name in ("driver", "runtime", "cupy", "compute_capability", "bytes", "driver_api", "runtime_api"):
        assert device[name], name
    assert {"NVRTC", "CUB"} <= set(found["libraries"])


# --- a run that is cut off, some parts, and a budget


def fine(which: Part, command: Any) -> dict[str, Any]:
    return {**judged(True, f"within {which.limit:g} s").packed(), "seconds": 1.0, "said": []}


def test_a_run_that_is_cut_off_leaves_the_parts_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host_cuda: Backend
) -> None:
    def until_runs(which: Part, command: Any) -> dict[str, Any]:
        if which.name == "runs":
            raise KeyboardInterrupt
        return fine(which, command)

    monkeypatch.setattr(suite, "run_part", until_runs)
    with pytest.raises(KeyboardInterrupt):
        suite.run_all(host_cuda.device, tmp_path / "report.json")
    found = json.loads((tmp_path / "report.json").read_text())
    assert list(found["parts"]) == ["warm", "kernels"]
    assert found["to come"] == [one.name for one in PARTS[2:]]
    assert not found["passed"]


def test_some_parts_alone_run_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host_cuda: Backend
) -> None:
    monkeypatch.setattr(suite, "run_part", fine)
    assert suite.run_all(host_cuda.device, tmp_path / "report.json", ["stream", "runs"]) == 0
    found = json.loads((tmp_path / "report.json").read_text())
    assert (list(found["parts"]), found["to come"], found["passed"]) == (["runs", "stream"], [], True)


def test_no_more_than_the_budget_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host_cuda: Backend
) -> None:
    clock = [1000.0]

    def takes_all(which: Part, command: Any) -> dict[str, Any]:
        clock[0] += which.limit
        late = which.limit < 240
        found = judged(not late, f"not done within {which.limit:g} s: it said nothing" if late else "all")
        return {**found.packed(), "seconds": which.limit, "said": []}

    monkeypatch.setattr(suite, "run_part", takes_all)
    monkeypatch.setattr(suite.time, "monotonic", lambda: clock[0])
    assert suite.run_all(host_cuda.device, tmp_path / "report.json", ["warm", "kernels", "runs"], 300.0) == 1
    found = json.loads((tmp_path / "report.json").read_text())
    assert [one["state"] for one in found["parts"].values()] == ["passed", "left out", "left out"]
    assert "not done within 60 s" in found["parts"]["kernels"]["summary"]
    assert found["parts"]["runs"]["summary"] == "0 s of the budget are left"
    assert clock[0] == 1300.0
    assert "LEFT OUT: runs" in capsys.readouterr().out


@pytest.mark.parametrize("held", ["0123abcd\n", "0123abcd main\n"])
def test_the_commit_comes_from_a_file_before_it_comes_from_git(
    held: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "commit_info", lambda: {"id": "f" * 40, "dirty": True})
    assert suite._commit(None)["id"] == "f" * 40
    (tmp_path / "COMMIT").write_text(held)
    assert suite._commit(tmp_path / "COMMIT") == {"id": "0123abcd", "dirty": False}
    (tmp_path / "COMMIT").write_text("\n")
    assert suite._commit(tmp_path / "COMMIT")["id"] == "f" * 40


ENDED = """
import sys
from gpu import suite
from gpu.parts import Part
code = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
with suite.ended_with_its_part():
    suite.run_part(Part("waits", "", None, 60.0), [sys.executable, "-c", code, sys.argv[1]])
"""


def test_a_suite_that_is_terminated_leaves_no_part_behind(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    process = subprocess.Popen([sys.executable, "-c", ENDED, str(tmp_path / "pid")], env=environment)
    for _ in range(600):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            break
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM
    assert is_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--parts", "runs", "rnus"], "there is no part 'rnus', choose from warm, kernels"),
        (["--commit", "nowhere"], "nowhere is no file"),
        (["--budget", "-3"], "-3 is no number of seconds above 0"),
        (["--budget", "soon"], "invalid"),
    ],
)
def test_wrong_arguments_are_said_before_anything_runs(words: list[str], expected: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(
        [HERE / "run_all.sh", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert expected in done.stderr.splitlines()[-1]


def test_python3_alone_is_enough(tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to(sys.executable)
    for name in ("bash", "dirname", "env"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    environment = {"PATH": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [str(tmp_path / "bash"), str(HERE / "run_all.sh"), "--parts", "none"], env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert "there is no part 'none'" in done.stderr


def test_the_tests_of_level_7_are_found_by_their_marker_without_importing_the_others(tmp_path: Path) -> None:
    found = {str(file.relative_to(ROOT / "tests")) for file in outside.holding("level7")}
    assert {"test_same_run.py", "test_parity.py", "backends/test_selftest.py"} <= found
    assert not any(file.startswith(("tune/", "gpu/")) for file in found)  # which need optuna


@pytest.mark.usefixtures("built_units")
def test_the_cache_is_warmed_with_every_source(host_cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    found = warm.check(host_cuda.device)
    units = [unit for unit, _, _ in compile.sources()]
    assert found.state == "passed"
    assert list(found.found["seconds"]) == units
    monkeypatch.setattr(compile, "sources", lambda: iter([("broken", "this is no C++", ())]))
    assert warm.check(host_cuda.device).state == "failed"


def test_what_is_not_finite_can_be_written() -> None:
    packed = Result("failed", "", {"a": [float("nan"), (float("inf"), 1.0)], "b": {"c": 2}}).packed()
    assert packed["found"] == {"a": ["nan", ["inf", 1.0]], "b": {"c": 2}}


def test_a_part_writes_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host_cuda: Backend) -> None:
    one = Part("one", "", lambda device: judged(True, str(device)), 1)
    monkeypatch.setattr(suite, "PARTS", (one,))
    suite.run_one("one", host_cuda.device, tmp_path / "result")
    assert json.loads((tmp_path / "result").read_text()) == {"state": "passed", "summary": "cuda:0", "found": {}}


def test_the_limits_leave_the_names_apart() -> None:
    assert len({one.name for one in PARTS}) == len(PARTS) == 8


# --- kernels: the same tables on the host


@pytest.mark.usefixtures("built_units")
def test_every_kernel_with_a_cuda_alternative_is_in_the_table_of_each_of_its_dtypes(host_cuda: Backend) -> None:
    rows = list(tables.table(host_cuda, most=1))
    assert all(row.ok for row in rows), [str(row) for row in rows if not row.ok]
    expected = {
        (name, dtype)
        for name, kernel in kernels().items()
        for dtype in compile.DTYPES.get(kernel.__module__.rpartition(".")[2], ())
        if kernel.alternatives.get("cupy") and not name.endswith("_")
        if name != "matmul" or dtype == "float16"  # cuBLAS, called by the reference
    }
    assert {(row.kernel, row.dtype) for row in rows} == expected
    assert all(row.ok and row.cases == 3 for row in [*tables.updates(host_cuda), tables.words(host_cuda)])


def test_a_kernel_that_is_wrong_or_raises_is_out_of_bounds(host_cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    share = SUMS.share(np.array([1.0, np.nan], np.float32), [1.0, 2.0])
    assert np.isnan(share)
    assert not tables.Row("k", "float32", 1, share).ok
    assert not tables.Row("k", "float32", 0, 0.0).ok
    assert not tables.Row("k", "float32", 1, 1.01).ok
    pair = next(entry.pair for entry in kernels()["tanh"].alternatives["cupy"])
    real = pair.forward
    monkeypatch.setattr(tables, "pairs", lambda dtype: ["tanh"])
    monkeypatch.setattr(
        pair, "forward", staticmethod(lambda xp, x, *, needed: (real(xp, x, needed=needed)[0] * 1.01, x))
    )
    (row,) = tables.table(host_cuda, ("float32",))
    assert row.share > 1
    assert not row.ok
    monkeypatch.setattr(pair, "forward", staticmethod(lambda xp, x, *, needed: 1 / 0))
    (row,) = tables.table(host_cuda, ("float32",))
    assert "ZeroDivisionError" in row.trouble
    assert "ZeroDivisionError" in str(row)


# --- runs: a few steps on the host's CUDA kernels


@pytest.mark.usefixtures("built_units")
@pytest.mark.parametrize("run", [run for run in runs.RUNS if "cnn" not in run.name], ids=lambda run: run.name)
def test_a_run_by_the_cuda_kernels_gives_the_losses_of_the_cpu(run: runs.Run, host_cuda: Backend) -> None:
    for dtype in runs.ALLOWED:
        found = runs.compared(run, host_cuda.device, dtype, steps=5)
        assert found["ok"], found
        assert found["equal_weights"]
        assert len(found["cpu"]) == len(found["device"]) == 5


@pytest.mark.usefixtures("built_units")
@pytest.mark.parametrize("metric", ["l1", "l2"])
def test_neighbours_by_the_cuda_kernels_are_those_of_the_cpu(metric: str, host_cuda: Backend) -> None:
    assert runs.neighbours(host_cuda.device, metric)["ok"]


def test_a_run_that_goes_another_way_fails(host_cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    real = runs.Run.losses

    def losses(self: runs.Run, device: Any, dtype: str, steps: int) -> Any:
        weights, found = real(self, device, dtype, steps)
        return weights, [value * 1.01 for value in found] if device is host_cuda.device else found

    monkeypatch.setattr(runs.Run, "losses", losses)
    found = runs.compared(runs.RUNS[3], host_cuda.device, "float64", steps=2)
    assert not found["ok"]
    assert found["difference"] == pytest.approx(0.01)
    monkeypatch.setattr(runs, "RUNS", runs.RUNS[3:4])
    result = runs.check(host_cuda.device, steps=2)
    assert result.state == "failed"
    assert len(result.found["worst"]) == 2


@pytest.mark.parametrize("run", runs.RUNS, ids=lambda run: run.name)
def test_every_run_learns(run: runs.Run) -> None:
    """Losses that do not fall would be equal for no good reason."""
    from backends.runtime.device import CPU

    _, losses = run.losses(CPU, "float32", 50)
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


# --- the stream


class FakeStream:
    """A stream of a machine where ``float`` of an array waits: it ends what holds it up, and a capture."""

    def __init__(self, machine: FakeCupy) -> None:
        self.machine = machine

    def __enter__(self) -> FakeStream:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    @property
    def done(self) -> bool:
        return not self.machine.held

    def synchronize(self) -> None:
        self.machine.held = False

    def begin_capture(self) -> None:
        self.machine.capturing = True

    def end_capture(self) -> None:
        self.machine.capturing = False
        if self.machine.spoilt:
            raise RuntimeError("cudaErrorStreamCaptureInvalidated")


class FakeCupy:
    """As much of CuPy as the checks of a stream use."""

    def __init__(self) -> None:
        self.held = self.capturing = self.spoilt = False
        self.cuda = SimpleNamespace(Stream=lambda non_blocking: FakeStream(self))

    def RawKernel(self, code: str, name: str) -> Any:  # noqa: N802
        def hold(grid: Any, block: Any, arguments: Any) -> None:
            assert arguments[0].dtype == np.uint64
            self.held = True

        return hold

    def wait(self) -> None:
        if self.capturing:
            self.spoilt = True
            raise RuntimeError("the stream is capturing")
        self.held = False


@pytest.mark.usefixtures("built_units")
def test_a_step_that_waits_is_told_from_one_that_does_not(host_cuda: Backend) -> None:
    for step in stream.steps_of(host_cuda.device).values():
        for way in (stream.guarded, stream.held_up, stream.captured):
            free, how = way(step, host_cuda.device, FakeCupy())
            assert free, how

    for way in (stream.held_up, stream.captured):
        machine = FakeCupy()
        free, how = way(machine.wait, host_cuda.device, machine)
        assert not free
    assert "test_suite.py" in how
    assert "capturing" in how
    free, how = stream.guarded(stream._copies(step), host_cuda.device, None)
    assert not free
    assert "guard('forbid')" in how


def test_products_have_their_shapes_while_they_are_left_out(host_cuda: Backend) -> None:
    xp = host_cuda.device.xp
    a, b = host_cuda.place(np.ones((2, 1, 3, 4), np.float32)), host_cuda.place(np.ones((5, 4, 6), np.float32))
    real = xp.matmul
    with stream.without_products(xp):
        assert xp.matmul(a, b).shape == (2, 5, 3, 6)
        out = host_cuda.place(np.zeros((3, 6), np.float32))
        assert xp.matmul(a[0, 0, :, :], b[0, :, :], out=out) is out
    assert xp.matmul is real


# --- programs of their own


def test_without_compute_sanitizer_the_part_has_not_passed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CUDA_PATH", "CUDA_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(outside.shutil, "which", lambda name, path=None: None)
    for tool in (outside.memcheck, outside.racecheck):
        found = tool(None)  # type: ignore[arg-type]
        assert found.state == "not installed"


@pytest.mark.parametrize(
    ("script", "state", "said"),
    [
        ('echo "sample: 30 units"; exit 0', "passed", "30 units, clean"),
        ('echo "========= Invalid __global__ write"; echo "sample: 30 units"; exit 9', "failed", "exit status 9"),
        ("exit 0", "failed", "exit status 0: it said nothing"),
    ],
)
def test_what_compute_sanitizer_says_decides(
    script: str, state: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host_cuda: Backend
) -> None:
    tool = tmp_path / "bin" / "compute-sanitizer"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\n[ "$1" = --tool=memcheck ] || exit 3\n{script}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("CUDA_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    found = outside.memcheck(host_cuda.device)
    assert (found.state, found.summary[: len(said)]) == (state, said)


def test_skipped_tests_are_no_passed_tests(tmp_path: Path) -> None:
    path = tmp_path / "tests.xml"
    case = '<testcase classname="a" name="{}">{}</testcase>'
    path.write_text(
        '<testsuites><testsuite tests="3" failures="1" errors="0" skipped="1">'
        + case.format("good", "") + case.format("bad", "<failure/>") + case.format("left", "<skipped/>")
        + "</testsuite></testsuites>"
    )  # fmt: skip
    counts, bad = outside.counted(path)
    assert counts == {"tests": 3, "failures": 1, "errors": 0, "skipped": 1}
    assert bad == ["a::bad", "a::left"]


def test_the_sample_has_every_file(host_cuda: Backend) -> None:
    assert set(cuda_samples.CALLS) == set(compile.DTYPES)
