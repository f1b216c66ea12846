"""``dlcore train`` with several heads, and from another run's weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import output_of

from dlcore.cli import main
from dlcore.train.checkpoint import read_weights

DIGITS = ("train", "--data", "digits", "--model", "mlp", "--hidden", "8", "--device", "cpu", "--baseline", "none")
PENGUINS = ("train", "--data", "penguins", "--device", "cpu")


def test_a_run_begins_with_another_ones_weights_of_which_some_are_frozen(capsys: pytest.CaptureFixture[str]) -> None:
    output_of(capsys, *DIGITS, "--epochs", "1", "--name", "old")
    said = output_of(capsys, *DIGITS, "--epochs", "1", "--name", "new", "--from", "old", "--freeze", "1", "--seed", "5")
    assert "all of it; frozen 1.w, 1.b" in said
    old, new = (read_weights(f"runs/{name}/model.safetensors") for name in ("old", "new"))
    np.testing.assert_array_equal(new["1.w"], old["1.w"])
    assert (new["3.w"] != old["3.w"]).any()
    assert "start_from" in Path("runs/new/config.toml").read_text()
    before = [json.loads(line)["dev_loss"] for line in Path("runs/old/metrics.jsonl").read_text().splitlines()]
    after = [json.loads(line)["dev_loss"] for line in Path("runs/new/metrics.jsonl").read_text().splitlines()]
    assert after[0] < before[0]


def test_a_resumed_transfer_needs_its_source_no_more_and_stays_frozen(capsys: pytest.CaptureFixture[str]) -> None:
    output_of(capsys, *DIGITS, "--epochs", "1", "--name", "old")
    how = ("--from", "runs/old/model.safetensors", "--freeze", "1", "--schedule", "constant")
    output_of(capsys, *DIGITS, "--epochs", "1", "--name", "new", *how)
    frozen = read_weights("runs/old/model.safetensors")["1.w"]
    Path("runs/old/model.safetensors").unlink()
    output_of(capsys, "train", "--resume", "new", "--epochs", "2")
    np.testing.assert_array_equal(read_weights("runs/new/model.safetensors")["1.w"], frozen)


def test_several_heads_are_trained_evaluated_and_predicted(capsys: pytest.CaptureFixture[str]) -> None:
    heads = ("--heads", "species", "sex", "body_mass", "--loss-weights", "sex=0.5")
    said = output_of(capsys, *PENGUINS, *heads, "--epochs", "30", "--name", "multi")
    assert "species (3 classes), sex (2 classes, 6 missing), body_mass (a number)" in said
    assert "cross_entropy of species + 0.5 binary_cross_entropy of sex + mse of body_mass" in said
    figures = json.loads(output_of(capsys, "evaluate", "multi", "--device", "cpu", "--json"))["figures"]
    assert set(figures) == {"loss", "species_accuracy", "sex_accuracy", "body_mass_r2"}
    assert figures["species_accuracy"] > 0.9
    assert figures == json.loads(Path("runs/multi/result.json").read_text())["test"]["mlp"]
    Path("new.csv").write_text("bill_length,bill_depth,flipper_length\n39.1,18.7,181\n")
    (line,) = output_of(capsys, "predict", "multi", "new.csv", "--device", "cpu", "--json").splitlines()
    found = json.loads(line)["heads"]
    assert found["species"]["prediction"] == "Adelie"
    assert found["sex"]["prediction"] in ("female", "male")
    assert 3 < found["body_mass"]["prediction"] < 5
    assert "species: Adelie" in output_of(capsys, "predict", "multi", "new.csv", "--device", "cpu")
    assert "species accuracy" in Path("runs/multi/report.html").read_text(encoding="utf-8").lower()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*PENGUINS, "--heads", "specis"), "no target 'specis'"),
        ((*PENGUINS, "--heads", "sex", "--target", "sex"), "target and heads came together"),
        ((*DIGITS, "--heads", "a"), "heads is for data with several targets"),
        ((*PENGUINS, "--heads", "sex", "species", "--model", "knn"), "knn is for one target"),
        ((*PENGUINS, "--heads", "sex", "--loss-weights", "mass=1"), "loss_weights has mass, but the heads are sex"),
        ((*DIGITS, "--lr-scale", "3"), "lr_scale has '3' but NAME=NUMBER"),
        ((*DIGITS, "--anew", "3"), "anew goes with start_from"),
        ((*DIGITS, "--from", "nosuch"), "nosuch: no run is there"),
        ((*DIGITS, "--freeze", "9"), "freeze: '9' matches no parameter"),
        (("train", "--data", "digits", "--model", "knn", "--freeze", "1"), "freeze is for models with weights"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(Path().glob("runs/*/config.toml"))
