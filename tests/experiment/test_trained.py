"""``dl.open_run``: one object for a trained run, whose answers are those of the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import dlcore as dl
from dlcore import nn
from dlcore.cli import main
from dlcore.data import Dataset
from dlcore.errors import CheckpointError, ConfigError, DataError
from dlcore.experiment.predictions import Predictions

ROWS = [
    {"size": i % 7, "colour": ("blue", "red", "green")[i % 3], "kind": ("no", "yes")[i % 7 > 3], "price": i % 5 + 0.5}
    for i in range(40)
]
NEW = [{"size": 3, "colour": "red"}, {"colour": "green", "size": 6.0}, {"size": "0", "colour": "blue"}]
RNG = np.random.default_rng(0)


def table(path: str | Path, rows: list[dict[str, Any]], *names: str) -> str:
    names = names or tuple(rows[0])
    lines = [",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]
    Path(path).write_text("\n".join(lines) + "\n")
    return str(path)


def train(folder: Path, name: str, data: str, *words: str, model: str = "logistic") -> None:
    base = ["--baseline", "none", "--device", "cpu", "--runs", str(folder / "runs"), "--name", name, "--model", model]
    epochs = [] if model == "knn" else ["--epochs", "1"]
    assert main(["train", "--data", data, *base, *epochs, *words]) == 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each kind, and a new file for each; the pictures of the runs are blank."""
    with pytest.MonkeyPatch.context() as patched:
        saved = Figure.savefig
        patched.setattr(Figure, "savefig", lambda _, *file, **how: saved(Figure(figsize=(1, 1)), *file, **how))
        return made(tmp_path_factory.mktemp("home"))


def made(folder: Path) -> Path:
    learn = table(folder / "t.csv", ROWS, "size", "colour", "kind")
    train(folder, "table", learn)
    train(folder, "knn", learn, "--neighbors", "3", model="knn")
    train(folder, "numbers", table(folder / "n.csv", ROWS, "size", "colour", "price"), model="linear")
    train(folder, "heads", table(folder / "h.csv", ROWS), "--heads", "kind", "price", model="mlp")
    table(folder / "new.csv", NEW)
    table(folder / "labelled.csv", [{**row, "size": row["size"] + 0.25} for row in ROWS])
    for i in range(30):
        place = folder / "pictures" / ("dark", "light")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        pixels = RNG.integers(0, 100, (6, 6, 3)) + 150 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{i}.png")
    train(folder, "images", str(folder / "pictures"), "--image-size", "6", "6", model="mlp")
    series = [{"load": 100 + i, "wind": i % 7} for i in range(50)]
    train(folder, "series", table(folder / "s.csv", series), "--target", "load", "--window", "4", "--horizon", "2",
          model="linear")  # fmt: skip
    x, lengths = RNG.normal(size=(30, 4, 2)), RNG.integers(1, 5, 30)
    np.savez(folder / "q.npz", x=x, y=np.arange(30) % 3, lengths=lengths)
    np.savez(folder / "new.npz", x=x[:5], lengths=lengths[:5])
    train(folder, "sequences", str(folder / "q.npz"), "--hidden", "3", model="rnn")
    (folder / "text.txt").write_text("the cat sat on the mat. " * 60)
    train(folder, "text", str(folder / "text.txt"), "--hidden", "8", "--window", "16", model="gru")
    return folder


@pytest.fixture(autouse=True)
def _there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def opened(name: str) -> Any:
    return dl.open_run(name, device="cpu")


def printed(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> list[dict[str, Any]]:
    """What a command prints with --json."""
    capsys.readouterr()
    assert main([*words, "--device", "cpu", "--json"]) == code
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def without_input(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in said.items() if key != "input"} for said in found]


# The same answers as the command line --------------------------------------------------------------------------------

FILES = {
    "table": ["new.csv"],
    "knn": ["new.csv", "labelled.csv"],
    "numbers": ["new.csv"],
    "heads": ["new.csv"],
    "images": ["pictures"],
    "series": ["s.csv"],
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_predicted_as_on_the_command_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(opened(name).predict(FILES[name])) == printed(capsys, "predict", name, *FILES[name])


def test_an_archive_is_predicted_as_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(opened("sequences").predict("new.npz")) == printed(capsys, "predict", "sequences", "--npz", "new.npz")


def test_more_classes_are_told_as_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    found = opened("table").predict(Path("new.csv"), top=2)
    assert list(found) == printed(capsys, "predict", "table", "new.csv", "--top", "2")
    assert [len(said["top"]) for said in found] == [2, 2, 2]


def test_a_text_is_written_as_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["generate", "text", "--prompt", "the ", "--length", "20", "--seed", "3", "--device", "cpu"]) == 0
    run = opened("text")
    assert "the " + run.generate("the ", length=20, seed=3) == capsys.readouterr().out.rstrip("\n")
    with pytest.raises(ConfigError, match=r"learnt from text.*generate"):
        run.predict("new.csv")
    with pytest.raises(ConfigError, match="no text"):
        opened("table").generate("the ")


