"""``dlcore predict`` goes on after what it cannot predict: a line for each row, errors in their place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import refused, said
from PIL import Image

import dlcore as dl
from dlcore.cli import main

Predict = Callable[..., list[dict[str, Any]]]
COLOURS = ("blue", "red", "green")
TABLE = "size,colour,lot,open,y\n" + "".join(
    f"{i % 7},{COLOURS[i % 3]},{i % 2 + 1},{('False', 'True')[i % 2]},{('no', 'yes')[i % 7 > 3]}\n" for i in range(60)
)
NETWORK = ("--model", "logistic", "--epochs", "1", "--baseline", "none", "--device", "cpu")


def train(folder: Path, name: str, text: str, *words: str) -> Path:
    """A run on a table of that text."""
    file = folder / f"{name}.csv"
    file.write_text(text, encoding="utf-8")
    words = words or NETWORK
    assert (
        main(["train", "--data", str(file), *words, "--categorical", "lot", "--runs", str(folder), "--name", name]) == 0
    )
    return folder / name


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("runs"), "plain", TABLE)


@pytest.fixture
def predict(capsys: pytest.CaptureFixture[str]) -> Predict:
    """What is said of each row with --json, and in words in its place."""

    def predicted(run: Path, *words: str, code: int = 1) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert main(["predict", str(run), *words, "--device", "cpu"]) == code
        plain = capsys.readouterr()
        assert main(["predict", str(run), *words, "--device", "cpu", "--json"]) == code
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert len(plain.out.splitlines()) == len(found)
        for one, line in zip(found, plain.out.splitlines(), strict=True):
            assert line.startswith(f"{one['input']}: error: {one.get('error')}" if "error" in one else one["input"])
        assert len(plain.err.splitlines()) == code
        return found

    return predicted


def new(*rows: str, header: str = "size,colour,lot,open") -> str:
    Path("new.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return "new.csv"


GOOD = "3,red,1,True"
BAD = {
    "text for a number": ("three,red,1,True", ["column size", "'three' is not a number"]),
    "a missing number": (",red,1,True", ["column size", "missing"]),
    "a missing level": ("3,NA,1,True", ["column colour", "missing"]),
    "an unseen level": ("3,rde,1,True", ["column colour", "'rde'", "did you mean red", "--unknown-level missing"]),
    "infinity": ("1e39,red,1,True", ["column size", "not finite"]),
    "a cell less": ("3,red,1", ["has 3 cells"]),
    "a cell more": ("3,red,1,True,", ["has 5 cells"]),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_row_is_named_with_its_line_and_the_others_are_predicted(kind: str, run: Path, predict: Predict) -> None:
    row, words = BAD[kind]
    found = predict(run, new(GOOD, GOOD, row, "5,blue,2,False", GOOD))
    assert [one["input"] for one in found] == [f"new.csv, row {i}" for i in range(1, 6)]
    assert [i for i, one in enumerate(found) if "error" in one] == [2]
    assert "line 4" in found[2]["error"]
    assert all(word in found[2]["error"] for word in words)
    (alone, other) = predict(run, new(GOOD, "5,blue,2,False"), code=0)
    assert [found[0]["outputs"], found[3]["outputs"]] == [alone["outputs"], other["outputs"]]


def test_the_rows_that_cannot_be_predicted_are_counted_in_one_line(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = new(*[GOOD] * 299, "x,red,1,True", GOOD, "1,red,1")
    line = refused(capsys, "predict", str(run), file, "nowhere.csv", file, code=1)
    assert "4 of 604 rows and 1 of 3 files could not be predicted" in line
    assert "new.csv, row 300: column size, line 301" in line


def test_a_file_that_cannot_be_read_has_a_line_in_its_place(run: Path, predict: Predict) -> None:
    Path("headless.csv").write_text("size,lot,open\n1,2,True\n")
    Path("broken.csv").write_bytes(f"size,colour,lot,open\n{GOOD}\n{GOOD}\n".encode() + b'1,"red,1,True\n')
    found = predict(run, new(GOOD), "nowhere.csv", "headless.csv", "broken.csv", "new.csv")
    assert [one["input"] for one in found if "error" in one] == ["nowhere.csv", "headless.csv", "broken.csv"]
    assert "'colour'" in found[2]["error"]
    assert [one["input"] for one in found[3:]] == [
        "broken.csv, row 1", "broken.csv, row 2", "broken.csv", "new.csv, row 1",
    ]  # fmt: skip


DRESSES = {
    "a number with a point": "3,red,1.0,True",
    "a number with a sign and blanks": "3.0, red , +1 ,True",
    "a number with an exponent": "3,red,1e0,True",
    "booleans in capitals": "3,red,1,TRUE",
    "booleans in small letters": "3e0,red,01,true",
}


@pytest.mark.parametrize("kind", DRESSES)
def test_a_level_in_another_dress_is_the_level(kind: str, run: Path, predict: Predict) -> None:
    first, second = predict(run, new(GOOD, DRESSES[kind]), code=0)
    assert first["outputs"] == second["outputs"]


def test_a_level_of_other_letters_is_another(run: Path, predict: Predict) -> None:
    first, second = predict(run, new("3,Red,1,True", GOOD))
    assert "did you mean red" in first["error"]
    assert "prediction" in second


def test_numbers_keep_the_digits_that_they_had_in_training(tmp_path: Path, predict: Predict) -> None:
    """Seconds since 1970 are multiples of 128 in float32."""
    rows = [f"{1_700_000_000 + 3 * i},{i % 5},{i % 11}" for i in range(60)]
    seconds = train(tmp_path, "seconds", "\n".join(["t,lot,y", *rows]), *NETWORK[2:], "--model", "linear")
    Path("new.csv").write_text("t,lot\n" + "".join(f"{1_700_000_000 + i},1\n" for i in range(30)))
    assert len({one["prediction"] for one in predict(seconds, "new.csv", code=0)}) == 30


def test_an_unseen_level_is_taken_as_missing_where_that_is_asked_for(
    run: Path, predict: Predict, tmp_path: Path
) -> None:
    rows = ("3,pink,1,True", "3,,1,True", "3,red,1,perhaps")
    found = predict(run, new(*rows, GOOD), "--unknown-level", "missing", code=0)
    assert found[0]["outputs"] == found[1]["outputs"] != found[3]["outputs"]

    asked = train(tmp_path, "asked", TABLE, *NETWORK, "--unknown-level", "missing")
    assert len(predict(asked, "new.csv", code=0)) == 4  # as the run was trained
    assert ["error" in one for one in predict(asked, "new.csv", "--unknown-level", "refuse")] == [1, 1, 1, 0]

    gaps = train(tmp_path, "gaps", TABLE.replace("blue", ""), *NETWORK, "--missing", "mean")
    found = predict(gaps, new("3,pink,1,True", "3,,1,True", "3,red,1,True"), "--unknown-level", "missing", code=0)
    assert found[0]["outputs"] == found[1]["outputs"] != found[2]["outputs"]  # the level of missing cells


def test_a_run_that_dropped_rows_says_which_it_cannot_predict(tmp_path: Path, predict: Predict) -> None:
    lines = TABLE.splitlines()
    lines[9] = "," + lines[9].partition(",")[2]
    lines[20] = lines[20].replace("blue", "?").replace("red", "?").replace("green", "?")
    dropped = train(tmp_path, "dropped", "\n".join(lines) + "\n", *NETWORK, "--missing", "drop")
    found = predict(dropped, str(tmp_path / "dropped.csv"))
    assert len(found) == 60
    assert [i for i, one in enumerate(found, start=1) if "error" in one] == [9, 20]
    for i, column in ((8, "size"), (19, "colour")):
        assert f"column {column}, line {i + 2}" in found[i]["error"]
        assert "--missing drop" in found[i]["error"]


def test_nearest_neighbours_and_heads_go_on_too(tmp_path: Path, predict: Predict) -> None:
    knn = train(tmp_path, "knn", TABLE, "--model", "knn", "--neighbors", "3", "--baseline", "none", "--device", "cpu")
    found = predict(knn, new(GOOD, "3,red,9,True", GOOD), "--top", "2")
    assert ["error" in one for one in found] == [0, 1, 0]
    assert len(found[2]["top"]) == 2
    heads = train(tmp_path, "heads", TABLE, "--heads", "y", "open", *NETWORK[2:], "--hidden", "4")
    found = predict(heads, new("3,red,1", "much,red,1", "3,red,1", header="size,colour,lot"))
    assert [sorted(one.get("heads", ())) for one in found] == [["open", "y"], [], ["open", "y"]]


def test_numbers_without_end_from_the_model_are_named(tmp_path: Path, predict: Predict) -> None:
    model = dl.nn.Dense(1).build((1,))
    model.w.data[:] = 2
    columns = dl.data.Inputs.table(["a"]).to_dict()
    dl.train.save_model(tmp_path / "model.json", model, about={"loss": "mse", "inputs": columns})
    dl.save_weights(model, tmp_path / "model.safetensors", {"complete": "yes", "step": "1"})
    found = predict(tmp_path, new("1", "3e38", "2", header="a"))
    assert [one.get("prediction") for one in found] == [2, None, 4]
    assert "inf" in found[1]["error"]


def test_pictures_that_cannot_be_read_leave_the_others_alone(tmp_path: Path, predict: Predict) -> None:
    for name, shade in (("dark", 20), ("light", 200)):
        Path("all", name).mkdir(parents=True)
        for i in range(5):
            Image.new("L", (6, 6), shade + i).save(f"all/{name}/{i}.png")
    assert main(["train", "--data", "all", *NETWORK, "--runs", str(tmp_path), "--name", "pictures"]) == 0
    Path("all/dark/1.png").write_bytes(b"no")
    Path("empty").mkdir()
    found = predict(tmp_path / "pictures", "all/light/0.png", "all/dark/1.png", "empty", "all/dark/2.png")
    assert [one["input"] for one in found if "error" in one] == ["all/dark/1.png", "empty"]
    assert len(predict(tmp_path / "pictures", "all/light", code=0)) == 5


def test_rows_of_an_archive_go_on_too(tmp_path: Path, predict: Predict) -> None:
    rng = np.random.default_rng(0)
    np.savez("learn.npz", x=rng.normal(size=(40, 3)), y=np.arange(40) % 2)
    assert main(["train", "--data", "learn.npz", *NETWORK, "--runs", str(tmp_path), "--name", "a"]) == 0
    x = rng.normal(size=(300, 3))
    np.savez("sound.npz", x=x)
    sound = predict(tmp_path / "a", "--npz", "sound.npz", code=0)
    x[7, 1], x[270, 2] = np.nan, -np.inf
    np.savez("new.npz", x=x)
    found = predict(tmp_path / "a", "--npz", "new.npz")
    assert [i for i, one in enumerate(found) if "error" in one] == [7, 270]
    assert ["nan at (1,)" in found[7]["error"], "-inf at (2,)" in found[270]["error"]] == [True, True]
    assert found[8]["outputs"] == pytest.approx(sound[8]["outputs"], rel=1e-5)


def test_sequences_with_faults_go_on_and_what_is_behind_their_end_does_not_matter(
    tmp_path: Path, predict: Predict
) -> None:
    rng = np.random.default_rng(0)
    x, lengths = rng.normal(size=(30, 4, 2)), rng.integers(1, 5, 30)
    np.savez("learn.npz", x=x, y=np.arange(30) % 3, lengths=lengths)
    words = ("--model", "rnn", "--hidden", "3", "--epochs", "1", "--baseline", "none", "--device", "cpu")
    assert main(["train", "--data", "learn.npz", *words, "--runs", str(tmp_path), "--name", "a"]) == 0
    x, lengths = x[:5], np.array([2, 4, 1, 9, 3])
    np.savez("sound.npz", x=x, lengths=np.minimum(lengths, 4))
    sound = predict(tmp_path / "a", "--npz", "sound.npz", code=0)
    x[0, 3] = np.nan  # behind the end
    x[1, 3] = np.nan
    np.savez("new.npz", x=x, lengths=lengths)
    found = predict(tmp_path / "a", "--npz", "new.npz")
    assert ["error" in one for one in found] == [0, 1, 0, 1, 0]
    assert "length is 9" in found[3]["error"]
    assert "nan" in found[1]["error"]
    for i in (0, 2, 4):
        assert found[i]["outputs"] == pytest.approx(sound[i]["outputs"], rel=1e-5)


OWN = """
from dlcore import nn

