"""What is shipped: the wheel that hatchling builds, and what the Dockerfile says about its images.

No Docker engine is needed: the Dockerfile is read as text, and its wheel is built from exactly the files it copies.
"""

from __future__ import annotations

import email
import json
import re
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("backends", "dlcore")
EXTRAS = {"cuda12", "cuda13", "tune", "sklearn", "docs", "test", "tables", "bench", "peers", "lint"}
TARGETS = ("cpu", "cuda")


def build_wheel(source: Path, into: Path) -> zipfile.ZipFile:
    """Build a wheel with the hatchling that is installed: a second, and no network."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(into)]
    result = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    (file,) = into.glob("dlcore_xp-*.whl")
    return zipfile.ZipFile(file)


def files_under(folder: Path) -> set[str]:
    """Paths from the root of the files that ``folder`` (or the file itself) contributes."""
    found = [folder] if folder.is_file() else [file for file in folder.rglob("*") if file.is_file()]
    return {file.relative_to(ROOT).as_posix() for file in found if "__pycache__" not in file.parts}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_string(wheel.read(name).decode("utf-8"))


@pytest.fixture(scope="module")
def requirements(metadata: Message) -> list[Requirement]:
    return [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]


def applies(requirement: Requirement, **environment: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": "", **environment})


def test_the_wheel_holds_every_file_of_the_two_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert shipped == set().union(*(files_under(ROOT / package) for package in PACKAGES))


def test_the_wheel_tells_type_checkers_that_both_packages_have_types(wheel: zipfile.ZipFile) -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(wheel.namelist())


def test_the_embedded_data_is_shipped_with_a_licence_in_each_folder(wheel: zipfile.ZipFile) -> None:
    files = [Path(name) for name in wheel.namelist() if name.startswith("dlcore/data/files/")]
    folders = {file.parent for file in files}
    licensed = {file.parent for file in files if re.match(r"licen[cs]e|copying", file.name, re.IGNORECASE)}
    assert folders, "the wheel holds no data"
    assert folders == licensed


def test_the_wheel_carries_its_own_licence_and_the_command(wheel: zipfile.ZipFile) -> None:
    (licence,) = (name for name in wheel.namelist() if name.endswith(".dist-info/licenses/LICENSE"))
    assert "MIT License" in wheel.read(licence).decode("utf-8")
    (scripts,) = (name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
    assert "dlcore = dlcore.cli:main" in wheel.read(scripts).decode("utf-8")


def test_the_metadata_promises_these_extras_and_this_python(metadata: Message) -> None:
    assert metadata["Name"] == "dlcore-xp"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra", [])) == EXTRAS


@pytest.mark.parametrize("cuda", ["12", "13"])
def test_each_cuda_extra_brings_one_cupy_with_its_toolkit(requirements: list[Requirement], cuda: str) -> None:
    (cupy,) = (r for r in requirements if r.name.startswith("cupy") and applies(r, extra=f"cuda{cuda}"))
    assert cupy.name == f"cupy-cuda{cuda}x"
    assert cupy.extras == {"ctk"}
    assert cupy.specifier.contains("14.2.0")
    assert not cupy.specifier.contains("15.0.0")


def test_a_plain_install_needs_no_cupy(requirements: list[Requirement]) -> None:
    assert not [r for r in requirements if r.name.startswith("cupy") and applies(r)]


@pytest.mark.parametrize(("platform", "expected"), [("linux", True), ("win32", True), ("darwin", False)])
def test_the_test_extra_brings_the_real_cupy_where_it_has_wheels(
    requirements: list[Requirement], platform: str, expected: bool
) -> None:
    cupy = [r for r in requirements if r.name.startswith("cupy") and applies(r, extra="test", sys_platform=platform)]
    assert bool(cupy) == expected
    assert all(str(r.specifier) == "==14.2.*" for r in cupy)


# --- Dockerfile -------------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order: (name, arguments), comments dropped and continued lines joined."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", text)
    return [(name.upper(), rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions by stage; a stage's first one is its FROM."""
    found: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for name, rest in instructions():
        if name == "FROM":
            current = found.setdefault(rest.split(" AS ")[1], [])
        current.append((name, rest))
    return found


