"""``dlcore parity``: what it compares, its exit codes, and its errors in one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from backends.dispatch import Alternative, kernels
from dlcore.cli import main

CPU = ["--devices", "cpu", "cpu-reference"]


def spoil(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """On the CPU the kernel's output is a hundredth too large from now on."""
    reference = kernels()[name]

    class Spoilt:
        backward = staticmethod(reference.backward)

        @staticmethod
        def forward(xp: Any, *arrays: Any, **params: Any) -> Any:
            y, saved = reference.forward(xp, *arrays, **params)
            return y * y.dtype.type(1.01), saved

    entry = Alternative("Spoilt", "numpy", Spoilt, lambda *_, **__: None)
    monkeypatch.setitem(reference.alternatives, "numpy", [entry])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cnn"], ["model: cnn, 19,266 parameters, float32", "data: 8 images", "1 + 2 + 3  BatchNorm + ReLU + Max"]),
        (["mlp", "--data", "cars", "--dtype", "float64"], ["float64", "data: 8 examples of cars; loss mse"]),
        (["logistic", "--data", "digits", "--batch-size", "5"], ["data: 5 images of digits"]),
        (["lstm", "--data", "hamlet", "--batch-size", "2"], ["data: 2 windows of hamlet"]),
    ],
)
def test_a_named_model_within_tolerance_gives_0(
    capsys: pytest.CaptureFixture[str], words: list[str], said: list[str]
) -> None:
    assert main(["parity", *words, *CPU]) == 0
    out = capsys.readouterr().out
    for part in [*said, "devices: cpu (asked for), cpu-reference (every kernel runs its reference)"]:
        assert part in out
    assert all(len(line) <= 80 for line in out.splitlines()[:-1])
    assert out.splitlines()[-1].startswith("parity: cpu-reference within tolerance of cpu in every layer")


def test_an_error_gives_1_and_the_last_line_names_the_layer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, "linear_relu")
    assert main(["parity", "mlp", "--data", "cars", *CPU]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert "out of tolerance" in last
    assert "1 + 2 (Dense + ReLU): output at" in last
    assert "they run linear_relu: Spoilt and reference" in last


def test_a_larger_tolerance_lets_it_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, "linear_relu")
    assert main(["parity", "mlp", "--data", "cars", *CPU, "--tolerance", "0.5"]) == 0


def test_the_model_of_a_run_is_taken_with_its_weights_and_data(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = ["train", "--data", "digits", "--model", "mlp", "--hidden", "9", "--epochs", "1", "--baseline", "none"]
    assert main([*train, "--device", "cpu", "--name", "a"]) == 0
    capsys.readouterr()
    losses = []
    for words in (["a"], ["runs/a"], ["a", "--runs", "runs"]):
        assert main(["parity", *words, *CPU]) == 0
        out = capsys.readouterr().out
        assert "of digits; loss cross_entropy" in out
        losses.append(next(line for line in out.splitlines() if line.startswith("loss: ")))
    assert len(set(losses)) == 1
    assert main(["parity", "a", *CPU, "--data", "cars"]) == 2
    assert "examples of shape" in capsys.readouterr().err
    spoil(monkeypatch, "linear")
    assert main(["parity", "a", *CPU]) == 1


def test_a_model_of_ones_own_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("own.py").write_text(
        "from dlcore import nn\n\ndef build(outputs):\n    return nn.Sequential(nn.Flatten(), nn.Dense(outputs))\n"
    )
    assert main(["parity", "own.py:build", "--data", "digits", *CPU]) == 0
    assert "model: own.py:build, 650 parameters" in capsys.readouterr().out
    Path("own.py").write_text("def build(outputs):\n    return 1 / 0\n")
    assert main(["parity", "own.py:build", "--data", "digits", *CPU]) == 2
    assert "own.py:2: ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (["cnn", "--devices", "cpu", "gpu"], 1, ["'gpu'", "did you mean cuda"]),
        (["cnn", "--devices", "cpu", "cpu"], 2, ["cpu came twice"]),
        (["cnn", "--devices", "cpu"], 2, ["at least two"]),
        (["cnn"], 1, ["cupy is not installed", "fix: pip install"]),
        (["cnn", "--devices", "cuda-reference", "cpu"], 1, ["cupy is not installed"]),
        (["cnnn", *CPU], 1, ["cnnn: no run is there", "did you mean cnn?"]),
        (["runs/none", *CPU], 1, ["no run is there"]),
        (["knn", *CPU], 2, ["knn has no layers"]),
        (["missing.py:build", *CPU], 2, ["no file missing.py"]),
        (["cnn", "--data", "cars", *CPU], 2, ["cnn is for images"]),
        (["cnn", *CPU, "--batch-size", "0"], 2, ["--batch-size is 0"]),
        (["cnn", *CPU, "--dtype", "float16"], 2, ["float16"]),
        (["cnn", *CPU, "--tolerance", "-1"], 2, ["tolerance is -1"]),
        ([*CPU], 2, ["MODEL", "requires"]),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    parts: list[str],
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main(["parity", *words]) == code
    (line,) = capsys.readouterr().err.splitlines()
    for part in parts:
        assert part in line
