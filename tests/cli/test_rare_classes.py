"""Rare classes on the command line: shares, what is never predicted, the positive class, and weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import output_of, refused, said
from sklearn.metrics import f1_score, precision_score, recall_score

import dlcore as dl
from dlcore.cli.texts import about_data, about_positive
from dlcore.train.config.config import Config
from dlcore.train.runs.run import Run

SHORT = ("--epochs", "3", "--baseline", "none", "--device", "cpu")


@pytest.fixture
def table() -> str:
    """Two classes, of which the second is 3 % and hardly differs from the first."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(600, 2)), np.arange(600) % 33 == 5
    rows = (f"{a:.3f},{b:.3f},{'sick' if ill else 'fit'}" for (a, b), ill in zip(x + 0.3 * y[:, None], y, strict=True))
    Path("t.csv").write_text("a,b,state\n" + "\n".join(rows) + "\n")
    return "t.csv"


@pytest.fixture
def clear() -> str:
    """Two classes that the first column tells, with some noise; the second in order is 20 %."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 2))
    y = np.where(x[:, 0] + rng.normal(0, 0.5, 400) > 0.9, "yes", "no")
    Path("c.csv").write_text("a,b,y\n" + "".join(f"{a:.4f},{b:.4f},{t}\n" for (a, b), t in zip(x, y, strict=True)))
    return "c.csv"


def figures(name: str) -> dict[str, float]:
    result = Run(f"runs/{name}").result
    assert result is not None
    return result["test"]["mlp"]


# --- counts and shares


def by_class(lines: list[str]) -> list[str]:
    return [line.strip() for line in lines if "classes in the training set" in line]


def test_the_counts_and_shares_of_two_classes_are_printed(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = by_class(said(capsys, "train", "--data", table, *SHORT, "--name", "a"))
    assert line == "classes in the training set: fit: 349 (96.9 %), sick: 11 (3.06 %)"
    assert "sick: 11 (3.06 %)" in Path("runs/a/report.html").read_text()


def test_of_ten_classes_the_counts_and_the_range_of_the_shares_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    first, second, *_ = said(capsys, "train", "--data", "digits", "--model", "logistic", *SHORT)[3:]
    assert "classes in the training set: 0: 107, 1: 109, " in first
    assert (first + second).count(":") == 11
    assert second.count("%") == 2
    assert max(map(len, (first, second))) <= 80


def test_the_counts_of_heads_are_printed_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    lines = by_class(said(capsys, "train", "--data", "penguins", "--heads", "sex", "body_mass", "species", *SHORT))
    assert [("sex" in line, "species" in line) for line in lines] == [(True, False), (False, True)]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([3, 1], "c00: 3 (75 %), c01: 1 (25 %)"),
        ([2] * 9, "c00, c01, c02, c03, c04, c05, c06, c07, c08: 2 each (11.1 %)"),
        ([5] * 40, "5 each (2.5 %)"),
        ([1] + [9] * 11, "c10: 9, c11: 9; 1 % to 9 %"),
        ([2] + [4] * 11 + [4] * 9 + [18], "from c00: 2 (2 %) to c21: 18 (18 %)"),
    ],
)
def test_the_line_of_the_classes_is_short_for_any_number_of_them(counts: list[int], expected: str) -> None:
    y = np.repeat(np.arange(len(counts)), counts)
    part = dl.data.Dataset(np.zeros((len(y), 2), np.float32), y)
    names = tuple(f"c{i:02}" for i in range(len(counts)))
    data = dl.data.Splits(train=part, dev=part, test=part, name="t", task="classification", classes=names)
    lines = about_data(data).splitlines()[2:]
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines).split()).endswith(expected)


# --- what is never predicted


def test_a_class_that_is_never_predicted_is_named_last_with_a_remedy(
    table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(capsys, "train", "--data", table, *SHORT, "--name", "a")
    for shown in (lines, said(capsys, "diagnose", "a"), said(capsys, "evaluate", "a")):
        assert "never predicted" in shown[-1]
        assert "sick" in shown[-1]
        assert "where a class is rare, try --class-weight balanced" in shown[-1]
    assert "never predicted" in Path("runs/a/report.html").read_text()
    shown = json.loads(output_of(capsys, "diagnose", "a", "--json"))
    assert shown["parts"]["dev"]["never_predicted"] == {"": {"sick": 4}}
    assert json.loads(output_of(capsys, "evaluate", "a", "--json"))["never_predicted"][""].keys() == {"sick"}


def test_nearest_neighbours_that_never_predict_a_class_say_so(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "train", "--data", table, "--model", "knn", "--neighbors", "45", "--baseline", "none")
    assert "never predicted" in lines[-1]
    assert "sick" in lines[-1]


def test_a_head_that_never_predicts_a_class_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(2)
    rows = (
        f"{a:.3f},{'no' if i % 30 else 'yes'},{'red' if a > 0 else 'blue'}" for i, a in enumerate(rng.normal(size=300))
    )
    Path("h.csv").write_text("a,rare,hue\n" + "\n".join(rows) + "\n")
    lines = said(capsys, "train", "--data", "h.csv", "--heads", "rare", "hue", *SHORT)
    (line,) = [line for line in lines if "never predicted" in line]
    assert "rare yes" in line


def test_a_model_that_predicts_every_class_says_nothing_of_it(clear: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--epochs", "8", "--baseline", "none", "--name", "a")
    assert not any("never" in line for line in said(capsys, "train", "--data", clear, *words))
    assert not any("never" in line for line in said(capsys, "diagnose", "a"))


def test_balanced_weights_let_a_rare_class_be_predicted(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "train", "--data", table, *SHORT, "--class-weight", "balanced")
    assert not any("never" in line for line in lines)


# --- the positive class


@pytest.mark.parametrize(("positive", "label"), [(None, "yes"), ("no", "no"), ("yes", "yes")])
def test_recall_precision_and_f1_are_those_of_the_positive_class(
    positive: str | None, label: str, clear: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("recall", "precision", "f1", "macro_recall", "macro_f1")
    flag = () if positive is None else ("--positive", positive)
    lines = said(capsys, "train", "--data", clear, *SHORT, "--metrics", *names, *flag, "--name", "a")
    assert any(line.startswith("metrics:") and f"of {label}" in line for line in lines)

    run = Run("runs/a")
    data: Any = run.settings.data.load()
    model, about, _ = run.model("cpu")
    scores = dl.Trainer(model, device="cpu").predict(data.test.x)
    predicted, y = scores.argmax(1) if scores.shape[1] > 1 else scores[:, 0] > 0, np.ravel(data.test.y)
    number = int(label == "yes")
    for name, score in (("recall", recall_score), ("precision", precision_score), ("f1", f1_score)):
        assert figures("a")[name] == pytest.approx(score(y, predicted, pos_label=number, average="binary"))
    assert figures("a")["macro_recall"] == pytest.approx(recall_score(y, predicted, average="macro"))
    assert figures("a")["macro_f1"] == pytest.approx(f1_score(y, predicted, average="macro"))
    assert about["positive"] == label

    again = json.loads(output_of(capsys, "evaluate", "a", "--json"))["figures"]
    assert again == pytest.approx(figures("a"))
    assert any(f"of {label}" in line for line in said(capsys, "evaluate", "a"))


def test_a_binary_head_has_a_positive_class_and_others_have_the_mean(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--data", "penguins", "--heads", "sex", "species", "--metrics", "recall", "--positive", "female")
    lines = said(capsys, "train", *words, *SHORT, "--name", "a")
    assert any("recall of female for sex" in line for line in lines)
    assert {"sex_recall", "species_recall"} <= figures("a").keys()


def test_the_metrics_of_nearest_neighbours_are_of_the_positive_class(
    clear: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--data", clear, "--model", "knn", "--baseline", "none", "--metrics", "recall", "macro_recall")
    said(capsys, "train", *words, "--name", "a")
    said(capsys, "train", *words, "--positive", "no", "--name", "b")
    found = [Run(f"runs/{name}").result["test"]["knn"] for name in "ab"]  # type: ignore[index]
    assert found[0]["macro_recall"] == pytest.approx((found[0]["recall"] + found[1]["recall"]) / 2)


# --- weights


def test_weights_of_a_run_are_those_of_its_evaluation_and_stay_with_it(
    clear: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(capsys, "train", "--data", clear, *SHORT, "--class-weight", "yes=7", "--name", "a")
    assert any("class weight yes=7" in line for line in lines)
    _, about, _ = Run("runs/a").model("cpu")
    assert about["class_weight"] == [1.0, 7.0]
    found = json.loads(output_of(capsys, "evaluate", "a", "--json"))["figures"]
    assert found == pytest.approx(figures("a"))
    said(capsys, "train", "--config", "runs/a/config.toml", "--name", "b")
    assert figures("b") == figures("a")


def test_a_run_with_weights_goes_on_to_the_same_end(clear: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "--data",
        clear,
        "--class-weight",
        "balanced",
        "--baseline",
        "none",
        "--device",
        "cpu",
        "--schedule",
        "constant",
    )
    said(capsys, "train", *words, "--epochs", "4", "--name", "whole")
    said(capsys, "train", *words, "--epochs", "2", "--name", "parts")
    said(capsys, "train", "--resume", "parts", "--epochs", "4")
    assert figures("parts") == figures("whole")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--data", "cars", "--class-weight", "balanced"), "--class-weight is for classes"),
        (("--data", "digits", "--model", "knn", "--class-weight", "balanced"), "knn"),
        (("--data", "penguins", "--target", "sex", "--class-weight", "mail=2"), "mail"),
        (("--data", "penguins", "--target", "sex", "--class-weight", "male"), "CLASS=WEIGHT"),
        (("--data", "penguins", "--target", "sex", "--class-weight", "male=-2"), "at least 0"),
        (("--data", "penguins", "--target", "sex", "--class-weight", "male=2", "male=3"), "'male' twice"),
        (("--data", "penguins", "--heads", "sex", "species", "--loss-weights", "sex=2", "sex=3"), "'sex' twice"),
        (("--data", "digits", "--lr-scale", "0=0.1", "0=0.2"), "'0' twice"),
        (("--data", "penguins", "--heads", "sex", "species", "--class-weight", "male=2"), "balanced"),
        (("--data", "penguins", "--target", "species", "--positive", "Gentoo"), "two classes"),
        (("--data", "penguins", "--target", "sex", "--positive", "mail"), "male"),
    ],
)
def test_what_means_nothing_is_refused_in_one_line(
    words: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in refused(capsys, "train", *words, code=2)


def test_metrics_of_three_classes_are_printed_as_macro_averages() -> None:
    data = dl.data.load("penguins", target="species")
    settings = Config().override({"metrics": ("recall", "f1")}).resolve(data)
    assert about_positive(settings, data) == ["metrics: recall, f1 (macro average, the mean of the classes)"]
