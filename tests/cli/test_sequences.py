"""Sequences, text and series on the command line: ``dlcore train``, ``evaluate`` and ``generate``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from commands import output_of

import dlcore as dl
from dlcore.cli import main
from dlcore.experiment import generate_text
from dlcore.train.runs.run import Run


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line on stderr of a command that fails."""
    assert main(words) in (1, 2)
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    return line


def own_text() -> None:
    Path("own.txt").write_text("the cat sat on the mat and the rat sat on the cat.\n" * 60)


TEXT = ("train", "--data", "own.txt", "--hidden", "12", "--window", "8", "--epochs", "2", "--name", "own")


def test_vowels_train_and_are_measured_again(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--model", "gru", "--hidden", "8", "--epochs", "2", "--device", "cpu", "--name", "v")
    said = output_of(capsys, "train", "--data", "vowels", *flags)
    assert "model: gru, hidden 8, in both directions, dropout 0.3" in said
    assert "clip norm 5.0" in said
    assert re.search(r"epoch 1/2 .* grad norm +\d+\.\d{4}  grad norm max +\d+\.\d{4}", said)
    assert "logistic baseline" in said
    again = json.loads(output_of(capsys, "evaluate", "runs/v", "--json"))["figures"]
    assert again == json.loads(Path("runs/v/result.json").read_text())["test"]["gru"]
    record = json.loads(Path("runs/v/metrics.jsonl").read_text().splitlines()[0])
    assert record["grad_norm_max"] >= record["grad_norm"] > 0


def test_a_prediction_looks_at_the_valid_steps_alone(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--hidden", "8", "--epochs", "1", "--baseline", "none", "--device", "cpu", "--name", "v")
    output_of(capsys, "train", "--data", "vowels", *flags)
    test = dl.data.load("vowels").test.rows(slice(0, 5))
    x, lengths = test[0].copy(), test[2]
    np.savez("plain.npz", x=x, lengths=lengths)
    x[np.arange(29) >= lengths[:, None]] = 77.0
    np.savez("other.npz", x=x, lengths=lengths)
    np.savez("none.npz", x=x)
    plain, other = (
        [json.loads(line)["outputs"] for line in output_of(capsys, "predict", "v", "--npz", f, "--json").splitlines()]
        for f in ("plain.npz", "other.npz")
    )
    assert len(plain) == 5
    assert plain == other
    assert "'lengths' is missing" in refused(capsys, "predict", "v", "--npz", "none.npz")


@pytest.mark.parametrize("model", ["rnn", "lstm"])
def test_the_other_cells_train_on_two_layers(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--hidden", "6", "5", "--no-bidirectional", "--epochs", "1", "--baseline", "none")
    said = output_of(capsys, "train", "--data", "vowels", "--model", model, *flags, "--device", "cpu")
    assert f"model: {model}, hidden 6 5, dropout 0.3" in said


def test_a_text_trains_prints_samples_and_goes_on_writing(capsys: pytest.CaptureFixture[str]) -> None:
    own_text()
    said = output_of(capsys, *TEXT, "--device", "cpu")
    assert "characters in windows of 8" in said
    assert "model: lstm, hidden 12, dropout 0.4" in said
    assert re.search(r"dev perplexity +\d", said)
    assert "sample 2: | " in said
    about = json.loads(Path("runs/own/model.json").read_text())["about"]
    assert about["classes"][0] == "<unk>"
    words = ("generate", "runs/own", "--prompt", "the ", "--length", "40", "--device", "cpu")
    first = output_of(capsys, *words, "--seed", "1")
    assert first.startswith("the ")
    assert len(first) == 4 + 40 + 1
    assert output_of(capsys, *words, "--seed", "1") == first
    assert output_of(capsys, *words, "--seed", "2") != first
    assert "<unk>" not in output_of(capsys, "generate", "own", "--prompt", "quartz", "--temperature", "5")


def test_without_temperature_the_likeliest_character_comes(capsys: pytest.CaptureFixture[str]) -> None:
    own_text()
    output_of(capsys, *TEXT, "--device", "cpu")
    said = output_of(capsys, "generate", "own", "--prompt", "sat ", "--temperature", "0", "--length", "1")
    model, about, _ = Run.find("own").model("cpu")
    vocabulary = dl.data.Vocabulary(tuple(about["classes"]))
    logits = model.eval()(vocabulary.encode("sat ")[None])[0].numpy()[0, -1]
    logits[0] = -np.inf
    assert said == f"sat {vocabulary.symbols[int(np.argmax(logits))]}\n"


def test_what_generate_cannot_do_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    own_text()
    output_of(capsys, *TEXT, "--unknown", "refuse", "--device", "cpu")
    for words, expected in {
        ("--prompt", "the quick"): r"prompt: character 'q' at position 4 is not in the vocabulary",
        ("--length", "0"): "length is 0 but a whole number from 1 to 100,000",
        ("--length", "1000000"): "length is 1000000",
        ("--temperature", "-1"): "temperature is -1",
        ("--prompt", "t" * (generate_text.LONGEST_PROMPT + 1)): "prompt has 10,001 characters",
    }.items():
        assert re.search(expected, refused(capsys, "generate", "own", *words)), words
    assert "dlcore generate" in refused(capsys, "predict", "own", "a.csv")
    flags = ("--data", "digits", "--model", "logistic", "--epochs", "1", "--name", "d", "--device", "cpu")
    output_of(capsys, "train", *flags)
    assert "has learnt from digits, which is no text" in refused(capsys, "generate", "d")


def test_a_series_is_compared_with_its_last_value(capsys: pytest.CaptureFixture[str]) -> None:
    values = np.sin(np.arange(120) / 3)
    Path("sine.csv").write_text("value\n" + "".join(f"{v:.5f}\n" for v in values))
    flags = ("--target", "value", "--window", "12", "--epochs", "2", "--hidden", "8", "--device", "cpu", "--name", "s")
    said = output_of(capsys, "train", "--data", "sine.csv", *flags)
    assert "from the last 12 rows of it" in said
    test = json.loads(Path("runs/s/result.json").read_text())["test"]
    assert list(test) == ["gru", "linear baseline", "last value"]
    learnt = np.mean(np.diff(values)[11:75] ** 2)  # of the changes that follow 64 training windows of 12 rows
    error = np.mean(np.diff(values)[97:] ** 2)
    assert test["last value"]["loss"] == pytest.approx(error / learnt, rel=1e-3)
    assert test["last value"]["r2"] == pytest.approx(1 - error / np.var(values[98:]), rel=1e-3)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--data", "digits", "--model", "lstm"), "lstm is for sequences"),
        (("--data", "hamlet", "--model", "mlp"), "mlp is not for text"),
        (("--data", "hamlet", "--target", "x"), "target goes with a table"),
        (("--data", "hamlet", "--hidden", "8", "9"), "layers of one size"),
        (("--data", "hamlet", "--window", "100000"), "but windows of 100000 take at least 100,001"),
        (("--data", "cars", "--window", "3"), "window goes with a text or a table"),
        (("--data", "empty.txt"), "the text is empty"),
        (("--data", "short.txt"), "give a longer text, or a smaller window"),
        (("--data", "own.txt", "--unknown", "refuse"), "character 'Z' at position"),
        (("--data", "own.txt", "--batch-size", "5000"), "lower --batch-size or window"),
    ],
)
def test_what_sequences_cannot_be_is_one_line(
    words: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty.txt").write_text("")
    Path("short.txt").write_text("too short")
    Path("own.txt").write_text("abc " * 900 + "Z")
    assert expected in refused(capsys, "train", *words, "--device", "cpu")
    assert not [path for path in Path("runs").glob("*") if path.name != ".lock"]
