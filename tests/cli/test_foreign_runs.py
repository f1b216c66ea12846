"""Runs from somebody else: no command runs their code before it is trusted, and ``--trust`` is asked for once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import refused, said

from dlcore.cli import main
from dlcore.train.checkpoint.trust import is_trusting

OWN = "from dlcore import nn\n\ndef build(outputs):\n    return nn.Sequential(nn.Flatten(), nn.Dense(outputs))\n"
BRIEF = ("--baseline", "none", "--device", "cpu", "--epochs", "1")


@pytest.fixture
def table() -> str:
    Path("t.csv").write_text("a,b,k\n" + "".join(f"{i % 7},{i % 5},{'uv'[i % 2]}\n" for i in range(60)))
    Path("own.py").write_text(OWN)
    return "t.csv"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DLCORE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_every_command_on_a_run_with_code_asks_once(
    table: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "train", "--data", table, "--model", "own.py:build", "--name", "a", *BRIEF)
    commands = {
        "evaluate": ("evaluate", "a"), "predict": ("predict", "a", table), "gradcheck": ("gradcheck", "a"),
        "resume": ("train", "--resume", "a", "--epochs", "2"),
    }  # fmt: skip
    said(capsys, *commands["evaluate"])  # what was trained here is known
    shutil.copytree("runs/a", "kept")
    for name, words in commands.items():
        shutil.rmtree("runs/a")
        shutil.copytree("kept", "runs/a")
        (Path("runs/a") / "result.json").unlink()
        with open("runs/a/model.py", "a") as file:
            file.write(f"\nimport pathlib; pathlib.Path({name!r}).touch()\n")
        line = refused(capsys, *words, code=1)
        assert "model.py is code" in line
        assert all(way in line for way in ("--trust", "trust=True", "DLCORE_TRUST=1"))
        assert not Path(name).exists()
        assert main([*words, "--trust"]) == 0
        assert Path(name).exists()
        assert not is_trusting()  # it was of that command alone
        if name == "evaluate":
            assert main(words) == 0
        capsys.readouterr()


def test_settings_of_a_run_that_name_a_file_run_it_only_where_it_is_known(
    table: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "train", "--data", table, "--model", "logistic", "--name", "a", *BRIEF)
    Path("runs/a/evil.py").write_text(f"import pathlib; pathlib.Path('ran').touch()\n{OWN}")
    settings = Path("runs/a/config.toml")
    settings.write_text(settings.read_text().replace('model = "logistic"', 'model = "runs/a/evil.py:build"'))
    for file in (
        "result.json",
        "model.safetensors",
        *(path.relative_to("runs/a") for path in Path("runs/a").glob("*/*")),
    ):
        Path("runs/a", file).unlink()
    for words in (
        ("train", "--resume", "a"), ("train", "--config", str(settings), "--name", "b"),
        ("tune", "--config", str(settings), "--search", "lr=0.1,0.2", "--name", "c"),
    ):  # fmt: skip
        assert "is code" in refused(capsys, *words, code=1).splitlines()[-1]
    assert not Path("ran").exists()
    assert not (Path("runs/b")).exists()
    said(capsys, "train", "--config", str(settings), "--name", "b", "--trust")
    assert Path("ran").exists()


def test_a_module_in_the_working_folder_is_not_imported_for_a_run(
    table: str, elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said(capsys, "train", "--data", table, "--model", "logistic", "--name", "a", *BRIEF)
    monkeypatch.syspath_prepend(".")
    Path("payload_of_a.py").write_text("open('ran', 'w').close()\nfrom dlcore import nn\nclass X(nn.Flatten): pass\n")
    shutil.copy("payload_of_a.py", "runs/a/payload_of_a.py")
    for name in ("payload_of_a:X", "runs.a.payload_of_a:X"):
        content = json.loads(Path("runs/a/model.json").read_text())
        content["model"]["arguments"]["layers"]["tuple"][0]["layer"] = name
        Path("runs/a/model.json").write_text(json.dumps(content))
        for words in (("evaluate", "a"), ("predict", "a", table)):
            assert "is code" in refused(capsys, *words, code=1)
    assert not Path("ran").exists()


COMMANDS = ("train", "tune", "evaluate", "predict", "generate", "diagnose", "gradcheck", "parity")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_the_boundary(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join("\n".join(said(capsys, command, "--help")).split())
    assert "--trust" in text
    assert "somebody else" in text


def test_what_is_no_journal_is_refused_as_it_is(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("tune", "--data", "cars", "--model", "linear", *BRIEF[2:], "--search", "lr=0.1,0.2", "--name", "t")
    for n, text in enumerate(["all in one line", "[1]\n", '{"mine": 1}\n', '{"op_code":0}\nand a last line']):
        folder = Path(f"runs/t{n}")
        folder.mkdir(parents=True)
        (folder / "tune.log").write_text(text)
        assert "journal" in refused(capsys, *words[:-1], folder.name, code=1)
        assert (folder / "tune.log").read_text() == text
