"""What the documentation says is run: docstring examples, README's code, the names and files of its course table."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import backends
import dlcore

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MODULES = sorted(
    module.name
    for package in (backends, dlcore)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_give_what_they_show(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_python_in_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(block, names)
    accuracy, loss = capsys.readouterr().out.splitlines()
    assert float(accuracy) > 0.6  # 1,000 images, two epochs: far above one in ten
    assert float(loss.removeprefix("loss ")) < 0.5


def _table() -> list[tuple[str, str, str]]:
    part = README.split("## The course in code")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")][2:]
    return [(row[0].strip(), row[1].strip(), row[2].strip()) for row in rows]


def test_nothing_is_left_to_be_filled_in() -> None:
    assert "@@" not in README


def test_the_course_table_has_every_section_of_the_notes() -> None:
    sections = [re.match(r"[\d.]+", section)[0] for section, _, _ in _table()]  # type: ignore[index]
    assert sections == [
        "1.1", "1.2", "1.3", "1.4", "1.5", "2.1", "2.2", "2.3", "2.4", "2.5", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6",
        "3.7", "3.8", "3.9", "4.1", "4.2", "4.3", "4.4", "5", "5.1", "6.1",
    ]  # fmt: skip


@pytest.mark.parametrize(("section", "names", "tests"), _table(), ids=[row[0].split()[0] for row in _table()])
def test_the_names_of_the_course_table_exist_and_what_is_later_is_not_there_yet(
    section: str, names: str, tests: str
) -> None:
    now, _, later = names.partition("later:")
    for name in re.findall(r"`dl\.([\w.]+)`", now):
        assert _exists(name), f"{section}: dl.{name}"
    for name in re.findall(r"`dl\.([\w.]+)`", later):
        assert not _exists(name), f"{section}: dl.{name} is there; the table says later"
    files = re.findall(r"`(tests/[\w/.]+)`", tests)
    assert files or "later" in names
    for file in files:
        assert (ROOT / file).is_file(), f"{section}: {file}"


def _exists(name: str) -> bool:
    found: object = dlcore
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            return False
    return True


def test_the_commands_in_readme_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    from dlcore.cli import app

    names = "bench|data|diagnose|doctor|evaluate|filter|generate|gradcheck|parity|predict|recipe|runs|train|tune"
    commands = re.findall(rf"`dlcore ((?:{names})[^`]*)`", README)
    assert len(commands) >= 12
    for command in commands:
        _, bound, _ = app.parse_args(command.replace("file.py:build", "model.py:build").split())
        assert bound is not None
