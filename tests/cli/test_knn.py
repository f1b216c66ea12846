"""``dlcore train --model knn``: what it finds, what the network beside it does, and the run that it leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import output_of
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier

import dlcore as dl
from backends.runtime.device import resolve
from dlcore.cli import main
from dlcore.experiment.neighbours import Memory
from dlcore.neighbors import KNNClassifier
from dlcore.train.callbacks.progress_lines import ProgressLines
from dlcore.train.config.config import Config
from dlcore.train.runs.run import Run

ROOT = Path(__file__).resolve().parents[2]
KNN = ("train", "--model", "knn", "--device", "cpu")
DIGITS = (*KNN, "--data", "digits")
ALONE = (*DIGITS, "--baseline", "none", "--name", "a")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    return output_of(capsys, *words).splitlines()


def result(name: str = "a") -> dict[str, Any]:
    return json.loads(Path("runs", name, "result.json").read_text())


def rows(x: Any) -> np.ndarray:
    return np.asarray(x, np.float64).reshape(len(x), -1)


# What it finds -------------------------------------------------------------------------------------------------------


def test_a_run_prints_what_a_user_wants_to_know_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, *DIGITS, "--epochs", "2")
    expected = [
        r"device: cpu \(asked for\)",
        r"data: Handwritten digits, 1,797 images of 8 × 8, in the package",
        r"      1,078 training \+ 360 dev \+ 359 test images of 8 × 8 × 1, 10 classes",
        r"      classes in the training set: (\d: \d+, )+\d: \d+,",
        r"        (\d: \d+, )*9: \d+; 9.\d+ % to 10.\d %",
        r"model: knn, neighbors 5, distance l2, votes uniform; 1,078 images, 276.0 kB",
        r"baseline: cnn, channels 16 30, activation relu, dropout 0.5; 5,766 parameters",
        r"training: loss cross_entropy, adam with lr 0.015, schedule cosine, batches of 16, 2 epochs, seed 0",
        r"knn: memorised in \d+.\d\d s, accuracy 0.\d{4}, dev accuracy 0.\d{4}, \d+.\d{3} ms a query",
        r"epoch 1/2  .*",
        r"epoch 2/2  .*",
        r"test          accuracy  dev accuracy  training +a query",
        r"knn             0.\d{4}        0.\d{4} +\d+.\d\d s +\d+.\d{3} ms",
        r"cnn baseline    0.\d{4}        0.\d{4} +\d+.\d\d s +\d+.\d{3} ms",
        r"query: in batches of 256, threads 1; knn compares each with all 1,078 images",
        r"report: runs.digits-knn-001.report.html",
    ]
    assert len(lines) == len(expected)
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line), line
    assert max(len(line) for line in lines if not line.startswith(("training", "epoch"))) <= 82


@pytest.mark.parametrize(
    ("data", "k", "distance", "votes"),
    [
        (("digits", None), 5, "l2", "uniform"),
        (("digits", None), 1, "l1", "uniform"),
        (("penguins", "species"), 7, "l1", "distance"),
        (("penguins", "sex"), 3, "l2", "distance"),
    ],
)
def test_the_figures_are_those_of_scikit_learn(
    data: tuple[str, str | None], k: int, distance: str, votes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, target = data
    words = ["--data", name, *(["--target", target] if target else []), "--metrics", "accuracy", "f1"]
    settings = ["--neighbors", str(k), "--distance", distance, "--votes", votes]
    said(capsys, *KNN, *words, *settings, "--baseline", "none", "--name", "a")
    splits = dl.data.load(name, True, target=target)
    metric = {"l1": "manhattan", "l2": "euclidean"}[distance]
    known = KNeighborsClassifier(k, metric=metric, weights=votes, algorithm="brute")
    known.fit(rows(splits.train.x), np.ravel(splits.train.y))

    average = "binary" if target == "sex" else "macro"

    def figures(part: Any) -> dict[str, float]:
        y, labels = np.ravel(part.y), known.predict(rows(part.x))
        return {"accuracy": np.mean(y == labels), "f1": f1_score(y, labels, average=average)}

    assert result()["test"]["knn"] == pytest.approx(figures(splits.test))
    (record,) = Run("runs/a").records()
    assert record == pytest.approx({f"dev_{name}": value for name, value in figures(splits.dev).items()})


def test_the_network_beside_it_is_the_one_that_train_trains(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--data", "digits", "--epochs", "2", "--optimizer", "momentum", "--augment", "shift", "--batch-size", "64")
    said(capsys, *KNN, *words, "--name", "a")
    said(capsys, "train", "--device", "cpu", *words, "--baseline", "none", "--name", "b")
    assert result()["test"]["cnn baseline"] == result("b")["test"]["cnn"]


@pytest.mark.parametrize(
    ("words", "baseline"),
    [
        (["--data", "penguins", "--target", "species"], "mlp baseline"),
        (["--data", "digits", "--baseline", "mlp"], "mlp baseline"),
        (["--data", "digits", "--baseline", "logistic"], "logistic baseline"),
        (["--data", "digits", "--baseline", "none"], None),
    ],
)
def test_it_is_compared_with_a_network_or_with_what_is_asked_for(
    words: list[str], baseline: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    epochs = ["--epochs", "1"] if baseline != "logistic" and baseline else []
    said(capsys, *KNN, *words, *epochs, "--name", "a")
    assert [*result()["test"]] == [*result()["ms_per_query"]] == ["knn", *([baseline] if baseline else [])]


def test_the_time_per_query_is_that_of_the_answers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(method: Any, seconds: float) -> Any:
        return lambda *args, **kwargs: (time.sleep(seconds), method(*args, **kwargs))[1]

    monkeypatch.setattr(KNNClassifier, "predict_proba", slowly(KNNClassifier.predict_proba, 0.4))
    monkeypatch.setattr(dl.Trainer, "predict", slowly(dl.Trainer.predict, 0.2))
    said(capsys, *DIGITS, "--epochs", "1", "--batch-size", "256", "--name", "a")
    found, queries = result()["ms_per_query"], 359  # the test set, in two batches
    assert 800 <= found["knn"] * queries < 1600
    assert 400 <= found["cnn baseline"] * queries < 800
    (timing,) = (json.loads(line) for line in Path("runs/a/timing.jsonl").read_text().splitlines())
    assert timing["ms_per_query"] == found["knn"]
    assert timing["seconds"] < 0.4


def test_examples_of_many_numbers_are_given_the_memory_they_need() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((8, 512, 512, 3), np.float32), np.arange(8) % 2  # 786,432 numbers each
    part = dl.data.Dataset(x, y)
    with pytest.raises(dl.ConfigError, match="memory"):
        KNNClassifier(1, device="cpu").fit(part)
    splits = dl.data.Splits(train=part, dev=part, test=part, name="large", task="classification", classes=("a", "b"))
    settings = Config.of(model="knn", neighbors=1).resolve(splits)
    memory = Memory(settings, splits, resolve("cpu"))
    assert memory.measure(part)[0] == {"accuracy": 1.0}


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "digits", "--neighbors", "0"], "--neighbors is 0 but a whole number of at least 1 is expected"),
        (["--data", "digits", "--neighbors", "1079"], "neighbors is 1,079 but there are 1,078 training examples"),
        (["--data", "digits", "--distance", "l3"], "--distance is 'l3' but one of l1, l2 is expected"),
        (["--data", "digits", "--votes", "many"], "--votes is 'many' but one of uniform, distance is expected"),
        (
            ["--data", "digits", "--hidden", "8"],
            "hidden goes with the model mlp or gru or lstm or rnn, but the model is knn",
        ),
        (["--data", "cars"], "knn is for classes, but cars has numbers to predict; take linear or mlp"),
        (["--data", "penguins", "--target", "sex", "--baseline", "cnn"], "cnn is for images"),
        (["--data", "digits", "--baseline", "knn"], "--baseline is 'knn'"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_no_folder(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*KNN, *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not Path("runs").exists()


def test_its_settings_are_refused_with_other_models(capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in (("neighbors", "3"), ("distance", "l1"), ("votes", "distance")):
        assert main(["train", "--data", "digits", "--model", "mlp", f"--{name}", value]) == 2
        assert f"{name} goes with the model knn, but the model is mlp" in capsys.readouterr().err


def test_a_file_of_settings_may_hold_them(capsys: pytest.CaptureFixture[str]) -> None:
    Path("job.toml").write_text(
        '[data]\ndata = "digits"\n[model]\nmodel = "knn"\nneighbors = 3\n[run]\nbaseline = "none"\n'
    )
    lines = said(capsys, "train", "--config", "job.toml", "--distance", "l1", "--device", "cpu", "--name", "a")
    assert "model: knn, neighbors 3, distance l1, votes uniform; 1,078 images, 276.0 kB" in lines
    again = said(capsys, "train", "--config", "runs/a/config.toml", "--device", "cpu", "--name", "b")
    assert lines[3] in again
    assert Path("runs/a/metrics.jsonl").read_bytes() == Path("runs/b/metrics.jsonl").read_bytes()


def test_it_has_no_trainer() -> None:
    with pytest.raises(dl.ConfigError, match="knn is no network"):
        Config.of(model="knn").trainer(dl.data.load("digits"), "cpu")


# Its folder ----------------------------------------------------------------------------------------------------------


def test_the_folder_holds_settings_figures_and_a_report_and_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, *DIGITS, "--epochs", "1", "--name", "a")
    assert sorted(path.name for path in Path("runs/a").iterdir()) == [
        ".lock", "config.toml", "metrics.jsonl", "model.json", "report.html", "result.json", "timing.jsonl",
    ]  # fmt: skip
    page = Path("runs/a/report.html").read_text(encoding="utf-8")
    for part in (f"{result()['test']['knn']['accuracy']:.4f}", "cnn baseline", "queries/s", "neighbors"):
        assert part in page
    (entry,) = json.loads("\n".join(said(capsys, "runs", "list", "--json")))
    assert (entry["status"], entry["model"], entry["epochs"]) == ("finished", "knn", None)
    assert entry["test"] == result()["test"]["knn"]
    assert re.search(r"a    finished  digits  knn            accuracy", "\n".join(said(capsys, "runs", "list")))


def test_evaluate_and_predict_memorise_again_in_another_process_and_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said(capsys, *ALONE, "--neighbors", "3")
    raw, data = dl.data.load("digits"), dl.data.load("digits", True)
    np.savez("test.npz", x=raw.test.x)
    other = tmp_path / "other"
    other.mkdir()

    def dlcore(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-m", "dlcore", *words, "--device", "cpu"], cwd=other, env=environment,
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        return done.stdout

    assert json.loads(dlcore("evaluate", "../runs/a", "--json"))["figures"] == result()["test"]["knn"]
    assert "run: ../runs/a, its training set memorised again" in dlcore("evaluate", "../runs/a", "--part", "dev")
    found = [json.loads(line) for line in dlcore("predict", "../runs/a", "--npz", "../test.npz", "--json").splitlines()]
    classifier = KNNClassifier(3, device="cpu").fit(data.train)
    assert [int(one["prediction"]) for one in found] == classifier.predict(data.test.x).tolist()
    np.testing.assert_array_equal([one["outputs"] for one in found], classifier.predict_proba(data.test.x))
    words = said(capsys, "predict", "a", "--npz", "test.npz", "--top", "2")
    assert re.fullmatch(r"test.npz, row 1: \d \d+\.\d%, \d \d+\.\d%", words[0])


def test_a_binary_run_predicts_names(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, *KNN, "--data", "penguins", "--target", "sex", "--baseline", "none", "--name", "a")
    raw, data = dl.data.load("penguins", target="sex"), dl.data.load("penguins", True, target="sex")
    np.savez("test.npz", x=raw.test.x)
    lines = said(capsys, "predict", "a", "--npz", "test.npz", "--json")
    labels = KNNClassifier(5, device="cpu").fit(data.train.x, np.ravel(data.train.y)).predict(data.test.x)
    assert data.classes is not None
    assert [json.loads(line)["prediction"] for line in lines] == [data.classes[label] for label in labels]


def test_data_that_have_changed_since_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    text = "a,b,c\n" + "".join(f"{i},{i % 7},{'xy'[i % 2]}\n" for i in range(60))
    Path("mine.csv").write_text(text)
    said(capsys, *KNN, "--data", "mine.csv", "--baseline", "none", "--name", "a")
    Path("mine.csv").write_text(text.replace("0,0,x", "5,5,y", 1))
    assert main(["evaluate", "a"]) == 0
    assert "the train set is not the one of the training any more" in capsys.readouterr().err
    Path("mine.csv").write_text("d," + text.replace("\n", "\n1.5,").removesuffix("1.5,"))
    assert main(["predict", "a", "mine.csv"]) == 1
    assert "examples have shape (3,), but the model was trained on (2,)" in capsys.readouterr().err


def test_a_finished_run_says_so_and_a_killed_one_is_done_again(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, *ALONE)
    before = result()
    for words in (["--resume", "a"], [*ALONE[1:], "--resume", "auto"], [*ALONE[1:-2], "--resume", "auto"]):
        lines = said(capsys, "train", *words)
        assert lines[-1] == "runs/a is finished: knn learns at once, there is nothing to go on with"
    Path("runs/a/result.json").unlink()  # as where it was killed before that was written
    said(capsys, "train", "--resume", "a")
    assert result()["test"] == before["test"]
    assert [path.name for path in Path("runs").iterdir()] == ["a"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send to another process")
@pytest.mark.parametrize("signals", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_and_brings_back_what_was_to_be_overwritten(
    signals: signal.Signals, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said(capsys, *ALONE)
    before = {path: path.read_bytes() for path in Path("runs/a").iterdir() if path.name != ".lock"}
    monkeypatch.setattr(ProgressLines, "on_epoch", lambda *_: os.kill(os.getpid(), signals))
    for words in ([*DIGITS, "--name", "a", "--overwrite"], [*DIGITS, "--name", "b"]):
        assert main(words) == 128 + signals
        (line,) = capsys.readouterr().err.splitlines()
        assert line == f"dlcore: interrupted by {signals.name}; knn keeps nothing halfway, start it again"
    assert {path: path.read_bytes() for path in Path("runs/a").iterdir() if path.name != ".lock"} == before
    assert not Path("runs/b").exists()


def test_a_network_that_diverges_is_one_line_and_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*DIGITS, "--optimizer", "sgd", "--lr", "1e30"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "lower the learning rate" in line
    assert list(Path("runs").iterdir()) == []
