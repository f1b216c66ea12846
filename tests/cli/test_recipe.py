"""``dlcore recipe``: the list, a run's lines and picture, and its exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dlcore.cli import main
from dlcore.recipes import NAMES, Recipe, Result, Setup, at_least

ROOT = Path(__file__).resolve().parents[2]


def test_help_imports_neither_numpy_nor_matplotlib() -> None:
    script = """
import sys
from dlcore.cli import main
for words in (["recipe"], ["recipe", "--help"], ["recipe", "list", "--help"], ["recipe", "run", "--help"]):
    assert main(words) == 0
print(sorted({"numpy", "matplotlib", "numba"} & set(sys.modules)))
"""
    words = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_list_has_each_recipe_with_its_section_and_claim(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "list"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "notes", "claim"]
    named = [line for line in lines if not line.startswith(" ")]
    assert [line.split()[0] for line in named] == list(NAMES)
    assert all(line[head.index("notes")].isdigit() for line in named)
    assert max(map(len, lines)) <= 120


def test_a_run_tells_the_claim_the_figures_and_the_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "new" / "pictures"
    words = ["recipe", "run", "edges", "--quick", "--seed", "2", "--out", str(out), "--device", "cpu"]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert lines[0] == "edges: notes 4.2, seed 2, quick"
    assert lines[1].startswith("device: cpu")
    assert lines[2].startswith("the notes: A vertical-edge filter")
    assert "the notes' example, a row" in captured.out
    assert "measured: difference from the notes' result: 0, at most 0 is expected" in lines
    assert lines[-2] == f"picture: {out / 'edges.png'}"
    assert lines[-1].startswith("the claim holds")
    assert (out / "edges.png").read_bytes().startswith(b"\x89PNG")


def test_a_claim_that_is_not_shown_gives_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def experiment(setup: Setup) -> Result:
        return Result(("", "x"), [("a", 1.0)], [at_least("the figure", 0.5, 1)], lambda _: None, ["what else"])

    monkeypatch.setattr("dlcore.recipes.find", lambda name: Recipe(name, "9.9", "Too much.", experiment))
    assert main(["recipe", "run", "mine", "--out", str(tmp_path), "--device", "cpu"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "NOT SHOWN: the figure: 0.5, at least 1 is expected" in lines
    assert "remark: what else" in lines
    assert lines[-1].startswith("the claim does not hold")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["run"], "NAME"),
        (["run", "batchnorm"], "did you mean batch-norm?"),
        (["run", "edges", "--seed", "1.5"], "seed is '1.5'"),
        (["run", "edges", "--seed", "-1"], "-1"),
        (["run", "edges", "--quik"], "--quik"),
        (["run", "edges", "--out", __file__], "is a file"),
        (["run", "edges", "--out", f"{__file__}/sub"], "is a file"),
        (["lst"], 'Did you mean "list"'),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], words: list[str], part: str
) -> None:
    assert main(["recipe", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert part in line


def test_a_folder_that_cannot_be_written_is_said_before_the_experiment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # whoever runs the tests may write anywhere
    assert main(["recipe", "run", "edges", "--out", str(tmp_path / "new")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"in {tmp_path} nothing may be written" in captured.err


def test_a_device_that_cannot_be_used_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "run", "edges", "--device", "cuda:99"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "cuda" in line
