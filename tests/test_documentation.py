"""What the documentation says is run: docstring examples, README's code, the names and files of its course table."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import backends
import dlcore
from backends import _renamed
from dlcore._core import renamed

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MODULES = sorted(
    module.name
    for package in (backends, dlcore)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.endswith("__main__") and module.name not in {*_renamed.NAMES, *renamed.NAMES}
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_give_what_they_show(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_python_in_readme_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        exec(block, names)
    accuracy, clothes, iris, loss = capsys.readouterr().out.splitlines()
    assert float(accuracy) > 0.6  # 1,000 images, two epochs: far above one in ten
    assert len(clothes.split()) >= 3
    assert float(iris.removeprefix("iris ")) > 0.9
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
    commands = re.findall(rf"`dlcore ((?:{names})[^`]*)`", README) + [command for command, _ in _session()]
    assert len(commands) >= 20
    for command in commands:
        _, bound, _ = app.parse_args(shlex.split(command.replace("file.py:build", "model.py:build")))
        assert bound is not None


def _session() -> list[tuple[str, list[str]]]:
    """README's commands with what they print, in the order in which they stand there."""
    text = "".join(re.findall(r"```console\n(.*?)```", README, re.DOTALL))
    parts = [part.splitlines() for part in text.split("$ dlcore ")[1:]]
    return [(lines[0], lines[1:]) for lines in parts]


_NUMBER = r"\d[\d,]*(?:\.\d+)?"


def _is_shown(shown: str, line: str) -> bool:
    """Whether a line is the one that README shows: "..." stands for anything, and figures may differ a little."""
    parts = re.split(rf"(\.\.\.|{_NUMBER})", shown)
    numbers = [part for part in parts if re.fullmatch(_NUMBER, part)]
    pattern = "".join(
        ".*?" if part == "..." else f"({_NUMBER})" if re.fullmatch(_NUMBER, part) else re.escape(part) for part in parts
    )
    found = re.fullmatch(pattern, line.rstrip())
    if found is None:
        return False
    pairs = zip(numbers, found.groups(), strict=True)
    return all(
        abs(float(a.replace(",", "")) - float(b.replace(",", ""))) <= max(0.02, 0.1 * float(a.replace(",", "")))
        for a, b in pairs
    )


@pytest.mark.parametrize(
    ("shown", "line", "same"),
    [
        ("cnn  0.92  0.29", "cnn  0.93  0.28", True),
        ("cnn  0.92  0.29", "mlp  0.92  0.29", False),
        ("cnn  0.92  0.29", "cnn  0.82  0.29", False),
        ("from ..., but 10.w anew", "from /a/b, but 10.w anew", True),
        ("9,610 parameters", "9,610 parameters, frozen", False),
    ],
)
def test_what_a_command_prints_is_compared_by_words_and_roughly_by_figures(shown: str, line: str, same: bool) -> None:
    assert _is_shown(shown, line) == same


@pytest.mark.full
def test_the_commands_of_readme_print_what_it_shows(tmp_path: Path) -> None:
    def run(command: str) -> list[str]:
        words = [sys.executable, "-m", "dlcore", *shlex.split(command)]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.splitlines()

    run("train")
    for command, shown in _session():
        lines = iter(run(command))
        for expected in (line for line in shown if line != "..."):
            assert any(_is_shown(expected, line) for line in lines), f"dlcore {command}: {expected}"
