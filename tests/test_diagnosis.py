"""Bias, variance and mismatch: constructed histories, published intervals, real runs, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

import dlcore as dl
from dlcore.cli import main
from dlcore.diagnosis import difference_interval, wilson_interval

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
        ({"accuracy": 0.9, "dev_accuracy": 0.8}, {"confidence": 95}, dl.ConfigError, "between 0 and 1"),
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
