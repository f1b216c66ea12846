"""``dlcore tune``: what it prints and writes, and that its command trains to the same figure."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import pytest
from commands import output_of

from dlcore.cli import main
from dlcore.errors import CheckpointError

DIGITS = ("tune", "--data", "digits", "--model", "mlp", "--epochs", "2", "--device", "cpu")
SEARCH = ("--search", "lr=log:1e-3:1e-1", "hidden=16,16+16", "optimizer=adam,momentum", "--trials", "4")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    return output_of(capsys, *words).splitlines()


def test_a_search_says_what_was_best_and_its_command_trains_to_the_same_figure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = said(capsys, *DIGITS, *SEARCH, "--baseline", "none")
    assert sum(line.startswith("trial ") for line in lines) == 5  # one each, and the table's head
    folder = Path("runs/tune-digits-mlp")
    found = json.loads((folder / "tune.json").read_text())
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    assert len(rows) == 4
    assert max(float(row["dev_accuracy"]) for row in rows) == found["best"]["value"]
    assert found["correlations"]["lr"]["n"] == 4
    for picture in ("parallel.png", "scatter.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    (command,) = (line for line in lines if line.startswith("  dlcore train --data"))
    assert main([*shlex.split(command)[1:], "--name", "again"]) == 0
    assert main(["train", "--config", str(folder / "best.toml"), "--name", "third"]) == 0
    for name in ("again", "third"):
        last = json.loads(Path("runs", name, "metrics.jsonl").read_text().splitlines()[-1])
        assert last["dev_accuracy"] == found["best"]["value"]


def test_the_same_command_goes_on_and_has_nothing_left_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "tune",
        "--data",
        "penguins",
        "--target",
        "sex",
        "--epochs",
        "1",
        "--search",
        "lr=log:1e-3:1e-1:2",
        "--grid",
    ]
    first = said(capsys, *words)
    again = said(capsys, *words)
    assert sum(line.startswith("trial ") for line in first) == 3
    assert [line for line in first if not line.startswith("trial ") or "round" in line] == again


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "nothing to search"),
        (("--search", "lr"), "NAME=log"),
        (("--search", "lrr=log:1e-3:1"), "did you mean lr"),
        (("--search", "lr=lgo:1e-3:1"), "did you mean log"),
        (("--search", "lr=log:1:1e-3"), "reversed"),
        (("--search", "lr=log:0:1"), "above 0"),
        (("--search", "hidden="), "at least one value"),
        (("--search", "activation=relu,tahn"), "did you mean tanh"),
        (("--search", "epochs=uniform:1:2.5"), "whole"),
        (("--search", "lr=0.1,0.2", "lr=0.3"), "twice"),
        (("--search", "epochs=1,2"), "--epochs too"),
        (("--search", "lr=0.1,0.2", "--metric", "dev_acuracy"), "did you mean"),
        (("--search", "lr=0.1,0.2", "--prune", "medain"), "did you mean median"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], expected: str
) -> None:
    assert main([*DIGITS, *words]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert not Path("runs").exists()


def test_an_interrupted_search_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dlcore.tune._search.search", interrupted)
    assert main([*DIGITS, "--search", "lr=0.1,0.2"]) == 130
    assert capsys.readouterr().err == "dlcore: interrupted and kept: the same command goes on\n"


def test_the_best_is_said_although_its_files_cannot_be_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise CheckpointError("trials.csv: cannot be written (No space left on device)")

    monkeypatch.setattr("dlcore.tune.study.Study.write", full)
    words = ("tune", "--data", "penguins", "--target", "sex", "--epochs", "1", "--search", "lr=0.01,0.1", "--grid")
    assert main([*words, "--device", "cpu"]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1].startswith("  dlcore train --data penguins --target sex --lr 0.")
    assert "No space left" in captured.err
