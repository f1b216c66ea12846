"""The full tier's report: which sessions write figures, what stands beside them, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from full_report import Figures

from benchmarks.provenance import commit_of, machine

pytest_plugins = ["pytester"]

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

MEASURING = """
    import pytest
    @pytest.mark.full
    def test_network(figures):
        figures["foundation"] = {"%s": {"accuracy": 0.87}}
"""


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """A session of its own, which loads the plugin as tests/conftest.py does."""
    tests = Path(__file__).parent
    pytester.makeini(f"[pytest]\nmarkers = full\npythonpath = {tests} {tests.parent}")
    pytester.makeconftest('pytest_plugins = ["full_report"]')
    return pytester.runpytest_subprocess(*arguments)


@pytest.fixture(autouse=True)
def no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inner sessions need none of the installed plugins, and loading them takes most of their time."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def written(folder: Path) -> dict[str, Any]:
    return {file.name: json.loads(file.read_text()) for file in (folder / "benchmarks" / "figures").glob("*")}


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    result = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=30
    )
    return result.stdout.strip()


def test_a_full_session_writes_a_file_for_each_topic(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.full
        def test_one(figures):
            figures["foundation"] = {"mlp": {"accuracy": 0.83}}
            figures["speed"] = {"ms": 4}
        def test_two(figures):
            figures["foundation"] = {"mlp": {"epochs": 8}, "cnn": {"accuracy": 0.87}}
        """
    )
    result = run(pytester, "-m", "full")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["figures: benchmarks/figures/foundation.json"])
    files = written(pytester.path)
    assert set(files) == {"foundation.json", "speed.json"}
    report = files["foundation.json"]
    assert report["figures"] == {"mlp": {"accuracy": 0.83, "epochs": 8}, "cnn": {"accuracy": 0.87}}
    assert report["commit"] == "unknown"
    assert report["processes"] == 1
    assert report["date"].endswith("+00:00")
    assert set(report["machine"]) == {"cpu", "cores", "system", "python", "numpy", "blas", "environment"}


def test_a_session_of_the_small_tier_writes_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_small(figures): figures['foundation'] = {'accuracy': 0.1}")
    run(pytester).assert_outcomes(passed=1)
    assert written(pytester.path) == {}


def test_a_failed_session_writes_nothing_and_says_so(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(MEASURING % "mlp" + "\n    def test_broken(): assert False\n")
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["figures not written: the session failed"])
    assert written(pytester.path) == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_send_their_figures_to_one_file(pytester: pytest.Pytester, workers: int) -> None:
    pytester.makepyfile(test_a=MEASURING % "mlp", test_b=MEASURING % "cnn")
    run(pytester, "-p", "xdist", "-n", str(workers), "--dist", "loadfile").assert_outcomes(passed=2)
    report = written(pytester.path)["foundation.json"]
    assert report["figures"] == {"mlp": {"accuracy": 0.87}, "cnn": {"accuracy": 0.87}}
    assert report["processes"] == workers


def test_workers_that_disagree_fail_the_session(pytester: pytest.Pytester) -> None:
    disagreeing = (MEASURING % "mlp").replace("0.87", "0.88")
    pytester.makepyfile(test_a=MEASURING % "mlp", test_b=disagreeing)
    result = run(pytester, "-p", "xdist", "-n", "2", "--dist", "loadfile")
    result.stdout.fnmatch_lines(["figure foundation.mlp.accuracy was *; give each its own name"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert written(pytester.path) == {}


def test_a_figure_is_not_replaced_by_another_value() -> None:
    figures = Figures()
    figures["speed"] = {"ms": 4}
    figures["speed"] = {"ms": 4}
    with pytest.raises(ValueError, match=r"speed\.ms was 4 and is now 5"):
        figures["speed"] = {"ms": 5}


@pytest.mark.parametrize(
    ("topic", "values", "error", "words"),
    [
        ("speed", 4, TypeError, "takes a dict of figures, not int"),
        ("speed", {"ms": object()}, TypeError, "pass finite Python numbers"),
        ("speed", {"ms": float("nan")}, TypeError, "pass finite Python numbers"),
        ("../speed", {"ms": 4}, ValueError, "a topic names a file"),
    ],
)
def test_what_a_file_cannot_hold_is_refused(topic: str, values: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Figures()[topic] = values


@needs_git
def test_the_commit_is_marked_when_files_differ_from_it(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert commit_of(tmp_path) == "unknown"
    (tmp_path / "code.py").write_text("one\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "Add code")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert commit_of(tmp_path) == head

    figures = tmp_path / "benchmarks" / "figures"
    figures.mkdir(parents=True)
    (figures / "speed.json").write_text("{}\n")
    assert commit_of(tmp_path) == head  # a session's own figures are no change

    (tmp_path / "code.py").write_text("two\n")
    assert commit_of(tmp_path) == f"{head}+changes"


@needs_git
def test_a_folder_inside_another_repository_has_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "Start")
    inner = tmp_path / "unpacked"
    inner.mkdir()
    assert commit_of(inner) == "unknown"


def test_the_machine_is_named_in_full() -> None:
    found = machine()
    assert found["cores"] >= 1
    assert all(found[name] for name in ("cpu", "system", "python", "numpy", "blas"))
