"""Runs side by side: their figures, the choice among them, what is refused, and the picture."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import on_a_terminal
from PIL import Image

import dlcore as dl
from dlcore.cli import main
from dlcore.metrics import SelectionPolicy
from dlcore.report.comparison import DASHES, PALETTE, comparison
from dlcore.train.runs.run import Run

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ("train", "--data", "digits", "--device", "cpu", "--baseline", "none", "--model")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs of the same data, and one of another split."""
    folder = tmp_path_factory.mktemp("trained")
    for name, *words in (
        ("small", "mlp", "--hidden", "4", "--epochs", "2"),
        ("large", "mlp", "--hidden", "64", "--epochs", "5", "--patience", "5"),
        ("other", "logistic", "--epochs", "1", "--split-seed", "7"),
    ):
        assert main([*TRAIN, *words, "--name", name, "--runs", str(folder / "runs")]) == 0
    return folder / "runs"


@pytest.fixture(autouse=True)
def runs(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "runs")
    return tmp_path / "runs"


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> list[str]:
    capsys.readouterr()
    assert main(["runs", *words]) == code
    return capsys.readouterr().out.splitlines()


def refused(capsys: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    capsys.readouterr()
    assert main(["runs", *words]) == code
    (line,) = capsys.readouterr().err.splitlines()
    return line


# --- the figures of real runs


def test_the_figures_of_a_run_are_those_of_its_model_on_the_development_set(runs: Path) -> None:
    run = Run(runs / "large")
    figures = run.figures
    assert set(figures) == {
        "accuracy", "loss", "ms_per_image", "train_accuracy", "train_loss", "parameters", "epochs", "seconds",
    }  # fmt: skip
    data = run.settings.data.load()
    model = run.model(dl.device("cpu"))[0]
    right = model.eval()(data.dev.x).numpy().argmax(axis=1) == data.dev.y
    assert figures["accuracy"] == pytest.approx(np.mean(right))
    assert figures["parameters"] == 64 * 64 + 64 + 64 * 10 + 10
    assert figures["epochs"] == 5
    assert figures["ms_per_image"] > 0


def test_those_of_an_unfinished_run_are_of_its_last_epoch(runs: Path) -> None:
    (runs / "small/result.json").unlink()
    run = Run(runs / "small")
    last = run.records()[-1]
    assert run.figures == {"accuracy": last["dev_accuracy"], "loss": last["dev_loss"], "epochs": 2}
    (runs / "small/metrics.jsonl").unlink()
    assert run.figures == {"epochs": 0}


def test_a_policy_takes_runs_as_they_are(runs: Path) -> None:
    both = [Run(runs / "small"), Run(runs / "large")]
    assert SelectionPolicy("accuracy").choose(both) is both[1]
    policy = SelectionPolicy("accuracy", {"parameters": ("<", 1000)})
    assert policy.choose(both) is both[0]
    assert policy.reasons(both) == {"large": "parameters is 4810, not < 1000"}


# --- the choice


def test_the_best_is_chosen_and_conditions_are_met(capsys: pytest.CaptureFixture[str]) -> None:
    head, small, large, choice = said(capsys, "compare", "small", "runs/large")
    assert head.split() == ["run", "model", "accuracy", "loss", "ms_per_image", "parameters", "epochs", "seconds"]
    assert small.split()[:3] == ["small", "mlp", f"{Run('runs/small').figures['accuracy']:.4f}"]
    assert large.split()[-1] == "chosen"
    assert choice.startswith("choice: large, with accuracy 0.")
    assert choice.endswith(", the best of 2")
    assert "choice: small" in said(capsys, "compare", "small", "large", "--optimize", "parameters")[-1]

    limits = ("--satisfice", "parameters<=1000", "--satisfice", "epochs<5")
    lines = said(capsys, "compare", "small", "large", *limits)
    assert lines[2].endswith("parameters is 4810, not <= 1000, epochs is 5, not < 5")
    assert re.fullmatch(
        r"choice: small, with accuracy 0\.\d{4}, the only one that satisfies parameters <= 1000, epochs < 5", lines[-1]
    )


def test_where_none_satisfies_the_reasons_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("compare", "small", "large", "--satisfice", "parameters<5")
    lines = said(capsys, *words, code=1)
    assert lines[-3:] == [
        "choice: none satisfies parameters < 5",
        "  small: parameters is 310, not < 5",
        "  large: parameters is 4810, not < 5",
    ]
    found = json.loads("\n".join(said(capsys, *words, "--json", code=1)))
    assert found["chosen"] is None
    assert set(found["reasons"]) == {"small", "large"}


def test_json_has_every_digit(capsys: pytest.CaptureFixture[str], runs: Path) -> None:
    found = json.loads("\n".join(said(capsys, "compare", "small", "large", "--json", "--satisfice", "epochs>=1")))
    assert (found["optimize"], found["chosen"], found["satisfice"]) == ("accuracy", "large", {"epochs": [">=", 1.0]})
    assert [one["figures"] for one in found["runs"]] == [Run(runs / name).figures for name in ("small", "large")]


def test_all_runs_of_a_folder_are_compared_where_none_is_named(capsys: pytest.CaptureFixture[str], runs: Path) -> None:
    shutil.rmtree(runs / "other")
    assert [line.split()[0] for line in said(capsys, "compare")] == ["run", "small", "large", "choice:"]
    shutil.copytree(runs / "small", "elsewhere/small")
    lines = said(capsys, "compare", "small", "elsewhere/small")
    assert [line.split()[0] for line in lines[1:3]] == ["runs/small", "elsewhere/small"]


def test_runs_of_several_heads_are_listed_and_chosen_by_their_loss(capsys: pytest.CaptureFixture[str]) -> None:
    train = ("train", "--data", "penguins", "--heads", "species", "sex", "--device", "cpu", "--baseline", "none")
    for name, epochs in (("short", "1"), ("long", "8")):
        assert main([*train, "--epochs", epochs, "--name", name, "--runs", "heads"]) == 0
    loss, result = Run("heads/long").figures["loss"], json.loads(Path("heads/long/result.json").read_text())
    share = result["test"]["mlp"]["species_accuracy"]
    assert f"choice: long, with loss {loss:.4f}, the best of 2" in said(capsys, "compare", "--runs", "heads")
    assert f"species_accuracy {share:.4f}, sex_accuracy" in " ".join(said(capsys, "list", "heads"))


# --- what is refused


def test_runs_of_other_data_are_refused_by_their_fingerprints(capsys: pytest.CaptureFixture[str], runs: Path) -> None:
    line = refused(capsys, "compare", "small", "other")
    assert "other was measured on another development set than small, by their fingerprints (" in line
    known = json.loads((runs / "small/model.json").read_text())
    del known["about"]["fingerprints"]
    (runs / "small/model.json").write_text(json.dumps(known))
    assert "small does not say which data it is of" in refused(capsys, "compare", "small", "large")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("small",), "one run came, runs/small, but at least two"),
        (("small", "runs/small"), "came twice"),
        (("small", "large", "--optimize", "acuracy"), "did you mean accuracy?"),
        (("small", "large", "--satisfice", "ms_per_imag<=5"), "did you mean ms_per_image?"),
        (("small", "large", "--satisfice", "loss"), "a figure and its limit"),
        (("small", "large", "--satisfice", "loss<1", "--satisfice", "loss>0"), "loss twice"),
        (("small", "large", "--picture", "both.jpg"), "ends in .png"),
    ],
)
def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str) -> None:
    assert said in refused(capsys, "compare", *words)


