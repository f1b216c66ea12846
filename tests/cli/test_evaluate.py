"""Runs on disk, measured and asked again: ``dlcore evaluate`` and ``dlcore predict``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import dlcore, refused, said
from PIL import Image

import dlcore as dl
from dlcore.cli import main
from dlcore.train.config import Config

OWN = """
import helper
from dlcore import nn

class Twice(nn.Module):
    def __init__(self, units):
        self.dense = nn.Dense(units)

    def forward(self, x):
        return self.dense(x) * 2

def build(outputs):
    return nn.Sequential(nn.Flatten(), Twice(helper.units), nn.Dropout(0.2), nn.ReLU(), nn.Dense(outputs))
"""


KINDS: dict[str, dict[str, Any]] = {
    "cnn": {"data": "digits", "model": "cnn", "epochs": 2},
    "mlp, stopped early": {"data": "digits", "model": "mlp", "epochs": 4, "patience": 1, "lr": 0.3},
    "logistic, binary": {"data": "penguins", "target": "sex", "model": "logistic", "epochs": 3},
    "linear": {"data": "cars", "model": "linear", "epochs": 3},
    "float64": {"data": "cars", "model": "mlp", "epochs": 2, "precision": "float64"},
    "one's own": {"data": "digits", "model": "own.py:build", "epochs": 2},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_every_kind_is_measured_and_predicts_as_its_trainer_did(
    kind: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("own.py").write_text(OWN)
    Path("helper.py").write_text("units = 16\n")
    settings = Config.of(**KINDS[kind], device="cpu", baseline="none", name="a")
    Path("job.toml").write_text(dl.train.config.dump(settings))
    said(capsys, "train", "--config", "job.toml")

    data = settings.data.load()
    settings = settings.resolve(data)
    trainer = settings.trainer(data, "cpu")
    trainer.fit(data.train, data.dev, epochs=settings.train.epochs or 0, batch_size=settings.train.batch_size or 0)
    if kind == "one's own":
        Path("own.py").write_text("def build(outputs): raise OSError('the run has its own copy')")

    other = tmp_path / "other"
    other.mkdir()
    (figures,) = (json.loads(line) for line in dlcore("evaluate", "../runs/a", "--json", cwd=other).stdout.splitlines())
    assert figures["figures"] == trainer.evaluate(data.test)

    raw = dl.data.load(settings.data.data, target=settings.data.target)
    np.savez("test.npz", x=raw.test.x)
    monkeypatch.chdir(other)
    lines = said(capsys, "predict", "../runs/a", "--npz", "../test.npz", "--json", "--top", "2")
    outputs = np.array([json.loads(line)["outputs"] for line in lines]).astype(settings.train.precision)
    assert np.array_equal(outputs, trainer.predict(data.test.x))


def test_pictures_are_predicted_as_in_training(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--model", "mlp", "--hidden", "16", "--epochs", "1", "--baseline", "none", "--device", "cpu")
    said(capsys, "train", "--name", "a", *words)
    raw = dl.data.load("fashion-subset")
    names = [f"{i}.png" for i in range(5)]
    for name, x in zip(names, raw.test.x, strict=False):
        Image.fromarray((x[..., 0] * 255).round().astype(np.uint8)).save(name)
    found = [json.loads(line) for line in said(capsys, "predict", "a", *names, "--json", "--top", "3")]
    settings = dl.train.config.load("runs/a/config.toml")
    trainer = settings.trainer(data := settings.data.load(), "cpu")
    dl.load_weights(trainer.model, "runs/a/model.safetensors")
    assert np.array_equal(np.array([one["outputs"] for one in found], np.float32), trainer.predict(data.test.x[:5]))
    for one, logits in zip(found, trainer.predict(data.test.x[:5]).astype(float), strict=True):
        shares = np.exp(logits) / np.exp(logits).sum()
        assert one["prediction"] == data.classes[int(np.argmax(logits))]
        assert [part["probability"] for part in one["top"]] == pytest.approx(sorted(shares)[:-4:-1])
    assert said(capsys, "predict", "a", "0.png")[0].startswith(f"0.png: {found[0]['prediction']} ")


def test_tables_are_predicted_row_by_row_and_a_faulty_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "train", "--data", "cars", "--epochs", "2", "--baseline", "none", "--device", "cpu", "--name", "a")
    data = dl.data.load("cars")
    header = ",".join(data.features or ())
    rows = "\n".join(",".join(map(repr, map(float, row))) for row in data.test.x[:3])
    Path("cars.csv").write_text(f"{header}\n{rows}\n")
    Path("faulty.csv").write_text(f"{header}\n{rows.replace('.', 'x', 1)}\n")
    assert main(["predict", "a", "faulty.csv", "cars.csv", "nowhere.csv"]) == 1
    captured = capsys.readouterr()
    told = captured.out.splitlines()
    assert "faulty.csv, row 1: error: column" in told[0]
    assert told[-1].startswith("nowhere.csv: error: ")
    assert "1 of 6 rows and 1 of 3 files" in captured.err
    settings = dl.train.config.load("runs/a/config.toml")
    trainer = settings.trainer(normal := settings.data.load(), "cpu")
    dl.load_weights(trainer.model, "runs/a/model.safetensors")
    learnt, outputs = np.float64(normal.train.y), trainer.model(normal.test.x[:3]).numpy()
    miles = outputs[:, 0] * learnt.std() + learnt.mean()
    expected = [f"cars.csv, row {i + 1}: {y:,.6g}" for i, y in enumerate(miles.tolist())]
    assert told[3:6] == expected


def test_numbers_above_a_million_are_predicted_with_all_their_digits(capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.csv").write_text("x,y\n" + "".join(f"{i},{3_000_000 + 1000 * i}\n" for i in range(40)))
    said(capsys, "train", "--data", "t.csv", "--model", "linear", "--epochs", "1", "--device", "cpu", "--name", "a")
    exact = [json.loads(line)["prediction"] for line in said(capsys, "predict", "a", "t.csv", "--json")]
    expected = [f"t.csv, row {i}: {round(value):,}" for i, value in enumerate(exact, start=1)]
    assert said(capsys, "predict", "a", "t.csv") == expected


def test_a_run_that_is_not_finished_is_measured_by_its_newest_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "train", "--data", "cars", "--epochs", "2", "--baseline", "none", "--device", "cpu", "--name", "a")
    Path("runs/a/result.json").unlink()
    assert "the weights at the end" in "\n".join(said(capsys, "evaluate", "a"))  # those that are there are complete
    Path("runs/a/model.safetensors").unlink()
    assert "the weights of step 30, for the run is not finished" in "\n".join(said(capsys, "evaluate", "a"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["evaluate", "nowhere"], 1, "nowhere: no run is there"),
        (["evaluate", "a", "--part", "tset"], 2, "tset"),
        (["predict", "a"], 2, "give files, or --npz FILE"),
        (["predict", "a", "x.csv", "--npz", "x.npz"], 2, "give files, or --npz FILE"),
        (["predict", "a", "x.csv", "--top", "0"], 2, "--top is 0"),
        (["predict", "a", "--npz", "nowhere.npz"], 1, "nowhere.npz: cannot be read"),
        (["predict", "a", "--npz", "wrong.npz"], 1, "shape (5,), but the model was trained on (6,)"),
        (["predict", "a", "--npz", "y.npz"], 1, "the key 'x' is missing"),
        (["predict", "a", "picture.png"], 1, "picture.png"),
    ],
)
def test_what_cannot_be_measured_or_predicted_is_one_line(
    words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("wrong.npz", x=np.zeros((2, 5)))
    np.savez("y.npz", y=np.zeros(2))
    Image.new("L", (3, 3)).save("picture.png")
    said(capsys, "train", "--data", "cars", "--epochs", "1", "--baseline", "none", "--device", "cpu", "--name", "a")
    assert message in refused(capsys, *words, code=code)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "config.toml"])
def test_a_damaged_file_of_a_run_is_named(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "train", "--data", "cars", "--epochs", "1", "--baseline", "none", "--device", "cpu", "--name", "a")
    file = Path("runs/a") / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x55
    file.write_bytes(content)
    assert str(file) in refused(capsys, "evaluate", "a", code=2 if name == "config.toml" else 1)


def test_targets_that_changed_since_are_measured_in_the_scale_that_was_learnt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def write(scale: int) -> None:
        Path("mine.csv").write_text("a,b\n" + "".join(f"{i},{scale * (i + 50)}\n" for i in range(40)))

    write(1000)
    words = ("--data", "mine.csv", "--model", "linear", "--device", "cpu", "--epochs", "20", "--name", "a")
    said(capsys, "train", *words)
    Path("runs/a/result.json").unlink()  # so that diagnose measures anew
    write(10_000)
    assert main(["evaluate", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"]["r2"] < -1  # predicted is a tenth of the new targets
    assert main(["diagnose", "a"]) == 0
    (bias,) = re.findall(r"avoidable bias \+([0-9.]+)", capsys.readouterr().out)
    assert float(bias) > 2


def test_inputs_that_changed_since_are_normalised_by_what_was_learnt(capsys: pytest.CaptureFixture[str]) -> None:
    def write(scale: int) -> None:
        Path("mine.csv").write_text("a,b\n" + "".join(f"{scale * i},{i + 50}\n" for i in range(40)))

    write(1)
    words = ("--data", "mine.csv", "--model", "linear", "--device", "cpu", "--epochs", "40", "--name", "a")
    said(capsys, "train", *words)
    write(10)
    assert main(["evaluate", "a", "--json"]) == 0
    assert (
        json.loads(capsys.readouterr().out)["figures"]["r2"] < -1
    )  # as predict: b = a + 50, of an a ten times as large
    Path("runs/a/result.json").unlink()  # so that diagnose measures anew
    assert main(["diagnose", "a"]) == 0
    (bias,) = re.findall(r"avoidable bias \+([0-9.]+)", capsys.readouterr().out)
    assert float(bias) > 2
