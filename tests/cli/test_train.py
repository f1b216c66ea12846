"""``dlcore train``: what it prints, what it writes, and that it does what its settings say."""

from __future__ import annotations

import html
import json
import os
import re
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import on_a_terminal
from rich.console import Console

import dlcore as dl
from dlcore.cli import main
from dlcore.cli.progress import ProgressBar
from dlcore.train.callbacks.progress_lines import ProgressLines
from dlcore.train.config import config as c
from dlcore.train.runs.files import MetricsFile

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ("train", "--data", "digits", "--device", "cpu")
CARS = ("train", "--data", "cars", "--device", "cpu")


def output_of(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """The lines on stdout of a command that succeeds and says nothing on stderr."""
    code = main(words)
    captured = capsys.readouterr()
    assert (code, captured.err) == (0, "")
    return captured.out.splitlines()


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_prints_what_a_user_wants_to_know_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output_of(capsys, *DIGITS, "--epochs", "2")
    measures = r"loss \d.\d{4}  accuracy 0.\d{4}  dev loss \d.\d{4}  dev accuracy 0.\d{4}"
    expected = [
        r"device: cpu \(asked for\)",
        r"data: Handwritten digits, 1,797 images of 8 × 8, in the package",
        r"      1,078 training \+ 360 dev \+ 359 test images of 8 × 8 × 1, 10 classes",
        r"      classes in the training set: (\d: \d+, )+\d: \d+,",
        r"        (\d: \d+, )*9: \d+; 9.\d+ % to 10.\d %",
        r"model: cnn, channels 16 30, activation relu, dropout 0.5; 5,766 parameters",
        r"training: loss cross_entropy, adam with lr 0.015, schedule cosine, batches of 16, 2 epochs, seed 0",
        rf"epoch 1/2  {measures}  lr +[\d.]+  +[\d,]+ images/s",
        rf"epoch 2/2  {measures}  lr +[\d.]+  +[\d,]+ images/s",
        r"test          accuracy    loss",
        r"cnn             0.\d{4}  0.\d{4}",
        r"mlp baseline    0.\d{4}  0.\d{4}",
        r"checkpoint: runs.digits-cnn-001.model.safetensors",
        r"report: runs.digits-cnn-001.report.html",
    ]
    assert len(lines) == len(expected)
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line), line


def test_the_default_is_the_cnn_on_the_fashion_subset(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = dl.data.load("fashion-subset")
    few = dl.data.Splits(
        train=few.train[:64], dev=few.dev[:16], test=few.test[:16], name=few.name, task=few.task, classes=few.classes
    )
    asked: list[Any] = []
    monkeypatch.setattr(dl.data, "load", lambda *args, **kwargs: asked.append((args, kwargs)) or few)
    lines = output_of(capsys, "train", "--epochs", "1")
    assert asked[0][0] == ("fashion-subset", True)
    assert any(line.startswith("model: cnn, ") for line in lines)
    assert any(line.startswith("mlp baseline ") for line in lines)


def test_the_folder_holds_settings_records_weights_and_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output_of(capsys, *CARS, "--epochs", "3", "--hidden", "8", "--name", "first")
    folder = Path("runs/first")
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock", "checkpoints", "config.toml", "curves.png", "health.jsonl", "metrics.jsonl", "model.json",
        "model.safetensors", "report.html", "result.json", "timing.jsonl",
    ]  # fmt: skip

    settings = c.load(folder / "config.toml")
    assert (settings.train.epochs, settings.model.hidden, settings.optimizer.lr) == (3, (8,), 0.005)
    assert [record["epoch"] for record in records(folder)] == [0, 1, 2]
    assert list(records(folder)[0]) == ["epoch", "loss", "r2", "dev_loss", "dev_r2", "lr"]
    timing = [json.loads(line) for line in (folder / "timing.jsonl").read_text().splitlines()]
    assert list(timing[2]) == ["epoch", "seconds", "examples_per_second"]

    report = html.unescape((folder / "report.html").read_text(encoding="utf-8"))
    said = [line.partition(": ")[2] for line in lines if re.match("device|data|model|training", line)]
    for part in (*said, dl.__version__, np.__version__, 'data = "cars"', "linear baseline"):
        assert part in report
    result = json.loads((folder / "result.json").read_text())
    assert [f"{result['test']['mlp'][name]:,.4f}" for name in ("r2", "loss")] == next(
        line.split()[1:] for line in lines if line.startswith("mlp ")
    )