def test_a_run_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no run is there" in refused(capsys, "compare", "small", "larg", code=1)


def test_an_empty_folder_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    for words in (("compare", "--runs", "empty"), ("list", "empty"), ("list", "--runs", "empty")):
        assert said(capsys, *words) == ["no runs in empty; dlcore train makes one"]
    assert said(capsys, "compare", "--runs", "empty", "--json") == ["[]"]
    assert "a file, but the folder" in refused(capsys, "compare", "--runs", "runs/small/config.toml")
    assert "a file, but the folder" in refused(capsys, "list", "runs/small/config.toml")


# --- how it is shown


def test_the_list_takes_a_folder(capsys: pytest.CaptureFixture[str], runs: Path) -> None:
    runs.rename("kept")
    assert [line.split()[0] for line in said(capsys, "list", "kept")] == ["run", "small", "large", "other"]
    assert said(capsys, "list", "kept", "--json") == said(capsys, "list", "--runs", "kept", "--json")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_terminal_gets_a_ruled_table_that_breaks_no_number() -> None:
    text = on_a_terminal("runs", "compare", "small", "large", columns=90)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "────" in plain
    assert "ms_per_image" not in plain  # its heading may break between the words
    for figure in (f"{Run('runs/large').figures['accuracy']:.4f}", "4,810", "chosen"):
        assert figure in plain
    assert max(map(len, plain.splitlines())) <= 90


@pytest.mark.draws
def test_the_picture_has_a_line_for_each_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "compare", "small", "large", "--picture", "new/both.png")[-1] == "picture: new/both.png"
    with Image.open("new/both.png") as picture:
        width, height = picture.size
    assert width > 1500 > height

    runs = {name: Run(f"runs/{name}").records() for name in ("small", "large")}
    drawn = comparison(runs, "accuracy")
    left, right = drawn.axes
    assert [axes.get_title(loc="left") for axes in (left, right)] == [
        "Loss, development set", "Accuracy, development set",
    ]  # fmt: skip
    for axes, name in ((left, "loss"), (right, "accuracy")):
        lines = {line.get_label(): line for line in axes.get_lines()}
        for run, records in runs.items():
            assert list(lines[run].get_ydata()) == [record[f"dev_{name}"] for record in records]
            assert list(lines[run].get_xdata()) == [record["epoch"] + 1 for record in records]
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["small", "large"]
    many = comparison({f"run {i}": runs["small"] for i in range(9)}, "ms_per_image").axes[1]
    looks = {(line.get_color(), str(line.get_linestyle())) for line in many.get_lines()}
    assert many.get_title(loc="left") == "Accuracy, development set"  # what is no curve is not drawn
    assert len(looks) == 9 <= len(PALETTE) * len(DASHES)
