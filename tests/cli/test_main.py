"""The command line as such: help, exit codes, and errors in one line."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dlcore.data
from dlcore.cli import app, main
from dlcore.cli.help import EXAMPLES
from dlcore.errors import ConfigError, DataError
from dlcore.train.config import config as c

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def error_of(capsys: pytest.CaptureFixture[str], *words: str, code: int) -> str:
    """The one line on stderr of a command that fails with ``code``."""
    assert main(words) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dlcore: error: ")
    return line


def test_help_imports_neither_numpy_nor_matplotlib() -> None:
    script = """
import sys
from dlcore.cli import main
from dlcore.cli.help import EXAMPLES
for words in ([], ["--help"], ["--version"], *([*name.split(), "--help"] for name in EXAMPLES)):
    assert main(words) == 0
print(sorted({"numpy", "matplotlib", "cupy", "array_api_compat"} & set(sys.modules)))
"""
    result = subprocess.run(
        [sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, encoding="utf-8", timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"


def _commands(group: Any = app, names: str = "") -> Iterator[str]:
    """Every command and group of commands, by its words."""
    for name in group:
        if not name.startswith("-"):
            yield f"{names} {name}".strip()
            yield from _commands(group[name], f"{names} {name}")


def test_every_command_has_examples_that_are_understood() -> None:
    assert set(EXAMPLES) == set(_commands())
    for name, examples in EXAMPLES.items():
        for example in examples:
            program, *words = shlex.split(example)
            assert (program, " ".join(words).startswith(name)) == ("dlcore", True)
            _, bound, _ = app.parse_args(words)
            assert bound is not None


@pytest.mark.parametrize("name", EXAMPLES)
def test_help_of_a_command_tells_all_that_its_docstring_says_and_ends_with_examples(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*name.split(), "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    function = app.parse_commands(name.split())[1][-1].default_command
    assert " ".join((getattr(function, "__doc__", None) or "").split()) in shown
    assert not any(f"[default: {word}]" in shown for word in ("True", "False", "()", "None"))
    assert shown.endswith(" ".join(f"Examples: {' '.join(EXAMPLES[name])}".split()))


@pytest.mark.full
def test_the_examples_of_help_run(tmp_path: Path) -> None:
    """In one folder, in the order of README's first hour; but for those that need a GPU or the network."""
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    for file in ("photo.jpg", "shirt.png", "bag.jpg"):
        Image.fromarray(photo).save(tmp_path / file)
    (tmp_path / "elsewhere").mkdir()
    before = (
        "dlcore train --data digits",
        "dlcore train --data hamlet --epochs 1",
        "dlcore bench kernels --only conv2d --quick --json after.json",
    )
    examples = [one for group in EXAMPLES.values() for one in group if "cuda" not in one and "fetch" not in one]
    examples.sort(key=lambda one: not one.startswith("dlcore train"))
    for example in dict.fromkeys([*before, *examples]):
        program = [
            sys.executable,
            "-m",
            "dlcore",
            *shlex.split(example.replace("fail-below 0.9", "fail-below 0.01"))[1:],
        ]
        done = subprocess.run(program, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{example}: {done.stderr}"


def test_help_shows_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for setting in c.settings().values():
        assert (f"{setting.flag} " in shown) != setting.hidden
    assert "[default: fashion-subset]" in shown
    assert "cnn, mlp, gru, lstm, rnn: share of activations dropped in training [default: 0.5, mlp 0.0, " in shown


def test_every_setting_has_help() -> None:
    for setting in c.settings().values():
        assert setting.help
        assert "\n" not in setting.help


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{dlcore.__version__}\n"


def test_doctor_reports_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "cpu" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["trian"], ["trian", 'Did you mean "train"']),
        (["train", "--epohcs", "3"], ["--epohcs", "Did you mean --epochs"]),
        (["train", "more.toml"], ["more.toml", "flag"]),
        (["train", "--epochs"], ["--epochs"]),
        (["train", "--epochs", "1", "--epochs", "2"], ["--epochs", "multiple"]),
        (["train", "--batch-size", "0"], ["--batch-size is 0", "at least 1"]),
        (["train", "--epochs", "-1"], ["--epochs is -1", "at least 1"]),
        (["train", "--epochs", "1.5"], ["--epochs is '1.5'", "whole number"]),
        (["train", "--dropout", "1.5"], ["--dropout is 1.5", "[0, 1)"]),
        (["train", "--lr", "fast"], ["--lr is 'fast'", "a number"]),
        (["train", "--normalize=maybe"], ["--normalize", "maybe"]),
        (["train", "--model", "ccn"], ["--model", "did you mean cnn"]),
        (["train", "--data", "digitz"], ["digitz", "did you mean digits"]),
        (["train", "--data", "penguins"], ["species", "target"]),
        (["train", "--data", "digits", "--target", "sex"], ["target", "digits"]),
        (["train", "--lam", "0.1"], ["lam goes with the penalty l1 or l2"]),
        (["train", "--overwrite"], ["--name"]),
        (["train", "--config", "missing.toml"], ["missing.toml", "no such file"]),
        (["train", "--model", "missing.py:build", "--data", "digits"], ["missing.py", "no file"]),
        (["train", "--model", "missing.py"], ["missing.py", "file.py:build"]),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], words: list[str], parts: list[str]
) -> None:
    line = error_of(capsys, *words, code=2)
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[train]\nepoch = 3", "did you mean epochs"),
        ("[model]\nepochs = 3", "belongs in [train]"),
        ("[train\n", "line 1"),
        ("[train]\nbatch_size = 0", "[train] batch_size is 0"),
    ],
)
def test_a_faulty_file_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str], text: str, part: str) -> None:
    Path("run.toml").write_text(text)
    line = error_of(capsys, "train", "--config", "run.toml", code=2)
    assert "run.toml: " in line
    assert part in line


