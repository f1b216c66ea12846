"""The pytest plugin, in a process of its own, found by its entry point as in an installed package."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty project in an environment where dlcore is installed, on a machine without a usable GPU."""
    installed = pytester.mkdir("site")
    entry = installed / "dlcore_here-1.0.dist-info"
    entry.mkdir()
    (entry / "METADATA").write_text("Metadata-Version: 2.1\nName: dlcore-here\nVersion: 1.0\n")
    (entry / "entry_points.txt").write_text("[pytest11]\ndlcore = dlcore.pytest_plugin\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(installed)]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.delenv("DLCORE_REQUIRE_CUDA", raising=False)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return pytester


DEVICE_TEST = """
    import dlcore as dl

    def test_a_layer(device):
        assert isinstance(device, dl.Device)
        model = dl.nn.Dense(2).build((3,), device=device)
        assert str(model.device) == str(device) == "cpu"
"""
WITH_A_GPU = """
    import pytest
    import standin

    @pytest.fixture(scope="session", autouse=True)
    def gpu():
        with standin.installed():
            yield
"""


def test_a_test_runs_on_the_cpu_and_is_skipped_with_the_reason_without_cuda(project: pytest.Pytester) -> None:
    project.makepyfile(DEVICE_TEST)
    result = project.runpytest_subprocess("-rs", "-v", "--strict-markers")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*test_a_layer?cpu? PASSED*", "*test_a_layer?cuda? SKIPPED*"])
    assert "device 'cuda' cannot be used" in " ".join(result.stdout.str().split())
    assert "--device cpu" in " ".join(result.stdout.str().split())


def test_a_machine_that_must_have_a_gpu_fails_without_one(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(DEVICE_TEST)
    monkeypatch.setenv("DLCORE_REQUIRE_CUDA", "1")
    result = project.runpytest_subprocess()
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] == 1
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == 1
    assert "DLCORE_REQUIRE_CUDA=1 but device 'cuda' cannot be used" in " ".join(result.stdout.str().split())
    assert project.runpytest_subprocess("-m", "not cuda").ret == 0


def test_the_marker_selects_and_skips(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        def test_anywhere():
            pass

        @pytest.mark.cuda
        def test_by_hand():
            raise AssertionError("there is no GPU")

        def test_on_both(device):
            pass
        """
    )
    project.runpytest_subprocess("--strict-markers").assert_outcomes(passed=2, skipped=2)
    project.runpytest_subprocess("-m", "cuda").assert_outcomes(skipped=2, deselected=2)
    project.runpytest_subprocess("-m", "not cuda").assert_outcomes(passed=2, deselected=2)
    project.runpytest_subprocess("--markers").stdout.fnmatch_lines(["@pytest.mark.cuda: needs a CUDA device*"])


@pytest.mark.level2
def test_with_a_gpu_everything_runs(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.environ["PYTHONPATH"], str(ROOT / "tests")]))
    monkeypatch.setenv("DLCORE_REQUIRE_CUDA", "1")
    project.makeconftest(WITH_A_GPU)
    project.makepyfile(
        """
        import dlcore as dl
        import pytest

        @pytest.fixture(scope="module")
        def model(device):
            return dl.nn.Dense(2).build((3,), device=device)

        def test_where(model, device):
            assert model.device == device
            assert str(device) in ("cpu", "cuda:0")

        def test_both(device, record_property):
            record_property("name", str(device))
        """
    )
    project.runpytest_subprocess().assert_outcomes(passed=4)


def test_it_works_with_xdist(project: pytest.Pytester) -> None:
    project.makepyfile(DEVICE_TEST)
    project.runpytest_subprocess("-n", "2").assert_outcomes(passed=1, skipped=1)


def test_a_projects_own_marker_and_fixture_stay_its_own(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nmarkers =\n    cuda(index): for another library\n")
    project.makepyfile(
        """
        import pytest

        @pytest.fixture
        def device():
            return "mine"

        @pytest.mark.cuda
        def test_mine(device):
            assert device == "mine"
        """,
        test_other="def test_on_both(device): pass",
    )
    project.runpytest_subprocess("--strict-markers").assert_outcomes(passed=2, skipped=1)


def test_it_can_be_left_out(project: pytest.Pytester) -> None:
    project.makepyfile("def test_nothing(device): pass")
    result = project.runpytest_subprocess("-p", "no:dlcore")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'device' not found*"])


def test_a_project_that_does_not_use_it_imports_next_to_nothing(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import sys

        def test_nothing():
            loaded = {name for name in sys.modules if name.partition(".")[0] in ("dlcore", "backends", "numpy", "cupy")}
            assert loaded == {"dlcore", "dlcore._backends_check", "dlcore.version", "dlcore.pytest_plugin"}
        """
    )
    project.runpytest_subprocess("-p", "no:hypothesispytest", "-p", "no:benchmark").assert_outcomes(passed=1)


def test_a_project_with_its_own_backends_is_left_alone_until_it_imports_dlcore(project: pytest.Pytester) -> None:
    project.mkpydir("backends")
    project.makepyfile(test_own="import backends\n\ndef test_own(): assert backends.__file__\n")
    result = project.runpytest_subprocess()
    result.assert_outcomes(passed=1)
    project.makepyfile(test_user="import dlcore\n\ndef test_user(): pass\n")
    result = project.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    assert "hides dlcore's own package 'backends'" in result.stdout.str()


@pytest.mark.parametrize("package", ["dlcore", "backends"])
def test_pytest_is_content_where_the_package_was_imported_before_it(package: str) -> None:
    """It warns of a plugin's package that it cannot rewrite, but not where the package declines."""
    assert "PYTEST_DONT_REWRITE" in (__import__(package).__doc__ or "")


def test_the_workflow_in_the_guide_runs_commands_that_there_are() -> None:
    from dlcore.cli import app

    guide = (ROOT / "dlcore" / "guides" / "devices.md").read_text(encoding="utf-8")
    workflow = guide.split("```yaml\n")[1].split("```")[0]
    commands = [
        line.partition("dlcore ")[2] for line in workflow.splitlines() if "/dlcore " in line or ": dlcore " in line
    ]
    assert len(commands) == 3
    for command in commands:
        app.parse_args(command.split(), print_error=False, exit_on_error=False)
    assert "DLCORE_REQUIRE_CUDA" in workflow


def test_the_package_announces_the_plugin() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["project"]["entry-points"]["pytest11"] == {"dlcore": "dlcore.pytest_plugin"}
