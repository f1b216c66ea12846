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
from dlcore.train.config.config import Config

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
    lines = said(capsys, "predict", "../runs/a", "--npz", "../test.npz", "--json")
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
    assert [line.rpartition(": ")[0] for line in told[3:6]] == [f"cars.csv, row {i}" for i in (1, 2, 3)]
    found = [float(line.rpartition(": ")[2]) for line in told[3:6]]
    assert found == pytest.approx(miles.tolist(), rel=1e-5)  # six digits, and another batch rounds otherwise


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


# Another file, and a file that has changed ---------------------------------------------------------------------------


def write_rows(path: Path | str, rows: list[list[Any]], header: str = "a,b,side,y") -> None:
    Path(path).write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")


def some_rows(count: int = 100) -> list[list[Any]]:
    """Labels by chance: what is learned of them is no help with new rows."""
    rows = []
    for i in range(count):
        rng = np.random.default_rng(i)
        x = np.round(rng.normal(size=2), 4).tolist()
        rows.append([*x, "uvw"[rng.integers(3)], "no" if rng.random() < 0.5 else "yes"])
    return rows


def trained(capsys: pytest.CaptureFixture[str], data: str, *words: str, model: str = "mlp") -> dict[str, float]:
    """Train the run a; its test figures, as training has measured them."""
    epochs = ["--epochs", "2"] if model != "knn" else []
    said(capsys, "train", "--data", data, "--model", model, *epochs, "--device", "cpu", "--name", "a", *words,
         "--baseline", "none")  # fmt: skip
    return json.loads(Path("runs/a/result.json").read_text())["test"][model]


