"""Files of figures: pytest-benchmark reads ours, we read pytest-benchmark's, and what is neither is one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.plugin import pytest_benchmark_generate_machine_info
from pytest_benchmark.utils import get_commit_info

from dlcore.bench.compare import compare
from dlcore.bench.measure import Figure, Outcome
from dlcore.bench.records import Entry, Run, document, read
from dlcore.bench.timing import summary
from dlcore.errors import DataError


def _figure(workload: str, place: str, *times: float, error: float = 1e-7) -> Figure:
    return Figure("kernels", workload, place, summary(times), 2.5, "GB/s", error, "reference")


OUTCOME = Outcome(
    [
        _figure("sgd 9", "cpu", 0.001, 0.003, 0.002),
        _figure("sgd 9", "cuda:0", 0.001, 0.001, 0.001, error=float("nan")),
    ],
    break_even={"sgd 9": 4},
)


def _write(path: Path, content: Any) -> str:
    path.write_text(json.dumps(content, allow_nan=False))
    return str(path)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    content = document(OUTCOME, {"cpu": "a CPU", "cuda:0": "a GPU, driver 1"})
    run = read(_write(tmp_path / "a.json", content))
    first, second = run.entries
    assert first == Entry("sgd 9", "sgd 9", "cpu", 0.002, 0.0015, 0.0025, 2.5, "GB/s", 1e-7)
    assert (second.place, second.error) == ("cuda:0", None)
    assert run.devices == {"cpu": "a CPU", "cuda:0": "a GPU, driver 1"}
    assert run.at("cuda:0").entries == (second,)
    extra = content["benchmarks"][0]["extra_info"]
    assert extra["error_ulp"] == pytest.approx(1e-7 * 2**23)
    assert extra["break_even"] == 4


def test_the_fields_are_those_of_pytest_benchmark() -> None:
    content = document(OUTCOME, {})
    assert content["machine_info"].keys() == pytest_benchmark_generate_machine_info().keys()
    assert content["commit_info"].keys() == get_commit_info().keys() - {"error"}
    assert {"machine_info", "commit_info", "benchmarks", "datetime", "version"} <= content.keys()


def test_pytest_benchmarks_own_command_shows_our_file(tmp_path: Path) -> None:
    _write(tmp_path / "a.json", document(OUTCOME, {}))
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "a.json", "--columns", "median,rounds"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "sgd 9[cpu]" in done.stdout
    assert "sgd 9[cuda:0]" in done.stdout


def test_the_file_of_a_pytest_session_is_read(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # or the inner session would take itself for a worker
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.parametrize("n", [1, 2])
        def test_sum(n, benchmark):
            benchmark.pedantic(sum, args=([n],), rounds=3)
        """
    )
    done = pytester.runpytest_subprocess("-p", "no:xdist", "--benchmark-json=b.json")
    assert done.ret == 0
    run = read("b.json")
    assert [entry.name for entry in run.entries] == ["test_sum[1]", "test_sum[2]"]
    assert all(entry.median > 0 and entry.key.endswith(f"::{entry.name}") for entry in run.entries)
    assert [pair.speed for pair in compare(run, run).pairs] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing is in it"),
        ("median", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no list of benchmarks"),
        ("{}", "no list of benchmarks"),
        ('{"benchmarks": {}}', "no list of benchmarks"),
        ('{"benchmarks": []}', "is empty"),
        ('{"benchmarks": [3]}', "benchmark 1 has no name"),
        ('{"benchmarks": [{"name": "a", "stats": {"median": 0}}]}', "no median time above 0"),
        ('{"benchmarks": [{"name": "a", "stats": {"median": NaN}}]}', "no median time above 0"),
        ('{"benchmarks": [{"name": "a", "stats": {"median": "1"}}]}', "no median time above 0"),
        ('{"benchmarks": [{"name": "a", "stats": {"median": 1}}, {"name": "a", "stats": {"median": 1}}]}', "twice"),
    ],
)
def test_what_is_no_file_of_figures_is_said(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        read(str(tmp_path / "a.json"))
    assert str(caught.value).startswith(str(tmp_path / "a.json"))
    assert len(str(caught.value).splitlines()) == 1


def test_bytes_and_folders_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no JSON"):
        read(str(tmp_path / "a.json"))
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(DataError, match="cannot be read"):
            read(str(path))


def test_a_name_cannot_steer_the_terminal(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.json", {"benchmarks": [{"name": "a\x1b[2J\n", "stats": {"median": 1}}]})
    assert read(path).entries[0].name == "a?[2J?"


# --- comparing


def _run(*entries: tuple[str, str, float]) -> Run:
    made = tuple(Entry(key, key, where, median, median, median) for key, where, median in entries)
    return Run(made, "a machine", "versions", "a commit", "today", {})


def test_one_device_each_compares_workload_by_workload_and_the_rest_is_listed() -> None:
    found = compare(
        _run(("x", "cpu", 4.0), ("y", "cpu", 1.0), ("z", "cpu", 1.0)),
        _run(("y", "cuda:0", 2.0), ("w", "cuda:0", 1.0), ("x", "cuda:0", 1.0)),
    )
    assert [(pair.name, pair.speed) for pair in found.pairs] == [("x", 4.0), ("y", 0.5)]
    assert (found.only_a, found.only_b) == (("z",), ("w",))
    assert [pair.name for pair in found.below(0.9)] == ["y"]
    assert found.below(0.5) == []


def test_with_several_devices_each_is_compared_with_itself() -> None:
    both = _run(("x", "cpu", 2.0), ("x", "cuda:0", 1.0))
    found = compare(both, _run(("x", "cuda:0", 2.0)))
    assert [(pair.name, pair.speed) for pair in found.pairs] == [("x[cuda:0]", 0.5)]
    assert found.only_a == ("x[cpu]",)


def test_nothing_in_common_is_said() -> None:
    with pytest.raises(DataError, match=r"no name is in both: A has x, y, \.\.\., B has w; .*--quick"):
        compare(_run(("x", "", 1.0), ("y", "", 1.0), ("z", "", 1.0)), _run(("w", "", 1.0)))