@pytest.mark.parametrize("name", ["cuda", "cuda:99"])
def test_an_unusable_device_is_one_line_with_cause_and_fix(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    line = error_of(capsys, "train", "--device", name, code=1)
    for part in (f"device '{name}'", "cause: cupy is not installed", "fix: pip install", "--device cpu"):
        assert part in line


@pytest.mark.parametrize(("name", "meant"), [("gpu", "cuda"), ("cuda:x", "cuda:0"), ("GPU:1", "cuda:1")])
def test_an_unknown_device_is_one_line_with_a_suggestion(
    capsys: pytest.CaptureFixture[str], name: str, meant: str
) -> None:
    line = error_of(capsys, "train", "--device", name, code=1)
    assert "expected cpu, cuda, cuda:N" in line
    assert f"did you mean {meant}?" in line


def test_the_environment_variable_asks_for_a_device_and_the_flag_goes_before_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setenv("DLCORE_DEVICE", "cuda")
    assert "(from DLCORE_DEVICE)" in error_of(capsys, "train", code=1)
    words = ["train", "--data", "cars", "--epochs", "1", "--baseline", "none"]
    assert main([*words, "--device", "cpu"]) == 0
    assert capsys.readouterr().out.startswith("device: cpu (asked for)\n")
    Path("run.toml").write_text('[train]\ndevice = "cpu"\n')
    assert main([*words, "--config", "run.toml"]) == 0


@pytest.mark.parametrize(
    ("error", "parts", "code"),
    [
        (MemoryError(), ["out of memory"], 1),
        (OSError(28, "No space left on device", "runs/a"), ["runs/a", "No space left on device"], 1),
        (PermissionError(13, "Permission denied", "x"), ["x: Permission denied"], 1),
        (OSError("the disk is gone"), ["the disk is gone"], 1),
        (DataError("first\n  second"), ["first second"], 1),
        (ConfigError("a setting"), ["a setting"], 2),
        (ZeroDivisionError("division by zero"), ["unexpected ZeroDivisionError", "--debug"], 1),
    ],
)
def test_any_error_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, parts: list[str], code: int
) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(dlcore.data, "load", load)
    line = error_of(capsys, "train", code=code)
    for part in parts:
        assert part in line


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--debug", "--config", "missing.toml"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("Traceback (most recent call last):")
    assert "ConfigError: missing.toml" in error


def test_ctrl_c_is_one_line_and_exit_code_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dlcore.data, "load", load)
    assert main(["train"]) == 130
    assert capsys.readouterr().err == "dlcore: interrupted\n"


def test_a_warning_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import warnings

    def warn() -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("an NVIDIA GPU is present\nbut cannot be used", stacklevel=1)
        return True

    monkeypatch.setattr("dlcore.cli.commands.doctor._devices", warn)
    assert main(["doctor"]) == 0
    assert capsys.readouterr().err == "dlcore: warning: an NVIDIA GPU is present but cannot be used\n"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes close in another way there")
def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "dlcore", "doctor"]
    result = subprocess.run(words, env=ENVIRONMENT, stdout=write, stderr=subprocess.PIPE, timeout=60)
    os.close(write)
    assert (result.returncode, result.stderr) == (1, b"")


def test_a_terminal_without_the_letters_gets_others(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert main(["train", "--data", "digits", "--model", "linear", "--epochs", "1", "--device", "cpu"]) == 0
    assert b"images of 8 ? 8 ? 1" in raw.getvalue()


def test_a_flag_that_is_not_given_is_not_passed_on() -> None:
    _, bound, _ = app.parse_args(["train", "--seed", "0"], print_error=False, exit_on_error=False)
    assert bound.kwargs == {"seed": 0}
