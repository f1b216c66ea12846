"""``dlcore train`` with several heads, and from another run's weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import output_of

from dlcore.cli import main
from dlcore.train.checkpoint.arrays import read_weights

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
    assert "cross_entropy of species + 0.5 binary_cross_entropy of sex + mse of standardised body_mass" in said
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
    page = Path("runs/multi/report.html").read_text(encoding="utf-8").lower()
    for figure in ("loss", "species accuracy", "sex accuracy", "body mass r²"):
        assert f"{figure} over the epochs" in page


def test_columns_of_ones_own_table_are_heads_though_cells_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """kind, size and grade follow from a; every third row lacks its kind, every second its size, the first all."""
    rows = ["a,kind,size,grade", "0,,NA,"]
    for i, a in enumerate(np.random.default_rng(0).normal(size=150)):
        kind, size = "small" if a < 0 else "big", f"{2 * a:.3f}"
        rows.append(f"{a:.3f},{'' if i % 3 == 0 else kind},{'' if i % 2 == 0 else size},{int(a > 0.5) + 1}")
    Path("own.csv").write_text("\n".join(rows))
    heads = ("--heads", "kind", "size", "grade", "--categorical", "grade", "--loss-weights", "size=0.5")
    how = ("--data", "own.csv", "--device", "cpu", "--epochs", "20", "--baseline", "none")
    said = output_of(capsys, "train", *how, *heads, "--name", "own")
    assert "150 rows, 1 without a target left out; kind, size, grade are predicted from 1 number" in said
    assert "grade (2 classes)" in said
    assert "cross_entropy of kind + 0.5 mse of standardised size + cross_entropy of grade" in said
    figures = json.loads(output_of(capsys, "evaluate", "own", "--device", "cpu", "--json"))["figures"]
    assert min(figures["kind_accuracy"], figures["size_r2"], figures["grade_accuracy"]) > 0.9
    Path("new.csv").write_text("a\n1.5\n")
    (line,) = output_of(capsys, "predict", "own", "new.csv", "--device", "cpu", "--json").splitlines()
    found = json.loads(line)["heads"]
    assert (found["kind"]["prediction"], found["grade"]["prediction"]) == ("big", "2")
    assert found["size"]["prediction"] == pytest.approx(3, abs=0.3)

    dev = json.loads(Path("runs/own/result.json").read_text())["parts"]["dev"]
    labels = dev["labels"]
    assert 0 < labels["size_r2"] < labels["grade_accuracy"] == dev["examples"] == 30
    variance = json.loads(output_of(capsys, "diagnose", "own", "--json"))["variance"]
    assert variance["examples"]["dev"] == labels["kind_accuracy"] < 30
    (_, listed) = output_of(capsys, "runs", "list").splitlines()
    assert f"kind_accuracy {figures['kind_accuracy']:.4f}, size_r2 {figures['size_r2']:.4f}" in listed
    shutil.copytree("runs/own", "runs/twin")
    assert "choice: own, with loss" in output_of(capsys, "runs", "compare", "own", "twin")
    assert "gradcheck: passed" in output_of(capsys, "gradcheck", "own")
    said = output_of(capsys, "parity", "own", "--devices", "cpu", "cpu-reference")
    assert "loss cross_entropy of kind + 0.5 mse of standardised size + cross_entropy of grade" in said
    assert "cpu-reference within tolerance of cpu in every layer" in said


def rarely_labelled() -> None:
    """kind in every row, rare in the first two of 60, one in the eighth alone, dev as kind."""
    rows = ["a,kind,rare,one,dev"]
    rows += [
        f"{a:.3f},{'xy'[i % 2]},{'pq'[i % 2] if i < 2 else ''},{0.5 if i == 7 else ''},{'xy'[i % 2]}"
        for i, a in enumerate(np.random.default_rng(0).normal(size=60))
    ]
    Path("own.csv").write_text("\n".join(rows))


def test_what_no_example_has_a_label_for_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    rarely_labelled()
    how = ("--data", "own.csv", "--ignore", "one", "dev", "--device", "cpu", "--epochs", "1", "--baseline", "none")
    output_of(capsys, "train", *how, "--heads", "kind", "rare", "--name", "own", "--split-seed", "2")
    result = json.loads(Path("runs/own/result.json").read_text(), parse_constant=refuse)
    assert result["test"]["mlp"]["rare_accuracy"] is None
    assert result["parts"]["dev"]["labels"]["rare_accuracy"] == 0
    found = json.loads(output_of(capsys, "evaluate", "own", "--json"), parse_constant=refuse)["figures"]
    assert found["rare_accuracy"] is None
    assert "1 - kind_accuracy" in output_of(capsys, "diagnose", "own")
    assert "kind_accuracy" in output_of(capsys, "runs", "list")


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        (("kind", "one"), "column one is missing in every row of the training set"),
        (("kind", "dev"), "a head is called 'dev', but so begin the figures of the development set"),
    ],
)
def test_heads_of_which_nothing_can_be_learnt_or_told_are_refused(
    heads: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rarely_labelled()
    others = {"kind", "rare", "one", "dev"} - set(heads)
    split = ("--split-seed", "1")
    assert main(["train", "--data", "own.csv", "--heads", *heads, "--ignore", *others, "--device", "cpu", *split]) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not Path("runs").exists()


def test_a_search_goes_by_the_loss_of_all_heads(capsys: pytest.CaptureFixture[str]) -> None:
    heads = ("--heads", "sex", "species", "--epochs", "2", "--device", "cpu", "--name", "t")
    said = output_of(capsys, "tune", "--data", "penguins", *heads, "--search", "lr=log:1e-3:1e-2", "--trials", "2")
    assert "with dev_loss" in said
    assert "best: trial " in said
    assert "--heads sex species" in said
    assert main(["tune", "--data", "penguins", *heads, "--search", "lr=log:1e-3:1e-2", "--metric", "dev_accuracy"]) == 2
    assert "a run records dev_loss, dev_sex_accuracy, dev_species_accuracy" in capsys.readouterr().err


def test_weights_of_other_characters_are_not_taken_for_those_of_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.txt").write_text("abcab cba bcabc " * 100)
    Path("b.txt").write_text("abxab xba bxabx " * 100)  # as many
    how = ("--device", "cpu", "--hidden", "8", "--epochs", "1", "--batch-size", "4", "--window", "8", "--name")
    output_of(capsys, "train", "--data", "a.txt", *how, "a")
    assert main(["train", "--data", "b.txt", *how, "b", "--from", "a"]) == 2
    assert "a has learnt other characters" in capsys.readouterr().err
    said = output_of(capsys, "train", "--data", "b.txt", *how, "b", "--from", "a", "--anew", "embed", "out")
    assert "embed.w, out.1.w, out.1.b anew" in said


def test_outputs_of_other_classes_are_said_where_they_are_taken_over(capsys: pytest.CaptureFixture[str]) -> None:
    how = ("--device", "cpu", "--hidden", "8", "--epochs", "1", "--baseline", "none", "--name")
    for name, words in (("a", ("cat", "dog")), ("b", ("sun", "rain"))):
        Path(f"{name}.csv").write_text("x,y\n" + "".join(f"{i},{words[i % 2]}\n" for i in range(20)))
    output_of(capsys, "train", "--data", "a.csv", *how, "a")
    assert "all of it; the outputs too, which were of cat, dog" in output_of(
        capsys, "train", "--data", "b.csv", *how, "b", "--from", "runs/a/model.safetensors"
    )
    assert "outputs too" not in output_of(capsys, "train", "--data", "b.csv", *how, "c", "--from", "a", "--anew", "3")


def test_a_run_without_weights_is_no_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    how = ("--data", "digits", "--device", "cpu", "--baseline", "none", "--name")
    output_of(capsys, "train", *how, "near", "--model", "knn")
    assert main(["train", *how, "new", "--model", "mlp", "--from", "near"]) == 1
    assert "near: the run is finished and has no weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*PENGUINS, "--heads", "specis"), "no target 'specis'"),
        ((*PENGUINS, "--heads", "sex", "--target", "sex"), "target and heads came together"),
        (("train", "--data", "hamlet", "--heads", "a"), "but data is 'hamlet'; leave it out"),
        ((*DIGITS, "--heads", "a"), "heads is for a table and for penguins, but data is 'digits'"),
        ((*PENGUINS, "--heads", "sex", "species", "--model", "knn"), "knn is for one target"),
        ((*PENGUINS, "--heads", "sex", "--loss-weights", "mass=1"), "--loss-weights has mass, but the heads are sex"),
        ((*DIGITS, "--lr-scale", "3"), "--lr-scale has '3' but NAME=NUMBER"),
        ((*DIGITS, "--anew", "3"), "--anew goes with --from"),
        ((*DIGITS, "--from", "nosuch"), "nosuch: no run is there"),
        ((*DIGITS, "--freeze", "1", "3.*"), "freeze: 1, 3.* leaves nothing that learns"),
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
