"""Names of columns that mean something to other programs, and files that went elsewhere after the training."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
from commands import refused, said

from dlcore.cli import main

BRIEF = ("--epochs", "2", "--baseline", "none", "--device", "cpu", "--name", "a")


@pytest.mark.draws
@pytest.mark.parametrize(
    ("first", "second"),
    [("cost $ <b>", "$x^2 in a_{i}, 50 %"), ("[red]b[/red] 🐧", "\\frac{1}{2} &amp; größe")],
)
def test_heads_and_columns_may_have_any_name(first: str, second: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{i % 9},{'uv'[i % 2]},{i % 5}\n" for i in range(60))
    Path("t.csv").write_text(f'"{first} in","{first}","{second}"\n{rows}', encoding="utf-8")
    said(capsys, "train", "--data", "t.csv", "--heads", first, second, *BRIEF)
    page = Path("runs/a/report.html").read_text(encoding="utf-8")
    assert first in html.unescape(page)
    assert second in html.unescape(page)
    assert "<b>" not in page
    assert f"{second}_r2" in json.loads(Path("runs/a/metrics.jsonl").read_text().splitlines()[0])
    assert Path("runs/a/curves.png").stat().st_size > 1000
    said(capsys, "evaluate", "a")
    (record, *_) = map(json.loads, said(capsys, "predict", "a", "t.csv", "--json"))
    assert {first, second} <= set(record["heads"])


@pytest.mark.parametrize("what", ["moved", "changed", "changed in its inputs"])
def test_a_run_whose_file_is_not_what_it_was_does_not_go_on(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.csv").write_text("a,b\n" + "".join(f"{i},{2 * i}\n" for i in range(40)))
    said(capsys, "train", "--data", "mine.csv", *BRIEF)
    if what == "moved":
        Path("mine.csv").rename("yours.csv")
    else:
        a, b = (1, 3) if what == "changed" else (-1, 2)
        Path("mine.csv").write_text("a,b\n" + "".join(f"{a * i},{b * i}\n" for i in range(40)))
    line = refused(capsys, "train", "--resume", "a", "--epochs", "3", code=2)
    assert ("mine.csv" if what == "moved" else "start a new run") in line
    if what == "moved":
        assert main(["evaluate", "a"]) == 2
        assert "mine.csv" in capsys.readouterr().err
