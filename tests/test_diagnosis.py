"""Bias, variance and mismatch: constructed histories, published intervals, real runs, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

import dlcore as dl
from dlcore.analysis.diagnosis import diagnose_parts
from dlcore.analysis.intervals import difference_interval, difference_of, positive_interval, wilson_interval
from dlcore.cli import main
from dlcore.experiment.measure_splits import measure_parts
from dlcore.train.config.config import Config

MANY = {"train": 20_000, "train_dev": 20_000, "dev": 20_000}


@pytest.mark.parametrize(("wrong", "n"), [(0, 10), (1, 7), (50, 100), (999, 1000), (3, 3)])
def test_wilsons_interval_is_scipys(wrong: int, n: int) -> None:
    expected = binomtest(wrong, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(wrong / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(  # Newcombe (1998), table II, method 10
    ("above", "n", "below", "m", "interval"),
    [
        (56, 70, 48, 80, (0.0524, 0.3339)), (9, 10, 3, 10, (0.1705, 0.8090)), (6, 7, 2, 7, (0.0582, 0.8062)),
        (5, 56, 0, 29, (-0.0381, 0.1926)), (0, 10, 0, 10, (-0.2775, 0.2775)), (10, 10, 0, 20, (0.6791, 1.0)),
    ],
)  # fmt: skip
def test_newcombes_interval_is_the_published_one(
    above: int, n: int, below: int, m: int, interval: tuple[float, float]
) -> None:
    assert difference_interval(above / n, n, below / m, m) == pytest.approx(interval, abs=5e-5)


@pytest.mark.parametrize(
    ("train", "train_dev", "dev", "verdicts"),
    [
        (0.80, None, 0.795, ("underfitting",)),
        (0.99, None, 0.85, ("overfitting",)),
        (0.85, None, 0.70, ("underfitting", "overfitting")),
        (0.99, 0.985, 0.85, ("mismatch",)),
        (0.99, 0.86, 0.855, ("overfitting",)),
        (0.99, None, 0.985, ("good",)),
        (0.99, 0.988, 0.985, ("good",)),
    ],
)
def test_a_known_gap_is_found(train: float, train_dev: float | None, dev: float, verdicts: tuple[str, ...]) -> None:
    record = {"accuracy": train, "dev_accuracy": dev}
    record |= {} if train_dev is None else {"train_dev_accuracy": train_dev}
    found = dl.diagnose(record, 0.005, examples=MANY)
    assert found.verdicts == verdicts
    assert float(found.bias) == pytest.approx(1 - train - 0.005)
    assert float(found.variance) == pytest.approx(train - (dev if train_dev is None else train_dev))
    assert (found.mismatch is None) == (train_dev is None)


def test_few_examples_leave_it_open_and_say_how_many_would_do() -> None:
    found = dl.diagnose({"accuracy": 0.99, "dev_accuracy": 0.96}, 0.0, examples={"train": 5000, "dev": 25})
    assert found.verdicts == ("uncertain",)
    assert found.variance.low is not None
    assert found.variance.low < 0 < found.variance.value
    assert "25 development examples do not tell; some 370 would" in str(found)


def test_the_steps_come_in_the_notes_order() -> None:
    advice = dl.diagnose({"accuracy": 0.8, "dev_accuracy": 0.6}, 0.0, examples=MANY).advice
    assert "larger network" in advice[0]
    assert "augmentation" in advice[3]
    assert "regularise" in advice[4]


def test_of_a_loss_it_says_what_cannot_be_said() -> None:
    found = dl.diagnose({"loss": 1.5, "penalty": 0.5, "dev_loss": 3.0}, examples=MANY)
    assert found.verdicts == ("uncertain",)
    assert float(found.variance) == 2.0  # without the penalty
    assert found.variance.low is None
    assert "chance cannot be told" in str(found)
    assert "other seeds" in found.advice[0]


@pytest.mark.parametrize(
    ("few", "words"),
    [
        ("train", "more training examples"),
        ("train_dev", "a larger train-dev set (--train-dev)"),
        ("dev", "a larger development set"),
    ],
)
def test_the_set_that_has_too_few_examples_is_the_one_to_enlarge(few: str, words: str) -> None:
    record = {"accuracy": 0.985, "train_dev_accuracy": 0.97, "dev_accuracy": 0.96}
    found = dl.diagnose(record, 0.0, examples=MANY | {few: 60})
    assert found.verdicts == ("uncertain",)
    assert found.advice == (f"measure on more examples, before a knob is turned for what is open: {words}",)


def test_more_examples_are_not_asked_for_where_a_gap_is_what_is_permissible() -> None:
    found = dl.diagnose({"accuracy": 0.98, "dev_accuracy": 0.98}, 0.0, examples=MANY)
    assert found.verdicts == ("uncertain",)
    assert found.advice == ("say what is permissible (--permissible): a gap lies near it",)


def test_a_regression_is_judged_by_the_standard_errors_of_r2() -> None:
    def parts(train: float, dev: float, spread: float) -> dict[str, dict[str, object]]:
        return {
            name: {"loss": 9.0, "r2": r2, "examples": 500, "standard_errors": {"r2": spread}}
            for name, r2 in (("train", train), ("dev", dev))
        }

    known = {(0.7, 0.7): ("underfitting",), (0.97, 0.7): ("overfitting",), (0.985, 0.985): ("good",)}
    for (train, dev), verdicts in known.items():
        assert diagnose_parts(parts(train, dev, 0.002), 0.01, permissible=0.03).verdicts == verdicts
    doubt = diagnose_parts(parts(0.95, 0.9, 0.05), 0.05)
    assert doubt.verdicts == ("uncertain",)
    assert "500 training examples do not tell; some 13,000 would" in str(doubt)
    assert "chance cannot be told" in str(diagnose_parts(parts(0.7, 0.7, 0.002), metric="loss"))


def test_the_interval_of_a_difference_of_two_r2_holds_it_in_about_95_of_100_samples() -> None:
    rng = np.random.default_rng(0)
    within = 0
    for _ in range(600):
        ends = []
        for n, share in ((235, 0.1), (78, 0.3)):
            y = rng.standard_normal(n)
            predicted = y + np.sqrt(share) * rng.standard_normal(n)
            error = 1 - dl.metrics.r2(y, predicted)
            ends.append((error, positive_interval(error, dl.metrics.r2_standard_error(y, predicted))))
        low, high = difference_of(*ends[1], *ends[0])
        within += low <= 0.2 <= high
    assert 0.92 < within / 600 < 0.975


def test_other_metrics_are_named_where_one_was_chosen() -> None:
    record = {f"{part}{name}": 0.9 for part in ("", "dev_") for name in ("loss", "species_accuracy", "mass_r2")}
    (_, said) = dl.diagnose(record, examples=MANY).remarks
    assert said == "By species_accuracy; measured too, and to be had by metric: mass_r2."
    assert len(dl.diagnose(record, examples=MANY, metric="mass_r2").remarks) == 1


def test_a_share_that_is_no_number_is_passed_over_for_one_that_is() -> None:
    record = {"accuracy": float("nan"), "dev_accuracy": 0.5, "loss": 1.0, "dev_loss": 2.0}
    assert dl.diagnose(record).measure == "loss"


def test_counts_that_are_not_known_are_asked_for() -> None:
    assert "pass examples" in str(dl.diagnose({"accuracy": 0.9, "dev_accuracy": 0.8}))


@pytest.mark.parametrize(
    ("record", "how", "error", "words"),
    [
        ({"accuracy": 0.9}, {}, dl.DataError, "development set"),
        ([], {}, dl.DataError, "empty"),
        ({"accuracy": 0.9, "dev_accuracy": 0.8}, {"metric": "acuracy"}, dl.ConfigError, "did you mean accuracy"),
        ({"accuracy": 0.9, "dev_accuracy": 0.8}, {"bayes_error": -1}, dl.ConfigError, "bayes_error is -1"),
        ({"accuracy": 0.9, "dev_accuracy": None}, {}, dl.DataError, "finite"),
        ({"accuracy": 0.9, "dev_accuracy": 0.8}, {"examples": {"train": 0}}, dl.ConfigError, "at least 1"),
        ({"accuracy": 0.9, "dev_accuracy": 0.8}, {"examples": {"train-dev": 9}}, dl.ConfigError, "train_dev or dev"),
        ({"accuracy": 0.9, "dev_accuracy": 0.8}, {"examples": {"dev": 0.5}}, dl.ConfigError, "whole number"),
        ({"loss": 1.0, "dev_loss": 2.0}, {"standard_errors": {"dev": -1.0}}, dl.ConfigError, "finite number"),
        ({"accuracy": 0.9, "dev_accuracy": 0.8}, {"confidence": 95}, dl.ConfigError, r"in \(0, 1\)"),
    ],
)
def test_bad_input_is_named(record: object, how: dict[str, object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        dl.diagnose(record, **how)  # type: ignore[arg-type]


def test_a_real_run_on_labels_without_sense_overfits_and_a_shifted_dev_set_is_a_mismatch() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 10)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)

    def fit(labels: np.ndarray, dev_x: np.ndarray) -> dl.train.History:
        model = dl.nn.Sequential(dl.nn.Dense(128), dl.nn.ReLU(), dl.nn.Dense(2))
        trainer = dl.Trainer(model, optimizer=dl.optim.Adam(0.01), metrics=["accuracy"], device="cpu", seed=0)
        sets = [dl.data.Dataset(a, b) for a, b in ((x[:300], labels[:300]), (x[300:600], labels[300:600]))]
        return trainer.fit(sets[0], dl.data.Dataset(dev_x, labels[600:]), epochs=60, train_dev=sets[1])

    random = fit(rng.integers(0, 2, 900), x[600:])
    assert random.examples == {"train": 300, "train_dev": 300, "dev": 300}
    assert "overfitting" in dl.diagnose(random, 0.0).verdicts
    assert "mismatch" not in dl.diagnose(random, 0.0).verdicts
    turned = fit(y, -x[600:])
    assert "mismatch" in dl.diagnose(turned, 0.0).verdicts
    assert turned["train_dev_accuracy"][-1] > 0.85


def test_the_parts_of_a_regression_and_of_heads_hold_what_tells_chance() -> None:
    settings = Config.of(data="penguins", heads=("sex", "body_mass"), model="mlp", device="cpu")
    data = settings.data.load()
    trainer = settings.resolve(data).trainer(data, "cpu")
    parts = measure_parts(trainer, data)
    known = {part: getattr(data, part).y["sex"] for part in ("train", "dev")}
    assert np.isnan(known["train"]).any()
    for part, sex in known.items():
        assert parts[part]["labels"]["sex_accuracy"] == np.sum(~np.isnan(sex))
        y = getattr(data, part).y["body_mass"]
        predicted = trainer.predict(getattr(data, part).x)["body_mass"].reshape(y.shape)
        without = [dl.metrics.r2(np.delete(y, i), np.delete(predicted, i)) for i in range(len(y))]
        expected = np.sqrt((len(y) - 1) * np.var(without))
        assert parts[part]["standard_errors"]["body_mass_r2"] == pytest.approx(expected, rel=1e-6)
    assert (
        diagnose_parts(parts, metric="sex_accuracy").bias.examples["train"] == parts["train"]["labels"]["sex_accuracy"]
    )


def test_the_command_measures_the_final_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train = ["train", "--data", "digits", "--model", "mlp", "--hidden", "9", "--epochs", "2", "--baseline", "none"]
    assert main([*train, "--train-dev", "0.1", "--device", "cpu", "--name", "a"]) == 0
    assert "970 training + 108 train-dev + 360 dev" in capsys.readouterr().out
    assert "<h2>Diagnosis</h2>" in (tmp_path / "runs/a/report.html").read_text()
    assert main(["diagnose", "a", "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)
    assert {part: one["examples"] for part, one in kept["parts"].items()} == {
        "train": 970,
        "train_dev": 108,
        "dev": 360,
    }
    (tmp_path / "runs/a/result.json").unlink()
    assert main(["diagnose", "a", "--json", "--bayes-error", "0.01"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["variance"]["value"] == kept["variance"]["value"]
    assert again["bias"]["value"] == pytest.approx(kept["bias"]["value"] - 0.01)
    assert main(["diagnose", "a", "--metric", "acuracy"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "did you mean accuracy?" in line
