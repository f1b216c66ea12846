"""Parts that are programs of their own: compute-sanitizer, ``dlcore bench`` and pytest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from backends.runtime.device import Device
from dlcore.bench.provenance import ROOT
from gpu.result import Result, judged

__all__ = ["bench", "memcheck", "racecheck", "sanitizer", "tests"]

_FOUND = 9
"""The exit status that compute-sanitizer is told to give where it finds something."""


def sanitizer() -> str | None:
    """Where compute-sanitizer is, which comes with the CUDA toolkit and not with CuPy's packages; None where not."""
    folders = [os.environ.get("CUDA_PATH", ""), os.environ.get("CUDA_HOME", ""), "/usr/local/cuda"]
    places = [str(Path(folder) / part) for folder in folders if folder for part in ("bin", "compute-sanitizer")]
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=os.pathsep.join(places))


def memcheck(device: Device) -> Result:
    """The sample of every kernel, each array in memory of its own, so that what lies behind it is nobody's."""
    return _sanitized("memcheck", device)


def racecheck(device: Device) -> Result:
    """The same sample; it sees shared memory alone."""
    return _sanitized("racecheck", device)


def _sanitized(tool: str, device: Device) -> Result:
    program = sanitizer()
    if program is None:
        return Result("not installed", "compute-sanitizer is not found; it comes with the CUDA toolkit", {})
    command = [program, f"--tool={tool}", f"--error-exitcode={_FOUND}", "--print-limit=20"]
    status, lines = _said([*command, sys.executable, "-m", "gpu.sample", str(device)])
    reports = [line for line in lines if "=========" in line]
    done = [line for line in lines if line.startswith("sample: ")]  # the sample has come to its end
    clean = status == 0 and bool(done)
    summary = done[0].removeprefix("sample: ") + ", clean" if clean else f"exit status {status}: {_last(lines)}"
    return judged(clean, summary, worst=[] if clean else reports[:5], status=status, reports=reports[:60])


def bench(device: Device) -> Result:
    """The suites of ``dlcore bench`` on the CPU and on the device in turns."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "dlcore", "bench", "--compare", "cpu", str(device), "--json", str(path)]
        status, lines = _said(command)
        if status != 0 or not path.exists():
            return judged(False, f"exit status {status}: {_last(lines)}", worst=lines[-5:])
        figures = json.loads(path.read_text("utf-8"))
    count = len(figures["benchmarks"])
    return judged(count > 0, f"{count} figures", table=lines, figures=figures)


def tests(device: Device) -> Result:
    """``pytest -m level7`` where a CUDA device is demanded, so that none can be skipped for the lack of one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tests.xml"
        files = [str(file) for file in holding("level7")]
        command = [sys.executable, "-m", "pytest", "-m", "level7", "-n", "0", "-q", f"--junitxml={path}", *files]
        status, lines = _said(command, DLCORE_REQUIRE_CUDA="1", DLCORE_DEVICE=str(device))
        if not path.exists():
            return judged(False, f"exit status {status}: {_last(lines)}", worst=lines[-5:])
        counts, bad = counted(path)
    ran = counts["tests"] - counts["skipped"]
    ok = status == 0 and ran > 0 and not bad and not counts["skipped"]
    return judged(ok, f"{ran - len(bad)} of {counts['tests']} tests passed", worst=bad, counts=counts)


def holding(marker: str) -> list[Path]:
    """The files whose tests have a marker: the others, and what they import, need not be there."""
    here = Path(__file__).parent
    found = (file for file in here.parent.rglob("test_*.py") if here not in file.parents)
    return sorted(file for file in found if f"mark.{marker}" in file.read_text("utf-8"))


def counted(path: Path) -> tuple[dict[str, int], list[str]]:
    """From JUnit's XML: the counts, and the names of the tests that failed or were skipped."""
    suites = list(ElementTree.parse(path).getroot().iter("testsuite"))
    names = ("tests", "failures", "errors", "skipped")
    counts = {name: sum(int(suite.get(name, 0)) for suite in suites) for name in names}
    cases = [(case, {child.tag for child in case}) for suite in suites for case in suite.iter("testcase")]
    bad = [
        f"{case.get('classname')}::{case.get('name')}" for case, tags in cases if tags & {"failure", "error", "skipped"}
    ]
    return counts, bad


def _said(command: Sequence[str], **environment: str) -> tuple[int, list[str]]:
    """A process in the root of the repository: its exit status, and what it says."""
    process = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False, text=True, errors="replace",
    )  # fmt: skip
    return process.returncode, process.stdout.strip().splitlines()


def _last(lines: list[str]) -> str:
    return lines[-1] if lines else "it said nothing"