def test_the_checkpoint_holds_the_weights_that_were_tested(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output_of(capsys, *CARS, "--epochs", "2", "--name", "kept", "--baseline", "none")
    settings = c.load("runs/kept/config.toml")
    data = settings.data.load()
    trainer = settings.trainer(data, "cpu")
    dl.load_weights(trainer.model, "runs/kept/model.safetensors")
    tested = next(line for line in lines if line.startswith("mlp ")).split()
    assert float(tested[1]) == pytest.approx(trainer.evaluate(data.test)["r2"], abs=1e-4)  # four digits are printed


def test_a_run_repeats_from_its_own_file(capsys: pytest.CaptureFixture[str]) -> None:
    output_of(capsys, *CARS, "--epochs", "2", "--seed", "3", "--dropout", "0.2")
    output_of(capsys, "train", "--config", "runs/cars-mlp-001/config.toml", "--device", "cpu")
    first, second = (records(Path(f"runs/cars-mlp-00{i}")) for i in (1, 2))
    assert [r["dev_loss"] for r in first] == [r["dev_loss"] for r in second]
    assert (Path("runs/cars-mlp-001/config.toml").read_text()) == Path("runs/cars-mlp-002/config.toml").read_text()


def test_flags_go_before_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.toml").write_text('[data]\ndata = "cars"\n[train]\nepochs = 5\nbatch_size = 32\n')
    lines = output_of(capsys, "train", "--config", "run.toml", "--epochs", "1", "--device", "cpu")
    assert "batches of 32, 1 epoch, seed 0" in lines[4]
    assert len([line for line in lines if line.startswith("epoch")]) == 1


def test_sex_of_penguins_is_a_binary_task_beside_logistic_regression(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output_of(capsys, "train", "--data", "penguins", "--target", "sex", "--model", "mlp", "--epochs", "20")
    assert any("loss binary_cross_entropy" in line for line in lines)
    (own,) = (line.split() for line in lines if line.startswith("mlp "))
    (rival,) = (line.split() for line in lines if line.startswith("logistic baseline"))
    assert float(own[1]) > 0.8
    assert float(rival[2]) > 0.8


def test_cars_are_a_regression_beside_a_linear_one(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output_of(capsys, *CARS, "--model", "mlp")
    assert len([line for line in lines if line.startswith("epoch")]) == 40
    (own,) = (line.split() for line in lines if line.startswith("mlp "))
    (rival,) = (line.split() for line in lines if line.startswith("linear baseline"))
    assert float(own[1]) > 0.8  # R² on the test set
    assert 0.6 < float(rival[2]) < float(own[1])


def test_numbers_of_any_size_are_learnt_and_predicted_in_their_own_unit(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    area, age = rng.uniform(40, 250, 200), rng.uniform(0, 80, 200)
    price = 50_000 + 2500 * area - 1500 * age
    rows = "".join(f"{a:.1f},{b:.1f},{p:.0f}\n" for a, b, p in zip(area, age, price, strict=True))
    Path("houses.csv").write_text(f"area,age,price\n{rows}")
    words = ("--data", "houses.csv", "--target", "price", "--device", "cpu", "--name", "h")
    lines = output_of(capsys, "train", *words)
    assert any("loss mse of standardised targets" in line for line in lines)
    (own,) = (line.split() for line in lines if line.startswith("mlp "))
    assert float(own[1]) > 0.98
    assert float(own[2]) < 0.02  # about 1 − R²
    Path("new.csv").write_text("area,age\n100,20\n200,60\n")
    said = [float(line.rpartition(" ")[2].replace(",", "")) for line in output_of(capsys, "predict", "h", "new.csv")]
    np.testing.assert_allclose(said, [270_000, 460_000], rtol=0.1)
    report = Path("runs/h/report.html").read_text(encoding="utf-8")
    worst = re.search(r"<td>(\d{2,3},\d{3})</td><td>(\d{2,3},\d{3})</td><td>[+−]", report)
    assert worst is not None  # true and predicted, in the same unit
    assert float(worst[2].replace(",", "")) == pytest.approx(float(worst[1].replace(",", "")), rel=0.5)


@pytest.mark.parametrize("unit", [1e-6, 1e7])
def test_figures_of_any_size_keep_their_digits(capsys: pytest.CaptureFixture[str], unit: float) -> None:
    x = np.random.default_rng(0).normal(size=60)
    Path("t.csv").write_text("x,y\n" + "".join(f"{a:.3f},{unit * (2 + a):.6e}\n" for a in x))
    words = ("--data", "t.csv", "--model", "linear", "--metrics", "mse", "--epochs", "1", "--device", "cpu")
    lines = output_of(capsys, "train", *words, "--name", "a")
    result = json.loads(Path("runs/a/result.json").read_text(encoding="utf-8"))
    tested, developed = (f"{one['mse']:.4g}" for one in (result["test"]["linear"], result["parts"]["dev"]))
    (epoch,), (own,) = ([line for line in lines if line.startswith(word)] for word in ("epoch", "linear "))
    assert f"dev mse {developed} " in epoch
    assert own.split()[1] == tested
    (listed,) = (line for line in output_of(capsys, "runs", "list") if line.startswith("a "))
    assert f"mse {developed} " in listed
    assert f"mse {tested} " in listed
    found = output_of(capsys, "tune", *words, "--search", "lr=0.15", "--trials", "1")
    assert any(f"dev_mse {developed};" in line for line in found)


@pytest.mark.parametrize(
    ("words", "baseline"),
    [
        (["--model", "mlp"], "logistic baseline"),
        (["--model", "mlp", "--baseline", "linear"], "linear baseline"),
        (["--model", "logistic"], None),
        (["--model", "linear"], None),
        (["--baseline", "none"], None),
    ],
)
def test_the_baseline_is_the_next_simpler_model_or_the_one_asked_for(
    capsys: pytest.CaptureFixture[str], words: list[str], baseline: str | None
) -> None:
    lines = output_of(capsys, *DIGITS, "--epochs", "1", "--batch-size", "256", *words)
    found = [line for line in lines if "baseline" in line]
    assert [line.split("  ")[0] for line in found] == ([] if baseline is None else [baseline])


def test_settings_that_were_asked_for_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output_of(
        capsys, *CARS, "--epochs", "1", "--optimizer", "momentum", "--beta", "0.8", "--schedule", "staircase",
        "--warmup", "9", "--penalty", "l2", "--lam", "0.5", "--clip-norm", "1", "--patience", "2",
        "--precision", "float64",
    )  # fmt: skip
    line = next(line for line in lines if line.startswith("training: "))
    for part in (
        "momentum with lr 0.01", "schedule staircase", "warmup over 9 steps", "penalty l2 with lam 0.5",
        "clip norm 1.0", "early stopping on dev_loss with patience 2", "float64",
    ):  # fmt: skip
        assert part in line
    epoch = next(line for line in lines if line.startswith("epoch"))
    assert "  penalty " in epoch
    assert "  lr " in epoch


def test_augmentation_is_said_and_is_of_the_model_alone(capsys: pytest.CaptureFixture[str]) -> None:
    short = (*DIGITS, "--epochs", "1", "--batch-size", "128", "--baseline", "logistic")
    plain = output_of(capsys, *short)
    lines = output_of(capsys, *short, "--augment", "flip", "shift")
    assert "augmentation flip shift, batches of 128" in next(line for line in lines if line.startswith("training: "))
    tests = [[line for line in run if line.startswith(name)] for name in ("cnn", "logistic") for run in (plain, lines)]
    assert tests[0] != tests[1]
    assert tests[2] == tests[3], "the baseline has its own defaults"
    assert c.load("runs/digits-cnn-002/config.toml").train.augment == ("flip", "shift")


def test_early_stopping_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output_of(capsys, *CARS, "--lr", "0", "--patience", "2", "--baseline", "none")
    assert len([line for line in lines if line.startswith("epoch ")]) == 3
    assert "early stopping: stopped early, the weights of epoch 1 are kept" in lines


def test_a_loss_that_diverges_is_one_line_and_leaves_no_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CARS, "--optimizer", "sgd", "--lr", "1000"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "lower the learning rate" in line
    assert not Path("runs/cars-mlp-001/model.safetensors").exists()


def test_ctrl_c_in_training_says_where_the_weights_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ProgressLines.on_epoch

    def interrupt(self: ProgressLines, trainer: Any, record: dict[str, Any]) -> None:
        said(self, trainer, record)
        raise KeyboardInterrupt

    monkeypatch.setattr(ProgressLines, "on_epoch", interrupt)
    assert main([*CARS, "--name", "cut"]) == 130
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "dlcore: interrupted in epoch 1, after step 15; nothing was saved yet"
    assert Path("runs/cut/model.safetensors").exists()  # what there is, though nobody can go on from it


# The folder of a run -------------------------------------------------------------------------------------------------


def test_runs_are_numbered_and_none_is_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        output_of(capsys, *CARS, "--epochs", "1", "--baseline", "none")
    Path("runs/cars-mlp-007").mkdir()
    output_of(capsys, *CARS, "--epochs", "1", "--baseline", "none")
    assert sorted(path.name[-3:] for path in Path("runs").iterdir()) == ["001", "002", "007", "008"]


def test_a_name_in_use_is_refused_unless_overwriting(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*CARS, "--baseline", "none", "--name", "a"]
    output_of(capsys, *words, "--epochs", "2")
    Path("runs/a/notes.txt").write_text("mine")
    assert main([*words, "--epochs", "1"]) == 2
    captured = capsys.readouterr()
    assert "is there already" in captured.err
    assert "epoch 1/" not in captured.out
    assert len(records(Path("runs/a"))) == 2
    output_of(capsys, *words, "--epochs", "1", "--overwrite")
    assert len(records(Path("runs/a"))) == 1
    assert Path("runs/a/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("runs", ["a file", "a file/below"])
def test_a_folder_that_cannot_be_made_is_said_before_training(capsys: pytest.CaptureFixture[str], runs: str) -> None:
    Path("a file").touch()
    assert main([*CARS, "--runs", runs]) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert "a file" in line
    assert "cannot be made" in line
    assert "epoch 1/" not in captured.out


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission_is_said_before_training(capsys: pytest.CaptureFixture[str]) -> None:
    Path("locked").mkdir(mode=0o500)
    assert main([*CARS, "--runs", "locked"]) == 1
    assert "Permission denied" in capsys.readouterr().err


def test_figures_that_json_lacks_are_null(tmp_path: Path) -> None:
    history = dl.train.History()
    history.append({"epoch": 0, "loss": float("nan"), "dev_loss": float("inf"), "seconds": 1.5})
    trainer: Any = type("Trainer", (), {"history": history})()
    MetricsFile(tmp_path / "metrics.jsonl").on_epoch(trainer, {})
    assert records(tmp_path) == [{"epoch": 0, "loss": None, "dev_loss": None}]


# A model of one's own ------------------------------------------------------------------------------------------------

OWN = """
import helper
from dlcore import nn

def build(outputs):
    return nn.Sequential(nn.Flatten(), nn.Dense(helper.units), nn.ReLU(), nn.Dense(outputs))
"""


def test_a_model_of_ones_own_is_trained(capsys: pytest.CaptureFixture[str]) -> None:
    Path("own.py").write_text(OWN)
    Path("helper.py").write_text("units = 16\n")
    lines = output_of(capsys, *DIGITS, "--model", "own.py:build", "--epochs", "1")
    assert "model: own.py:build; 1,210 parameters" in lines
    assert any(line.startswith("mlp baseline") for line in lines)
    assert Path("runs/digits-own-001").is_dir()


# Terminals -----------------------------------------------------------------------------------------------------------


def test_off_a_terminal_there_are_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    main([*CARS, "--epochs", "3"])
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert "\r" not in output


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_on_a_terminal_a_bar_is_shown_beside_the_lines() -> None:
    text = on_a_terminal(*CARS, "--epochs", "3", columns=120)
    assert "━" in text
    assert re.search(r"epoch 3/3  loss ", text)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", text)  # no colour


def test_the_bar_counts_the_steps_of_each_epoch() -> None:
    console = Console(file=StringIO(), force_terminal=True, width=100, _environ={"TERM": "xterm"})
    bar = ProgressBar(console, "mlp baseline")
    data = dl.data.load("cars", normalize=True)
    trainer = dl.Trainer(dl.nn.Dense(1), loss="mse", device="cpu", callbacks=[bar])
    trainer.fit(data.train, epochs=2, batch_size=64)
    shown = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "mlp baseline epoch 2/2" in shown
    assert "4/4" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)


def test_columns_stay_aligned() -> None:
    said: list[str] = []
    lines = ProgressLines(said.append, "images")
    trainer: Any = type("Trainer", (), {"epochs": 10, "schedule": dl.optim.Constant()})()
    for epoch, loss in ((0, 1234.5), (9, 0.25)):
        speed = {"lr": 0.1, "seconds": 1.0, "examples_per_second": 9.6}
        lines.on_epoch(trainer, {"epoch": epoch, "loss": loss, "dev_accuracy": 0.5, **speed})
    assert said == [
        "epoch  1/10  loss 1,234.5000  dev accuracy 0.5000       10 images/s",
        "epoch 10/10  loss     0.2500  dev accuracy 0.5000       10 images/s",
    ]
