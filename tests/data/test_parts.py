"""Which rows of one's own data are tested: by chance, by a column, by groups, in time, or from a file of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlcore.data import Splits, open_path
from dlcore.data.parts import Parting, part_named
from dlcore.errors import ConfigError, DataError
from dlcore.train.config import config

PARTS = ("train", "dev", "test")


def write(path: Path, header: str, rows: Sequence[Sequence[Any]]) -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def places(data: Splits, column: int = 0) -> list[list[int]]:
    """By part, the first feature of its rows, sorted, which numbers them."""
    return [sorted(getattr(data, part).x[:, column].astype(int).tolist()) for part in PARTS]


def noise(i: int) -> float:
    return round(float(np.random.default_rng(i).normal()), 4)


# Groups --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["numbers", "words"])
def test_rows_of_one_group_stay_in_one_part_and_the_group_is_no_feature(tmp_path: Path, names: str) -> None:
    owner = [i * i % 17 for i in range(120)]
    said = [f"p{one}" if names == "words" else one for one in owner]
    path = write(tmp_path / "t.csv", "n,owner,z,y", [[i * 7 % 120, said[i], noise(i), "ab"[i % 2]] for i in range(120)])
    data = open_path(path, group="owner")
    assert data.features == ("n", "z")
    of_row = {i * 7 % 120: owner[i] for i in range(120)}
    parts = [{of_row[n] for n in part} for part in places(data)]
    assert parts[0].isdisjoint(parts[1] | parts[2])
    assert parts[1].isdisjoint(parts[2])
    sizes = [len(part) for part in places(data)]
    assert sum(sizes) == len(path.read_text().splitlines()) - 1
    assert sizes[0] > 50
    assert min(sizes) > 10
    assert f"each of the {len(set(owner))} values of owner stay" in " ".join(data.notes)


def test_groups_keep_the_classes_in_proportion_and_depend_on_the_seed(tmp_path: Path) -> None:
    rows = [[i * 7 % 400, f"g{i // 4}", "rare" if i // 4 % 10 == 0 else "usual"] for i in range(400)]
    path = write(tmp_path / "t.csv", "n,g,y", rows)
    first, again, other = (open_path(path, group="g", seed=seed) for seed in (0, 0, 1))
    for data in (first, other):
        assert [int((getattr(data, part).y == 0).sum()) for part in PARTS] == [24, 8, 8]
        assert [len(getattr(data, part)) for part in PARTS] == [240, 80, 80]
    assert places(first) == places(again)
    assert places(first) != places(other)


def test_a_group_of_most_rows_is_trained_on(tmp_path: Path) -> None:
    rows = [[i, "big" if i < 70 else f"s{i % 6}", i / 7] for i in range(100)]
    data = open_path(
        write(tmp_path / "t.csv", "n,g,y", [[i * 3 % 100, *row[1:]] for i, row in enumerate(rows)]), group="g"
    )
    sizes = [len(getattr(data, part)) for part in PARTS]
    assert sizes[0] == 70
    assert sum(sizes) == 100


def test_as_many_groups_as_parts_give_each_part_one(tmp_path: Path) -> None:
    rows = [[i * 7 % 30, "xyz"[i % 3], i / 7] for i in range(30)]
    data = open_path(write(tmp_path / "t.csv", "n,g,y", rows), group="g")
    assert [len(getattr(data, part)) for part in PARTS] == [10, 10, 10]


# A column that names the part ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [("train", "dev", "test"), ("TRAIN", "Val", "Test"), ("training", "validation", "testing")]
)
def test_a_column_names_the_part_of_each_row(tmp_path: Path, words: tuple[str, ...]) -> None:
    rows = [[i * 3 % 40, words[[0, 0, 1, 2][i % 4]], noise(i), i / 7] for i in range(40)]
    data = open_path(write(tmp_path / "t.csv", "n,fold,z,y", rows), split="fold")
    assert data.features == ("n", "z")
    assert places(data) == [sorted(i * 3 % 40 for i in range(40) if i % 4 in which) for which in ((0, 1), (2,), (3,))]
    assert "fold" in " ".join(data.notes)


@pytest.mark.parametrize(("there", "lack"), [("test", "dev"), ("val", "test")])
def test_a_part_that_no_row_names_is_drawn_from_the_training_rows(tmp_path: Path, there: str, lack: str) -> None:
    rows = [[i * 3 % 50, "train" if i % 5 else there, "ab"[i % 2]] for i in range(50)]
    data = open_path(write(tmp_path / "t.csv", "n,fold,y", rows), split="fold")
    given = sorted(i * 3 % 50 for i in range(0, 50, 5))
    assert places(data)[2 if lack == "dev" else 1] == given
    assert len(getattr(data, lack)) == 8
    assert f"no {lack} set: 8 training rows" in " ".join(data.notes)
    assert sorted(place for part in places(data) for place in part) == list(range(50))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "holdout"], "holds 'holdout', but train, dev"),
        (["1", "2"], "holds '1', but train"),
        (["dev", "test"], "no row for train"),
        (["train", "train"], "no row for test"),
        (["train", ""], "missing in 10 of 20 rows"),
    ],
)
def test_a_column_of_other_words_is_refused_with_the_file_and_its_name(
    tmp_path: Path, words: list[str], message: str
) -> None:
    rows = [[i * 3 % 20, words[i % 2], i / 7] for i in range(20)]
    with pytest.raises(DataError, match=message) as error:
        open_path(write(tmp_path / "t.csv", "n,fold,y", rows), split="fold")
    assert "t.csv: column fold" in str(error.value)


def test_a_word_stands_for_a_part_in_any_case_and_beside_fillers() -> None:
    assert [part_named(word) for word in ("Train", "DEV", "val_set", "test data")] == ["train", "dev", "dev", "test"]
    assert [part_named(word) for word in ("", "trainer", "train test", "set")] == [None] * 4


# Time ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["year", "date", "moment"])
def test_the_earliest_rows_are_trained_on_and_the_latest_tested(tmp_path: Path, form: str) -> None:
    def when(place: int) -> str:
        days = f"{2000 + place // 300}-{1 + place // 25 % 12:02}-{1 + place % 25:02}"
        return {"year": str(1900 + place), "date": days, "moment": f"{days} 1{place % 10}:30"}[form]

    order = [i * 37 % 100 for i in range(100)]
    path = write(tmp_path / "t.csv", "n,when,y", [[place, when(place), "ab"[place % 2]] for place in order])
    data = open_path(path, time=["when"])
    assert data.features == ("n",)
    assert places(data) == [list(range(60)), list(range(60, 80)), list(range(80, 100))]
    assert f"training set ends at {when(59)}" in " ".join(data.notes)


def test_rows_of_one_time_stay_in_one_part(tmp_path: Path) -> None:
    rows = [
        [i * 3 % 100, 2000 + i // 30, i / 7] for i in range(100)
    ]  # 30 rows of each of the years 2000 to 2002, and 10
    data = open_path(write(tmp_path / "t.csv", "n,year,y", rows), time=["year"])
    assert [len(getattr(data, part)) for part in PARTS] == [60, 30, 10]


def test_several_columns_make_a_time_together(tmp_path: Path) -> None:
    rows = [[i, 2000 + i // 12, 1 + i % 12, i / 7] for i in (np.arange(60) * 7 % 60).tolist()]
    data = open_path(write(tmp_path / "t.csv", "n,year,month,y", rows), time=["year", "month"])
    assert data.features == ("n",)
    assert places(data) == [list(range(36)), list(range(36, 48)), list(range(48, 60))]


def test_too_few_times_and_cells_that_are_none_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "n,when,y", [[i * 3 % 20, 2000 + i % 2, i / 7] for i in range(20)])
    with pytest.raises(DataError, match=r"t\.csv: when holds 2 different times"):
        open_path(path, time=["when"])
    path = write(tmp_path / "u.csv", "n,when,y", [[i * 3 % 20, f"day {'abc'[i % 3]}", i / 7] for i in range(20)])
    with pytest.raises(DataError, match=r"u\.csv: column when, line 2: 'day a' is no time"):
        open_path(path, time=["when"])


# Equal rows ----------------------------------------------------------------------------------------------------------


def twice(tmp_path: Path, kind: str) -> Path:
    """Data of 40 examples, each twice."""
    rng = np.random.default_rng(1)
    x = np.round(rng.normal(size=(40, 3)), 3)
    if kind == "table":
        return write(tmp_path / "t.csv", "a,b,c,y", [[*row, "uv"[i % 2]] for i, row in [*enumerate(x)] * 2])
    if kind == "gaps":
        rows = [[*row[:2], "" if i % 4 == 0 else row[2], "uv"[i % 2]] for i, row in [*enumerate(x)] * 2]
        return write(tmp_path / "t.csv", "a,b,c,y", rows)
    if kind == "npz":
        np.savez(tmp_path / "t.npz", x=np.concatenate([x, x]), y=np.arange(80) % 2)
        return tmp_path / "t.npz"
    if kind == "sequences":
        steps = rng.normal(size=(40, 4, 2))
        padding = rng.normal(size=(80, 4, 2))  # which must not count
        lengths = np.tile(np.arange(40) % 3 + 2, 2)
        padded = np.where(np.arange(4)[:, None] < lengths[:, None, None], np.concatenate([steps, steps]), padding)
        np.savez(tmp_path / "t.npz", x=padded, y=np.arange(80) % 2, lengths=lengths)
        return tmp_path / "t.npz"
    for i in range(80):
        folder = tmp_path / "images" / "uv"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        grey = np.random.default_rng(i % 40).integers(0, 256, (4, 5), np.uint8)
        Image.fromarray(grey).save(folder / f"{i}.{'png' if i < 40 else 'bmp'}")  # other bytes, the same pixels
    return tmp_path / "images"


@pytest.mark.parametrize("kind", ["table", "gaps", "npz", "sequences", "images"])
def test_equal_rows_across_parts_are_counted_and_can_be_kept_together(tmp_path: Path, kind: str) -> None:
    path = twice(tmp_path, kind)
    options: dict[str, Any] = {"missing": "mean"} if kind == "gaps" else {}
    data = open_path(path, normalize=True, **options)
    (line,) = [note for note in data.notes if note.startswith("equal inputs")]
    trained = {bytes(np.ascontiguousarray(x)) for x in valid(data.train)}
    counted = sum(bytes(np.ascontiguousarray(x)) in trained for x in valid(data.test))
    assert f"{counted} of 16 test rows also stand in the training set" in line
    assert counted > 4
    assert "--keep-equal-together" in line

    data = open_path(path, normalize=True, keep_equal_together=True, **options)
    assert not [note for note in data.notes if note.startswith("equal inputs")]
    parts = [{bytes(np.ascontiguousarray(x)) for x in valid(getattr(data, part))} for part in PARTS]
    assert not parts[0] & (parts[1] | parts[2])
    assert [len(getattr(data, part)) for part in PARTS] == [48, 16, 16]
    assert [int((getattr(data, part).y == 0).sum()) for part in PARTS] == [24, 8, 8]


def valid(part: Any) -> list[np.ndarray]:
    x, _, *lengths = part.rows(slice(None))
    return [row[: lengths[0][i]] for i, row in enumerate(x)] if lengths else list(x)


def test_rows_that_are_all_different_are_not_remarked_on(tmp_path: Path) -> None:
    rows = [[noise(i), noise(1000 + i), "ab"[i % 2]] for i in range(60)]
    assert open_path(write(tmp_path / "t.csv", "a,b,y", rows)).notes == ()


def test_equal_inputs_count_whatever_their_targets_are(tmp_path: Path) -> None:
    rows = [[noise(i % 10), i / 7] for i in range(60)]
    data = open_path(write(tmp_path / "t.csv", "a,y", rows))
    assert "12 of 12 test rows" in " ".join(data.notes)


# A test set of its own -----------------------------------------------------------------------------------------------


def test_a_test_file_is_read_with_the_columns_levels_and_classes_of_the_first(tmp_path: Path) -> None:
    rows = [[i * 3 % 50, noise(i), "rgb"[i % 3], "uvw"[i % 3]] for i in range(50)]
    train = write(tmp_path / "train.csv", "n,z,colour,kind", rows)
    test = write(tmp_path / "test.csv", "kind,more,colour,z,n", [["w", 1, "b", 0.5, 7], ["v", 2, "g", 1.5, 9]])
    data = open_path(train, test=test, normalize=True)
    assert [len(getattr(data, part)) for part in PARTS] == [40, 10, 2]
    assert data.test.y.tolist() == [2, 1]
    assert data.normalizer is not None
    expected = data.normalizer.transform(np.array([[7, 0.5, 1, 0, 0], [9, 1.5, 0, 1, 0]]))
    np.testing.assert_array_equal(data.test.rows(slice(None))[0], expected)
    assert "test.csv, 2 examples" in " ".join(data.notes)


def test_gaps_of_a_test_file_are_filled_by_the_training_rows(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", "n,z,y", [[i * 3 % 50, "" if i % 9 == 0 else i, i / 7] for i in range(50)])
    test = write(tmp_path / "test.csv", "n,z,y", [[1, "", 2.5], [2, 3, ""], [3, 4, 5]])
    data = open_path(train, test=test, missing="mean")
    x, y = data.test.rows(slice(None))
    assert data.inputs is not None
    assert x.tolist() == [[1, np.float32(data.inputs.to_dict()["columns"][1]["fill"])], [3, 4]]
    assert y.tolist() == [[2.5], [5]]
    assert "1 row without a target" in " ".join(data.notes)
    dropped = open_path(train, test=test, missing="drop")
    assert len(dropped.test) == 1
    assert "1 row with missing cells" in " ".join(dropped.notes)
    with pytest.raises(DataError, match=r"test\.csv, line 3: the target is missing"):
        open_path(train, test=test, missing="mean", missing_target="refuse")


def test_several_targets_of_a_test_file_may_be_missing(tmp_path: Path) -> None:
    rows = [[i * 3 % 50, "uv"[i % 2], i / 7] for i in range(50)]
    train = write(tmp_path / "train.csv", "n,kind,size", rows)
    test = write(tmp_path / "test.csv", "n,kind,size", [[1, "v", ""], [2, "", 1.5], [3, "", ""]])
    data = open_path(train, test=test, target=["size", "kind"])
    assert data.test.y["kind"].tolist() == [1, -1]
    np.testing.assert_array_equal(data.test.y["size"], [[np.nan], [1.5]])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,0.5,r,x", "column kind, line 2: 'x' is no class that the model knows"),
        ("1,0.5,pink,u", "column colour, line 2: 'pink' is no known category"),
        ("1,much,r,u", "column z, line 2: 'much' is not a number"),
    ],
)
def test_a_class_or_level_that_only_the_test_file_has_is_one_line(tmp_path: Path, row: str, message: str) -> None:
    rows = [[i * 3 % 50, noise(i), "rgb"[i % 3], "uvw"[i % 3]] for i in range(50)]
    train = write(tmp_path / "train.csv", "n,z,colour,kind", rows)
    (tmp_path / "test.csv").write_text(f"n,z,colour,kind\n{row}\n")
    with pytest.raises(DataError, match=message) as error:
        open_path(train, test=tmp_path / "test.csv")
    assert "test.csv" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["classes", "numbers", "bytes"])
def test_a_test_file_of_arrays(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 4, 5), np.uint8) if kind == "bytes" else rng.normal(size=(60, 3))
    y = np.arange(60) / 7 if kind == "numbers" else np.arange(60) % 3
    np.savez(tmp_path / "train.npz", x=x[:50], y=y[:50])
    np.savez(tmp_path / "test.npz", x=x[50:], y=y[50:])
    data = open_path(tmp_path / "train.npz", test=tmp_path / "test.npz", normalize=True)
    assert [len(getattr(data, part)) for part in PARTS] == [40, 10, 10]
    np.testing.assert_allclose(data.test.y.reshape(-1), y[50:], rtol=1e-6)
    assert data.normalizer is not None
    plain = x[50:, ..., None] / np.float32(255) if kind == "bytes" else x[50:]
    np.testing.assert_array_equal(data.test.rows(slice(None))[0], data.normalizer.transform(plain))


def test_arrays_of_another_shape_or_with_other_classes_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "train.npz", x=np.random.default_rng(0).normal(size=(50, 3)), y=np.arange(50) % 3)
    np.savez(tmp_path / "wide.npz", x=np.zeros((4, 5)), y=np.arange(4) % 3)
    np.savez(tmp_path / "more.npz", x=np.zeros((4, 3)), y=np.arange(4))
    with pytest.raises(DataError, match=r"wide\.npz.*shape \(5,\)"):
        open_path(tmp_path / "train.npz", test=tmp_path / "wide.npz")
    with pytest.raises(DataError, match=r"more\.npz: y\[3\] is 3, which is no class"):
        open_path(tmp_path / "train.npz", test=tmp_path / "more.npz")


def pictures(root: Path, counts: dict[str, int], shape: tuple[int, int] = (4, 5)) -> Path:
    rng = np.random.default_rng(len(str(root)))
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(root / name / f"{i}.png")
    return root


def test_a_test_folder_may_lack_a_class_and_have_another_size(tmp_path: Path) -> None:
    train = pictures(tmp_path / "photos", {"a": 10, "b": 10, "c": 10})
    test = pictures(tmp_path / "later", {"b": 2, "c": 3}, (8, 10))
    data = open_path(train, test=test, normalize=True)
    assert [len(getattr(data, part)) for part in PARTS] == [24, 6, 5]
    assert data.test.y.tolist() == [1, 1, 2, 2, 2]
    assert data.test.shape == (4, 5, 1)
    with pytest.raises(DataError, match="d is no class that the model knows"):
        open_path(train, test=pictures(tmp_path / "odd", {"a": 2, "d": 2}))


def test_folders_of_parts_take_no_test_folder_beside_them(tmp_path: Path) -> None:
    for part in ("train", "test"):
        pictures(tmp_path / "photos" / part, {"a": 6, "b": 6})
    other = pictures(tmp_path / "later", {"a": 2, "b": 2})
    with pytest.raises(ConfigError, match=r"test is given, but .*photos has folders of its parts"):
        open_path(tmp_path / "photos", test=other)
    with pytest.raises(ConfigError, match="keep_equal_together is given"):
        open_path(tmp_path / "photos", keep_equal_together=True)


# Classes that are not trained on -------------------------------------------------------------------------------------


def test_a_class_without_a_training_row_is_told(tmp_path: Path) -> None:
    rows = [[i * 3 % 40, "test" if i >= 30 else "train", "c" if i >= 38 else "ab"[i % 2]] for i in range(40)]
    data = open_path(write(tmp_path / "t.csv", "n,fold,y", rows), split="fold")
    assert "no training row of the class c" in " ".join(data.notes)
    train = write(tmp_path / "train.csv", "n,y", [[i * 3 % 40, "ab"[i % 2]] for i in range(40)])
    assert "no training row" not in " ".join(open_path(train).notes)


def test_classes_without_a_training_row_are_told_by_target(tmp_path: Path) -> None:
    rows = [[i * 3 % 40, i // 10, "ab"[i >= 35], "uvw"[i % 3]] for i in range(40)]
    data = open_path(write(tmp_path / "t.csv", "n,when,first,second", rows), time=["when"], target=["first", "second"])
    assert "no training row of the class b of first, which is never predicted" in " ".join(data.notes)


def test_the_only_row_of_a_class_of_a_table_is_trained_on_but_not_by_the_rules_of_old_runs(tmp_path: Path) -> None:
    rows = [[i * 7 % 60, f"single {i}" if i < 8 else "ab"[i % 2]] for i in range(60)]
    path = write(tmp_path / "t.csv", "n,y", rows)
    assert set(range(10)) == set(open_path(path).train.y.tolist())
    old = open_path(path, rules=1)
    assert set(range(10)) != set(old.train.y.tolist())
    assert old.digests is None


# Settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"group": "a", "split": "b"},
        {"time": ["a"], "group": "b"},
        {"split": "a", "keep_equal_together": True},
        {"split": "a", "test": "t.csv"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, given: dict[str, Any]) -> None:
    path = write(tmp_path / "t.csv", "a,b,c,y", [[i, i, i, i] for i in range(20)])
    with pytest.raises(ConfigError, match="came together"):
        open_path(path, **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"group": "owner"}, "no column 'owner'.*but group names it"),
        ({"split": "y", "target": "y"}, "split names y, which is a target"),
        ({"time": ["a"], "categorical": ["a"]}, "time names a, which is named in categorical"),
    ],
)
def test_a_column_that_is_not_there_or_has_another_use_is_named(
    tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "t.csv", "a,b,y", [[i * 3 % 20, noise(i), i / 7] for i in range(20)])
    with pytest.raises(DataError, match=message):
        open_path(path, **given)


def test_too_few_groups_and_gaps_in_them_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "n,g,y", [[i * 3 % 20, i % 2, i / 7] for i in range(20)])
    with pytest.raises(DataError, match=r"t\.csv: 2 different values are too few"):
        open_path(path, group="g")
    path = write(tmp_path / "u.csv", "n,g,y", [[i * 3 % 20, "" if i == 4 else i % 5, i / 7] for i in range(20)])
    with pytest.raises(DataError, match=r"u\.csv: column g is missing in 1 of 20 rows"):
        open_path(path, group="g")


def test_a_column_that_is_set_aside_may_be_ignored_too_and_is_never_the_default_target(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "n,y,g", [[i * 3 % 20, i / 7, i % 5] for i in range(20)])
    data = open_path(path, group="g", ignore=["g"])
    assert (data.features, data.target) == (("n",), "y")


@pytest.mark.parametrize("name", ["digits", "cars"])
@pytest.mark.parametrize("given", [{"test": "t.csv"}, {"group": "a"}, {"split": "a"}, {"keep_equal_together": True}])
def test_the_data_of_the_package_take_none_of_it(name: str, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(given))} goes with a table"):
        config.DataConfig(data=name, **given).load()


def test_the_settings_reach_the_data_and_their_paths_become_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "t.csv", "n,g,when,y", [[i * 3 % 40, i % 8, 1990 + i, i / 7] for i in range(40)])
    wanted: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({"group": "g"}, ("n", "when")),
        ({"time": ("when",)}, ("n", "g")),
        ({"keep_equal_together": True}, ("n", "g", "when")),
        ({"test": "t.csv"}, ("n", "g", "when")),
    ]
    for given, features in wanted:
        assert config.DataConfig(data="t.csv", **given).load().features == features
    settings = config.Config.of(data="t.csv", test="t.csv").anchored()
    assert settings.data.test == str(tmp_path / "t.csv")


def test_parting_by_chance_is_what_split_rows_gives() -> None:
    from dlcore.data.split import split_rows

    labels = np.arange(50) % 3
    rows, notes = Parting().rows("t", 50, 3, labels)
    for mine, theirs in zip(rows, split_rows(50, (0.6, 0.2, 0.2), 3, labels), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert notes == []