@pytest.mark.parametrize("name", [*FILES, "sequences", "text"])
@pytest.mark.parametrize("part", ["test", "dev"])
def test_a_part_is_measured_as_on_the_command_line(name: str, part: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (said,) = printed(capsys, "evaluate", name, "--part", part)
    assert opened(name).evaluate(part=part) == said["figures"]


@pytest.mark.parametrize("name", ["table", "knn", "heads", "numbers"])
def test_another_file_is_measured_as_on_the_command_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (said,) = printed(capsys, "evaluate", name, "--data", "labelled.csv")
    assert opened(name).evaluate("labelled.csv") == said["figures"]


# Rows and arrays in memory -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["table", "knn", "numbers", "heads"])
def test_rows_in_memory_are_predicted_as_those_of_a_file(name: str) -> None:
    run = opened(name)
    expected = without_input(run.predict("new.csv"))
    assert without_input(run.predict(NEW)) == expected
    assert without_input(run.predict(tuple(NEW))) == expected
    columns = {"colour": ["red", "green", "blue"], "size": np.array([3, 6, 0])}
    assert without_input(run.predict(columns)) == expected
    assert without_input(run.predict(Frame(columns))) == expected
    assert [said["input"] for said in run.predict(NEW)] == ["row 1", "row 2", "row 3"]


class Frame:
    """What is needed of a data frame."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.held, self.columns = columns, list(columns)

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        assert orient == "records"
        return [dict(zip(self.held, row, strict=True)) for row in zip(*self.held.values(), strict=True)]


def test_arrays_are_normalised_as_in_training() -> None:
    run = opened("table")
    x = np.array([[3, 0, 0, 1], [6, 0, 1, 0], [0, 1, 0, 0]])  # size, colour=blue, green, red
    expected = without_input(run.predict("new.csv"))
    for given in (x, x.tolist(), x.astype(np.float32), dl.Tensor(x.astype(np.float64)), Dataset(x, np.zeros(3))):
        assert without_input(run.predict(given)) == expected


def test_images_in_memory_are_predicted_as_those_of_files() -> None:
    run = opened("images")
    files = sorted(Path("pictures").rglob("*.png"))
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    assert without_input(run.predict(pixels)) == without_input(run.predict([str(file) for file in files]))


def test_sequences_in_memory_have_lengths() -> None:
    run = opened("sequences")
    with np.load("new.npz") as held:
        data = Dataset(held["x"], np.zeros(5, np.int64), held["lengths"])
    assert without_input(run.predict(data)) == without_input(run.predict("new.npz"))
    with pytest.raises(DataError, match="lengths"):
        run.predict(data.x)


def test_windows_of_a_series_are_predicted_from_arrays() -> None:
    run = opened("series")
    window = np.array([[100 + i, i % 7] for i in range(46, 50)], float)
    assert run.predict(window[None]).outputs == pytest.approx(run.predict("s.csv").outputs, rel=1e-6)
    with pytest.raises(ConfigError, match="series"):
        run.predict([{"load": 1.0, "wind": 2}])


def test_a_row_that_cannot_be_predicted_is_told_and_the_others_are_predicted() -> None:
    run = opened("table")
    found = run.predict([NEW[0], {"size": 3}, {"size": "x", "colour": "red"}, {"size": None, "colour": "red"},
                         {"size": float("nan"), "colour": "red"}, {"size": 1, "colour": "rde"}, NEW[2]])  # fmt: skip
    assert list(found.errors) == [1, 2, 3, 4, 5]
    assert "column colour is not in the row" in found.errors[1]
    assert "'x' is not a number" in found.errors[2]
    assert "missing" in found.errors[3]
    assert found.errors[4] == found.errors[3]
    assert "did you mean red" in found.errors[5]
    assert found[0]["outputs"] == run.predict(NEW)[0]["outputs"]
    with pytest.raises(DataError, match="5 of 7 rows could not be predicted, the first: row 2: column colour"):
        _ = found.values
    assert list(run.predict([{"size": 1, "colour": "rde"}], unknown_level="missing").errors) == []


def test_a_dataset_is_measured_by_the_runs_normaliser() -> None:
    run = opened("table")
    levels = ("blue", "green", "red")
    x = [[row["size"] + 0.25, *(row["colour"] == level for level in levels)] for row in ROWS]
    data = Dataset(np.array(x, float), np.array([row["kind"] == "yes" for row in ROWS], np.int64))
    assert run.evaluate(data) == run.evaluate("labelled.csv")
    assert opened("knn").evaluate(data) == opened("knn").evaluate("labelled.csv")


# What it is ----------------------------------------------------------------------------------------------------------


def test_it_says_what_it_is() -> None:
    run = opened("table")
    assert run.classes == ("no", "yes")
    assert opened("heads").classes == {"kind": ("no", "yes")}
    assert opened("numbers").classes is None
    assert run.config.train.epochs == 1
    assert run.config.data.data.endswith("t.csv")
    assert run.history["loss"] == [run.run.records()[0]["loss"]]
    assert run.report == Path("runs/table/report.html")
    assert run.weights == "the weights at the end"
    assert opened("knn").weights == "its training set memorised again"


def test_the_model_has_its_weights_and_evaluates() -> None:
    run = opened("table")
    x = np.array([[3, 0, 0, 1]], float)
    assert not run.model.training
    logits = run.model(run.normalizer.transform(x).astype(np.float32)).numpy()
    assert run.predict(x).outputs == pytest.approx(logits, rel=1e-6)
    assert run.model is run.model
    with pytest.raises(ConfigError, match="knn has no layers"):
        _ = opened("knn").model


def test_values_are_names_of_classes_or_numbers() -> None:
    assert set(opened("table").predict("new.csv").values.tolist()) <= {"no", "yes"}
    assert opened("numbers").predict("new.csv").values.shape == (3,)
    heads = opened("heads").predict("new.csv")
    assert {name: values.shape for name, values in heads.values.items()} == {"kind": (3,), "price": (3,)}
    assert heads.outputs["price"].shape == (3, 1)
    assert Predictions().values.shape == (0,)


def test_a_folder_of_ones_own_with_several_inputs_is_predicted_from(tmp_path: Path) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            self.left, self.right = nn.Dense(2), nn.Dense(2)

        def forward(self, a: Any, b: Any) -> Any:
            return self.left(a) + self.right(b)

    globals()["Both"] = Both
    Both.__qualname__ = "Both"
    model = Both().build({"a": (3,), "b": (2,)}, seed=1)
    dl.train.save_model(tmp_path / "model.json", model, about={"loss": "mse"})
    dl.save_weights(model, tmp_path / "model.safetensors")
    x = {"a": RNG.normal(size=(5, 3)).astype(np.float32), "b": RNG.normal(size=(5, 2)).astype(np.float32)}
    run = dl.open_run(tmp_path, device="cpu")
    assert run.predict(x).outputs == pytest.approx(model.eval()(**x).numpy(), rel=1e-6)
    with pytest.raises(DataError, match="examples of shape"):
        run.predict({"a": x["a"]})


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (np.zeros((2, 3)), ["examples of shape (3,)", "(4,)"]),
        (np.zeros((0, 4)), ["(0, 4)", "at least one"]),
        ([], ["at least one"]),
        (3.5, ["at least one"]),
        (None, ["numbers"]),
        (np.zeros((2, 4), complex), ["complex128", "numbers"]),
        (np.array([["a", "b", "c", "d"]]), ["numbers"]),
        ([[1.0, 2.0], [1.0]], ["NumPy array"]),
        ({"size": [1, 2], "colour": ["red"]}, ["one length"]),
    ],
)
def test_inputs_of_another_form_are_one_line(inputs: Any, words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        opened("table").predict(inputs)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_arguments_that_make_no_sense_are_one_line() -> None:
    run = opened("table")
    for top in (0, 1.5, True, "2"):
        with pytest.raises(ConfigError, match="top is"):
            run.predict(NEW, top=top)
    with pytest.raises(ConfigError, match="unknown_level"):
        run.predict(np.zeros((1, 4)), unknown_level="missing")
    with pytest.raises(ConfigError, match="no parts"):
        run.evaluate("labelled.csv", part="dev")
    with pytest.raises(ConfigError, match="part is 'all'"):
        run.evaluate(part="all")
    with pytest.raises(DataError, match="data is a list"):
        run.evaluate([1, 2])
    with pytest.raises(DataError, match="no class that the model knows"):
        run.evaluate(Dataset(np.zeros((2, 4)), np.array([0, 7])))
    with pytest.raises(CheckpointError, match=r"tabel: no run is there.*table"):
        dl.open_run("tabel")


def test_code_from_somebody_else_runs_where_it_is_trusted(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text("from dlcore import nn\n\ndef build(outputs):\n    return nn.Dense(outputs)\n")
    train(tmp_path, "own", str(home / "t.csv"), model=f"{tmp_path / 'own.py'}:build")
    monkeypatch.setenv("DLCORE_STATE", str(tmp_path / "state"))
    run = dl.open_run("own", tmp_path / "runs", device="cpu")
    assert run.classes == ("no", "yes")
    for use in (lambda: run.model, lambda: run.predict(NEW), lambda: run.evaluate()):
        with pytest.raises(CheckpointError, match="trust=True"):
            use()
    trusted = dl.open_run("own", tmp_path / "runs", device="cpu", trust=True)
    assert len(trusted.predict(NEW)) == 3
    assert dl.open_run("own", tmp_path / "runs", device="cpu").evaluate() == trusted.evaluate()
