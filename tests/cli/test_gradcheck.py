"""``dlcore gradcheck``: a right model passes, a planted bug is found, the penalty counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlcore.cli import main

WRONG = """
from dlcore import nn

class Wrong(nn.Module):
    def __init__(self):
        self.inner = nn.Dense(8)

    def forward(self, x):
        y = self.inner(x)
        return y * y.detach()  # half of the derivative is lost

def build(outputs):
    return nn.Sequential(nn.Flatten(), Wrong(), nn.Dense(outputs))
"""


def test_a_planted_bug_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(WRONG)
    assert main(["gradcheck", "own.py:build", "--data", "digits"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[3].startswith("1.inner.")
    assert out[3].endswith("WRONG")
    assert "failed, 1.inner." in out[-1]
    Path("own.py").write_text(WRONG.replace("y.detach()", "y"))
    assert main(["gradcheck", "own.py:build", "--data", "digits"]) == 0


def test_a_run_is_checked_with_its_penalty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train = ["train", "--data", "digits", "--model", "mlp", "--hidden", "9", "--epochs", "1", "--baseline", "none"]
    assert main([*train, "--dropout", "0.2", "--penalty", "l2", "--device", "cpu", "--name", "a"]) == 0
    capsys.readouterr()
    assert main(["gradcheck", "a"]) == 0
    assert "with penalty l2, lam 1" in capsys.readouterr().out
    assert main(["gradcheck", "knn"]) == 2
    assert "gradcheck: knn has no layers" in capsys.readouterr().err


def test_several_heads_and_sequences_of_several_lengths_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train = ["train", "--data", "penguins", "--heads", "species", "sex", "--epochs", "1", "--baseline", "none"]
    assert main([*train, "--hidden", "5", "--device", "cpu", "--name", "a"]) == 0
    capsys.readouterr()
    assert main(["gradcheck", "a"]) == 0
    out = capsys.readouterr().out
    assert "loss cross_entropy of species + binary_cross_entropy of sex" in out
    assert "3.sex.w" in out
    assert main(["gradcheck", "gru", "--data", "vowels", "--batch-size", "2"]) == 0
