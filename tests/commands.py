"""Commands of ``dlcore``, in this process and on a terminal of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dlcore.cli import main

__all__ = ["dlcore", "on_a_terminal", "output_of", "refused", "said"]

ROOT = Path(__file__).resolve().parents[1]


def output_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command prints that succeeds and says nothing on stderr."""
    code = main(words)
    captured = capsys.readouterr()
    assert (code, captured.err) == (0, "")
    return captured.out


def said(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """The lines on stdout of a command that succeeds."""
    code = main(words)
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out.splitlines()


def refused(capsys: pytest.CaptureFixture[str], *words: str, code: int) -> str:
    """The one line on stderr of a command that fails."""
    assert main(words) == code
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("dlcore: error: ")


def dlcore(*words: str, cwd: Path | str = ".", code: int = 0) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "dlcore", *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code, done.stderr
    return done


def on_a_terminal(*words: str, columns: int) -> str:
    """What a command that succeeds writes to a terminal without colours; POSIX only."""
    import pty

    ours, theirs = pty.openpty()
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": str(columns), "NO_COLOR": "1",
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "dlcore", *words], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        text += part
    os.close(ours)
    assert process.wait(60) == 0
    return text.decode()