def last(stage: str, name: str) -> str:
    return [rest for instruction, rest in stages()[stage] if instruction == name][-1]


def copies(lines: list[tuple[str, str]]) -> list[tuple[str | None, list[str]]]:
    """Every COPY among these instructions: the stage it copies from (None: the build's context) and its sources."""
    found = []
    for words in (rest.split() for name, rest in lines if name == "COPY"):
        flags = dict(word[2:].split("=") for word in words if word.startswith("--"))
        found.append((flags.get("from"), [word for word in words if not word.startswith("--")][:-1]))
    return found


def context_sources() -> list[str]:
    return [source for stage, sources in copies(instructions()) if stage is None for source in sources]


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Docker's rule: the last pattern that matches the path or a folder above it decides; ``!`` brings back.

    >>> is_ignored("dlcore/a.py", ["*", "!dlcore"]), is_ignored("dlcore/x/a.pyc", ["**/*.pyc"])
    (False, True)
    """
    parts = path.split("/")
    above = ["/".join(parts[: i + 1]) for i in range(len(parts))]
    verdict = False
    for pattern in patterns:
        regex = re.escape(pattern.lstrip("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if any(re.fullmatch(regex, folder) for folder in above):
            verdict = not pattern.startswith("!")
    return verdict


def ignore_patterns() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_both_targets_can_be_built() -> None:
    assert set(TARGETS) <= set(stages())


def test_stages_build_on_pinned_images_or_on_earlier_stages() -> None:
    earlier: set[str] = set()
    for stage, (start, *_) in stages().items():
        image = start[1].split(" AS ")[0]
        assert image in earlier or re.search(r":\d+\.\d+\.\d+-[a-z]", image), f"{image} has no exact version"
        earlier.add(stage)


def test_stages_are_copied_from_only_after_they_exist() -> None:
    earlier: set[str | None] = {None}
    for stage, lines in stages().items():
        assert {source for source, _ in copies(lines)} <= earlier
        earlier.add(stage)


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_the_command_as_an_unprivileged_user(target: str) -> None:
    user, group = last(target, "USER").split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert json.loads(last(target, "ENTRYPOINT")) == ["dlcore"]
    assert json.loads(last(target, "CMD")) == ["train"]


@pytest.mark.parametrize("target", TARGETS)
def test_what_an_image_writes_lies_on_its_volumes(target: str) -> None:
    volumes = json.loads(last(target, "VOLUME"))
    settings = dict(word.split("=", 1) for word in last(target, "ENV").split())
    assert last(target, "WORKDIR") == "/runs"
    caches = [settings[name] for name in ("NUMBA_CACHE_DIR", "CUPY_CACHE_DIR")[: 2 if target == "cuda" else 1]]
    written = ["/runs", settings["HOME"], *caches]
    assert all(any(Path(path).is_relative_to(volume) for volume in volumes) for path in written)
    (made,) = [rest for name, rest in stages()[target] if name == "RUN" and "--mode=1777" in rest]
    assert set(written) <= set(made.split()), "a folder that the first user makes is closed to the others"


def test_what_the_dockerfile_copies_exists_and_is_not_ignored() -> None:
    patterns = ignore_patterns()
    for source in context_sources():
        files = files_under(ROOT / source)
        assert files, f"COPY {source}: no such file"
        assert not [file for file in files if is_ignored(file, patterns)]


@pytest.mark.parametrize("path", [".git/config", "tests/test_packaging.py", "runs/a/best.safetensors", ".venv/bin/pip"])
def test_the_build_context_leaves_out_the_rest(path: str) -> None:
    assert is_ignored(path, ignore_patterns())


def test_the_files_that_the_dockerfile_copies_build_the_same_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    context = tmp_path / "context"
    for source in context_sources():
        for file in files_under(ROOT / source):
            (context / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, context / file)
    copied = build_wheel(context, tmp_path)
    assert contents(copied) == contents(wheel)


def contents(wheel: zipfile.ZipFile) -> dict[str, Any]:
    """Checksums by name, without the record, which lists them in the order of the build."""
    return {entry.filename: entry.CRC for entry in wheel.infolist() if not entry.filename.endswith("/RECORD")}