def build(outputs):
    return nn.Sequential(nn.Embedding(6, 3), nn.GRU(3), nn.Dense(outputs))
"""


def test_words_stay_integers_and_one_that_is_unknown_leaves_the_other_rows_alone(
    tmp_path: Path, predict: Predict
) -> None:
    Path("own.py").write_text(OWN)
    x, lengths = np.arange(120).reshape(30, 4) % 6, np.arange(30) % 4 + 1
    np.savez("learn.npz", x=x, y=np.arange(30) % 3, lengths=lengths)
    words = ("--model", "own.py:build", *NETWORK[2:])
    assert main(["train", "--data", "learn.npz", *words, "--runs", str(tmp_path), "--name", "a"]) == 0
    x[[3, 11], 0] = 6
    np.savez("new.npz", x=x, lengths=lengths)
    found = predict(tmp_path / "a", "--npz", "new.npz")
    assert [i for i, one in enumerate(found) if "error" in one] == [3, 11]


@pytest.mark.parametrize("words", [("--npz", "x.npz"), ("x.png",)])
def test_unknown_levels_are_of_tables(words: tuple[str, ...], run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run
    if words[0] == "x.png":
        said(capsys, "train", "--data", "digits", *NETWORK, "--name", "digits")
        folder = Path("digits")
    line = refused(capsys, "predict", str(folder), *words, "--unknown-level", "missing", code=2)
    assert "--unknown-level goes with tables" in line


def test_inputs_far_outside_the_training_range_are_bounded_and_named(
    run: Path, tmp_path: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "far.csv"  # size was 0 to 6 in training
    file.write_text("size,colour,lot,open\n5000,red,1,True\n12,red,1,True\n-6.5,red,1,True\n")
    far, near, below = predict(run, str(file), code=0)
    assert (far["bounded"], below["bounded"]) == ({"size": 5000.0}, {"size": -6.5})
    assert "bounded" not in near
    assert far["outputs"] == near["outputs"]  # 12 is a range's width above the largest
    lines = said(capsys, "predict", str(run), str(file), "--device", "cpu")
    assert "far outside the training range" in lines[0]
    assert "size 5,000" in lines[0]
    assert "nearest value" not in lines[1]


def test_features_without_names_are_called_by_their_place(tmp_path: Path, predict: Predict) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "t.npz", x=rng.uniform(size=(40, 3)), y=np.arange(40) % 2)
    words = ("--data", str(tmp_path / "t.npz"), "--name", "t", "--runs", str(tmp_path), *NETWORK)
    assert main(["train", *words]) == 0
    np.savez(tmp_path / "new.npz", x=[[0.5, 0.5, 0.5], [0.5, 40.0, 0.5]])
    first, second = predict(tmp_path / "t", "--npz", str(tmp_path / "new.npz"), code=0)
    assert "bounded" not in first
    assert second["bounded"] == {"feature 1": 40.0}


def test_an_output_beyond_the_classes_is_named_by_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    Path("own.py").write_text(
        "from dlcore import nn\ndef build(outputs):\n    return nn.Sequential(nn.Flatten(), nn.Dense(outputs + 2))\n"
    )
    said(capsys, "train", "--data", "penguins", "--target", "species", "--model", "own.py:build", "--epochs", "1",
         "--baseline", "none", "--device", "cpu", "--name", "a")  # fmt: skip
    np.savez("x.npz", x=dl.data.load("penguins", target="species").test.x[:2])
    for line in said(capsys, "predict", "a", "--npz", "x.npz", "--json", "--top", "5"):
        names = {one["class"] for one in json.loads(line)["top"]}
        assert {"3", "4"} < names
        assert len(names) == 5
