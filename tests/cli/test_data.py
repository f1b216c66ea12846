"""``dlcore data``: the table of data sets, and the download in lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcore.cli import main
from dlcore.data import names
from dlcore.data.builtin import registry
from dlcore.errors import DataError

module = sys.modules["dlcore.data.builtin.download"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _no_data_on_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the package's own files are found, and nothing is downloaded."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "_DEBIAN", tmp_path / "no-such-package")
    monkeypatch.setattr(module, "_SERVERS", ())


def out(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(words) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def failed(capsys: pytest.CaptureFixture[str], *words: str, code: int) -> str:
    assert main(words) == code
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert "fetch" in "\n".join(out(capsys, "data"))


def test_help_imports_neither_numpy_nor_the_network() -> None:
    script = """
import sys
from dlcore.cli import main
for words in (["data"], ["data", "--help"], ["data", "list", "--help"], ["data", "fetch", "--help"]):
    assert main(words) == 0
print(sorted({"numpy", "matplotlib", "pooch", "requests"} & set(sys.modules)))
"""
    words = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_table_has_every_data_set_in_aligned_columns(capsys: pytest.CaptureFixture[str]) -> None:
    head, *lines = out(capsys, "data", "list")
    assert [line.split()[0] for line in lines] == list(names())
    assert head.split() == ["name", "task", "examples", "shape", "where", "licence"]
    for column in ("task", "shape", "where", "licence"):
        start = head.index(column)
        assert all(line[start - 1] == " " and line[start] != " " for line in lines)
    rows = dict(zip(names(), lines, strict=True))
    assert "70,000  28 × 28 × 1  not found; get it by: dlcore data fetch fashion" in rows["fashion"]
    assert " 6,000  28 × 28 × 1  in the package" in rows["fashion-subset"]
    assert "CC0 1.0" in rows["penguins"]


def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in json.loads("\n".join(out(capsys, "data", "list", "--json")))}
    assert rows.keys() == set(names())
    assert rows["digits"] == {
        "name": "digits", "task": "classification", "examples": 1797, "shape": [8, 8, 1],
        "licence": "BSD-3-Clause, the scikit-learn developers", "where": "in the package", "found": True,
    }  # fmt: skip
    assert not rows["fashion"]["found"]


def test_the_table_names_the_folder_of_the_full_set_or_what_is_wrong_with_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "cache" / "dlcore" / "fashion-mnist"
    folder.mkdir(parents=True)
    for name in registry._FASHION_FILES:
        (folder / name).touch()
    assert f"  {folder}  " in out(capsys, "data", "list")[1]
    monkeypatch.setenv("DLCORE_DATA", str(tmp_path / "nowhere"))
    line = out(capsys, "data", "list")[1]
    assert "$DLCORE_DATA is" in line
    assert "lacks Fashion-MNIST's files" in line


def _downloads(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> list[tuple[str, Any]]:
    """Let a download be made up; returns what was asked for."""
    asked: list[tuple[str, Any]] = []

    def fetch(name: str, to: Path | None, progress: Callable[[str, int, int], None]) -> Path:
        asked.append((name, to))
        for file, size in (("a.gz", 2000), ("b.gz", 10)):
            for done in np.linspace(0, size, 3, dtype=int):
                progress(file, int(done), size)
        if error is not None:
            raise error
        return to or Path("cache/fashion-mnist")

    monkeypatch.setattr(module, "fetch", fetch)
    return asked


def test_off_a_terminal_there_is_one_line_for_each_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _downloads(monkeypatch)
    lines = out(capsys, "data", "fetch", "fashion")
    assert lines == ["a.gz: 2,000 bytes", "b.gz: 10 bytes", f"Fashion-MNIST is in {Path('cache/fashion-mnist')}"]
    lines = out(capsys, "data", "fetch", "fashion", "--to", "data/own")
    assert lines[-1].endswith(f"use it by DLCORE_DATA={Path('data/own')}")
    assert asked == [("fashion", None), ("fashion", Path("data/own"))]


def test_on_a_terminal_there_is_a_bar_for_each_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _downloads(monkeypatch)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    first, second, last = out(capsys, "data", "fetch", "fashion")[-3:]
    assert "a.gz" in first
    assert "2.0/2.0 kB" in first
    assert "b.gz" in second
    assert last.endswith(f"Fashion-MNIST is in {Path('cache/fashion-mnist')}")


def test_a_download_that_fails_is_one_line_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _downloads(monkeypatch, DataError("fetch: no server can be reached"))
    assert failed(capsys, "data", "fetch", "fashion", code=1) == "dlcore: error: fetch: no server can be reached"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["fetch"], "NAME"),
        (["fetch", "digits"], "in the package"),
        (["fetch", "fasion"], "did you mean fashion?"),
        (["fetch", "fashion", "more"], "more"),
        (["fetch", "fashion", "--too", "x"], "--to"),
        (["lst"], 'Did you mean "list"'),
        (["list", "digits"], "digits"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], words: list[str], part: str
) -> None:
    assert part in failed(capsys, "data", *words, code=2)
