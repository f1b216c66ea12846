"""The command that installs an extra follows from how the package came here."""

from __future__ import annotations

import json
import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from backends.runtime import installation
from backends.runtime.installation import install_line

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages in which this one lies, without a pyproject.toml; the current folder is another."""
    folder = tmp_path / "site-packages"
    (folder / "backends").mkdir(parents=True)
    monkeypatch.setattr(installation, "__file__", str(folder / "backends" / "runtime" / "installation.py"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


def installed(monkeypatch: pytest.MonkeyPatch, site: Path, origin: dict[str, Any] | None) -> None:
    """Let the distribution's metadata lie in ``site``, with what an installer wrote about its origin."""
    info = site / "dlcore_xp-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dlcore-xp\nVersion: 1.0\n")
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.setattr(metadata, "distribution", lambda name: metadata.PathDistribution(info))


def test_the_distribution_is_the_one_of_pyproject() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"] == installation.NAME


def test_a_checkout_is_installed_from_where_one_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert install_line("cuda13") == "pip install -e '.[cuda13]'"


def test_a_checkout_elsewhere_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert install_line("tune") == f"pip install -e '{ROOT}[tune]'"


def test_a_current_folder_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert install_line("docs") == f"pip install -e '{ROOT}[docs]'"


def test_a_wheel_is_named_by_its_path_and_by_its_name_where_it_is_gone(
    monkeypatch: pytest.MonkeyPatch, site: Path, tmp_path: Path
) -> None:
    wheel = tmp_path / "my wheels" / "dlcore_xp-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    installed(monkeypatch, site, {"url": wheel.as_uri(), "archive_info": {}})
    assert install_line("sklearn") == f"pip install '{wheel}[sklearn]'"
    wheel.unlink()
    assert install_line("sklearn") == "pip install 'dlcore_xp-1.0-py3-none-any.whl[sklearn]'"


def test_a_folder_that_was_installed_from_is_named(monkeypatch: pytest.MonkeyPatch, site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    installed(monkeypatch, site, {"url": folder.as_uri(), "dir_info": {}})
    assert install_line("cuda12") == f"pip install '{folder}[cuda12]'"
    folder.rmdir()
    assert install_line("cuda12") == "pip install -e '.[cuda12]' in a checkout of dlcore"


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        (None, "pip install 'dlcore-xp[cuda13]'"),
        (
            {"url": "https://example.org/dlcore.git", "vcs_info": {"vcs": "git", "commit_id": "12ab"}},
            "pip install 'dlcore-xp[cuda13] @ git+https://example.org/dlcore.git'",
        ),
        (
            {"url": "file:///srv/dlcore.git", "vcs_info": {"vcs": "git", "commit_id": "12ab"}},
            "pip install 'dlcore-xp[cuda13] @ git+file:///srv/dlcore.git'",
        ),
        (
            {"url": "https://example.org/dlcore_xp-1.0-py3-none-any.whl", "archive_info": {}},
            "pip install 'dlcore-xp[cuda13] @ https://example.org/dlcore_xp-1.0-py3-none-any.whl'",
        ),
    ],
)
def test_an_index_and_an_address_are_asked_again(
    monkeypatch: pytest.MonkeyPatch, site: Path, origin: dict[str, Any] | None, line: str
) -> None:
    installed(monkeypatch, site, origin)
    assert install_line("cuda13") == line


@pytest.mark.parametrize("damage", ["nothing installed", "another copy is installed", "no JSON", "no address"])
def test_what_is_not_installed_wants_a_checkout(
    monkeypatch: pytest.MonkeyPatch, site: Path, tmp_path: Path, damage: str
) -> None:
    def not_there(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    if damage == "nothing installed":
        monkeypatch.setattr(metadata, "distribution", not_there)
    elif damage == "another copy is installed":
        (tmp_path / "other").mkdir()
        installed(monkeypatch, tmp_path / "other", None)
    else:
        installed(monkeypatch, site, {"dir_info": {}})
        if damage == "no JSON":
            (site / "dlcore_xp-1.0.dist-info" / "direct_url.json").write_text("{")
    assert install_line("tune") == "pip install -e '.[tune]' in a checkout of dlcore"


def test_a_pyproject_of_something_else_makes_no_checkout(monkeypatch: pytest.MonkeyPatch, site: Path) -> None:
    (site / "pyproject.toml").write_text('[project]\nname = "somebodys-app"\n')
    installed(monkeypatch, site, None)
    assert install_line("tune") == "pip install 'dlcore-xp[tune]'"


def test_no_text_for_users_names_the_distribution_as_if_an_index_had_it() -> None:
    files = [ROOT / "README.md", *(ROOT / "dlcore").rglob("*"), *(ROOT / "backends").rglob("*.py")]
    texts = [file for file in files if file.suffix in (".md", ".py", ".html", ".jinja2")]
    assert len(texts) > 100
    naming = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for file in texts if file.name != "installation.py"
        for line in file.read_text(encoding="utf-8").splitlines() if re.search(r"dlcore-xp|pip install '?dlcore", line)
    ]  # fmt: skip
    assert not naming


def test_the_extras_that_texts_name_are_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    files = [ROOT / "README.md", *(ROOT / "dlcore" / "guides").glob("*.md")]
    named = {
        extra.strip()
        for file in files
        for group in re.findall(r"(?:\.|DLCORE)\[([a-z0-9, ]+)\]", file.read_text(encoding="utf-8"))
        for extra in group.split(",")
    }
    asked = {
        extra
        for file in (*(ROOT / "dlcore").rglob("*.py"), *(ROOT / "backends").rglob("*.py"))
        for extra in re.findall(r"install_line\([\"'](\w+)[\"']\)", file.read_text(encoding="utf-8"))
    }
    assert {"cuda13", "docs", "test", "tune"} <= named
    assert {"cuda12", "cuda13", "docs", "sklearn", "tune"} <= asked
    assert named | asked <= set(extras)
