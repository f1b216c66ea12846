"""Control characters in names are shown, on a terminal, in reports and in notebooks; all other characters stay."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import dlcore as dl
from dlcore._core.escapes import Escaping, escape, escaped
from dlcore._core.markup import table
from dlcore.cli import main
from dlcore.cli.commands.runs import print_table
from dlcore.cli.commands.train import Log
from dlcore.report.html import Report, page

SENT = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\x08\x08",
    "\rhidden",
    "\x00",
    "\x7f",
    "\u202efdp.exe",
    "\u2066x\u2069",
]
STAYS = ["tab\there", "two\nlines", "dos\r\n", "größe ß", "日本語", "עברית", "👩‍🔬 🇩🇪", "e\u0301", "x² ± ½", "a\u200bb"]


def plain(text: str) -> bool:
    """Whether a terminal and a page only show it."""
    return not any(c in text for c in "\x1b\x07\x9b\x08\x00\x7f\u202e\u2066\u2069") and "\rh" not in text


@pytest.mark.parametrize("text", SENT)
def test_what_a_terminal_would_obey_is_shown(text: str) -> None:
    for shown in (escaped(f"a{text}b"), escape(f"a{text}b"), table(["name"], [[f"a{text}b"]])):
        assert plain(shown)
        assert "\\u" in shown


@pytest.mark.parametrize("text", STAYS)
def test_what_is_only_read_stays(text: str) -> None:
    assert escaped(text) == text
    assert escape(text) == text


def test_html_is_escaped_too() -> None:
    assert escape("<script>\x1b&\"'") == "&lt;script&gt;\\u001b&amp;&quot;&#x27;"


@pytest.mark.parametrize("text", SENT)
def test_json_stays_json_with_the_same_values(text: str) -> None:
    for ascii_ in (True, False):
        stream = io.StringIO()
        print(json.dumps({text: [text]}, ensure_ascii=ascii_), file=Escaping(stream))
        assert plain(stream.getvalue())
        assert json.loads(stream.getvalue()) == {text: [text]}


def test_the_report_shows_them() -> None:
    name = f"{SENT[0]}<b>{SENT[7]}"
    text = page(Report(title=name, results={name: {"loss": 0.5}}, lines=[name], faults=[name], settings=name))
    assert plain(text)
    assert "<b>" not in text
    assert text.count("\\u001b[2J&lt;b&gt;\\u202e") >= 5


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def begin(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What stdout writes to from now on: a terminal with colours."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", Escaping(stream))
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "100"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


@pytest.mark.parametrize("text", SENT)
def test_the_lines_of_a_training_and_tables_show_them_on_a_terminal(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = begin(monkeypatch)
    Log()(f"classes a{text}b")
    print_table(["run", f"h{text}"], [[f"r{text}", "1"]], left={0})
    assert escaped(f"a{text}b") in terminal.getvalue()
    assert terminal.getvalue().replace("\n", "").count("\\u") >= 3
    assert f"r{text}" not in terminal.getvalue()


def test_colours_of_our_own_reach_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = begin(monkeypatch)
    Console(color_system="standard").print("[red]x[/red]")
    assert "\x1b[31m" in terminal.getvalue()


def test_a_stream_is_otherwise_itself() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    ours: Any = Escaping(stream)
    ours.writelines(["a\x1b", "b\n"])
    assert (ours.encoding, ours.buffer.getvalue(), ours.isatty()) == ("utf-8", b"a\\u001bb\n", False)


def test_errors_and_warnings_of_a_command_show_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sys.stdout, sys.stderr
    folder = tmp_path / "runs" / "a\x1b[2J\u202e"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("[train]\nepochs = 'x'\n")
    (folder / "model.json").write_text('{"format": 1, "dlcore": "\\u001b]0;x\\u0007"}')
    assert main(["runs", "list"]) == 0
    assert main(["evaluate", folder.name]) == 2
    assert main(["generate", folder.name]) == 1
    assert main(["evaluate", "no\x1b[2Jrun", "--debug"]) == 1
    captured = capsys.readouterr()
    assert "a\\u001b[2J\\u202e" in captured.out
    assert plain(captured.out + captured.err)
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize("text", SENT[:3])
def test_the_lines_of_a_fit_show_the_names_of_its_metrics(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    def metric(out: Any, y: Any) -> Any:
        return (out * out).mean()

    metric.__name__ = f"m{text}"
    data = dl.data.Dataset(np.eye(2, dtype=np.float32), np.arange(2))
    dl.Trainer(dl.nn.Dense(2), metrics=[metric], device="cpu").fit(data, data, epochs=1, verbose=True)
    printed = capsys.readouterr().out
    assert plain(printed)
    assert escaped(metric.__name__) in printed
