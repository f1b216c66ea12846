"""A file of labelled examples, read as a model's training data were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcore.data import Dataset, ImageFolder, Inputs, Normalizer
from dlcore.data.labelled import Reading, prepared
from dlcore.errors import DataError

SIZES = Inputs.table(["a", {"name": "b", "kind": "category", "values": ["x", "y"]}])


def reading(**given: Any) -> Reading:
    return Reading(**({"shape": (3,), "task": "classification", "classes": ("7", "12"), "inputs": SIZES} | given))


def written(folder: Path, text: str, name: str = "t.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_columns_are_found_by_their_names_and_the_last_other_one_is_the_target(tmp_path: Path) -> None:
    path = written(tmp_path, "b,kind,day,a\ny,12,3,1\nx,7,4,2\n")
    data, notes = reading(ignore=["day"]).read(path)
    assert data.x.tolist() == [[1, 0, 1], [2, 1, 0]]
    assert data.y.tolist() == [1, 0]
    assert notes == []
    assert reading(target="kind").read(path)[0].y.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("task", "classes", "cells", "y"),
    [
        ("classification", ("7", "12"), ["12", "7.0"], [1, 0]),
        ("binary", ("no", "yes"), ["yes", "no"], [[1.0], [0.0]]),
        ("regression", None, ["1.5", "-2e3"], [[1.5], [-2000.0]]),
    ],
)
def test_targets_of_every_task(tmp_path: Path, task: str, classes: Any, cells: list[str], y: list[Any]) -> None:
    path = written(tmp_path, "a,b,goal\n" + "".join(f"1,x,{cell}\n" for cell in cells))
    data, _ = reading(task=task, classes=classes).read(path)
    assert data.y.tolist() == y
    assert data.y.dtype == (np.int64 if task == "classification" else np.float32)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,x\n", "there is no column beside those that the model reads"),
        ("a,goal\n1,7\n", "there is no column 'b'.*but the model was trained on it"),
        ("a,b,goal\n1,x,8\n", "column goal, line 2: '8' is no class that the model knows; known are 7, 12"),
        ("a,b,goal\n1,x,7\n,x,7\n", "column a, line 3: the cell is missing"),
        ("a,b,goal\n1,x,\n2,y,NA\n", "no row is left; 2 rows without a target left out"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        reading().read(written(tmp_path, text))
    assert "t.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_target_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column .kind.*but it is the target"):
        reading(target="kind").read(written(tmp_path, "a,b,goal\n1,x,7\n"))
    with pytest.raises(DataError, match="'many' is not a number that can be predicted"):
        reading(task="regression", classes=None).read(written(tmp_path, "a,b,goal\n1,x,many\n"))


def test_rows_of_another_part_are_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,fold,goal\n1,x,Test,7\n2,odd,train,none\n3,y,test set,12\n")
    data, _ = reading(target="goal").read(path, named=("fold", "test"))
    assert data.x[:, 0].tolist() == [1, 3]


def test_every_digit_is_kept_for_the_normalizer(tmp_path: Path) -> None:
    inputs = Inputs.table(["t"])
    path = written(tmp_path, "t,goal\n1700000001,7\n1700000002,12\n")
    data, _ = reading(shape=(1,), inputs=inputs).read(path)
    assert np.diff(data.x[:, 0]).tolist() == [1]
    assert prepared(data, Normalizer([1_700_000_000.0], [1.0])).x.ravel().tolist() == [1, 2]
    assert prepared(data, None).x.dtype == np.float32


@pytest.mark.parametrize(
    ("inputs", "name", "message"),
    [
        (Inputs.images((4, 4), 1), "t.csv", "a table came, but the model was trained on a folder of images"),
        (None, "t.csv", "a table came, but the model was trained on arrays"),
        (SIZES, "folder", "this is a folder, but the model was trained on a table"),
        (SIZES, "nowhere.csv", "there is no such file"),
    ],
)
def test_data_of_another_kind_are_refused(tmp_path: Path, inputs: Any, name: str, message: str) -> None:
    written(tmp_path, "a,b,goal\n1,x,7\n")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=message):
        reading(inputs=inputs).read(tmp_path / name)


def test_sequences_keep_their_lengths_and_words_their_numbers(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "t.npz", x=np.arange(12).reshape(4, 3), y=np.array([0, 1, 1, 0]), lengths=np.array([3, 1, 2, 3])
    )
    data, _ = reading(inputs=None).read(tmp_path / "t.npz")
    assert isinstance(data, Dataset)
    assert data.lengths is not None
    assert (data.lengths.tolist(), data.x.dtype.kind) == ([3, 1, 2, 3], "i")
    assert not isinstance(prepared(data, None), ImageFolder)
    assert prepared(data, None).x.dtype.kind == "i"


@pytest.mark.parametrize("y", [[0, 1, 2], [0.5, 1, 0], [-1, 0, 1]])
def test_labels_of_arrays_that_are_no_class_are_named(tmp_path: Path, y: list[float]) -> None:
    np.savez(tmp_path / "t.npz", x=np.zeros((3, 3)), y=np.array(y))
    with pytest.raises(DataError, match=r"t\.npz: y\[\d\] is .*no class that the model knows"):
        reading().read(tmp_path / "t.npz")