def measured(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[dict[str, Any], str]:
    """What evaluate says of the run a as JSON, and what it says on the side."""
    assert main(["evaluate", "a", "--json", *words]) == 0
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


PARTINGS: dict[str, list[str]] = {
    "by chance": [],
    "groups": ["--group", "a"],
    "a column": ["--split", "side", "--ignore", "a"],
    "time": ["--time", "a"],
    "a test file": ["--test", "later.csv"],
    "equal rows": ["--keep-equal-together"],
    "regression": ["--target", "b"],
}


@pytest.mark.parametrize("parting", PARTINGS)
def test_evaluate_gives_the_figures_at_the_end_of_training_however_the_parts_were_made(
    parting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = some_rows()
    if parting == "a column":
        rows = [[*row[:2], ["train", "dev", "Test"][i % 3], row[3]] for i, row in enumerate(rows)]
    write_rows("t.csv", rows)
    write_rows("later.csv", some_rows(130)[100:])
    figures = trained(capsys, "t.csv", *PARTINGS[parting])
    found, remarks = measured(capsys)
    assert found["figures"] == figures
    assert found["left_out"] == 0
    assert "changed" not in remarks
    assert json.loads(Path("runs/a/result.json").read_text())["parts"]["dev"]["loss"] == pytest.approx(
        measured(capsys, "--part", "dev")[0]["figures"]["loss"]
    )


CHANGES: dict[str, Any] = {
    "sorted": lambda rows: sorted(rows, key=str),
    "the first row taken out": lambda rows: rows[1:],
    "turned round, with new rows": lambda rows: rows[::-1] + some_rows(120)[100:],
    "the columns in another order": lambda rows: rows,
}


@pytest.mark.parametrize(("change", "missing"), [*((change, False) for change in CHANGES), ("sorted", True)])
def test_of_a_changed_table_what_was_trained_on_is_left_out(
    change: str, missing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = some_rows()
    for i in range(0, 100, 7) if missing else ():
        rows[i][0] = ""
    words = ["--missing", "mean"] if missing else []
    write_rows("t.csv", rows)
    figures = trained(capsys, "t.csv", *words)
    settings = dl.train.config.load("runs/a/config.toml")
    tested = {tuple(x) for x in settings.data.load().test.rows(slice(None))[0].round(3).tolist()}
    now = CHANGES[change](rows)
    if change == "the columns in another order":
        write_rows("t.csv", [[*row[2::-1], row[3]] for row in now], "side,b,a,y")
    else:
        write_rows("t.csv", now)
    found, remarks = measured(capsys)
    new = {"turned round, with new rows": 20}.get(change, 0)
    kept = 20 if change != "the first row taken out" else found["examples"]
    assert kept in (19, 20)
    assert (found["examples"], found["left_out"]) == (kept + new, len(now) - kept - new)
    assert re.search(
        r"t\.csv: the data have changed since the training; \d+ of its \d+ examples were trained on", remarks
    )
    if not new and kept == 20:  # the test set of the training
        assert found["figures"] == pytest.approx(figures)
        assert len(tested) == 20


def test_of_a_changed_table_the_dev_and_the_training_rows_are_found_again(capsys: pytest.CaptureFixture[str]) -> None:
    rows = some_rows()
    write_rows("t.csv", rows)
    trained(capsys, "t.csv")
    before = {part: measured(capsys, "--part", part)[0] for part in ("train", "dev")}
    write_rows("t.csv", sorted(rows, key=str))
    for part, figures in before.items():
        found, remarks = measured(capsys, "--part", part)
        assert found["figures"] == pytest.approx(figures["figures"])
        assert f"examples of the {part} set are still among them" in remarks


def test_equal_rows_of_a_changed_table_count_as_often_as_they_were_trained_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = some_rows(25) * 4
    write_rows("t.csv", rows)
    figures = trained(capsys, "t.csv")
    write_rows("t.csv", sorted(rows, key=str))
    found, _ = measured(capsys)
    assert (found["examples"], found["left_out"]) == (20, 80)
    assert found["figures"] == pytest.approx(figures)


@pytest.mark.parametrize("kind", ["npz", "images"])
def test_of_changed_arrays_and_pictures_too(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 6, 5), np.uint8)

    def write(order: np.ndarray) -> None:
        for file in Path("t").rglob("*.png"):
            file.unlink()
        np.savez("t.npz", x=x[order], y=order % 2)
        for place, i in enumerate(order.tolist()):
            Path(f"t/{'uv'[i % 2]}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(x[i]).save(f"t/{'uv'[i % 2]}/{place:02}.png")

    write(np.arange(50))
    figures = trained(capsys, "t.npz" if kind == "npz" else "t", "--hidden", "8")
    write(np.random.default_rng(1).permutation(50))
    found, remarks = measured(capsys)
    assert (found["examples"], found["left_out"]) == (10, 40)
    assert found["figures"] == pytest.approx(figures)
    assert "30 of its 50 examples were trained on and 10 were in the dev set" in remarks
    write(np.arange(60))
    assert measured(capsys)[0]["examples"] == 20


def test_folders_of_parts_keep_their_test_folder_when_they_change(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for i in range(40):
        folder = Path("photos", "train" if i < 30 else "test", "uv"[i % 2])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (5, 5), np.uint8)).save(folder / f"{i}.png")
    trained(capsys, "photos", "--hidden", "8")
    Path("photos/train/u/0.png").rename("photos/test/u/0.png")
    found, remarks = measured(capsys)
    assert (found["examples"], found["left_out"]) == (10, 1)
    assert "of its 11 examples" in remarks


def test_rows_that_a_column_names_for_training_are_not_tested_after_a_change(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [[*row[:2], ["train", "train", "dev", "test"][i % 4], row[3]] for i, row in enumerate(some_rows(120))]
    write_rows("t.csv", rows[:100])
    trained(capsys, "t.csv", "--split", "side")
    write_rows("t.csv", rows)
    found, _ = measured(capsys)
    assert (found["examples"], found["left_out"]) == (30, 0)


def test_where_nothing_new_is_left_evaluate_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    rows = some_rows()
    write_rows("t.csv", rows)
    trained(capsys, "t.csv")
    learned = dl.train.config.load("runs/a/config.toml").data.load().train.rows(slice(None))[0]
    from dlcore.data import Normalizer

    about = json.loads(Path("runs/a/model.json").read_text())["about"]
    numbers = Normalizer.from_dict(about["normalizer"]).inverse(learned)[:, 0].round(4)
    write_rows("t.csv", [row for row in rows if np.abs(numbers - row[0]).min() < 1e-4])
    line = refused(capsys, "evaluate", "a", code=1)
    assert "none is left to be tested" in line
    assert "--data FILE" in line


def test_a_changed_table_too_small_for_three_parts_is_tested_still(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows("t.csv", some_rows())
    trained(capsys, "t.csv")
    write_rows("t.csv", some_rows(102)[100:])
    assert measured(capsys)[0]["examples"] == 2


def test_a_level_that_only_the_changed_table_has_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows("t.csv", some_rows())
    trained(capsys, "t.csv")
    write_rows("t.csv", [*some_rows(), [1, 2, "new", "no"]])
    assert "line 102: 'new' is no known category" in refused(capsys, "evaluate", "a", code=1)


def test_a_run_without_record_of_its_rows_warns_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    rows = some_rows()
    write_rows("t.csv", rows)
    trained(capsys, "t.csv")
    Path("runs/a/rows.safetensors").unlink()
    write_rows("t.csv", rows[::-1])
    found, remarks = measured(capsys)
    assert "the test set is not the one of the training any more" in remarks
    assert found["left_out"] == 0


def test_a_damaged_record_of_rows_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows("t.csv", some_rows())
    trained(capsys, "t.csv")
    file = Path("runs/a/rows.safetensors")
    content = bytearray(file.read_bytes())
    content[-3] ^= 0x55
    file.write_bytes(content)
    assert "rows.safetensors" in refused(capsys, "evaluate", "a", code=1)


def test_the_record_of_rows_is_small_and_stays_when_a_run_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows("t.csv", some_rows(1000))
    trained(capsys, "t.csv", "--train-dev", "0.1")
    file = Path("runs/a/rows.safetensors")
    assert file.stat().st_size < 8 * 800 + 1000
    before = file.read_bytes()
    said(capsys, "train", "--resume", "a", "--epochs", "4")
    assert file.read_bytes() == before


def test_another_table_is_measured_by_the_classes_and_statistics_of_the_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = some_rows(140)
    write_rows("t.csv", rows[:100])
    trained(capsys, "t.csv", "--missing", "mean")
    write_rows("new.csv", [[row[3], 5, *row[2::-1]] for row in rows[100:] if row[3] == "yes"], "y,more,side,b,a")
    found, remarks = measured(capsys, "--data", "new.csv")
    assert remarks == ""
    lines = said(capsys, "predict", "a", "new.csv", "--json")
    right = [json.loads(line)["prediction"] == "yes" for line in lines]
    assert found["figures"]["accuracy"] == pytest.approx(np.mean(right))
    assert (found["examples"], found["data"]) == (len(lines), "new.csv")
    Path("t.csv").unlink()  # which is not asked for
    assert measured(capsys, "--data", "new.csv")[0]["figures"] == found["figures"]
    assert f"{len(lines)} examples" in "\n".join(said(capsys, "evaluate", "a", "--data", "new.csv"))


def test_the_file_of_the_test_set_gives_the_figures_of_the_test_set(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows("t.csv", some_rows())
    write_rows("later.csv", some_rows(130)[100:])
    figures = trained(capsys, "t.csv", "--test", "later.csv")
    assert measured(capsys, "--data", "later.csv")[0]["figures"] == figures
    write_rows("later.csv", some_rows(140)[:20] + some_rows(140)[100:])
    found, _ = measured(capsys)
    assert (found["examples"], found["left_out"]) == (40, 20)


def test_that_another_file_holds_what_was_trained_on_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows("t.csv", some_rows())
    trained(capsys, "t.csv")
    write_rows("new.csv", some_rows(110)[80:])
    found, remarks = measured(capsys, "--data", "new.csv")
    learned = int(re.search(r"equal inputs: (\d+) of 30 test rows also stand in the training set", remarks)[1])  # type: ignore[index]
    assert 0 < learned <= 20
    assert found["examples"] == 30


@pytest.mark.parametrize(
    ("data", "words"),
    [("digits", []), ("penguins", ["--target", "species"]), ("cars", []), ("digits", ["knn"])],
)
def test_runs_on_the_data_of_the_package_measure_other_files(
    data: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    figures = trained(capsys, data, *(words if words != ["knn"] else []), model="knn" if words == ["knn"] else "mlp")
    raw = dl.data.load(data, target=words[1] if words[:1] == ["--target"] else None)
    if data == "digits":
        np.savez("new.npz", x=raw.test.x, y=raw.test.y)
        found, _ = measured(capsys, "--data", "new.npz")
    else:
        y = raw.test.y.ravel() if raw.classes is None else [raw.classes[label] for label in raw.test.y]
        rows = [[*map(repr, x.tolist()), label] for x, label in zip(raw.test.x, y, strict=True)]
        write_rows("new.csv", rows, ",".join([*(raw.features or ()), words[1] if words else "mpg"]))
        found, _ = measured(capsys, "--data", "new.csv")
    assert found["figures"] == pytest.approx(figures, rel=1e-5)


def test_several_heads_are_measured_on_another_file(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[*row[:2], row[2], i / 7] for i, row in enumerate(some_rows(100))]
    write_rows("t.csv", rows[:80])
    write_rows("new.csv", [*rows[80:], ["1", "2", "", "3.5"]])
    words = ["--data", "t.csv", "--heads", "side", "y", "--epochs", "2", "--device", "cpu", "--name", "a"]
    said(capsys, "train", *words)
    found, _ = measured(capsys, "--data", "new.csv")
    assert found["examples"] == 21
    assert {"side_accuracy", "y_r2"} <= set(found["figures"])


def test_a_folder_of_pictures_is_measured_by_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for root, count in (("photos", 40), ("later", 12)):
        for i in range(count):
            folder = Path(root, "uvw"[i % (3 if root == "photos" else 2)])
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (5, 5), np.uint8)).save(folder / f"{i}.png")
    trained(capsys, "photos", "--hidden", "8")
    found, _ = measured(capsys, "--data", "later")
    lines = said(capsys, "predict", "a", *map(str, sorted(Path("later").rglob("*.png"))), "--json")
    answers = [json.loads(line) for line in lines]
    right = [Path(one["input"]).parent.name == one["prediction"] for one in answers]
    assert (found["examples"], found["figures"]["accuracy"]) == (12, pytest.approx(np.mean(right)))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["--data", "odd.csv"],
            1,
            "odd.csv: column y, line 2: 'maybe' is no class that the model knows; known are no, yes",
        ),
        (["--data", "level.csv"], 1, "level.csv: column side, line 2: 'z' is no known category"),
        (["--data", "less.csv"], 1, "less.csv: there is no column 'b'"),
        (["--data", "t.npz"], 1, "t.npz: x has examples of shape (2,)"),
        (["--data", "folder"], 1, "folder: this is a folder, but the model was trained on a table"),
        (["--data", "nowhere.csv"], 1, "nowhere.csv: there is no such file"),
        (["--data", "t.csv", "--part", "dev"], 2, "--data and --part dev came together"),
        (["--unknown-level", "missing"], 2, "--unknown-level goes with --data"),
    ],
)
def test_another_file_that_does_not_suit_the_run_is_one_line(
    words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows("t.csv", some_rows())
    trained(capsys, "t.csv")
    write_rows("odd.csv", [[1, 2, "u", "maybe"]])
    write_rows("level.csv", [[1, 2, "z", "no"]])
    write_rows("less.csv", [[1, "u", "no"]], "a,side,y")
    np.savez("t.npz", x=np.zeros((3, 2)), y=np.zeros(3))
    Path("folder").mkdir()
    assert message in refused(capsys, "evaluate", "a", *words, code=code)
    assert measured(capsys, "--data", "level.csv", "--unknown-level", "missing")[0]["examples"] == 1


def test_a_text_says_that_it_takes_no_other_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.txt").write_text("to be, or not to be\n" * 40)
    words = ("--window", "8", "--hidden", "4", "--epochs", "1", "--device", "cpu", "--name", "a")
    said(capsys, "train", "--data", "s.txt", *words)
    assert "the run is of a text" in refused(capsys, "evaluate", "a", "--data", "s.txt", code=2)
