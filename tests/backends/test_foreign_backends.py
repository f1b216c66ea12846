"""A foreign ``backends`` is refused by name, in a process of its own as a user would meet it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def python(folder: Path, *arguments: str, path: tuple[Path, ...] = (ROOT,)) -> subprocess.CompletedProcess[str]:
    """Run Python in ``folder`` with ``path`` as PYTHONPATH."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def run_script(folder: Path, script: str = "import dlcore\nprint('imported')\n") -> subprocess.CompletedProcess[str]:
    (folder / "train.py").write_text(script)
    return python(folder, "train.py")


def package(folder: Path, code: str = "") -> Path:
    (folder / "backends").mkdir()
    (folder / "backends" / "__init__.py").write_text(code)
    return folder / "backends"


def module(folder: Path, code: str = "") -> Path:
    (folder / "backends.py").write_text(code)
    return folder / "backends.py"


@pytest.mark.parametrize("foreign", [package, module])
@pytest.mark.parametrize("code", ["", "raise RuntimeError('executed')\n"])
def test_a_foreign_backends_beside_the_script_is_named(tmp_path, foreign, code):
    path = foreign(tmp_path, code)
    result = run_script(tmp_path)
    assert result.returncode == 1
    *_, last = result.stderr.splitlines()
    assert last.startswith("dlcore._backends_check.ForeignBackendsError: ")
    assert f"{path} hides" in last
    assert "rename" in last
    assert "move your script" in last
    assert "executed" not in result.stderr


@pytest.mark.parametrize("foreign", [package, module])
def test_a_foreign_backends_that_is_imported_already_is_named(tmp_path, foreign):
    path = foreign(tmp_path)
    result = run_script(tmp_path, "import backends\nimport dlcore\n")
    assert result.returncode == 1
    assert f"{path} hides" in result.stderr.splitlines()[-1]


def test_a_foreign_folder_without_an_init_file_does_no_harm(tmp_path):
    """Python takes a package anywhere on the path before a bare folder."""
    (tmp_path / "backends").mkdir()
    assert run_script(tmp_path).stdout == "imported\n"


def test_a_foreign_folder_without_an_init_file_that_is_imported_already_is_named(tmp_path):
    (tmp_path / "backends").mkdir()
    script = f"""
import sys
sys.path[:] = [folder for folder in sys.path if "site-packages" not in folder and folder != {str(ROOT)!r}]
import backends
sys.path.append({str(ROOT)!r})
import dlcore._backends_check
"""
    result = run_script(tmp_path, script)
    assert f"{tmp_path / 'backends'} hides" in result.stderr.splitlines()[-1]


def test_a_module_made_at_run_time_is_refused(tmp_path):
    script = "import sys, types\nsys.modules['backends'] = types.ModuleType('backends')\nimport dlcore\n"
    result = run_script(tmp_path, script)
    assert "a module made at run time hides" in result.stderr.splitlines()[-1]


def test_a_missing_backends_is_said_to_be_missing(tmp_path):
    (tmp_path / "dlcore").mkdir()
    (tmp_path / "dlcore" / "__init__.py").touch()
    shutil.copy(ROOT / "dlcore" / "_backends_check.py", tmp_path / "dlcore")
    result = python(tmp_path, "-S", "-c", "import dlcore._backends_check", path=())
    assert "'backends' is missing" in result.stderr.splitlines()[-1]
    assert "reinstall dlcore" in result.stderr.splitlines()[-1]


def test_dlcore_in_an_editable_install_finds_its_own_backends(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "dlcore.pth").write_text(f"{ROOT}\n")
    script = f"import site\nsite.addsitedir({str(tmp_path / 'site')!r})\nimport dlcore, backends\nprint('imported')\n"
    (tmp_path / "train.py").write_text(script)
    assert python(tmp_path, "train.py", path=()).stdout == "imported\n"


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege there")
@pytest.mark.parametrize("linked", ["both folders", "one folder", "each file"])
def test_packages_behind_symbolic_links_are_accepted(tmp_path, linked):
    if linked == "each file":
        own = {"dlcore": ("__init__.py", "_backends_check.py", "version.py"), "backends": ("__init__.py",)}
        for name, files in own.items():
            (tmp_path / name).mkdir()
            for file in files:
                (tmp_path / name / file).symlink_to(ROOT / name / file)
    else:
        for name in ("dlcore", "backends")[: 2 if linked == "both folders" else 1]:
            (tmp_path / name).symlink_to(ROOT / name)
    script = "import dlcore._backends_check as check\nprint(check.__file__)"
    assert python(tmp_path, "-c", script, path=(tmp_path, ROOT)).stdout.startswith(str(tmp_path))


def test_the_command_says_it_in_one_line(tmp_path):
    path = package(tmp_path)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "dlcore"
    command.write_text("import sys\nfrom dlcore.cli import main\nsys.exit(main())\n")
    for result in (
        python(tmp_path, "-m", "dlcore", "train"),
        python(tmp_path, str(command), "train", path=(tmp_path, ROOT)),
    ):
        assert result.returncode == 1
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"dlcore: error: {path} hides")
